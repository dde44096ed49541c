"""What a store is made of before it has data: groups, coordinates, empty arrays, attributes."""

from __future__ import annotations

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

from xpyramid import units
from xpyramid.errors import AttributeValueError, AxisError
from xpyramid.io.target import Place
from xpyramid.plan import Level

ZarrFormat = Literal[2, 3]

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
            # What is given here takes the place of the variable's own.
            encoding={name: {**v.encoding, **codecs} for name, v in dataset.variables.items()},
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
    return {str(key): _json(value, str(key)) for key, value in attrs.items()}


def _json(value: Any, where: str) -> Any:
    value = units.as_text(value)
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_json(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _json(item, f"{where}.{key}") for key, item in value.items()}
    raise AttributeValueError(
        f"attribute {where!r} is {value!r}, which JSON cannot hold; accepted: text, finite "
        "numbers, booleans, None, lists and mappings of those; change it, or drop it with "
        f"del array.attrs[{where!r}]"
    )
