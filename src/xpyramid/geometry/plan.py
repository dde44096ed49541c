"""The geometry of a pyramid: pure numbers, no arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TypedDict, cast, get_args

import numpy as np
from dask.utils import parse_bytes

from xpyramid.errors import PlanError
from xpyramid.geometry import units
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.chunks import clip_shards, default_chunks, parse_chunks, parse_shards
from xpyramid.geometry.passes import Limits, Shape, SourceChunks, passes
from xpyramid.messages import say
from xpyramid.options.types import Boundary, Chunks, Factor, Kind, StepFactor
from xpyramid.runtime.cluster import workers as workers_now
from xpyramid.types import DType

Factors = tuple[int, ...]
#: Spacing and origin along each axis.
Grid = tuple[tuple[float, float], ...]

#: What a method may be told beside the factors.
METHOD_OPTIONS = ("skipna", "ignore", "min_valid")

#: Dimensions are halved together once their spacings are within this ratio. Halving a dimension
#: that is finer by a ratio r leaves 2/r, which is nearer to 1 than r exactly when r > sqrt(2).
ISOTROPY = math.sqrt(2)


class MethodOptions(TypedDict, total=False):
    """What else a method was told; None where nothing was said, see `METHOD_OPTIONS`."""

    skipna: bool | None
    ignore: float | None
    min_valid: float | None


def without_none(options: MethodOptions) -> MethodOptions:
    """Return the options of which something was said."""
    said = {name: value for name, value in options.items() if value is not None}
    return cast("MethodOptions", said)


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid.

    Attributes
    ----------
    shape : tuple of int
    factors : tuple of int
        Cumulative factors against level 0.
    chunks : tuple of int
        Shape of the stored chunks.
    nbytes : int
        Uncompressed size.
    """

    shape: tuple[int, ...]
    factors: Factors
    chunks: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class Cost:
    """What it takes to write a pyramid.

    Attributes
    ----------
    bytes_read, bytes_written : int
        Uncompressed.
    tasks : int
        That write. Those of a dask array's own graph come on top.
    memory : int
        Estimate of what all workers together hold at a time, in bytes: samples, and what is made
        of them, with the blocks of a dask array that wait for their tiles. Libraries, what a graph
        holds on its way to a block, and a ``mode`` of noise come on top.
    """

    bytes_read: int
    bytes_written: int
    tasks: int
    memory: int


