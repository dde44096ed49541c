"""Which value of an array stands for missing data, as its attributes or its encoding say."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from xpyramid.errors import PlanError
from xpyramid.messages import say
from xpyramid.types import Attrs, DType

#: What CF calls the attributes that name missing data.
_NAMES = ("_FillValue", "missing_value")


def with_missing_attributes(array: xr.DataArray) -> xr.DataArray:
    """Return an array of integers whose encoding names missing data with that as an attribute.

    xarray would write it as one, and integers cannot have NaN in place of what is missing (floats
    have). So it is for integer coordinates that run along several dimensions.
    """
    array = _encoding_to_attributes(array)
    moved = {
        name: _encoding_to_attributes(coordinate.reset_coords(drop=True))
        for name, coordinate in array.coords.items()
        if coordinate.ndim > 1 and _missing_encoding(coordinate)
    }
    return array.assign_coords(moved) if moved else array


def _encoding_to_attributes(array: xr.DataArray) -> xr.DataArray:
    missing = _missing_encoding(array)
    if not missing:
        return array
    moved = array.assign_attrs(missing)
    moved.encoding = {key: value for key, value in array.encoding.items() if key not in _NAMES}
    return moved


def _missing_encoding(array: xr.DataArray) -> dict[str, object]:
    """Return what the encoding of integers says of missing data, and the attributes do not.

    Beside a scale it speaks of the packed numbers of a file, which these are not.
    """
    is_packed = {"scale_factor", "add_offset"} & array.encoding.keys()
    if array.dtype.kind not in "iu" or is_packed or any(name in array.attrs for name in _NAMES):
        return {}
    missing = {
        name: array.encoding[name] for name in _NAMES if array.encoding.get(name) is not None
    }
    return missing if _numbers(missing, array.dtype) else {}


def missing_value(array: xr.DataArray) -> float | None:
    """Return the value that the attributes say is missing data, where a sample can have it.

    Attributes have one when xarray opened the file with ``mask_and_scale=False``; else missing data
    are NaN already. NaN itself is the business of ``skipna``.
    """
    unsigned = str(array.attrs.get("_Unsigned", "")).lower()
    if (array.dtype.kind, unsigned) in {("i", "true"), ("u", "false")}:
        raise PlanError(
            f"the attribute _Unsigned={unsigned!r} says that dtype {array.dtype} is "
            "not what the samples are",
            fix=say("open the file with mask_and_scale=True, or call `.astype(...)` and drop it"),
        )
    numbers = _numbers(array.attrs, array.dtype)
    if len(numbers) > 1:
        raise PlanError(
            f"the attributes '_FillValue' and 'missing_value' name {sorted(numbers)}, "
            "but only one value can be left out of the levels",
            fix=say("say which with {ignore}, or make the others NaN with `.where(...)`"),
        )
    return min(numbers, default=None)


def _numbers(attrs: Attrs, dtype: DType) -> set[float]:
    """Return the numbers that are said to be missing, of those that samples can have."""
    numbers: set[float] = set()
    for name in _NAMES:
        for value in np.atleast_1d(np.asarray(attrs.get(name, np.nan))).flat:
            if dtype.kind not in "iuf" or np.asarray(value).dtype.kind not in "iuf":
                continue
            number = value.item()
            if math.isfinite(number) and _can_hold(number, dtype):
                numbers.add(float(number) if dtype.kind == "f" else int(number))
    return numbers


def _can_hold(number: float, dtype: DType) -> bool:
    """Whether a dtype has a number, or one next to it."""
    if dtype.kind == "f":
        return abs(number) <= float(np.finfo(dtype).max)
    return number == int(number) and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max
