"""Sections of level 0 whose values are counted apart, so that some can be counted again alone.

They are made of whole stored objects, and depend on nothing but the shapes of an image: not on how
the work on it is divided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from xpyramid.geometry.tiles import Lengths, Region

#: A section has at least so many samples, where there are as many: to count fewer costs as much.
SAMPLES = 2**21

#: An image has about so many sections at most.
MOST = 256


@dataclass(frozen=True)
class Sections:
    """A regular grid of sections.

    Attributes
    ----------
    shape : tuple of int
        Of level 0.
    lengths : tuple of int
        Of a section.
    """

    shape: Lengths
    lengths: Lengths

    @cached_property
    def counts(self) -> Lengths:
        """Number of sections along each dimension."""
        return tuple(-(-n // length) for n, length in zip(self.shape, self.lengths, strict=True))

    @property
    def total(self) -> int:
        """Number of sections."""
        return math.prod(self.counts)

    def region(self, number: int) -> Region:
        """Return the samples of a section, by its place in C order."""
        index = np.unravel_index(number, self.counts) if self.counts else ()
        triples = zip(index, self.lengths, self.shape, strict=True)
        return tuple(slice(int(i) * n, min(int(i + 1) * n, end)) for i, n, end in triples)

    def within(self, region: Region) -> Iterator[tuple[int, Region]]:
        """Yield the sections that a region touches, and the part of the region in each."""
        ends = [
            range(part.start // n, -(-part.stop // n) if part.start < part.stop else 0)
            for part, n in zip(region, self.lengths, strict=True)
        ]
        for index in product(*ends):
            number = 0
            for i, count in zip(index, self.counts, strict=True):
                number = number * count + i
            triples = zip(index, self.lengths, region, strict=True)
            yield (
                number,
                tuple(
                    slice(max(part.start, i * n), min(part.stop, (i + 1) * n))
                    for i, n, part in triples
                ),
            )

    def touched(self, regions: Iterable[Region]) -> set[int]:
        """Return the sections that some regions touch."""
        return {number for region in regions for number, _ in self.within(region)}


def make_sections(shape: Lengths, stored: Lengths, factors: Lengths, most: int = MOST) -> Sections:
    """Divide level 0.

    Parameters
    ----------
    shape : tuple of int
    stored : tuple of int
        Shape of its stored objects.
    factors : tuple of int
        Of the coarsest level: sections first grow along the dimensions that are coarsened, as the
        nodes of a `Tiling` do.
    most : int
        About how many there are at most.
    """
    least = max(SAMPLES, -(-math.prod(shape) // max(1, most)))
    sizes = list(_growing(shape, stored, factors))
    large = (lengths for lengths in sizes if math.prod(lengths) >= least)
    return Sections(tuple(shape), next(large, sizes[-1]))


def pieces(shape: Lengths, stored: Lengths, factors: Lengths, most: int) -> Lengths:
    """Return the lengths of the largest parts of sections that hold no more than so many samples.

    One stored object always is a part.
    """
    first, *others = _growing(shape, stored, factors)
    small = [lengths for lengths in others if math.prod(lengths) <= most]
    return small[-1] if small else first


def _growing(shape: Lengths, stored: Lengths, factors: Lengths) -> Iterator[Lengths]:
    """Yield the lengths of one object, and of ever more together, up to all."""
    lengths = [min(length, max(1, n)) for length, n in zip(stored, shape, strict=True)]
    yield tuple(lengths)
    while growing := [i for i, n in enumerate(shape) if lengths[i] < n]:
        for i in [i for i in growing if factors[i] > 1] or growing:
            lengths[i] = min(2 * lengths[i], shape[i])
        yield tuple(lengths)


def joined(regions: Sequence[Region]) -> list[Region]:
    """Return regions of which those are one that make up a larger one, dimension by dimension."""
    for dim in reversed(range(len(regions[0]) if regions else 0)):
        runs: list[Region] = []
        for region in sorted(regions, key=lambda part: _order(part, dim)):
            last = runs[-1] if runs else None
            if (
                last is not None
                and _order(last, dim)[:-1] == _order(region, dim)[:-1]
                and last[dim].stop == region[dim].start
            ):
                end = slice(last[dim].start, region[dim].stop)
                runs[-1] = (*region[:dim], end, *region[dim + 1 :])
            else:
                runs.append(region)
        regions = runs
    return list(regions)


def _order(region: Region, dim: int) -> tuple[tuple[int, ...], ...]:
    """Return what sorts regions along a dimension, after all others."""
    ends = [(part.start, part.stop) for part in region]
    return (*ends[:dim], *ends[dim + 1 :], ends[dim])