@dataclass(frozen=True)
class Plan:
    """The geometry and cost of a pyramid; nothing here holds or reads data.

    Attributes
    ----------
    axes : tuple of AxisSpec
        One per dimension, in the order of the array.
    dtype : numpy.dtype
        Of the base.
    method : str
    boundary : {"pad", "trim", "exact"}
    steps : tuple of tuple of int
        ``steps[k]`` are the factors from level ``k`` to level ``k + 1``.
    levels : tuple of Level
        Level 0 is the base.
    stored : tuple of Grid
        Of each level, where a store says it; empty where it follows from the axes and factors.
    options : mapping
        What else the method was told: skipna, ignore and min_valid, where they were.
    source_chunks : tuple of SourceChunks
        How the samples of level 0 are given; of a pyramid that is in a store, those of each level.
    holistic : bool
        Whether each level takes a pass over the base of its own.
    kind : {"image", "labels"}
        What the samples are.
    kind_reason : str
        Why, for people; empty for images without any sign of their kind.
    kept : mapping
        Of a pyramid that was built: why each dimension that is not coarsened is not, in words.
    """

    axes: tuple[AxisSpec, ...]
    dtype: DType
    method: str
    boundary: Boundary
    steps: tuple[Factors, ...]
    levels: tuple[Level, ...]
    stored: tuple[Grid, ...] = ()
    options: MethodOptions = field(default_factory=MethodOptions, hash=False)
    source_chunks: tuple[SourceChunks, ...] = field(
        default=(SourceChunks(),), compare=False, repr=False
    )
    holistic: bool = False
    kind: Kind = "image"
    kind_reason: str = ""
    kept: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of every level."""
        return tuple(axis.dim for axis in self.axes)

    @property
    def coarsened(self) -> tuple[str, ...]:
        """Dimensions that are shorter at the top than at the base."""
        top = self.levels[-1].factors
        return tuple(d for d, f in zip(self.dims, top, strict=True) if f > 1)

    @property
    def nbytes(self) -> int:
        """Uncompressed size of all levels."""
        return sum(level.nbytes for level in self.levels)

    def objects(self, shards: Chunks | None = None) -> tuple[tuple[int, ...], ...]:
        """Shapes of the stored objects of each level: chunks, or shards.

        Parameters
        ----------
        shards : int, {dim: int} or sequence of int, optional
            As in :meth:`xpyramid.Pyramid.to_ome_zarr`.
        """
        if shards is None:
            return tuple(level.chunks for level in self.levels)
        base = self.levels[0]
        in_space = [axis.type == "space" for axis in self.axes]
        wanted = parse_shards(shards, self.dims, base.shape, base.chunks, in_space)
        return tuple(clip_shards(wanted, level.chunks, level.shape) for level in self.levels)

    def rechunked(self, chunks: Chunks | None) -> Plan:
        """Return the plan of the same levels, stored in other chunks.

        Parameters
        ----------
        chunks : int, {dim: int} or sequence of int, optional
            As in :meth:`xpyramid.Pyramid.to_ome_zarr`.
        """
        if chunks is None:
            return self
        base = self.levels[0]
        in_space = [axis.type == "space" for axis in self.axes]
        wanted = parse_chunks(chunks, self.dims, base.shape, base.chunks, in_space)
        levels = (replace(level, chunks=_clip(wanted, level.shape)) for level in self.levels)
        return replace(self, levels=tuple(levels))

    def cost(
        self,
        *,
        shards: Chunks | None = None,
        memory: int | str | None = None,
        workers: int | None = None,
    ) -> Cost:
        """Return what it takes to write the pyramid; nothing is read to know it.

        A median or a user-supplied function reads the base once for each level. The variables of a
        Dataset are written together: bytes and tasks add up, and the largest memory counts.

        Parameters
        ----------
        shards, memory
            As in :meth:`xpyramid.Pyramid.to_ome_zarr`.
        workers : int, optional
            Tasks that run at the same time; default: as many as dask would run now.

        Raises
        ------
        PlanError
            If the budget does not do for the smallest tiles, or shards do not fit the chunks.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((512, 512, 512), 64).pyramid.build()
        >>> p.plan.cost(workers=2).tasks
        73
        """
        workers = max(1, workers or workers_now())
        itemsize = self.dtype.itemsize
        levels = list(map(Shape, (level.shape for level in self.levels), self.objects(shards)))
        limits = Limits(workers, budget(memory))
        found = list(
            passes(levels, self.steps, self.source_chunks, itemsize, limits, holistic=self.holistic)
        )
        return Cost(
            bytes_read=sum(self.levels[one.levels[0]].nbytes for one in found),
            bytes_written=self.nbytes,
            tasks=sum(one.tiling.tasks() for one in found),
            memory=max(one.memory(itemsize, workers) for one in found),
        )

    def scale(self, level: int) -> tuple[float, ...]:
        """Spacing of a level: the base's times the exact factor (never a ratio of shapes)."""
        if self.stored:
            return tuple(spacing for spacing, _ in self.stored[level])
        factors = self.levels[level].factors
        return tuple(axis.spacing * f for axis, f in zip(self.axes, factors, strict=True))

    @property
    def sampled(self) -> bool:
        """Whether a cell stands for the first sample of its window, not for all of it."""
        return self.method == "nearest"

    def translation(self, level: int) -> tuple[float, ...]:
        """Coordinate of a level's first cell: the centre of its window's samples of level 0.

        For ``nearest``, whose cells are the first sample of each window, that sample's coordinate.
        """
        if self.stored:
            return tuple(origin for _, origin in self.stored[level])
        factors = self.levels[level].factors
        return tuple(
            axis.origin + axis.spacing * centre(f, self.sampled)
            for axis, f in zip(self.axes, factors, strict=True)
        )


