"""``dtype="source"``: numbers are stored packed, as the file had them that they come from.

Packed integers are a linear function of the numbers. So the mean of the integers of a window,
rounded once, is what its numbers' exact mean is packed to, and level 0 is the file's own, bit for
bit: the levels are made from the integers, of which the fill value does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import xarray as xr

from xpyramid._compat import map_blocks
from xpyramid.errors import DtypeError, PlanError
from xpyramid.geometry.plan import MethodOptions, Plan, largest_window, without_none
from xpyramid.lazy.coarsen import as_dask, coarsen, source_chunks
from xpyramid.lazy.levels import Levels
from xpyramid.messages import literal, say
from xpyramid.reducers import METHODS, Reducer, make_reducer
from xpyramid.types import Array, DType
from xpyramid.writer.request import ImageSource

#: Encoding that becomes attributes, by which readers unpack.
_ATTRIBUTES = ("scale_factor", "add_offset", "_FillValue", "missing_value")

#: Integers from here on are not all numbers of float64, which packed ones were decoded to.
_EXACT = 2.0**53

#: Methods that do not depend on the order of numbers, which a negative scale reverses.
_WITHOUT_ORDER = {"mean", "mode", "nearest"}


@dataclass(frozen=True)
class Packing:
    """How numbers are packed: ``number = integer * scale + offset``.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the integers.
    scale, offset : float
    fill : int or None
        What stands for NaN.
    """

    dtype: DType
    scale: float
    offset: float
    fill: int | None

    def pack(self, block: Array) -> Array:
        """Return packed numbers.

        Raises
        ------
        DtypeError
            For numbers that the integers do not reach, and for NaN without a fill value.
        """
        numbers = np.rint((block.astype(np.float64) - self.offset) / self.scale)
        missing = np.isnan(numbers)
        if missing.any() and self.fill is None:
            raise DtypeError(
                f"packs to {self.dtype}, and the numbers hold NaN, for which the "
                "encoding has no '_FillValue'",
                option="dtype",
                value="source",
                fix=say("set array.encoding['_FillValue'], or pass no {dtype}"),
            )
        info, valid = np.iinfo(self.dtype), numbers[~missing]
        if self.fill is not None and (valid == self.fill).any():
            raise DtypeError(
                f"packs some numbers to {self.fill}, which the encoding has for missing "
                "ones ('_FillValue')",
                option="dtype",
                value="source",
                fix=say("change the encoding, or leave {dtype} out"),
            )
        if valid.size and not (info.min <= valid.min() and valid.max() < float(info.max) + 1):
            raise DtypeError(
                f"packs to {self.dtype} ({info.min} to {info.max}) with scale_factor="
                f"{self.scale} and add_offset={self.offset}, and the numbers reach from "
                f"{np.nanmin(block)} to {np.nanmax(block)}",
                option="dtype",
                value="source",
                fix=say("change the encoding, or leave {dtype} out"),
            )
        if valid.size and np.abs(valid).max() >= _EXACT:
            raise DtypeError(
                "packs to integers of 2**53 or more, which float64 does not tell "
                "apart, and the file was decoded to it",
                option="dtype",
                value="source",
                fix=say("open it with mask_and_scale=False, or leave {dtype} out"),
            )
        packed: Array = np.where(missing, self.fill or 0, numbers).astype(self.dtype)
        return packed


def packing_of(array: xr.DataArray) -> Packing | None:
    """Return how an array was packed where it comes from, None if it was not.

    Of several values for what is missing, the first stands for NaN: all of them are NaN by now.

    Raises
    ------
    PlanError
        For an invalid encoding.
    """
    encoding = array.encoding
    try:
        dtype = np.dtype(encoding.get("dtype", array.dtype))
        if dtype.kind not in "iu" or array.dtype.kind != "f":
            return None
        scale = float(np.asarray(encoding.get("scale_factor", 1.0)).item())
        offset = float(np.asarray(encoding.get("add_offset", 0.0)).item())
        none = encoding.get("_FillValue", encoding.get("missing_value", np.nan))
        fill = np.atleast_1d(np.nan if none is None else none).flat[0]
        missing = int(fill) if np.isfinite(fill) else None
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        packing_encoding = {
            key: encoding[key] for key in ("dtype", *_ATTRIBUTES) if key in encoding
        }
        raise PlanError(
            f"with the encoding {literal(packing_encoding)[:200]}: {error}",
            option="dtype",
            value="source",
            accepted="a dtype of integers, and numbers",
        ) from error
    if "_Unsigned" in encoding:
        raise PlanError(
            f"with _Unsigned={literal(encoding['_Unsigned'])} in the encoding, which "
            "Zarr has no need of",
            option="dtype",
            value="source",
            accepted="encodings without it",
            fix=say("leave {dtype} out"),
        )
    return Packing(dtype, scale, offset, missing)


def pack(image: ImageSource) -> ImageSource:
    """Return an image as the file had it that its numbers come from; others as they are.

    Raises
    ------
    PlanError
        If the method has no meaning for packed numbers.
    """
    base, plan = image.levels[0], image.plan
    packing = packing_of(base)
    if packing is None:
        return image
    _check_method(image, packing)
    packed = _packed(base, packing, plan)
    options: MethodOptions = {}
    if packing.fill is not None and not plan.sampled:
        options = {"ignore": packing.fill, "min_valid": plan.options.get("min_valid")}
        if plan.options.get("skipna") is False:  # one that is missing is one too many
            options["min_valid"] = 1.0
        options = without_none(options)
    largest = largest_window(base.shape, plan.levels[-1].factors)
    reducer = make_reducer(plan.method, packed.dtype, largest, **options)
    size = packed.dtype.itemsize
    levels = tuple(
        replace(level, nbytes=level.nbytes // base.dtype.itemsize * size) for level in plan.levels
    )
    plan = replace(
        plan, dtype=packed.dtype, levels=levels, options=options, holistic=reducer.holistic,
        copies=reducer.copies, source_chunks=(source_chunks(packed),),
    )  # fmt: skip
    makers = [partial(_level, packed, plan, k, reducer) for k in range(len(levels))]
    packed_levels = Levels(makers, image.levels.coordinates)
    return replace(image, levels=packed_levels, plan=plan, reducer=reducer)


def _check_method(image: ImageSource, packing: Packing) -> None:
    """Refuse methods of which packed integers are no picture."""
    plan, accepted = image.plan, "mean, mode, median, min, max, nearest"
    if image.reducer is None:
        raise PlanError(
            "for the levels of a stored pyramid",
            option="dtype",
            value="source",
            accepted="arrays of which the levels are built, with .pyramid.build()",
        )
    is_own = image.reducer.holistic and plan.method != "median"
    if is_own or plan.method not in METHODS or plan.method == "sum":
        raise PlanError(
            say("with {method}", method=plan.method),
            option="dtype",
            value="source",
            accepted=accepted,
        )
    if packing.scale < 0 and plan.method not in _WITHOUT_ORDER:
        raise PlanError(
            say("with {method}", method=plan.method)
            + f" and scale_factor={packing.scale}, which reverses the order",
            option="dtype",
            value="source",
            accepted=f"{', '.join(sorted(_WITHOUT_ORDER))}",
        )
    if not np.isfinite([packing.scale, packing.offset]).all() or not packing.scale:
        raise PlanError(
            f"with scale_factor={literal(packing.scale)} and add_offset={literal(packing.offset)}",
            option="dtype",
            value="source",
            accepted="finite numbers, and a scale other than 0",
        )
    if plan.options.get("ignore") is not None:
        raise PlanError(
            say("with {ignore}", ignore=plan.options["ignore"]),
            option="dtype",
            value="source",
            accepted=say(
                "the '_FillValue' of the encoding alone, which is NaN in the array: "
                "leave {ignore} out"
            ),
        )


def packed_as_stored(array: xr.DataArray, stored: xr.DataArray, plan: Plan) -> xr.DataArray:
    """Return numbers packed as those of a stored array are; others as they are.

    Parameters
    ----------
    array : xarray.DataArray
    stored : xarray.DataArray
        With the attributes by which readers unpack it.
    plan : Plan
        Of the image.

    Raises
    ------
    DtypeError
        When they are computed: for numbers that the integers do not reach.
    """
    kept = {key: stored.attrs[key] for key in _ATTRIBUTES if key in stored.attrs}
    if not {"scale_factor", "add_offset"} & kept.keys():
        return array
    numbers = array.copy(deep=False)
    numbers.encoding = {"dtype": stored.dtype, **kept}
    packing = packing_of(numbers)
    return array if packing is None else _packed(numbers, packing, plan)


def _packed(base: xr.DataArray, packing: Packing, plan: Plan) -> xr.DataArray:
    """Return level 0 packed, lazily, with the attributes by which readers unpack it."""
    unpacked = as_dask(base, plan.levels[0].chunks)
    data = map_blocks(unpacked, packing.pack, dtype=packing.dtype)
    unpacking = {key: base.encoding[key] for key in _ATTRIBUTES[:2] if key in base.encoding}
    if packing.fill is not None:
        unpacking["_FillValue"] = packing.dtype.type(packing.fill)
    packed = xr.DataArray(data, base.coords, base.dims, base.name, {**base.attrs, **unpacking})
    packed.encoding = {
        key: value
        for key, value in base.encoding.items()
        if key not in (*_ATTRIBUTES, "dtype", "_Unsigned")
    }
    return packed


def _level(packed: xr.DataArray, plan: Plan, k: int, reducer: Reducer) -> xr.DataArray:
    """Return a level of packed numbers, lazily."""
    if k == 0:
        return packed
    level, base = plan.levels[k], as_dask(packed, plan.levels[0].chunks)
    data = coarsen(base, plan.steps[:k], reducer, level.shape)
    return xr.DataArray(data, dims=packed.dims, name=packed.name, attrs=packed.attrs)
