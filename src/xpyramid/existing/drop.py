"""An image without its coarser levels."""

from __future__ import annotations

import numpy as np
import zarr

from xpyramid import ngff
from xpyramid.errors import PlanError
from xpyramid.existing.image import find_image
from xpyramid.store.listing import children
from xpyramid.store.path import NodePath, Store, is_image, is_name
from xpyramid.writer import drop


def drop_levels(store: Store, group: str | None = None, levels: int = 1) -> None:
    """Remove the coarser levels of an OME-Zarr image, and of its labels.

    They go at once for readers. Level 0 stays as it is, to the last byte.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
    group : str, optional
        Path of the image in the store. Default: the store itself, or the only image in it.
    levels : int
        How many levels are to stay, level 0 included. An image that has no more is left alone.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no image, or several in one group.
    xpyramid.errors.PlanError
        For fewer than one level; and where the levels could not be made again, for level 0 of
        "std" and "count" does not hold what they are made from.
    xpyramid.errors.TargetBusyError
        If another process is writing the image.
    xpyramid.errors.NotWritableError
        If the store cannot be written to.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=3)
    >>> xpyramid.drop_levels(store, "field")
    >>> len(xpyramid.open_pyramid(store, "field"))
    1
    """
    number: object = levels
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise PlanError(option="levels", value=number, accepted="1 or more: level 0 stays")
    image, node, _ = find_image(store, group)
    _drop(image, node, levels)
    labels = image / "labels"
    for name in filter(is_name, children(labels)):
        label = (labels / name).node()
        if isinstance(label, zarr.Group) and is_image(label):
            _drop(labels / name, label, levels)


def _drop(image: NodePath, node: zarr.Group, levels: int) -> None:
    attributes = dict(node.attrs)
    paths = ngff.dataset_paths(attributes)
    if len(paths) > levels:
        method = ngff.parse(attributes).metadata.get("method")
        if method in ("std", "count"):
            raise PlanError(
                f"{image} is an image of method {method!r}, of which level 0 does not hold the "
                "samples that levels are made from: they could not be made again",
                fix="remove the whole image, or make it anew with fewer levels",
            )
        drop(image, attributes, paths[:levels], paths[levels:], node.metadata.zarr_format)
