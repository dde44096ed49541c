"""Where the samples of level 0 come from.

A task reads regions. Those of an array in memory, or of one that xarray reads lazily, it reads by
itself (`Source`). Of a dask array it is given the blocks that its region touches, which are tasks
of the same graph (`DaskSource`); blocks that lie across the edges of tiles are cut by dask before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from typing import Protocol, TypeVar

import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph

from xpyramid._compat import da, is_in_memory, optimize_graph
from xpyramid.engine.samples import Samples
from xpyramid.engine.tasks import Key, named
from xpyramid.errors import ReadError
from xpyramid.geometry.chunks import fit
from xpyramid.geometry.tiles import Lengths, Region, relative
from xpyramid.lazy.coarsen import rechunk
from xpyramid.messages import say
from xpyramid.reducers import Array
from xpyramid.runtime.retry import retried
from xpyramid.types import DType

T = TypeVar("T")


class StoredReader(Protocol):
    """Reads samples together with what they are stored as."""

    def read(self, region: Region) -> tuple[Array, object]:
        """Return the samples of a region, and the same as they are stored."""


class Source:
    """Samples that can be read region by region, by any task, without a graph.

    Parameters
    ----------
    variable : xarray.Variable
    name : str
        For messages.
    stored : StoredReader, optional
        Reads the same samples.
    """

    stored: StoredReader | None = None

    def __init__(
        self, variable: xr.Variable, name: str = "the base", stored: StoredReader | None = None
    ) -> None:
        self.variable = variable
        self.name = name
        self.stored = stored

    def read(self, region: Region) -> Array:
        """Return the samples of a region.

        Raises
        ------
        ReadError
            If they cannot be read; it names the chunk, and its cause is what the reader said.
        """
        return np.asarray(self._naming(region, self.variable[region].to_numpy))

    def take(self, region: Region) -> Samples:
        """Return the samples of a region, and what they are stored as, where that is known.

        Raises
        ------
        ReadError
        """
        if self.stored is None:
            return Samples(self.read(region))
        return Samples(*self._naming(region, partial(self.stored.read, region)))

    def _naming(self, region: Region, read: Callable[[], T]) -> T:
        """Return what is read of a region; say what could not be read, where that fails."""
        try:
            return retried(read)
        except Exception as error:
            index, smaller = self._culprit(region)
            chunk = f"chunk {index}" if index else ""
            what = _name_samples(self.name, chunk, self.variable.dims, smaller)
            raise ReadError(f"cannot read {what}: {type(error).__name__}: {error}") from error

    def _culprit(self, region: Region) -> tuple[Lengths | None, Region]:
        """Return the index and the region of the first chunk that cannot be read, where known.

        Chunks are counted from the first sample of the variable.
        """
        chunks = self.variable.encoding.get("preferred_chunks", {})
        sizes = [chunks.get(dim) for dim in self.variable.dims]
        if not all(isinstance(size, int) for size in sizes):
            return None, region
        spans = [
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(region, sizes, strict=True)
        ]
        for index in product(*spans):
            parts = zip(index, sizes, self.variable.shape, strict=True)
            chunk = tuple(slice(i * n, min((i + 1) * n, length)) for i, n, length in parts)
            try:
                self.variable[chunk].to_numpy()
            except Exception:
                return index, chunk
        return None, region

    @property
    def is_loaded(self) -> bool:
        """Whether the samples are in memory, so that nothing is waited for."""
        return is_in_memory(self.variable)

    @property
    def itemsize(self) -> int:
        """Bytes of a sample."""
        return int(self.variable.dtype.itemsize)

    def called(self, region: Region) -> str:
        """Name the samples of a region."""
        return _name_samples(self.name, "", self.variable.dims, region)

    def sample(self, region: Region) -> Array:
        """Return the samples of a region, in the calling process."""
        return self.read(region)

    def needs(self, region: Region) -> list[Key]:  # noqa: ARG002
        """Return the keys of the dask tasks that must run before a region can be read."""
        return []

    def tasks(self, shape: Lengths) -> int:  # noqa: ARG002
        """Return about how many dask tasks a region of a shape needs."""
        return 0

    def blocks(self, region: Region) -> Blocks | None:  # noqa: ARG002
        """Return how the results of those tasks make up the region; None where there are none."""
        return None

    def groups(self, base_shape: Lengths, grid: Lengths) -> list[list[range]] | None:  # noqa: ARG002
        """Return how nodes must stay together along each dimension, None where they need not.

        Parameters
        ----------
        base_shape : tuple of int
            Samples under a node.
        grid : tuple of int
            Number of nodes.
        """
        return None

    @property
    def shared(self) -> Source | None:
        """What tasks read with that are given no blocks."""
        return self


@dataclass(frozen=True)
class Blocks:
    """Blocks of samples that lie side by side, as a task is given them.

    Attributes
    ----------
    edges : tuple of tuple of int
        Where the blocks begin and end along each dimension.
    dtype : numpy.dtype
        Of their samples.
    """

    edges: tuple[Lengths, ...]
    dtype: DType

    def of(self, blocks: Sequence[Array]) -> _Filled:
        """Return something to read from.

        Raises
        ------
        ReadError
            If a block is not what the array has announced.
        """
        shapes = product(*([b - a for a, b in pairwise(edges)] for edges in self.edges))
        for block, shape in zip(blocks, shapes, strict=True):
            if block.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
                raise ReadError(
                    f"a dask block of dtype {block.dtype} in an array of dtype {self.dtype}",
                    fix=say(
                        "pass the right {dtype} where the array is made, as in map_blocks(..., "
                        "{dtype})"
                    ),
                )
            if block.shape != shape:
                raise ReadError(
                    f"a dask block of shape {block.shape}, announced as {shape}",
                    fix=say(
                        "pass the right {chunks} where the array is made, as in "
                        "map_blocks(..., {chunks})"
                    ),
                )
        return _Filled(self.edges, blocks)


@dataclass(frozen=True)
class _Filled:
    edges: tuple[Lengths, ...]
    blocks: Sequence[Array]

    def take(self, region: Region) -> Samples:
        """Return the samples of a region."""
        return Samples(self.read(region))

    def read(self, region: Region) -> Array:
        """Return the samples of a region; a view, where they lie in one block."""
        shape = tuple(part.stop - part.start for part in region)
        out: Array | None = None
        counts = [range(len(edges) - 1) for edges in self.edges]
        for block, at in zip(self.blocks, product(*counts), strict=True):
            starts = [edges[i] for edges, i in zip(self.edges, at, strict=True)]
            stops = [edges[i + 1] for edges, i in zip(self.edges, at, strict=True)]
            both = [
                slice(max(part.start, start), min(part.stop, stop))
                for part, start, stop in zip(region, starts, stops, strict=True)
            ]
            if any(part.start >= part.stop for part in both):
                continue
            piece = np.asarray(block)[relative(both, starts)]
            if piece.shape == shape:
                return piece
            if out is None:
                out = np.empty(shape, piece.dtype)
            out[relative(both, [part.start for part in region])] = piece
        return np.empty(shape) if out is None else out


class DaskSource(Source):
    """A dask array, in blocks that do not cross the edges of tiles unless they hold whole ones.

    Parameters
    ----------
    array : dask array
    tile : tuple of int
        Shape of a tile.
    name : str
        For messages.
    dims : sequence of str
        For messages.
    """

    def __init__(
        self, array: da.Array, tile: Lengths, name: str = "the base", dims: Sequence[object] = ()
    ) -> None:
        fitting = tuple(map(fit, array.chunks, tile))
        self.name = name
        self.dims = dims or [f"dim_{i}" for i in range(array.ndim)]
        self.source_chunks, self.source_name = array.chunks, array.name
        self.array = rechunk(array, fitting)
        self.edges = [(0, *accumulate(sizes)) for sizes in self.array.chunks]

    @property
    def is_loaded(self) -> bool:
        """False: what the blocks wait for is not known."""
        return False

    @property
    def itemsize(self) -> int:
        """Bytes of a sample."""
        return int(self.array.dtype.itemsize)

    def sample(self, region: Region) -> Array:
        """Compute the samples of a region.

        Raises
        ------
        ReadError
        """
        try:
            return np.asarray(self.array[region].compute())
        except Exception as error:
            raise ReadError(self.failure(region, f"{type(error).__name__}: {error}")) from error

    def failure(self, region: Region, reason: str) -> str:
        """Say which blocks, as they were given, could not be computed, and why."""
        return f"cannot read {self.called(region)}: {reason}"

    def called(self, region: Region) -> str:
        """Name the samples of a region, and their blocks, as they were given."""
        spans = [
            np.searchsorted([*accumulate(sizes)], (part.start, part.stop - 1), side="right")
            for sizes, part in zip(self.source_chunks, region, strict=True)
        ]
        first, last = (tuple(int(span[i]) for span in spans) for i in (0, 1))
        blocks = f"block {first}" if first == last else f"blocks {first} to {last}"
        return _name_samples(self.name, blocks, self.dims, region)

    def region_of(self, key: Key) -> Region | None:
        """Return the samples of a block, as it was given or as tiles need it; None for others."""
        as_given = self.source_name, self.source_chunks
        as_needed = self.array.name, self.array.chunks
        for name, chunks in (as_given, as_needed):
            if isinstance(key, tuple) and key[0] == name:
                edges = [(0, *accumulate(sizes)) for sizes in chunks]
                return tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, key[1:], strict=True))
        return None

    def _blocks(self, region: Region) -> list[range]:
        indexes = []
        for edges, part in zip(self.edges, region, strict=True):
            first = int(np.searchsorted(edges, part.start, side="right")) - 1
            last = int(np.searchsorted(edges, part.stop, side="left"))
            indexes.append(range(first, last))
        return indexes

    def tasks(self, shape: Lengths) -> int:
        """Return how many of the largest blocks a region of a shape touches."""
        pairs = zip(shape, self.array.chunks, strict=True)
        return math.prod(-(-n // max(1, *sizes)) for n, sizes in pairs)

    def groups(self, base_shape: Lengths, grid: Lengths) -> list[list[range]] | None:
        """Return runs of nodes between the edges that they share with the blocks as given."""
        runs = []
        for sizes, span, number in zip(self.source_chunks, base_shape, grid, strict=True):
            edges = {*accumulate(sizes)}
            ends = [i for i in range(1, number) if i * span in edges]
            runs.append([range(a, b) for a, b in pairwise((0, *ends, number))])
        return runs

    def needs(self, region: Region) -> list[Key]:
        """Return the keys of the blocks that a region touches."""
        return [(self.array.name, *at) for at in product(*self._blocks(region))]

    @property
    def shared(self) -> None:
        """Nothing: tasks are given blocks."""
        return None

    def blocks(self, region: Region) -> Blocks:
        """Return how those blocks make up the region."""
        pairs = zip(self.edges, self._blocks(region), strict=True)
        edges = tuple(tuple(edges[i] for i in (*r, r.stop)) for edges, r in pairs)
        return Blocks(edges, self.array.dtype)


def graph_of(sources: Sequence[Source], keys: Sequence[Key]) -> dict[Key, object]:
    """Return the dask tasks that sources need, together: what they share is computed once."""
    graphs = [source.array.dask for source in sources if isinstance(source, DaskSource)]
    return named(optimize_graph(HighLevelGraph.merge(*graphs), keys)) if keys else {}


def _name_samples(name: str, chunk: str, dims: Sequence[object], region: Region) -> str:
    """Name some samples."""
    parts = zip(dims, region, strict=True)
    where = ", ".join(f"{dim}={part.start}:{part.stop}" for dim, part in parts)
    return f"{name}, {chunk}{': ' if chunk else ''}{where}"
