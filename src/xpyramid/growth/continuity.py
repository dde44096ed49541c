"""Whether samples continue a stored image: the same dimensions, units and places, and then on."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import pairwise

import numpy as np
import xarray as xr

from xpyramid.errors import AxisError, DtypeError, PlanError
from xpyramid.geometry.axes import AxisSpec, describe_axes
from xpyramid.geometry.plan import Plan
from xpyramid.growth.image import GrowingImage
from xpyramid.lazy.coarsen import as_dask
from xpyramid.messages import say
from xpyramid.types import Array, Attrs
from xpyramid.warn import warn
from xpyramid.writer.packing import packed_as_stored

#: Attributes that say what numbers mean.
_MEANING = ("units", "calendar", "_FillValue", "missing_value", "scale_factor", "add_offset")

#: Coordinates of the other dimensions within this part of a step are the same.
_SAME = 1e-3


def as_part(image: GrowingImage, array: xr.DataArray) -> xr.DataArray:
    """Return an array with the dimensions of an image, if it has all but that which grows.

    A single frame has no such dimension, or one sample along it.

    Raises
    ------
    AxisError
        For other dimensions.
    """
    dims = image.plan.dims
    others = tuple(dim for dim in dims if dim != image.dim)
    if array.dims == others:
        return array.expand_dims({image.dim: 1}, axis=image.axis)
    if array.dims != dims:
        same = {*map(str, array.dims)} == {*dims}
        raise AxisError(
            f"the dimensions {', '.join(map(str, array.dims))}",
            accepted=f"those of {image.place}, in this order: {', '.join(dims)}",
            fix=say("call `.transpose(...)`") if same else "",
        )
    return array


def as_stored(image: GrowingImage, array: xr.DataArray) -> xr.DataArray:
    """Return an array whose samples are stored as those of an image: packed, and in its byte order.

    Others stay as they are.
    """
    dtype = image.levels.base.dtype
    array = packed_as_stored(array, image.base, image.plan)
    if array.dtype == dtype or array.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        return array
    data = as_dask(array, image.levels.base.chunks).astype(dtype)
    return xr.DataArray(data, array.coords, array.dims, array.name, array.attrs)


def check_part(image: GrowingImage, array: xr.DataArray) -> None:
    """Refuse an array that is no part of an image: another dtype, other places, other units.

    Raises
    ------
    AxisError
    DtypeError
    PlanError
    """
    base = image.base
    if array.dtype != image.levels.base.dtype:
        raise DtypeError(
            f"dtype {array.dtype}",
            accepted=f"that of {image.place}: {image.levels.base.dtype}",
            fix=say(f"convert it first: `.astype({image.levels.base.dtype.name!r})`"),
        )
    for dim, n in array.sizes.items():
        if dim != image.dim and n != base.sizes[dim]:
            raise AxisError(
                f"{n} samples along {dim!r}, and {image.place} has {base.sizes[dim]}; an image "
                f"grows along one dimension, here {image.dim!r}"
            )
    _check_meaning("the array", array.attrs, base.attrs, image)
    for key in ("scale_factor", "add_offset"):
        if key in base.attrs and key not in array.attrs:
            raise PlanError(
                f"{image.place} holds packed integers, with {key} {base.attrs[key]!r}, and the "
                "attributes of the array do not say that its integers are",
                fix="append the numbers, as floats, which are packed like those before them; or "
                f"integers with attrs[{key!r}], as of xarray.open_dataset(mask_and_scale=False)",
            )
    kept = image.coordinates[0].coords
    for name, coordinate in array.coords.items():
        is_along = image.dim in coordinate.dims and name != image.dim
        if is_along and name not in kept and not image.is_flat:  # which has room for none
            warn(
                f"the coordinate {name!r} of the new samples is not stored: {image.place} has none "
                "of that name"
            )
    for name, stored in kept.items():
        if name in array.coords:
            new = array.coords[name]
            _check_meaning(f"the coordinate {name!r}", new.attrs, stored.attrs, image)
            if image.dim not in stored.dims:
                _check_equal(name, stored, new, image)


def _check_meaning(what: str, new: Attrs, stored: Attrs, image: GrowingImage) -> None:
    for key in _MEANING:
        if key in new and key in stored and not _are_equal(new[key], stored[key]):
            raise PlanError(
                f"{what} has {key} {new[key]!r}, and that of {image.place} {stored[key]!r}",
                fix="convert it first",
            )


def _are_equal(value: object, other: object) -> bool:
    if repr(value) == repr(other):
        return True
    ours, theirs = np.ravel(np.asarray(value)), np.ravel(np.asarray(other))
    if ours.size != theirs.size:
        return False
    is_nan = (ours != ours) & (theirs != theirs)  # noqa: PLR0124  # of whatever type
    return bool(np.all((ours == theirs) | is_nan))


def _check_equal(
    name: Hashable, stored: xr.DataArray, new: xr.DataArray, image: GrowingImage
) -> None:
    """Refuse a coordinate of which the image has another."""
    old, values = np.asarray(stored.values), np.asarray(new.values)
    if old.shape == values.shape and _are_close(old, values):
        return
    if stored.ndim == 0 or old.shape != values.shape:
        both = (values.item(), old.item()) if stored.ndim == 0 else (values.shape, old.shape)
        differ = f"{both[0]!r} and {both[1]!r}"
    else:
        at = np.unravel_index(int(np.argmax(np.ravel(old != values))), old.shape)
        differ = f"{_plain(values[at])!r} where it has {_plain(old[at])!r}"
    if stored.ndim == 0:
        warn(f"the coordinate {name!r} of {image.place} stays as it is: {differ}")
        return
    raise PlanError(
        f"the coordinate {name!r} is another than that of {image.place}: {differ}",
        fix=f"append samples of the same places, or drop it with .drop_vars({name!r})",
    )


def _are_close(old: Array, new: Array) -> bool:
    if old.dtype.kind not in "iuf" or new.dtype.kind not in "iuf":
        return bool(np.array_equal(old, new))
    step = np.abs(np.diff(old.astype(np.float64), axis=0)).max(initial=0) if old.ndim else 0
    return bool(np.allclose(old, new, rtol=1e-12, atol=_SAME * step, equal_nan=True))


def with_coordinate(image: GrowingImage, array: xr.DataArray) -> xr.DataArray:
    """Return an array with a coordinate along the dimension that grows, as the image has one.

    Where the array has none, an evenly spaced one goes on.

    Raises
    ------
    AxisError
        If only one of the two has a coordinate, and it is not known how it goes on.
    """
    dim, stored = image.dim, image.coordinates[0].coords
    if dim not in stored:
        if dim in array.coords and image.is_flat:  # which has no place for uneven times
            return array.drop_vars(dim)
        if dim in array.coords:
            raise AxisError(
                f"{image.place} has no coordinate along {dim!r}, and the new samples have one",
                fix=f"drop it with .drop_vars({dim!r})",
            )
        return array
    if dim in array.coords:
        return array
    axis, old = image.plan.axes[image.axis], stored[dim]
    if old.dtype.kind not in "iuf" or axis.uneven is not None or image.length < 2:
        raise AxisError(
            f"no coordinate along {dim!r}, and that of {image.place} does not say how it goes on: "
            f"it ends at {_last(old)!r}",
            fix=f"add one with .assign_coords({{{dim!r}: [...]}}); of an Appender: "
            "append(frame, ...)",
        )
    positions = np.arange(image.length, image.length + array.sizes[dim])
    line = axis.origin + axis.spacing * positions
    values = np.rint(line).astype(old.dtype) if old.dtype.kind in "iu" else line.astype(old.dtype)
    return array.assign_coords({dim: (dim, values, dict(old.attrs))})


def check_continues(image: GrowingImage, array: xr.DataArray, irregular: str) -> None:
    """Refuse a coordinate that goes back, repeats itself, or leaves a gap in an even one.

    Raises
    ------
    AxisError
    """
    dim, stored = image.dim, image.coordinates[0].coords
    if dim not in stored or not image.length:
        return
    old, new = stored[dim], array.coords[dim]
    both = f"it ends at {_last(old)!r}, and they begin at {_first(new)!r}"
    if old.dtype.kind not in "iufmMO" or new.dtype.kind not in "iufmMO" or _is_text(old):
        seen = {*old.values.tolist()}
        for value in new.values.tolist():
            if value in seen:
                raise AxisError(
                    f"{image.place} already has {value!r} along {dim!r}",
                    fix="rename it, or drop it",
                )
            seen.add(value)
        return
    if (old.dtype.kind in "mMO" or new.dtype.kind in "mMO") and old.dtype.kind != new.dtype.kind:
        raise AxisError(
            f"the coordinate {dim!r} has dtype {new.dtype}, and that of {image.place} {old.dtype}",
            accepted="the same kind, numbers or times; convert that of the new samples with "
            ".assign_coords(...)",
        )
    together = joined(old, new)
    whole, own = axis_of(image.plan, image.axis, together), image.plan.axes[image.axis]
    steps = _steps(together.values)
    direction = -1 if own.spacing < 0 and image.length > 1 else 1
    if image.length == 1 and len(steps):
        direction = -1 if steps[-1] < 0 else 1
    if not (direction * steps[image.length - 1 :] > 0).all():  # nor where one is NaN
        raise AxisError(
            f"the new samples do not follow those of {image.place} along {dim!r}: {both}",
            fix="append only what comes after; to change samples that are there, write to level 0, "
            "and call xpyramid.update()",
        )
    if irregular == "error" and own.uneven is None and whole.uneven is not None:
        _check_gap(image, old, new)


def _check_gap(image: GrowingImage, old: xr.DataArray, new: xr.DataArray) -> None:
    """Refuse a first step that is half a step off, or more: what is less is jitter.

    Raises
    ------
    AxisError
    """
    dim, own = image.dim, image.plan.axes[image.axis]
    steps = _steps(joined(old, new[:1]).values)
    expected = steps[: image.length - 1].mean() if image.length > 1 else steps[-1]
    both = f"it ends at {_last(old)!r}, and they begin at {_first(new)!r}"
    if abs(steps[-1] - expected) >= abs(expected) / 2:
        raise AxisError(
            f"the new samples do not continue those of {image.place} along {dim!r}, whose step "
            f"is {_step_text(own)}: {both}",
            fix=say(
                "append what lies between first, or pass {irregular}: the coordinate is then "
                "stored as it is, and viewers count samples",
                irregular="approximate",
            ),
        )


def joined(old: xr.DataArray, new: xr.DataArray) -> xr.DataArray:
    """Return a coordinate with what follows it."""
    return xr.DataArray(
        np.concatenate([np.asarray(old.values), np.asarray(new.values)]), dims=old.dims,
        attrs=old.attrs,
    )  # fmt: skip


def axis_of(plan: Plan, axis: int, coordinate: xr.DataArray) -> AxisSpec:
    """Return the axis of a plan where its coordinate is another one."""
    own = plan.axes[axis]
    frame = xr.DataArray(
        np.zeros(coordinate.shape, bool), {own.dim: coordinate.rename(own.dim)}, [own.dim]
    )
    (new,) = describe_axes(frame, {own.dim: own.type} if own.type != "other" else None)
    unit = own.unit if new.uneven is None else None
    return AxisSpec(
        own.dim, own.name, own.type, unit, new.spacing, new.origin, new.uneven, own.known
    )


def _steps(values: Array) -> Array:
    """Return the differences of numbers, times or dates, as numbers."""
    if values.dtype.kind in "mM":
        steps: Array = np.diff(values.astype("M8[ns]" if values.dtype.kind == "M" else "m8[ns]"))
        return steps.astype(np.int64)
    if values.dtype.kind == "O":
        return np.array([(b - a).total_seconds() for a, b in pairwise(values)])
    return np.diff(values.astype(np.float64))


def _is_text(coordinate: xr.DataArray) -> bool:
    return coordinate.dtype.kind == "O" and isinstance(coordinate.values[0], str)


def _step_text(own: AxisSpec) -> str:
    unit = f" {own.unit}" if own.unit else ""
    return f"{own.spacing:.9g}{unit}"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, np.datetime64 | np.timedelta64) else _item(value)


def _item(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _first(coordinate: xr.DataArray) -> object:
    return _plain(coordinate.values[0])


def _last(coordinate: xr.DataArray) -> object:
    return _plain(coordinate.values[-1])
