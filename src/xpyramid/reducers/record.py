"""What a reduction method is: how to start, how to go on, how to end.

    state  = reducer.chunk(samples, step)      # windows of level 0 -> state of level 1
    state  = reducer.combine(state, step)      # state of level k   -> state of level k + 1
    values = reducer.finalise(state, window)   # state of level k   -> values of level k

A state is a tuple of arrays whose last axes are the cells of the level. What is carried is exact
(or float64 sums, added in an order that the dimensions fix), and rounding happens in ``finalise``
alone, so every level is the reduction of level 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
State = tuple[Array, ...]
Factors = tuple[int, ...]


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

    def regions(self) -> Iterator[tuple[tuple[slice, ...], int]]:
        """Yield regions of cells that all have the same number of samples, and that number.

        The whole windows come as one region; those cut off at an end come by side, edge and corner.
        """
        sides = []
        for n, f in zip(self.samples, self.factors, strict=True):
            whole, rest = divmod(n, f)
            side = [(slice(0, whole), f)] if whole else []
            sides.append([*side, (slice(whole, whole + 1), rest)] if rest else side)
        for parts in product(*sides):
            yield tuple(part for part, _ in parts), math.prod(n for _, n in parts)

    def counts(self) -> Array:
        """Return the number of samples of each cell, as int64."""
        out = np.empty(self.cells, np.int64)
        for region, n in self.regions():
            out[region] = n
        return out


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
    """

    name: str
    dtype: np.dtype[Any]
    chunk: Callable[[Array, Factors], State]
    combine: Callable[[State, Factors], State]
    finalise: Callable[[State, Window], Array]
