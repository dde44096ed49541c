"""What a reduction method is: how to start, how to go on, how to end.

    state  = reducer.chunk(samples, step)      # windows of level 0 -> state of level 1
    state  = reducer.combine(state, step)      # state of level k   -> state of level k + 1
    state  = reducer.assemble(parts, cells)    # states side by side -> one, of a larger region
    values = reducer.finalise(state, window)   # state of level k   -> values of level k

What a state carries is exact (or float64 sums, added in an order that the dimensions fix), and
rounding happens in ``finalise`` alone, so every level is the reduction of level 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from xpyramid.errors import DtypeError
from xpyramid.kernels.arrays import Array
from xpyramid.types import DType

State = tuple[Array, ...]
Factors = tuple[int, ...]
Steps = Sequence[Factors]


@dataclass(frozen=True)
class Request:
    """What is asked of a method.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the samples.
    samples : int
        Number of samples of level 0 in the largest window.
    skipna_option : bool or None
        Whether NaN and NaT do not count, as it was asked for; None, where it was not, is yes.
    ignore : number or None
        A value that does not count.
    """

    dtype: DType
    samples: int
    skipna_option: bool | None = None
    ignore: float | None = None

    @property
    def skipna(self) -> bool:
        """Whether NaN samples do not count."""
        return self.skipna_option is None or bool(self.skipna_option)

    @property
    def has_ignore(self) -> bool:
        """Whether a value is ignored."""
        return self.ignore is not None

    def ignore_as(self, dtype: DType | None = None) -> np.generic:
        """Return the ignored value as samples have it, in their or another dtype; 0 for none."""
        value = self.dtype.type(0 if self.ignore is None else self.ignore)
        kind = np.dtype(np.uint8) if self.dtype.kind == "b" else dtype or self.dtype
        return kind.type(value)

    def check_ignore(self) -> None:
        """Refuse an ignored value that no integer sample can have."""
        if self.ignore is None or self.dtype.kind not in "biu":
            return
        kind = self.dtype.kind
        low, high = (0, 1) if kind == "b" else (np.iinfo(self.dtype).min, np.iinfo(self.dtype).max)
        if not (low <= self.ignore <= high and self.ignore == int(self.ignore)):
            raise DtypeError(
                f"is not a value of dtype {self.dtype} ({low} to {high})",
                option="ignore",
                value=self.ignore,
            )


@dataclass(frozen=True)
class Window:
    """How many samples of level 0 lie under each cell of a block.

    Attributes
    ----------
    samples : tuple of int
        Shape of the block of level 0, which starts at a window's edge.
    factors : tuple of int
        Cumulative factors.
    """

    samples: tuple[int, ...]
    factors: Factors

    @property
    def cells(self) -> tuple[int, ...]:
        """Shape of the block at the coarse level."""
        return tuple(-(-n // f) for n, f in zip(self.samples, self.factors, strict=True))

    def regions(self) -> Iterator[tuple[tuple[slice, ...], Factors]]:
        """Yield regions of cells whose windows all have the same shape, and that shape.

        The whole windows come as one region; those cut off at an end come by side, edge and corner.
        """
        sides = []
        for n, f in zip(self.samples, self.factors, strict=True):
            whole, remainder = divmod(n, f)
            side = [(slice(0, whole), f)] if whole else []
            sides.append([*side, (slice(whole, whole + 1), remainder)] if remainder else side)
        for parts in product(*sides):
            yield tuple(part for part, _ in parts), tuple(n for _, n in parts)

    def counts(self) -> Array:
        """Return the number of samples of each cell, as int64."""
        out = np.empty(self.cells, np.int64)
        for region, shape in self.regions():
            out[region] = math.prod(shape)
        return out


@dataclass(frozen=True)
class Part:
    """A state and the cells that it is of.

    Attributes
    ----------
    where : tuple of slice
        Its cells in the region that parts make up.
    state : State
    window : Window
        Its samples of level 0.
    """

    where: tuple[slice, ...]
    state: State
    window: Window


def assemble_arrays(parts: Sequence[Part], cells: tuple[int, ...]) -> State:
    """Assemble states of arrays whose last dimensions are the cells."""
    if len(parts) == 1:
        return parts[0].state
    prefixes = [array.shape[: array.ndim - len(cells)] for array in parts[0].state]
    dtypes = [array.dtype for array in parts[0].state]
    pairs = zip(prefixes, dtypes, strict=True)
    assembled = tuple(np.empty(prefix + cells, dtype) for prefix, dtype in pairs)
    for part in parts:
        region: Any = (..., *part.where)
        for out, array in zip(assembled, part.state, strict=True):
            out[region] = array
    return assembled


@dataclass(frozen=True)
class Reducer:
    """A reduction method, ready for one dtype and one largest window.

    Attributes
    ----------
    name : str
    dtype : numpy.dtype
        Of the result.
    chunk, combine, finalise : callable
        See the module's docstring.
    direct : callable or None
        From samples, steps and a new array to fill with the values of level 1, to the state of
        level 2 (any, where there is one step): the same bits, faster. Returns None where it does
        not apply; then what was filled is of no use.
    assemble : callable
        Puts states of neighbouring regions together.
    holistic : bool
        Whether a state holds all samples, so that it is not small enough to be handed on.
    copies : int
        How often the samples of a block are there at a time, at most: as they are read and encoded,
        and beside that, what they are reduced with.
    base : callable or None
        From samples to the values of level 0 of the image, where these are others: a level has one
        dtype and one meaning on all levels.
    """

    name: str
    dtype: DType
    chunk: Callable[[Array, Factors], State]
    combine: Callable[[State, Factors], State]
    finalise: Callable[[State, Window], Array]
    direct: Callable[[Array, Steps, Array], State | None] | None = None
    assemble: Callable[[Sequence[Part], tuple[int, ...]], State] = assemble_arrays
    holistic: bool = False
    copies: int = 2
    base: Callable[[Array], Array] | None = None
