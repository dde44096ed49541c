"""Chunk arithmetic: pure functions of tuples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from numbers import Integral
from typing import TypeGuard

import numpy as np

from xpyramid.errors import PlanError
from xpyramid.messages import Message, option
from xpyramid.options.types import Chunks

#: Existing chunks larger than this are no chunks a viewer could fetch; defaults replace them.
LARGEST_STORED_CHUNK = 32 * 2**20

#: Default chunk length along a space dimension, by the number of space dimensions.
DEFAULT_LENGTH = {0: 1, 1: 2**16, 2: 512, 3: 64}


def default_chunks(shape: Sequence[int], in_space: Sequence[bool]) -> tuple[int, ...]:
    """Return chunks that suit viewers: 512x512 or 64x64x64 in space, one sample elsewhere."""
    length = DEFAULT_LENGTH.get(sum(in_space), DEFAULT_LENGTH[3])
    return tuple(
        max(1, min(n, length if space else 1)) for n, space in zip(shape, in_space, strict=True)
    )


def stored_chunks(
    shape: Sequence[int],
    in_space: Sequence[bool],
    itemsize: int,
    existing: Sequence[int] | None,
) -> tuple[int, ...]:
    """Return the chunks to store level 0 in, when the user did not say.

    The chunks that the array already has are kept, unless they are so large that a viewer would
    choke on them, or one chunk is the whole of an array that is worth dividing.
    """
    default = default_chunks(shape, in_space)
    if existing is None:
        return default
    chunks = tuple(max(1, min(c, n)) for c, n in zip(existing, shape, strict=True))
    whole = all(c >= n for c, n in zip(chunks, shape, strict=True))
    if whole or math.prod(chunks) * itemsize > LARGEST_STORED_CHUNK:
        return default
    return chunks


def parse_chunks(
    chunks: Chunks,
    dims: Sequence[str],
    shape: Sequence[int],
    base: Sequence[int],
    in_space: Sequence[bool],
) -> tuple[int, ...]:
    """Return the chunk length along each dimension from what the user wrote.

    Parameters
    ----------
    chunks : int, mapping or sequence
        One length for the space dimensions (every dimension, where there are none), or ``{dim:
        length}``, the other dimensions being as in ``base``; or one length per dimension. ``-1`` is
        the whole dimension.

    Raises
    ------
    PlanError
        For unknown dimensions, a wrong number of lengths, or lengths below 1.
    """
    lengths = _lengths("chunks", chunks, dims, base, in_space)
    return tuple(max(1, n if c == -1 else min(c, n)) for c, n in zip(lengths, shape, strict=True))


def parse_shards(
    shards: Chunks,
    dims: Sequence[str],
    shape: Sequence[int],
    chunks: Sequence[int],
    in_space: Sequence[bool],
) -> tuple[int, ...]:
    """Return the shard length along each dimension from what the user wrote, as `parse_chunks`.

    Raises
    ------
    PlanError
        Also for lengths that are no multiples of the chunks.
    """
    requested = _lengths("shards", shards, dims, chunks, in_space)
    lengths = tuple(
        -(-max(1, n) // c) * c if s == -1 else s
        for s, c, n in zip(requested, chunks, shape, strict=True)
    )
    for dim, s, c in zip(dims, lengths, chunks, strict=True):
        if s % c:
            multiples = sorted({max(c, s // c * c), (s // c + 1) * c})
            raise PlanError(
                f": {s} along {dim!r} is not a multiple of the chunk length {c}",
                option="shards",
                value=shards,
                accepted=f"{' or '.join(map(str, multiples))}",
            )
    return lengths


def clip_shards(
    shards: Sequence[int], chunks: Sequence[int], shape: Sequence[int]
) -> tuple[int, ...]:
    """Return the shards of a level that may be smaller than one."""
    triples = zip(shards, chunks, shape, strict=True)
    return tuple(min(-(-s // c) * c, -(-max(1, n) // c) * c) for s, c, n in triples)


def _lengths(
    name: str,
    chunks: Chunks,
    dims: Sequence[str],
    base: Sequence[int],
    in_space: Sequence[bool],
) -> list[int]:
    """Return one length for each dimension, -1 being all of it."""
    lengths: list[object]
    if isinstance(chunks, Integral) and any(in_space):
        lengths = [chunks if space else b for space, b in zip(in_space, base, strict=True)]
    elif isinstance(chunks, Mapping):
        if unknown := [d for d in chunks if d not in dims]:
            raise PlanError(
                Message(option(name, dict(chunks)), f": no dimension {unknown}"),
                option=name,
                value=chunks,
                accepted=", ".join(dims),
            )
        lengths = [chunks.get(d, b) for d, b in zip(dims, base, strict=True)]
    else:
        lengths = [*chunks] if isinstance(chunks, Sequence | np.ndarray) else [chunks] * len(dims)
    if len(lengths) != len(dims) or not all(_is_length(c) for c in lengths):
        raise PlanError(
            option=name,
            value=chunks,
            accepted=f"a length of at least 1, or -1 for all, for each of {', '.join(dims)}",
        )
    return [int(c) for c in lengths if _is_length(c)]


def _is_length(value: object) -> TypeGuard[Integral]:
    return isinstance(value, Integral) and (value == -1 or int(value) >= 1)


def align(existing: Sequence[int], unit: int) -> tuple[int, ...]:
    """Move the chunk boundaries along one dimension to multiples of ``unit``.

    Every boundary goes to the nearest multiple; those that meet become one. The last chunk may be
    no multiple of ``unit``, as the end of the dimension stays where it is.

    Examples
    --------
    >>> align((5, 5, 5, 5), unit=4)
    (4, 8, 4, 4)
    """
    length = sum(existing)
    inner = {(end + unit // 2) // unit * unit for end in accumulate(existing)}
    edges = [0, *sorted(edge for edge in inner if 0 < edge < length), length]
    return tuple(b - a for a, b in pairwise(edges))


def fit(existing: Sequence[int], span: int) -> tuple[int, ...]:
    """Return chunks along one dimension that are parts of tiles, or whole tiles.

    Those that are neither are moved.

    Examples
    --------
    >>> fit((4, 4, 4), span=8), fit((8, 4), span=4), fit((6, 6), span=4)
    ((4, 4, 4), (8, 4), (8, 4))
    """
    length = sum(existing)
    chunks, tiles = {*accumulate(existing)}, {*range(span, length, span), length}
    return tuple(existing) if chunks <= tiles or tiles <= chunks else align(existing, span)


def regular(length: int, chunk: int) -> tuple[int, ...]:
    """Return the chunk sizes of a regular grid: all ``chunk``, the last one shorter.

    Examples
    --------
    >>> regular(10, 4), regular(0, 4)
    ((4, 4, 2), (0,))
    """
    full, remainder = divmod(length, chunk)
    return (chunk,) * full + ((remainder,) if remainder or not full else ())


def joined(shape: tuple[int, ...], chunks: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Return chunks, or several of them together, so that there are not too many.

    Examples
    --------
    >>> joined((10**6, 10**6), (64, 64), 10**9), joined((10**6, 10**6), (64, 64), 10**4)
    ((64, 64), (16384, 8192))
    """
    blocks = list(chunks)
    while True:
        counts = [-(-n // b) for n, b in zip(shape, blocks, strict=True)]
        if math.prod(counts) <= most:
            return tuple(blocks)
        blocks[counts.index(max(counts))] *= 2
