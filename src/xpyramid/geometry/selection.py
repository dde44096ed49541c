"""What a region of level 0 is of each level, and what that makes of a plan: pure numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from xpyramid.geometry.plan import Grid, Level, MethodOptions, Plan
from xpyramid.geometry.steps import Factors

#: What is taken along a dimension: samples from one to another, or a single one.
Part = slice | int


def whole_windows(plan: Plan, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return parts of level 0 that begin and end with windows of the coarsest level.

    The levels of what is selected are then cells of the levels that there are. A single sample is
    left as it is.

    Parameters
    ----------
    plan : Plan
    parts : sequence of slice or int
        One per dimension, without steps and inside of level 0.
    """
    triples = zip(parts, plan.levels[-1].factors, plan.levels[0].shape, strict=True)
    return tuple(
        slice(part.start // f * f, min(-(-part.stop // f) * f, n))
        if isinstance(part, slice)
        else part
        for part, f, n in triples
    )


def cells(plan: Plan, level: int, parts: Sequence[Part]) -> tuple[Part, ...]:
    """Return which cells of a level lie above parts of level 0, even if they reach beyond.

    With a boundary that trims, cells may be missing at the end.
    """
    factors, shape = plan.levels[level].factors, plan.levels[level].shape
    return tuple(
        slice(min(part.start // f, n), min(-(-part.stop // f), n))
        if isinstance(part, slice)
        else min(part // f, n - 1)
        for part, f, n in zip(parts, factors, shape, strict=True)
    )


def is_reduction(plan: Plan, parts: Sequence[Part]) -> bool:
    """Whether the levels of what is selected are reductions of its level 0.

    They are not where one sample is taken along a dimension that is coarsened: its cells are made
    of others, too.
    """
    factors = plan.levels[-1].factors
    return all(isinstance(part, slice) or f == 1 for part, f in zip(parts, factors, strict=True))


def selected(plan: Plan, parts: Sequence[Part]) -> Plan:
    """Return the plan of parts of each level.

    Parameters
    ----------
    plan : Plan
    parts : sequence of slice or int
        Of level 0, as `whole_windows` returns them. A dimension with an integer goes.
    """
    left = [i for i, part in enumerate(parts) if isinstance(part, slice)]

    def of_left(values: Factors) -> Factors:
        return tuple(values[i] for i in left)

    levels: list[Level] = []
    stored: list[Grid] = []
    for k, level in enumerate(plan.levels):
        taken = [part for part in cells(plan, k, parts) if isinstance(part, slice)]
        shape = tuple(part.stop - part.start for part in taken)
        pairs = zip(of_left(level.chunks), shape, strict=True)
        chunks = tuple(max(1, min(c, n)) for c, n in pairs)
        nbytes = math.prod(shape) * plan.dtype.itemsize
        levels.append(Level(shape, of_left(level.factors), chunks, nbytes))
        if plan.stored:
            grid = zip((plan.stored[k][i] for i in left), taken, strict=True)
            stored.append(tuple((step, at + step * part.start) for (step, at), part in grid))
    axes = [
        replace(axis, origin=axis.origin + axis.spacing * part.start)
        for axis, part in zip(plan.axes, parts, strict=True)
        if isinstance(part, slice)
    ]
    dims = {axis.dim for axis in axes}
    return replace(
        plan, axes=tuple(axes), steps=tuple(map(of_left, plan.steps)), levels=tuple(levels),
        stored=tuple(stored), kept={d: why for d, why in plan.kept.items() if d in dims},
    )  # fmt: skip


def part_of_channel(plan: Plan, parts: Sequence[Part]) -> Part | None:
    """Return what is taken of the channels, None without any."""
    pairs = zip(plan.axes, parts, strict=True)
    return next((part for axis, part in pairs if axis.type == "channel"), None)


def as_given(plan: Plan, method: str) -> Plan:
    """Return the plan of levels that are as they are: they are not made from level 0 alone.

    Parameters
    ----------
    plan : Plan
    method : str
        How they were made, in words.
    """
    grids = (
        tuple(zip(plan.scale(k), plan.translation(k), strict=True)) for k in range(len(plan.levels))
    )
    return replace(
        plan, method=method, stored=tuple(grids), options=MethodOptions(), holistic=False
    )
