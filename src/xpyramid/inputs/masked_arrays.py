"""Masked arrays of NumPy: their mask becomes a value that does not count, and a mask again."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpyramid.errors import DtypeError, PlanError
from xpyramid.messages import say
from xpyramid.options.types import Method
from xpyramid.types import Array, DType

Masked = np.ma.MaskedArray[Any, DType]


def marked(array: Masked) -> tuple[Array, int | None]:
    """Return the samples with the masked ones replaced by a value that no other one has.

    Parameters
    ----------
    array : numpy.ma.MaskedArray

    Returns
    -------
    samples : ndarray
        Of the dtype of the array, or of a wider one where all of its values may occur.
    value : number
        For ``ignore``; below or above all samples that count, so that no mean, median or label of
        those is the same. NaN and NaT for dtypes that have them.

    Raises
    ------
    DtypeError
        If samples of 64 bits span the whole range of their dtype.
    """
    kind = array.dtype.kind
    if kind in "fc":
        return array.filled(np.nan), None
    if kind in "mM":
        return array.filled(array.dtype.type("NaT")), None
    if kind == "b":
        return np.where(np.ma.getmaskarray(array), np.uint8(2), array.data), 2
    valid = array.compressed()
    info = np.iinfo(array.dtype)
    low, high = (int(valid.min()), int(valid.max())) if valid.size else (0, 0)
    if high < info.max:
        return array.filled(high + 1), high + 1
    if low > info.min:
        return array.filled(low - 1), low - 1
    if array.dtype.itemsize == 8:
        raise DtypeError(
            f"masked samples of dtype {array.dtype} from {low} to {high}, which "
            "leaves no value for the masked ones",
            accepted="samples that do not span the whole range",
        )
    wide = np.dtype(f"i{2 * array.dtype.itemsize}").type(low - 1)
    return np.where(np.ma.getmaskarray(array), wide, array.data), low - 1


def masked_again(level: Array, value: int | None, dtype: DType) -> Masked:
    """Return a level in the dtype of the samples, masked where no sample counted."""
    if value is None:
        mask = np.isnat(level) if level.dtype.kind in "mM" else np.isnan(level)
    else:
        mask = level == value
    kept = np.where(mask, np.zeros((), level.dtype), level).astype(dtype)
    return np.ma.MaskedArray(kept, mask=mask)


def check_method(method: Method, skipna: bool | None, ignore: object) -> None:
    """Refuse what masked samples have no meaning for.

    Raises
    ------
    PlanError
    """
    if callable(method) or method in ("nearest", "sum", "std", "count"):
        name = getattr(method, "__name__", method)
        raise PlanError(
            "of a masked array",
            option="method",
            value=name,
            accepted="mean, mode, median, min, max",
            fix=say("fill it first with `.filled(...)`"),
        )
    if skipna is False or ignore is not None:
        raise PlanError(
            say(
                ", {ignore} with a masked array, whose mask says what does not count", ignore=ignore
            ),
            option="skipna",
            value=skipna,
            fix=say("leave them out, or fill it first with `.filled(...)`"),
        )
