"""Whether an array can be stored, and what a store or a viewer would make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, cast

import numpy as np
import xarray as xr
from xarray.indexes import PandasMultiIndex

from xpyramid.errors import (
    AttributeValueError,
    AxisError,
    InvalidNameError,
    PlanError,
    ViewerWarning,
)
from xpyramid.geometry.axes import is_cftime
from xpyramid.geometry.plan import Plan
from xpyramid.messages import literal
from xpyramid.store.names import StoredNames
from xpyramid.store.path import check_name, is_text
from xpyramid.warn import warn

#: Bytes of a chunk that codecs and viewers can still count: they use signed 32-bit integers.
CHUNK_BYTES = 2**31 - 1

#: Characters that the name of an axis may have.
MOST_CHARACTERS = 200

#: Attributes that make an OME-Zarr image, or a part of one, of the group that has them.
_ANNOUNCING = {"ome", "multiscales", "plate", "well", "bioformats2raw.layout", "labels"}

#: Who refuses a dtype, and the nearest that is shown by all.
_REFUSED = {
    "bool": ("neuroglancer and vizarr", "uint8"),
    "int64": ("neuroglancer", "int32"),
    "float16": ("neuroglancer and vizarr", "float32"),
    "float64": ("neuroglancer", "float32"),
    "uint64": ("vizarr", "uint32"),
}


def check_chunks(plan: Plan) -> None:
    """Refuse chunks that codecs or viewers cannot hold.

    Raises
    ------
    PlanError
        For chunks of 2 GiB or more.
    """
    for k, level in enumerate(plan.levels):
        size = plan.dtype.itemsize * math.prod(level.chunks)
        if size > CHUNK_BYTES:
            raise PlanError(
                f"chunks {level.chunks} of level {k} have {size:,} bytes each; accepted: less than "
                "2 GiB, better some MB; pass smaller ones to .build(chunks=...)"
            )


def check_names(array: xr.DataArray) -> None:
    """Refuse names of dimensions and coordinates that cannot be stored.

    Raises
    ------
    AxisError
        For empty ones, control characters, and names that cannot be those of Zarr nodes.
    """
    for dim in array.dims:
        if not str(dim) or not is_text(str(dim)):
            raise AxisError(f"dimension {dim!r} has no proper name; call .rename({{{dim!r}: 'x'}})")
    for name in array.coords:
        if not isinstance(name, str):
            raise AxisError(
                f"coordinate {name!r} has a name that is not text; call "
                f".rename({{{name!r}: {str(name)!r}}})"
            )
        try:
            check_name(str(name), nested=False)
        except InvalidNameError as error:
            raise AxisError(
                f"coordinate {str(name)[:60]!r} cannot be stored: its name must be 1 to 200 bytes "
                "without slashes or control characters, and not a Zarr file name; rename it, or "
                "drop it with .drop_vars(...)"
            ) from error


def check_axis_names(names: StoredNames) -> None:
    """Refuse names of dimensions that cannot be those of axes.

    Raises
    ------
    AxisError
        For slashes, characters that cannot be printed, and more than 200 of them.
    """
    for dim, name in names.dims.items():
        if "/" in name or not name.isprintable() or len(name) > MOST_CHARACTERS:
            raise AxisError(
                f"names='source' and the dimension {dim[:60]!r}; accepted: up to {MOST_CHARACTERS} "
                "characters that can be printed, and no slash; pass names='ome', or rename it"
            )


def check_coordinates(array: xr.DataArray) -> None:
    """Refuse coordinates of kinds that Zarr has no form for, and name them.

    Raises
    ------
    AxisError
        For several columns in one (a MultiIndex), times with a zone, categories, intervals, and
        other objects that are no text or dates.
    """
    for index in array.xindexes.values():
        if isinstance(index, PandasMultiIndex):
            raise AxisError(
                f"coordinate {index.dim!r} is a MultiIndex of {list(map(str, index.index.names))}, "
                "which a store cannot hold; accepted: one value for each sample; call "
                f".reset_index({index.dim!r}), which keeps its columns, before .pyramid"
            )
    for name, coordinate in array.coords.items():
        _check_kind(str(name), coordinate)


def _check_kind(name: str, coordinate: xr.DataArray) -> None:
    """Refuse a coordinate that a store has no form for."""
    dtype: Any = coordinate.dtype
    ways_out = f"or drop it with .drop_vars({name!r})"
    if not isinstance(dtype, np.dtype):  # of pandas, which has them in one dimension
        dim, zone = coordinate.dims[0], getattr(dtype, "tz", None)
        zoned = isinstance(zone, tzinfo)
        kind = f"times with the zone {zone}" if zoned else f"dtype {dtype}"
        accepted = "times without a zone" if zoned else "numbers, booleans, text, dates"
        plain = f"array[{name!r}]" + (
            ".to_index().tz_convert(None)" if zoned else ".to_numpy().astype(str)"
        )
        raise AxisError(
            f"coordinate {name!r} has {kind}, which a store cannot hold; accepted: {accepted}; "
            f"call .assign_coords({{{name!r}: ({dim!r}, {plain})}}) before .pyramid, {ways_out}"
        )
    if dtype.kind != "O" or is_cftime(values := coordinate.values):
        return
    kinds = {type(value).__name__ for value in values.flat if not isinstance(value, str)}
    if kinds:
        raise AxisError(
            f"coordinate {name!r} has dtype object, with values of type {', '.join(sorted(kinds))};"
            " accepted: numbers, booleans, text, dates; call "
            f".assign_coords({{{name!r}: array[{name!r}].astype(str)}}), {ways_out}"
        )


def warn_of_packing(array: xr.DataArray) -> None:
    """Say that numbers which were packed where they come from are stored as they are decoded."""
    encoding, dtype = array.encoding, array.encoding.get("dtype")
    scaling = {key: encoding[key] for key in ("scale_factor", "add_offset") if key in encoding}
    from_integers = _is_integer(dtype) and array.dtype.kind == "f"
    if not scaling and not from_integers:
        return
    was = [str(np.dtype(dtype))] if from_integers else []
    hint = "; to store it packed, as readers unpack it, pass dtype='source'"
    was += [f"{key}={literal(value)}" for key, value in scaling.items()]
    warn(
        f"{array.name!r} is packed in its file ({', '.join(was)}), and stored unpacked, as "
        f"{array.dtype}{hint if from_integers and '_Unsigned' not in encoding else ''}"
    )


def _is_integer(dtype: object) -> bool:
    """Whether what an encoding has for a dtype is one of integers."""
    try:
        return dtype is not None and np.dtype(cast("Any", dtype)).kind in "iu"
    except TypeError:
        return False


def dataset_attributes(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the attributes of a Dataset that a level's group may have.

    Those that xpyramid itself keeps at levels are left out: they are about another store.

    Raises
    ------
    AttributeValueError
        For those that would make an image of the level's group.
    """
    if taken := _ANNOUNCING & {key for key in attrs if isinstance(key, str)}:
        raise AttributeValueError(
            f"attributes {sorted(taken)} of the Dataset have a meaning in OME-Zarr, and levels "
            f"would be taken for images; drop them with dataset.drop_attrs(deep=False) or del "
            f"dataset.attrs[{min(taken)!r}]"
        )
    return {key: value for key, value in attrs.items() if key != "xpyramid"}


def warn_of_dtypes(dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Say once which arrays some viewer refuses, and what to do.

    Parameters
    ----------
    dtypes : mapping
        Of the arrays, by name.
    """
    found = {name: dtype.name for name, dtype in dtypes.items() if dtype.name in _REFUSED}
    if not found:
        return
    said = []
    for dtype in dict.fromkeys(found.values()):
        names = [name for name, other in found.items() if other == dtype]
        who, instead = _REFUSED[dtype]
        said.append(
            f"{who} cannot show dtype {dtype} ({', '.join(map(repr, names))}); to show it there, "
            f"call .astype({instead!r}) before .pyramid"
        )
    warn("; ".join(said), ViewerWarning)
