"""The geometry of a pyramid: pure numbers, no arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict, cast

from dask.utils import parse_bytes

from xpyramid.errors import CostWarning, PlanError
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.chunks import clip_shards, parse_chunks, parse_shards
from xpyramid.geometry.passes import (
    Limits,
    Shape,
    SourceChunks,
    check_together,
    memory_together,
    passes,
)
from xpyramid.geometry.steps import (
    Factors,
    automatic_steps,
    check_boundary,
    chosen_dims,
    coarser_step,
    is_int,
    listed_steps,
    next_shape,
)
from xpyramid.messages import as_html, say
from xpyramid.options.types import Boundary, Chunks, Factor, Kind
from xpyramid.runtime.cluster import workers as workers_now
from xpyramid.types import DType
from xpyramid.warn import warn

#: Spacing and origin along each axis.
Grid = tuple[tuple[float, float], ...]

#: Options of a method beside the factors.
METHOD_OPTIONS = ("skipna", "ignore", "min_valid")


class MethodOptions(TypedDict, total=False):
    """Options of a method, see `METHOD_OPTIONS`; None where they were not passed."""

    skipna: bool | None
    ignore: float | None
    min_valid: float | None


def without_none(options: MethodOptions) -> MethodOptions:
    """Return the options that were passed."""
    chosen = {name: value for name, value in options.items() if value is not None}
    return cast("MethodOptions", chosen)


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
        of them, with the blocks of a dask array that wait for their tiles, the tasks of a graph,
        and what codecs need. The libraries themselves are not in it. What a graph holds on its way
        to a block is not known: `CostWarning` says where that is more than the block.
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
        Of all levels.
    method : str
    boundary : {"pad", "trim", "exact"}
    steps : tuple of tuple of int
        ``steps[k]`` are the factors from level ``k`` to level ``k + 1``.
    levels : tuple of Level
        Level 0 is the base.
    stored : tuple of Grid
        Of each level, where a store says it; empty where it follows from the axes and factors.
    options : mapping
        Of the method: skipna, ignore and min_valid, where they were passed.
    source_chunks : tuple of SourceChunks
        Chunks that level 0 is read in; of a pyramid that is in a store, those of each level.
    holistic : bool
        Whether the method needs all samples of a window at once.
    copies : int
        How often the samples of a block are there at a time, while it is reduced.
    kind : {"image", "labels"}
        What the samples are.
    kind_reason : str
        Why, for people; empty for images without any sign of their kind.
    kept : mapping
        Of a pyramid that was built: why each dimension that is not coarsened is not, in words.
    samples : numpy.dtype or None
        Dtype of what the levels are made from, where that is not level 0, as for counts.
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
    copies: int = 2
    kind: Kind = "image"
    kind_reason: str = ""
    kept: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    samples: DType | None = None

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
    def itemsize(self) -> int:
        """Bytes of a sample that is read."""
        return (self.dtype if self.samples is None else self.samples).itemsize

    def made_of(self, samples: DType, dtype: DType) -> Plan:
        """Return the plan of levels that have another dtype than what they are made from."""
        levels = (
            replace(level, nbytes=math.prod(level.shape) * dtype.itemsize) for level in self.levels
        )
        return replace(self, dtype=dtype, levels=tuple(levels), samples=samples)

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
        base_shards = parse_shards(shards, self.dims, base.shape, base.chunks, in_space)
        return tuple(clip_shards(base_shards, level.chunks, level.shape) for level in self.levels)

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
        base_chunks = parse_chunks(chunks, self.dims, base.shape, base.chunks, in_space)
        levels = (replace(level, chunks=_clip(base_chunks, level.shape)) for level in self.levels)
        return replace(self, levels=tuple(levels))

    def cost(
        self,
        *,
        shards: Chunks | None = None,
        memory: int | str | None = None,
        workers: int | None = None,
    ) -> Cost:
        """Return what it takes to write the pyramid; nothing is read to know it.

        A median or a user-supplied function needs whole windows: of levels whose windows are too
        large to be held together, the base is read once more for each. The variables of a Dataset
        are written together: bytes and tasks add up, and so does memory, but for that of tiles.

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

        Warns
        -----
        CostWarning
            If the budget does for the smallest tiles, but not for all that is needed beside them;
            and where a dask graph may hold more than is known.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((512, 512, 512), 64).pyramid.build()
        >>> p.plan.cost(workers=2).tasks
        73
        """
        workers = max(1, workers or workers_now())
        itemsize = self.itemsize
        levels = list(map(Shape, (level.shape for level in self.levels), self.objects(shards)))
        limits = Limits(workers, budget(memory))
        self.warn_of_graphs()
        write_passes = list(
            passes(
                levels,
                self.steps,
                self.source_chunks,
                itemsize,
                limits,
                holistic=self.holistic,
                copies=self.copies,
                channels=self.counted_channels,
            )
        )
        together = [(write_pass, itemsize) for write_pass in write_passes]
        check_together(together, limits)
        return Cost(
            bytes_read=sum(
                math.prod(self.levels[write_pass.levels[0]].shape) * itemsize
                for write_pass in write_passes
            ),
            bytes_written=self.nbytes,
            tasks=sum(write_pass.tiling.tasks() for write_pass in write_passes),
            memory=memory_together(together, workers),
        )

    def warn_of_graphs(self) -> None:
        """Say where a dask graph holds blocks that nobody here knows of."""
        for source in self.source_chunks:
            if source.shared:
                warn(
                    f"the dask graph may hold more than the plan says: {source.shared!r} needs "
                    "blocks several times, and keeps them meanwhile; to bound that, store the "
                    "array first, or use chunks that need no such step",
                    CostWarning,
                )

    @property
    def counted_channels(self) -> int:
        """How many channels there are whose values are counted; of labels, nothing is."""
        lengths = zip(self.axes, self.levels[0].shape, strict=True)
        number = math.prod(n for axis, n in lengths if axis.type == "channel")
        return number if self.kind == "image" else 0

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

    def _repr_html_(self) -> str:
        return as_html(self)


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
    chosen = chosen_dims(axes, factor, dims)
    explicit_steps = listed_steps(factor, names, chosen)
    if explicit_steps is not None:
        if levels not in (None, len(explicit_steps) + 1):
            raise PlanError(
                f"does not fit the list of {len(explicit_steps)} factors: it makes "
                f"{len(explicit_steps) + 1} levels, the base included",
                option="levels",
                value=levels,
                fix="leave levels out",
            )
        steps, repeated = explicit_steps, None
    else:
        repeated = None if factor is None else coarser_step(factor, names, chosen)
        steps = automatic_steps(axes, shape, chunks, chosen, repeated, levels, boundary)

    shapes, totals = _shapes_and_factors(shape, steps, names, boundary)
    step_factors = repeated or (None if explicit_steps is None else (1,) * len(shape))
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
        kept=_kept(axes, shape, totals[-1], step_factors, left_out),
    )


def _shapes_and_factors(
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
        That was passed for it; None where the finest dimensions are halved first.
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
