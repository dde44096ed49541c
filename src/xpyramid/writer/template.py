"""What an image is made of before it has data: groups, coordinates, empty arrays, attributes.

All of it is made in memory first. What cannot be stored shows before anything is touched, and the
documents, few and small, are then copied in one go.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import Buffer
from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning
from zarr.storage import MemoryStore

from xpyramid import ngff
from xpyramid.geometry.plan import Level
from xpyramid.store.contents import Contents, is_document, list_keys
from xpyramid.store.manifest import seal
from xpyramid.store.path import Place
from xpyramid.writer import documents
from xpyramid.writer.compression import STORE_EMPTY, ZarrFormat, with_checksums
from xpyramid.writer.coordinates import draft_coordinates, lazy_part


@dataclass(frozen=True)
class Draft:
    """The documents of an image, by their keys below it.

    Attributes
    ----------
    documents : dict
        Those of the levels, and of their coordinates.
    announcement : dict
        Those of the image's own group: what makes an image of the levels.
    lazy : dict
        Coordinates that are yet to be computed, by their group.
    """

    documents: dict[str, Buffer]
    announcement: dict[str, Buffer]
    lazy: dict[str, xr.Dataset]


@dataclass(frozen=True)
class Sketch:
    """What a draft is made from.

    Attributes
    ----------
    paths : sequence of str
        Of the level arrays.
    levels : sequence of Level
    objects : sequence of tuple of int
        Shape of the stored objects of each level: chunks, or shards.
    coordinates : sequence of xarray.Dataset
        Of each level, see `prepare_coordinates`; not used for levels that are arrays alone.
    dtype : numpy.dtype
    dims : sequence of str
        As they are stored.
    attributes : sequence of mapping
        Of each level array.
    announcement : mapping
        Attributes of the image's group.
    zarr_format : {2, 3}
    compressor
        As zarr takes it.
    """

    paths: Sequence[str]
    levels: Sequence[Level]
    objects: Sequence[tuple[int, ...]]
    coordinates: Sequence[xr.Dataset]
    dtype: np.dtype[Any]
    dims: Sequence[str]
    attributes: Sequence[Mapping[str, Any]]
    announcement: Mapping[str, Any]
    zarr_format: ZarrFormat
    compressor: Any


def draft(sketch: Sketch) -> Draft:
    """Make the documents of an image.

    Raises
    ------
    AxisError
        For coordinates that xarray cannot store.
    """
    written: documents.Documents = {}
    image = Place(MemoryStore(written), "")
    zarr.create_group(
        image.store, zarr_format=sketch.zarr_format, attributes=dict(sketch.announcement)
    )
    lazy = {}
    beside = draft_coordinates(sketch.coordinates, sketch.zarr_format)
    for k, path in enumerate(sketch.paths):
        group, _, _ = path.rpartition("/")
        if group:
            written |= {f"{group}/{key}": document for key, document in next(beside).items()}
            lazy[group] = lazy_part(sketch.coordinates[k])
        _draft_array(image / path, k, sketch)
        if group:
            documents.consolidate(written, group)
    own = {key: document for key, document in written.items() if "/" not in key}
    return Draft({k: document for k, document in written.items() if k not in own}, own, lazy)


def announcement(
    draft: Draft, image: Place, omero: Mapping[str, Any] | None = None
) -> dict[str, Buffer]:
    """Return the documents of the image's own group, with a record of all that is stored now.

    Parameters
    ----------
    draft : Draft
    image : Place
        Where it is complete.
    omero : mapping, optional
        Metadata that became known only now.
    """
    written = {**draft.documents, **draft.announcement}
    attributes = documents.attributes_of(written)
    if omero is not None:
        attributes = ngff.announce(attributes, "omero", omero)
    known = {key: documents.parse(written[key]) for key in sorted(written) if is_document(key)}
    levels = sorted({key.split("/")[0] for key in draft.documents})
    keys = [f"{name}/{key}" for name in levels for key in list_keys(image / name)]
    contents = Contents(image, keys, known, {})
    documents.consolidate(written, attributes=seal(contents, attributes))
    return {key: document for key, document in written.items() if "/" not in key}


def write_lazy(draft: Draft, image: Place) -> None:
    """Compute and store the coordinates that a draft leaves open."""
    for group, dataset in draft.lazy.items():
        for name, variable in dataset.variables.items():
            stored = xr.conventions.encode_cf_variable(variable)
            array: Any = empty_array(draft, f"{group}/{name}", image, {})
            da.store(stored.data, array, lock=False)


def _draft_array(place: Place, k: int, sketch: Sketch) -> None:
    """Make the empty array of a level in its group."""
    level, stored = sketch.levels[k], sketch.objects[k]
    attributes = dict(sketch.attributes[k])
    form: dict[str, Any] = {"dimension_names": list(sketch.dims)}
    if sketch.zarr_format == 2:
        # xarray takes a fill value for missing data; without one, empty chunks must be stored.
        attributes["_ARRAY_DIMENSIONS"] = list(sketch.dims)
        # That is the only place for one that JSON has no number for.
        nonfinite = attributes.get("_FillValue") in ("NaN", "Infinity", "-Infinity")
        form = {
            "fill_value": float(attributes.pop("_FillValue")) if nonfinite else None,
            "config": STORE_EMPTY,
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    zarr.create_array(
        place.store,
        name=place.path,
        zarr_format=sketch.zarr_format,
        shape=level.shape,
        chunks=level.chunks,
        shards=None if stored == level.chunks else stored,
        dtype=sketch.dtype,
        compressors=sketch.compressor,
        attributes=attributes,
        **form,
    )


def empty_array(
    draft: Draft, path: str, image: Place, config: Any = STORE_EMPTY
) -> zarr.Array[Any]:
    """Return an array of an image as `draft` made it."""
    return with_checksums(documents.array_of(draft.documents, path, image / path), config)


def consolidate(place: Place) -> None:
    """Copy the metadata of all children into a group: one read opens them, and xarray looks for it.

    What changes a shape or an attribute later has to do this again.
    """
    with warnings.catch_warnings():
        for category in (ZarrUserWarning, UnstableSpecificationWarning):
            warnings.simplefilter("ignore", category)  # not in the v3 specification yet
        zarr.consolidate_metadata(place.store, path=place.path)
