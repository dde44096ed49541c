"""What was made lately, in memory, up to some bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from itertools import product
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from xpyramid import engine
from xpyramid._compat import BackendArray, indexing
from xpyramid.geometry.tiles import Lengths, relative
from xpyramid.types import Array, DType

T = TypeVar("T", bound=bytes | Array | None)

#: How much a viewer keeps of what it has looked at, in bytes.
KEPT = 2**29


class Cache:
    """Keeps what was used last. What several ask for at a time is made once.

    Parameters
    ----------
    limit : int
        In bytes, of all that is kept together.
    """

    def __init__(self, limit: int = KEPT) -> None:
        self.limit, self.nbytes = limit, 0
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._pending: dict[Hashable, Future[Any]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key; where nothing is, make it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: T = self._kept[key]
                return kept
            future = self._pending.get(key)
            is_first = future is None
            if future is None:
                future = self._pending[key] = Future()
        if not is_first:
            made_by_another: T = future.result()
            return made_by_another
        try:
            content = make()
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            self._keep(key, content)
            future.set_result(content)
            return content
        finally:
            with self._lock:
                del self._pending[key]

    def _keep(self, key: Hashable, content: bytes | Array | None) -> None:
        with self._lock:
            self._kept[key] = content
            self.nbytes += _size(content)
            while self.nbytes > self.limit and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self.nbytes -= _size(dropped)


def _size(content: bytes | Array | None) -> int:
    return 0 if content is None else len(content) if isinstance(content, bytes) else content.nbytes


class CachedLevel(BackendArray):
    """A level of which whole chunks are read, and kept.

    Parameters
    ----------
    source : Source
    chunks : tuple of int
    cache : Cache
    dtype : numpy.dtype
        In which samples are returned.
    """

    def __init__(self, source: engine.Source, chunks: Lengths, cache: Cache, dtype: DType) -> None:
        self.shape, self.dtype = source.variable.shape, dtype
        self._source, self._chunks, self._cache = source, chunks, cache

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Array:
        support = indexing.IndexingSupport.BASIC
        read: Array = indexing.explicit_indexing_adapter(key, self.shape, support, self._read)
        return read

    def _read(self, key: tuple[int | slice, ...]) -> Array:
        """Return what integers, and slices that go upwards, select."""
        lines = [
            range(n)[part] if isinstance(part, slice) else range(range(n)[part], range(n)[part] + 1)
            for part, n in zip(key, self.shape, strict=True)
        ]
        region = [slice(line[0], line[-1] + 1) if line else slice(0, 0) for line in lines]
        origin = [part.start for part in region]
        block = np.empty([part.stop - part.start for part in region], self.dtype)
        spans = [
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(region, self._chunks, strict=True)
        ]
        for index in product(*spans):
            triples = zip(index, self._chunks, self.shape, strict=True)
            chunk = tuple(slice(i * n, min((i + 1) * n, end)) for i, n, end in triples)
            shared = tuple(
                slice(max(a.start, b.start), min(a.stop, b.stop))
                for a, b in zip(chunk, region, strict=True)
            )
            samples = self._cache.get((self, index), partial(self._source.read, chunk))
            inside = relative(shared, [part.start for part in chunk])
            block[relative(shared, origin)] = samples[inside]
        steps = [slice(None, None, line.step) for line in lines]
        return block[
            tuple(s if isinstance(k, slice) else 0 for k, s in zip(key, steps, strict=True))
        ]