def budget(memory: int | str | None) -> int | None:
    """Return a number of bytes from what the user wrote.

    Raises
    ------
    PlanError
        For text that is not a number of bytes.
    """
    if memory is None:
        return None
    try:
        number = int(parse_bytes(memory)) if isinstance(memory, str) and memory else memory
    except ValueError:
        number = 0
    if not is_int(number) or int(number or 0) < 1:
        raise PlanError(option="memory", value=memory, accepted="bytes, or text as '500 MB'")
    return int(number)


def largest_window(shape: tuple[int, ...], factors: Factors) -> int:
    """Return the number of samples under the largest cell that these factors make."""
    return math.prod(max(1, min(n, f)) for n, f in zip(shape, factors, strict=True))


def check_boundary(boundary: str) -> None:
    """Refuse an unknown boundary rule."""
    if boundary not in get_args(Boundary):
        raise PlanError(
            option="boundary", value=boundary, accepted=f"{', '.join(get_args(Boundary))}"
        )


def centre(factor: int, sampled: bool) -> float:
    """Return where a cell is, in samples from the first of its window."""
    return 0.0 if sampled else (factor - 1) / 2


def make_plan(
    axes: tuple[AxisSpec, ...],
    shape: tuple[int, ...],
    dtype: DType,
    chunks: tuple[int, ...],
    *,
    levels: int | None = None,
    factor: Factor | None = None,
    dims: str | Sequence[str] | None = None,
    boundary: Boundary = "pad",
    method: str = "mean",
) -> Plan:
    """Plan the levels of a pyramid.

    Parameters
    ----------
    axes, shape, dtype
        The base.
    chunks : tuple of int
        Stored chunks of level 0; coarser levels have the same, clipped to their shape.
    levels, factor, dims, boundary, method
        As in :meth:`xpyramid.accessor.ArrayAccessor.build`.

    Raises
    ------
    PlanError
        For levels, factors, dimensions or a boundary from which no pyramid can be built.
    """
    names = tuple(axis.dim for axis in axes)
    check_boundary(boundary)
    if levels is not None and not (is_int(levels) and levels >= 1):
        raise PlanError(
            option="levels", value=levels, accepted="None or an integer of at least 1 (the base)"
        )
    chosen = _chosen_dims(axes, factor, dims)
    listed = _listed_steps(factor, names, chosen)
    if listed is not None:
        if levels not in (None, len(listed) + 1):
            raise PlanError(
                f"does not fit the list of {len(listed)} factors: it makes "
                f"{len(listed) + 1} levels, the base included",
                option="levels",
                value=levels,
                fix="leave levels out",
            )
        steps, repeated = listed, None
    else:
        repeated = None if factor is None else _coarser_step(factor, names, chosen)
        steps = _automatic_steps(axes, shape, chunks, chosen, repeated, levels, boundary)

    shapes, totals = _climbed(shape, steps, names, boundary)
    given = repeated or (None if listed is None else (1,) * len(shape))
    left_out = {d: "factor=" if dims is None else "dims=" for d in names if d not in chosen}
    return Plan(
        axes=axes,
        dtype=dtype,
        method=method,
        boundary=boundary,
        steps=tuple(steps),
        levels=tuple(
            Level(s, f, _clip(chunks, s), math.prod(s) * dtype.itemsize)
            for s, f in zip(shapes, totals, strict=True)
        ),
        kept=_kept(axes, shape, totals[-1], given, left_out),
    )


def _climbed(
    shape: tuple[int, ...], steps: Sequence[Factors], names: tuple[str, ...], boundary: Boundary
) -> tuple[list[tuple[int, ...]], list[Factors]]:
    """Return the shape and the cumulative factors of each level."""
    shapes, totals = [shape], [(1,) * len(shape)]
    for step in steps:
        shapes.append(next_shape(shapes[-1], step, names, boundary))
        totals.append(tuple(f * s for f, s in zip(totals[-1], step, strict=True)))
    return shapes, totals


