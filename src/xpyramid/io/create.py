"""What a store is made of before it has data: groups, coordinates, empty arrays, attributes."""

from __future__ import annotations

import math
import reprlib
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numcodecs
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec
from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning
from zarr.storage import MemoryStore

from xpyramid.errors import AttributeValueError, AxisError
from xpyramid.io.target import Place
from xpyramid.plan import Level

ZarrFormat = Literal[2, 3]

#: How deep attributes may nest; readers of JSON have limits of their own.
_DEEPEST = 64

#: Encoding of coordinates that is kept: what times are counted from.
_KEPT_ENCODING = ("units", "calendar")


class _Zstd(numcodecs.Zstd):  # type: ignore[misc]  # numcodecs ships no types
    """Zstandard with a checksum in each frame, which every decoder checks by itself.

    The metadata need not say so, and tensorstore refuses Zarr v2 metadata that do.
    """

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "checksum": False}


_COMPRESSORS: dict[int, Any] = {
    2: _Zstd(level=1, checksum=True),
    3: ZstdCodec(level=1, checksum=True),
}


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
        if variable.chunks is not None:  # xarray stores even chunks only
            even = {dim: max(sizes) for dim, sizes in variable.chunksizes.items()}
            dataset[name] = variable.chunk(even)
    for variable in dataset.variables.values():
        variable.attrs = json_attributes(variable.attrs)
        kept = {key: variable.encoding[key] for key in _KEPT_ENCODING if key in variable.encoding}
        variable.encoding = kept
    return dataset


def try_coordinates(dataset: xr.Dataset) -> None:
    """Store coordinates in memory, to find out whether xarray can.

    Raises
    ------
    AxisError
        If it cannot.
    """
    try:
        store_coordinates(dataset, Place(MemoryStore(), ""), zarr_format=3, metadata_only=True)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise AxisError(
            f"the coordinates {list(dataset.variables)} cannot be stored: {error}; drop the one "
            "that is meant with .drop_vars(...) or .reset_index(...)"
        ) from error


def _with_viewer_names(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Rename dimensions; their coordinates keep their own names, as coordinates along them."""
    for dim, name in names.items():
        if dim != name and dim in dataset.dims:
            rename = dataset.swap_dims if dim in dataset.coords else dataset.rename_dims
            dataset = rename({dim: name})
    return dataset


def store_coordinates(
    dataset: xr.Dataset, place: Place, zarr_format: ZarrFormat, *, metadata_only: bool = False
) -> None:
    """Create a group that xarray can open, with checksummed coordinates."""
    codecs = {"compressors": _COMPRESSORS[zarr_format]}
    options: dict[str, Any] = {"compute": False} if metadata_only else {}
    with warnings.catch_warnings():
        # Zarr v3 has no final word on strings and datetimes; coordinates are for xarray's eyes.
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        dataset.to_zarr(
            place.store,
            group=place.path,
            mode="w-",
            consolidated=False,
            zarr_format=zarr_format,
            encoding=dict.fromkeys(dataset.variables, codecs),
            **options,
        )


def create_array(
    place: Place,
    level: Level,
    shards: tuple[int, ...] | None,
    dtype: np.dtype[Any],
    dims: list[str],
    attributes: Mapping[str, Any],
    zarr_format: ZarrFormat,
) -> zarr.Array[Any]:
    """Create the empty array of a level in its group; chunks carry checksums."""
    where, _, name = place.path.rpartition("/")
    group = zarr.open_group(place.store, path=where, mode="r+", zarr_format=zarr_format)
    form: dict[str, Any] = {"dimension_names": dims}
    if zarr_format == 2:
        # xarray takes a fill value for missing data; without one, empty chunks must be stored.
        attributes = {**attributes, "_ARRAY_DIMENSIONS": dims}
        form = {
            "fill_value": None,
            "config": {"write_empty_chunks": True},
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    return group.create_array(
        name,
        shape=level.shape,
        chunks=level.chunks,
        shards=shards,
        dtype=dtype,
        compressors=_COMPRESSORS[zarr_format],
        attributes=dict(attributes),
        **form,
    )


def consolidate(place: Place) -> None:
    """Copy the metadata of all children into a group: one read opens them, and xarray looks for it.

    What changes a shape or an attribute later has to do this again.
    """
    with warnings.catch_warnings():
        for category in (ZarrUserWarning, UnstableSpecificationWarning):
            warnings.simplefilter("ignore", category)  # not in the v3 specification yet
        zarr.consolidate_metadata(place.store, path=place.path)


def json_attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as strict JSON values; NumPy's scalars and arrays become numbers and lists.

    Raises
    ------
    AttributeValueError
        For what JSON cannot hold.
    """
    return _mapping(attrs, "", _DEEPEST)


def _mapping(attrs: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    if bad := [key for key in attrs if not isinstance(key, str)]:
        raise AttributeValueError(
            f"attribute {f'{where}{bad[0]}'[:200]!r} has a name that is not text; rename it"
        )
    for key in attrs:
        _json(key, f"{where}{key}", depth)
    return {str(key): _json(value, f"{where}{key}", depth) for key, value in attrs.items()}


def _json(value: Any, where: str, depth: int) -> Any:
    """Return a value as JSON has it; ``depth`` is how deep mappings and lists may still nest."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "mM":
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value):
        return str(value)
    if isinstance(value, list | tuple) and depth:
        return [_json(item, where, depth - 1) for item in value]
    if isinstance(value, Mapping) and depth:
        return _mapping(value, f"{where}.", depth - 1)
    shown = reprlib.repr(value)
    raise AttributeValueError(
        f"attribute {where[:200]!r} is {shown}, which JSON cannot hold; accepted: text, finite "
        f"numbers of 64 bits, booleans, None, lists and mappings of those, {_DEEPEST} deep; change "
        f"it, or drop it with del array.attrs[{where.partition('.')[0][:60]!r}]"
    )
