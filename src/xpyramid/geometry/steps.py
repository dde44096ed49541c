"""The steps from level to level: those that the caller asks for, and those that suit the axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import cast, get_args

import numpy as np

from xpyramid.errors import PlanError
from xpyramid.geometry import units
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.chunks import default_chunks
from xpyramid.messages import Message, code, option, say
from xpyramid.options.types import Boundary, Factor, StepFactor

Factors = tuple[int, ...]

#: Dimensions are halved together once their spacings are within this ratio. Halving a dimension
#: that is finer by a ratio r leaves 2/r, which is nearer to 1 than r exactly when r > sqrt(2).
ISOTROPY = math.sqrt(2)


def check_boundary(boundary: str) -> None:
    """Refuse an unknown boundary rule."""
    if boundary not in get_args(Boundary):
        raise PlanError(
            option="boundary", value=boundary, accepted=f"{', '.join(get_args(Boundary))}"
        )


def is_int(value: object) -> bool:
    """Whether a value is an integer, Python's or NumPy's, and no boolean."""
    if type(value) is int:  # the usual case, which abstract classes are slow to tell
        return True
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def chosen_dims(
    axes: tuple[AxisSpec, ...], factor: Factor | None, dims: str | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the dimensions that may be coarsened: the user's, those with a factor, or space."""
    names = tuple(axis.dim for axis in axes)
    if dims is not None:
        chosen = (dims,) if isinstance(dims, str) else tuple(dims)
        if unknown := [d for d in chosen if d not in names]:
            raise PlanError(
                f": no dimension {unknown}",
                option="dims",
                value=chosen,
                fix=f"the array has {names}",
            )
    elif isinstance(factor, Mapping):
        chosen = tuple(factor)
    else:
        entries = factor if isinstance(factor, Sequence) else ()
        named = {dim for f in entries if isinstance(f, Mapping) for dim in f}
        chosen = tuple(axis.dim for axis in axes if axis.type == "space" or axis.dim in named)
    if not chosen:
        raise PlanError(
            f"no space dimension among {names}",
            fix=say("say which to coarsen, as in {dims}", dims=names[-1:]),
        )
    return chosen


def factors_by_dim(factor: Factor | None, dims: tuple[str, ...]) -> Factor | None:
    """Return factors in which every tuple, which has one entry per dimension, is a mapping.

    Parameters
    ----------
    factor : int, {dim: int}, tuple or array of int, or a list of those
        A list has one entry per step.
    dims : tuple of str
        In the order of the array.

    Raises
    ------
    PlanError
        For a tuple of another length.

    Examples
    --------
    >>> factors_by_dim((1, 2, 2), ("z", "y", "x"))
    {'z': 1, 'y': 2, 'x': 2}
    """
    if isinstance(factor, np.ndarray):
        factor = tuple(factor.tolist()) if factor.ndim else factor.item()
    if isinstance(factor, list) or (isinstance(factor, tuple) and not all(map(is_int, factor))):
        return [cast(StepFactor, factors_by_dim(step, dims)) for step in factor]
    if not isinstance(factor, tuple):
        return factor
    if len(factor) != len(dims):
        raise PlanError(
            f"has {len(factor)} entries for the {len(dims)} dimensions {', '.join(dims)}",
            option="factor",
            value=factor,
            accepted=Message(
                "one integer for each dimension, in this order; one for all; or by name, as in ",
                option("factor", dict(zip(dims[-2:], map(int, factor[-2:]), strict=False))),
                "; for each step another one, ",
                code(f"factor={[*map(int, factor)]}"),
            ),
        )
    return dict(zip(dims, map(int, factor), strict=True))


def named_dims(factor: Factor | None, dims: str | Sequence[str] | None) -> set[str]:
    """Return the dimensions that the caller wants to coarsen, so far as he names them."""
    named = set() if dims is None else {dims} if isinstance(dims, str) else set(dims)
    steps = factor if isinstance(factor, list) else [factor]
    return named | {d for step in steps if isinstance(step, Mapping) for d in step if step[d] != 1}


def one_step(factor: object, names: tuple[str, ...], chosen: tuple[str, ...]) -> Factors:
    """Return the factors of one step along each dimension."""
    if isinstance(factor, Mapping):
        factors = dict(factor)
    elif is_int(factor):
        factors = dict.fromkeys(chosen, factor)
    else:
        raise PlanError(
            option="factor",
            value=factor,
            accepted="an integer, {dim: integer}, a tuple with one integer for each "
            "dimension, or a list of those",
        )
    if unknown := [d for d in factors if d not in names]:
        raise PlanError(
            f": no dimension {unknown}",
            option="factor",
            value=factor,
            fix=f"the array has {names}",
        )
    if extra := [d for d in factors if d not in chosen]:
        raise PlanError(
            f"names {extra}, which " + say("{dims} leaves out", dims=chosen),
            option="factor",
            value=factor,
        )
    for dim, f in factors.items():
        if not (is_int(f) and f >= 1):
            raise PlanError(
                f"along {dim!r}",
                option="factor",
                value=f,
                accepted="integers of at least 1",
            )
    return tuple(int(factors.get(name, 1)) for name in names)


