"""Levels that dask reads, in chunks as `xarray.open_zarr` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import xarray as xr

from xpyramid._compat import da
from xpyramid.errors import PlanError

#: For all dimensions, or for some; levels of all lengths are to have them.
DaskChunks = int | Literal["auto"] | Mapping[str, int | Literal["auto"] | None]

_ACCEPTED = (
    "{} (the stored chunks), 'auto', a length for all dimensions, a mapping as in {'z': 64}, or "
    "None (no dask)"
)


def check_chunks(chunks: object) -> None:
    """Refuse what no chunks can be.

    Raises
    ------
    PlanError
    """
    lengths = list(chunks.values()) if isinstance(chunks, Mapping) else [chunks]
    is_named = not isinstance(chunks, Mapping) or all(isinstance(dim, str) for dim in chunks)
    if not is_named or not all(map(_is_length, lengths)):
        raise PlanError(option="chunks", value=chunks, accepted=_ACCEPTED)


def _is_length(length: object) -> bool:
    if isinstance(length, int) and not isinstance(length, bool):
        return length == -1 or length > 0
    return length is None or length == "auto"


def in_chunks(level: xr.DataArray, chunks: DaskChunks) -> xr.DataArray:
    """Return a level that dask reads, and its coordinates too, but those that are indexes.

    Raises
    ------
    PlanError
        For dimensions that there are not.
    """
    dims = map(str, level.dims)
    chunks_of = chunks if isinstance(chunks, Mapping) else dict.fromkeys(dims, chunks)
    if unknown := [dim for dim in chunks_of if dim not in level.dims]:
        raise PlanError(
            f": there is no dimension {unknown[0]!r}",
            option="chunks", value=chunks, accepted=", ".join(map(str, level.dims)),
        )  # fmt: skip
    lazily = {
        name: _in_chunks(coordinate.variable, chunks_of)
        for name, coordinate in level.coords.items()
        if name not in level.xindexes and coordinate.ndim
    }
    chunked = level.copy(data=_in_chunks(level.variable, chunks_of).data)
    return chunked.assign_coords(lazily) if lazily else chunked


def _in_chunks(variable: xr.Variable, chunks_of: Mapping[str, object]) -> xr.Variable:
    """Return a variable that dask reads; where nothing is given, in the chunks that are stored."""
    stored = variable.encoding.get("preferred_chunks", {})
    whole = {dim: stored.get(dim, n) for dim, n in variable.sizes.items()}
    chunks = [
        whole[dim] if chunks_of.get(str(dim)) is None else chunks_of[str(dim)] for dim in whole
    ]
    previous = tuple(_lengths(whole[dim], n) for dim, n in variable.sizes.items())
    lengths = da.core.normalize_chunks(
        tuple(chunks), variable.shape, dtype=variable.dtype, previous_chunks=previous
    )
    return variable.chunk(dict(zip(variable.dims, lengths, strict=True)))


def _lengths(chunk: int | Sequence[int], length: int) -> tuple[int, ...]:
    """Return the lengths of all chunks along a dimension."""
    if isinstance(chunk, Sequence):
        return tuple(chunk)
    return (*([chunk] * (length // chunk)), *([length % chunk] if length % chunk else []))
