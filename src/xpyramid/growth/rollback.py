"""A call that broke off, in a process that goes on: the image is made what it was before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from xpyramid import engine
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.tiles import Region
from xpyramid.growth.coordinates import put_coordinates
from xpyramid.growth.documents import Ledger, with_own
from xpyramid.growth.image import GrowingImage
from xpyramid.growth.plan import PreparedGrowth
from xpyramid.store.documents import Documents, put, remove, remove_object
from xpyramid.store.local_chunks import indexes_in
from xpyramid.store.manifest import set_aside
from xpyramid.store.path import takes_nodes_only


def roll_back(
    growth: PreparedGrowth, before: Documents, coordinates: Mapping[str, NDArray[np.generic]]
) -> None:
    """Put the documents of an image back, and remove what lies behind its end.

    The record of what is stored is put aside, for objects that are there may have changed.

    Parameters
    ----------
    growth : PreparedGrowth
        What the image did not get.
    before : mapping
        All documents below it, as they were.
    coordinates : mapping
        Values of those that may have changed, by path.
    """
    image, transaction = growth.image, growth.transaction
    if takes_nodes_only(image.place.store):  # and objects of arrays that are long enough
        forget(image, growth.growth.total)
    after = with_own(image.place, set_aside(image.attributes), before, dict(before))
    for key in sorted(after, key=lambda key: "/" in key):
        put(image.place, {key: after[key]})
    if transaction.tasks is not None:  # only now: what is decided is there no longer
        remove(transaction.tasks)
    put_coordinates(image, coordinates)
    if not takes_nodes_only(image.place.store):
        forget(image, growth.growth.total)


def forget(image: GrowingImage, total: int) -> None:
    """Remove the objects that are stored behind the end of an image, up to a length."""
    if total <= image.length:
        return
    for path, array in image.longer(total).items():
        axis, lengths = image.axis_in(path), array.shards or array.chunks
        inside = -(-image.arrays[path].shape[axis] // lengths[axis])
        for index in indexes_in(tuple(slice(0, n) for n in array.shape), lengths):
            if index[axis] >= inside:
                remove_object(image.place / path / array.metadata.encode_chunk_key(index))


def settle(image: GrowingImage, ledger: Ledger | None, limits: Limits) -> None:
    """Make the windows at the end of an image anew, and note what is stored there now."""
    lengths, paths = image.levels.base.shape, image.levels.paths
    last: Region = tuple(
        slice(image.length - 1 if i == image.axis else 0, n) for i, n in enumerate(lengths)
    )
    if image.is_coarsened:
        engine.run(list(image.levels.jobs(last, limits)), progress=False)
    if ledger is None:
        return
    regions: dict[str, Region] = {}
    for path, array in image.arrays.items():
        start = 0
        if path in paths:
            level = paths.index(path)
            first = min(image.first_object, image.length - 1)
            if level and image.is_coarsened:
                first = image.levels.aligned(last)[image.axis].start
            start = first // image.factors[level]
        axis = image.axis_in(path)
        regions[path] = tuple(
            slice(start if i == axis else 0, n) for i, n in enumerate(array.shape)
        )
    ledger.add(image, image.arrays, regions, {})
