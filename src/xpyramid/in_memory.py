"""NumPy in, NumPy out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np

from xpyramid.errors import PlanError, check_kind
from xpyramid.geometry.plan import largest_window
from xpyramid.geometry.steps import check_boundary, is_int, next_shape, one_step
from xpyramid.inputs.duck_arrays import check_numpy
from xpyramid.inputs.masked_arrays import check_method, marked, masked_again
from xpyramid.messages import literal
from xpyramid.options import takes_options
from xpyramid.options.types import Boundary
from xpyramid.reducers import Method, make_reducer, reduce_levels
from xpyramid.types import Array

#: What lists factors; the usual ones first, as abstract classes are slow to tell.
_LISTS = (tuple, list, np.ndarray, Sequence)


@takes_options(call="downsample()")
def downsample(
    array: Array,
    factor: int | Sequence[int] | Sequence[Sequence[int]],
    method: Method = "mean",
    *,
    num_mips: int = 1,
    skipna: bool | None = None,
    ignore: float | None = None,
    min_valid: float | None = None,
    boundary: Boundary = "pad",
) -> list[Array]:
    """Downsample an array in memory to one or more coarser levels.

    Every level is the reduction of ``array`` itself, rounded once, as in a pyramid.

    Parameters
    ----------
    array : ndarray
        Any rank from 1, any shape, memory order and byte order; bool, integers, floats, complex,
        datetime64 or timedelta64. It is never modified. Masked samples do not count; levels of a
        masked array are masked where no sample counts.
    factor : int, sequence of int, or sequence of sequences of int
        One factor for all axes, one for each axis, or one sequence of factors for each level.
    method : str or callable
        As in :meth:`xpyramid.accessor.ArrayAccessor.build`.
    num_mips : int
        Number of levels, unless ``factor`` has a sequence for each level.
    skipna : bool, optional
        Whether to leave out NaN samples. Default: yes.
    ignore : number, optional
        A background value that does not count.
    min_valid : float, optional
        Smallest fraction of samples, from 0 to 1, that must count for a valid cell.
    boundary : {"pad", "trim", "exact"}
        What happens to a last, partial window, as in
        :meth:`xpyramid.accessor.ArrayAccessor.build`.

    Returns
    -------
    list of ndarray
        The coarse levels, finest first; ``array`` is not among them.

    Raises
    ------
    xpyramid.errors.PlanError
        For invalid factors, methods or options.
    xpyramid.errors.DtypeError
        For a dtype that the method cannot reduce.
    xpyramid.errors.UnsupportedArrayError
        For arrays of pint, sparse or cupy.

    Examples
    --------
    >>> import numpy as np, xpyramid
    >>> xpyramid.downsample(np.array([0, 0, 0, 0, 0, 0, 90]), 2, num_mips=2)
    [array([ 0,  0,  0, 90]), array([ 0, 30])]
    """
    check_numpy(array)
    for name, value in (("ignore", ignore), ("min_valid", min_valid)):
        check_kind(name, value, (Number, np.generic), "a number")
    if isinstance(array, np.ma.MaskedArray):
        check_method(method, skipna, ignore)
        samples, ignore = marked(array)
        levels = _downsample(samples, factor, method, num_mips, skipna, ignore, min_valid, boundary)
        return [masked_again(level, ignore, array.dtype) for level in levels]
    return _downsample(
        np.asarray(array), factor, method, num_mips, skipna, ignore, min_valid, boundary
    )


def _downsample(
    array: Array,
    factor: int | Sequence[int] | Sequence[Sequence[int]],
    method: Method,
    num_mips: int,
    skipna: bool | None,
    ignore: float | None,
    min_valid: float | None,
    boundary: Boundary,
) -> list[Array]:
    """Downsample an array of NumPy."""
    dims = tuple(f"axis {i}" for i in range(array.ndim))
    check_boundary(boundary)
    if not dims:
        raise PlanError("an array without a dimension", accepted="rank 1 and more")
    steps, shapes = [], [array.shape]
    for step in _steps(factor, dims, num_mips):
        steps.append(one_step(step, dims, dims))
        shapes.append(next_shape(shapes[-1], steps[-1], dims, boundary))
    total = tuple(math.prod(factors) for factors in zip(*steps, strict=True))
    samples = largest_window(array.shape, total)
    reducer = make_reducer(
        method, array.dtype, samples, skipna=skipna, ignore=ignore, min_valid=min_valid
    )
    levels = reduce_levels(array, steps, reducer)
    # Partial windows are reduced like others; with boundary="trim" there is no place for them.
    return [level[tuple(map(slice, s))] for level, s in zip(levels, shapes[1:], strict=True)]


def _steps(
    factor: int | Sequence[Any], dims: tuple[str, ...], num_mips: int
) -> list[int | dict[str, int]]:
    """Return the factors of each step as the plan wants them."""
    if not is_int(num_mips) or num_mips < 1:
        raise PlanError(f"num_mips={literal(num_mips)}", accepted="an integer of at least 1")
    if not isinstance(factor, _LISTS):
        return [factor] * int(num_mips)
    is_list = len(factor) > 0 and isinstance(factor[0], _LISTS)
    if is_list and num_mips not in (1, len(factor)):
        raise PlanError(
            f"num_mips={num_mips}, but factor lists {len(factor)} levels: {literal(factor)}"
        )
    steps = list(factor) if is_list else [factor] * int(num_mips)
    for step in steps:
        if not isinstance(step, _LISTS) or len(step) != len(dims):
            raise PlanError(
                option="factor", value=step, accepted=f"one integer for each of {len(dims)} axes"
            )
    return [dict(zip(dims, step, strict=True)) for step in steps]