def listed_steps(
    factor: Factor | None, names: tuple[str, ...], chosen: tuple[str, ...]
) -> list[Factors] | None:
    """Return the steps of a list of factors, None if it is not a list."""
    if factor is None or isinstance(factor, str | Mapping) or not isinstance(factor, Sequence):
        return None
    return [coarser_step(f, names, chosen) for f in factor]


def coarser_step(factor: object, names: tuple[str, ...], chosen: tuple[str, ...]) -> Factors:
    """Return the factors of one step, of which one at least is more than 1."""
    step = one_step(factor, names, chosen)
    if all(f == 1 for f in step):
        raise PlanError(
            "does not make a coarser level",
            option="factor",
            value=factor,
            accepted="2 or more somewhere",
        )
    return step


def automatic_steps(
    axes: tuple[AxisSpec, ...],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    chosen: tuple[str, ...],
    repeated: Factors | None,
    levels: int | None,
    boundary: Boundary,
) -> list[Factors]:
    """Repeat a step until the top fits into one chunk, or until there are ``levels`` levels."""
    names = tuple(axis.dim for axis in axes)
    default_lengths = default_chunks(shape, [axis.type == "space" for axis in axes])
    # A chunk of one sample says nothing about the size of an overview.
    enough = [default_lengths[i] if c == 1 else c for i, c in enumerate(chunks)]
    moving = [
        i for i, dim in enumerate(names) if dim in chosen and (not repeated or repeated[i] > 1)
    ]
    sizes = _sample_sizes(axes, moving)
    steps: list[Factors] = []
    while levels is None or len(steps) < levels - 1:
        if levels is None and all(shape[i] <= enough[i] for i in moving):
            break
        step = [1] * len(shape)
        # A dimension that is down to one sample has nothing left to reduce.
        alive = [i for i in moving if shape[i] > 1]
        if repeated is not None:
            for i in alive:
                step[i] = repeated[i]
        elif alive:
            finest = min(sizes[i] for i in alive)
            for i in alive:
                step[i] = 2 if sizes[i] <= finest * ISOTROPY else 1
        if boundary == "trim":
            step = [f if f <= n else 1 for f, n in zip(step, shape, strict=True)]
        if all(f == 1 for f in step):
            if levels is None:
                break
            raise PlanError(
                f": after {len(steps) + 1} levels the shape is {shape} and nothing is "
                f"left to coarsen along {chosen}",
                option="levels",
                value=levels,
                accepted=f"levels <= {len(steps) + 1}",
            )
        steps.append(tuple(step))
        shape = next_shape(shape, steps[-1], names, boundary)
        sizes = [size * f for size, f in zip(sizes, step, strict=True)]
    return steps


def _sample_sizes(axes: tuple[AxisSpec, ...], moving: list[int]) -> list[float]:
    """Return the extent of a sample along each axis, in one unit where units are known."""
    spacings = [abs(axis.spacing) or 1.0 for axis in axes]
    moving_units = {axes[i].unit for i in moving}
    if len(moving_units) == 1:
        return spacings
    if None in moving_units:  # some have units, some not: they cannot be compared
        return [1.0] * len(axes)
    return [s * units.size(a.unit) if a.unit else s for s, a in zip(spacings, axes, strict=True)]


def next_shape(
    shape: tuple[int, ...], step: Factors, names: tuple[str, ...], boundary: Boundary
) -> tuple[int, ...]:
    """Return the shape one step up, checking it against the boundary rule."""
    if boundary == "pad":
        return tuple(-(-n // f) for n, f in zip(shape, step, strict=True))
    for name, n, f in zip(names, shape, step, strict=True):
        if boundary == "exact" and n % f:
            raise PlanError(
                f": length {n} along {name!r} is not a multiple of the factor {f}",
                option="boundary",
                value="exact",
                accepted=say(
                    "{boundary} (reduce what is there) or 'trim' (drop the rest)", boundary="pad"
                ),
            )
        if n and n < f:
            raise PlanError(
                f": length {n} along {name!r} is shorter than the factor {f}, nothing "
                "would be left",
                option="boundary",
                value="trim",
                accepted=say("fewer levels, or {boundary}", boundary="pad"),
            )
    return tuple(n // f for n, f in zip(shape, step, strict=True))
