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
from xpyramid.errors import AxisError
from xpyramid.io.form.attributes import json_attributes
from xpyramid.io.store.inventory import seal
from xpyramid.io.store.target import Place
from xpyramid.io.writing.compression import STORE_EMPTY, ZarrFormat, compressor_of, with_checksums
from xpyramid.plan import Level

#: Coordinates up to so many bytes are computed at once, where they are lazy.
_SMALL = 2**20

#: Encoding of coordinates that is kept: what times are counted from.
_KEPT_ENCODING = ("units", "calendar")


def prepare_coordinates(
    coordinates: xr.Dataset, names: Mapping[str, str], attrs: Mapping[str, Any]
) -> xr.Dataset:
    """Return what is stored beside a level: its coordinates, along dimensions that viewers know.

    Parameters
    ----------
    coordinates : xarray.Dataset
    names : mapping
        From a dimension to the name that viewers know.
    attrs : mapping
        Of the level's group.

    Raises
    ------
    AttributeValueError
        For attributes that JSON cannot hold.
    """
    dataset = _with_viewer_names(coordinates, names).copy().assign_attrs(attrs)
    for name, variable in dataset.variables.items():
        if variable.chunks is None:
            continue
        if variable.nbytes <= _SMALL:
            dataset[name] = variable.compute()
        else:  # xarray stores even chunks only
            even = {dim: max(sizes) for dim, sizes in variable.chunksizes.items()}
            dataset[name] = variable.chunk(even)
    for variable in dataset.variables.values():
        variable.attrs = json_attributes(variable.attrs)
        kept = {key: variable.encoding[key] for key in _KEPT_ENCODING if key in variable.encoding}
        if variable.dtype.kind == "M" and not _come_back(variable, kept):
            kept = {}  # xarray then counts from a date of its own choice
        if variable.dtype.kind in "fc" and "_FillValue" not in variable.attrs:
            kept["_FillValue"] = None  # xarray would write NaN, as an attribute
        variable.encoding = kept
    return dataset


def _come_back(times: xr.Variable, encoding: Mapping[str, Any]) -> bool:
    """Whether times can be counted in the units that they came with."""
    wanted = xr.Variable(times.dims, times.values, encoding=encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of units too coarse
        try:
            xr.conventions.decode_cf_variable("", xr.conventions.encode_cf_variable(wanted))
        except (Warning, ValueError, OverflowError):
            return False
    return True


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
        As viewers know them.
    attributes : mapping
        Of the level arrays.
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
    attributes: Mapping[str, Any]
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
    written: dict[str, Buffer] = {}
    image = Place(MemoryStore(written), "")
    zarr.create_group(
        image.store, zarr_format=sketch.zarr_format, attributes=dict(sketch.announcement)
    )
    lazy = {}
    for k, (path, coordinates) in enumerate(zip(sketch.paths, sketch.coordinates, strict=True)):
        group, _, _ = path.rpartition("/")
        if group:
            _draft_coordinates(coordinates, image / group, sketch.zarr_format)
            later = [name for name, v in coordinates.variables.items() if v.chunks is not None]
            lazy[group] = coordinates.drop_vars(set(coordinates.variables) - set(later))
        _draft_array(image / path, k, sketch)
        if group:
            consolidate(image / group)
    consolidate(image)
    own = {key: document for key, document in written.items() if "/" not in key}
    return Draft({key: written[key] for key in written.keys() - own.keys()}, own, lazy)


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
    group = zarr.open_group(MemoryStore(written), mode="r+", use_consolidated=False)
    attributes = dict(group.attrs)
    if omero is not None:
        attributes = ngff.announce(attributes, "omero", omero)
    group.attrs.update(seal(image, attributes))
    consolidate(Place(group.store, ""))
    return {key: document for key, document in written.items() if "/" not in key}


def write_lazy(draft: Draft, image: Place) -> None:
    """Compute and store the coordinates that a draft leaves open."""
    for group, dataset in draft.lazy.items():
        for name, variable in dataset.variables.items():
            stored = xr.conventions.encode_cf_variable(variable)
            array: Any = open_empty(image / group / str(name), {})
            da.store(stored.data, array, lock=False)


def _with_viewer_names(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Rename dimensions; their coordinates keep their own names, as coordinates along them."""
    for dim, name in names.items():
        if dim != name and dim in dataset.dims:
            rename = dataset.swap_dims if dim in dataset.coords else dataset.rename_dims
            dataset = rename({dim: name})
    return dataset


def _draft_coordinates(dataset: xr.Dataset, place: Place, zarr_format: ZarrFormat) -> None:
    """Make a group that xarray can open, with checksummed coordinates."""
    codecs = {"compressors": compressor_of("default", zarr_format)}
    try:
        with warnings.catch_warnings():
            # Zarr v3 has no final word on strings and datetimes; coordinates are for xarray's eyes.
            warnings.simplefilter("ignore", UnstableSpecificationWarning)
            dataset.to_zarr(
                place.store,
                group=place.path,
                mode="w-",
                consolidated=False,
                compute=False,
                zarr_format=zarr_format,
                # What is given here takes the place of the variable's own.
                encoding={name: {**v.encoding, **codecs} for name, v in dataset.variables.items()},
            )
    except (TypeError, ValueError, NotImplementedError) as error:
        raise AxisError(
            f"the coordinates {list(dataset.variables)} cannot be stored: {error}; drop the one "
            "that is meant with .drop_vars(...) or .reset_index(...)"
        ) from error


def _draft_array(place: Place, k: int, sketch: Sketch) -> None:
    """Make the empty array of a level in its group."""
    level, stored = sketch.levels[k], sketch.objects[k]
    attributes = dict(sketch.attributes)
    form: dict[str, Any] = {"dimension_names": list(sketch.dims)}
    if sketch.zarr_format == 2:
        # xarray takes a fill value for missing data; without one, empty chunks must be stored.
        attributes["_ARRAY_DIMENSIONS"] = list(sketch.dims)
        form = {
            "fill_value": None,
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


def open_empty(place: Place, config: Any = STORE_EMPTY) -> zarr.Array[Any]:
    """Open an array as `draft` made it."""
    return with_checksums(zarr.open_array(place.store, path=place.path, mode="r+"), config)


def consolidate(place: Place) -> None:
    """Copy the metadata of all children into a group: one read opens them, and xarray looks for it.

    What changes a shape or an attribute later has to do this again.
    """
    with warnings.catch_warnings():
        for category in (ZarrUserWarning, UnstableSpecificationWarning):
            warnings.simplefilter("ignore", category)  # not in the v3 specification yet
        zarr.consolidate_metadata(place.store, path=place.path)