def _kept(
    axes: Sequence[AxisSpec],
    shape: Sequence[int],
    total: Factors,
    factors: Factors | None,
    left_out: Mapping[str, str],
) -> dict[str, str]:
    """Return why each dimension with a total factor of 1 is not coarsened; see `_why_kept`."""
    return {
        axis.dim: _why_kept(axis, n, factors[i] if factors else None, left_out.get(axis.dim))
        for i, (axis, n) in enumerate(zip(axes, shape, strict=True))
        if total[i] == 1
    }


def _why_kept(axis: AxisSpec, length: int, factor: int | None, left_out_by: str | None) -> str:
    """Say why a dimension is as long at the top as at the base.

    Parameters
    ----------
    axis : AxisSpec
    length : int
    factor : int or None
        That was given for it; None where the finest dimensions are halved first.
    left_out_by : str or None
        The option that does not name it; None where it could be coarsened.
    """
    if left_out_by and not axis.known:
        return say("not known to be space; name it in {dims} to coarsen it")
    if left_out_by:
        return f"not in {left_out_by}" if axis.type == "space" else axis.type
    if length < 2:
        return "one sample" if length else "no samples"
    if factor is None:
        return "coarser already"
    return f"shorter than its factor, {factor}" if factor > 1 else "its factor is 1"


def _clip(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return chunks that are no longer than what they are of."""
    return tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True))


def is_int(value: object) -> bool:
    """Whether a value is an integer, Python's or NumPy's, and no boolean."""
    if type(value) is int:  # the usual case, which abstract classes are slow to tell
        return True
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def _chosen_dims(
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
        listed = factor if isinstance(factor, Sequence) else ()
        named = {dim for f in listed if isinstance(f, Mapping) for dim in f}
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
            f"has {len(factor)} entries for the {len(dims)} dimensions {dims}",
            option="factor",
            value=factor,
            accepted=say(
                "a tuple with one integer for each dimension, or a list with one entry "
                "for each step, as in {factor}",
                factor=[*map(int, factor)],
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
        wanted = dict(factor)
    elif is_int(factor):
        wanted = dict.fromkeys(chosen, factor)
    else:
        raise PlanError(
            option="factor",
            value=factor,
            accepted="an integer, {dim: integer}, a tuple with one integer for each "
            "dimension, or a list of those",
        )
    if unknown := [d for d in wanted if d not in names]:
        raise PlanError(
            f": no dimension {unknown}",
            option="factor",
            value=factor,
            fix=f"the array has {names}",
        )
    if extra := [d for d in wanted if d not in chosen]:
        raise PlanError(
            f"names {extra}, which " + say("{dims} leaves out", dims=chosen),
            option="factor",
            value=factor,
        )
    for dim, f in wanted.items():
        if not (is_int(f) and f >= 1):
            raise PlanError(
                f"along {dim!r}",
                option="factor",
                value=f,
                accepted="integers of at least 1",
            )
    return tuple(int(wanted.get(name, 1)) for name in names)


def _listed_steps(
    factor: Factor | None, names: tuple[str, ...], chosen: tuple[str, ...]
) -> list[Factors] | None:
    """Return the steps of a list of factors, None if it is not a list."""
    if factor is None or isinstance(factor, str | Mapping) or not isinstance(factor, Sequence):
        return None
    return [_coarser_step(f, names, chosen) for f in factor]


def _coarser_step(factor: object, names: tuple[str, ...], chosen: tuple[str, ...]) -> Factors:
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


def _automatic_steps(
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
    usual = default_chunks(shape, [axis.type == "space" for axis in axes])
    # A chunk of one sample says nothing about the size of an overview.
    enough = [usual[i] if c == 1 else c for i, c in enumerate(chunks)]
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
    known = {axes[i].unit for i in moving}
    if len(known) == 1:
        return spacings
    if None in known:  # some have units, some not: they cannot be compared
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
