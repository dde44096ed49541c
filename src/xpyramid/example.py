"""A realistic test volume, made as it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xpyramid._compat import da
from xpyramid.errors import DtypeError, PlanError
from xpyramid.geometry.chunks import default_chunks, parse_chunks, regular
from xpyramid.types import Array, DType

_NAMES = ("t", "c", "z", "y", "x")
_SPACE = ("z", "y", "x")
_BLOBS = 24


def example_field(
    shape: Sequence[int] = (256, 256, 256),
    chunks: int | Sequence[int] | None = None,
    dtype: DTypeLike = "uint16",
    *,
    seed: int = 0,
    spacing: float = 1.0,
    unit: str = "micrometer",
) -> xr.DataArray:
    """Return a lazy field that looks like data: blobs, a wavy background, and noise.

    Every sample is a function of its position and the seed alone, so the values do not depend on
    the chunks, and a part can be computed without the rest.

    Parameters
    ----------
    shape : sequence of int
        1 to 5 lengths, for the last of the dimensions t, c, z, y, x.
    chunks : int or sequence of int, optional
        Dask chunks. Default: 512 x 512 or 64 x 64 x 64 in space, 1 elsewhere.
    dtype : dtype
        A bool, an integer or a float. Integers fill the lower half of at most 16 bits; floats are
        between 0 and 1; bool is what is brighter than the background.
    seed : int
        Another one makes another field.
    spacing : float
        Sample spacing of the space coordinates.
    unit : str
        Their unit.

    Returns
    -------
    xarray.DataArray
        Named "field", dask-backed.

    Raises
    ------
    PlanError
        For no or more than 5 dimensions, or wrong chunks.
    DtypeError
        For other dtypes.

    Examples
    --------
    >>> import xpyramid
    >>> xpyramid.example_field((64, 64, 64), dtype="uint8").mean().compute().item() > 0
    True
    """
    if not 1 <= len(shape) <= 5:
        raise PlanError(f"shape={tuple(shape)}", accepted=f"1 to 5 lengths, for {_NAMES}")
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf":
        raise DtypeError(option="dtype", value=str(dtype), accepted="bool, integers, floats")
    shape = tuple(int(n) for n in shape)
    dims = _NAMES[-len(shape) :]
    in_space = [dim in _SPACE for dim in dims]
    lengths = default_chunks(shape, in_space)
    if chunks is not None:
        lengths = parse_chunks(chunks, dims, shape, lengths, in_space)
    data = da.map_blocks(
        _block,
        chunks=tuple(regular(n, c) for n, c in zip(shape, lengths, strict=True)),
        shape=shape,
        seed=seed,
        kind=dtype,
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
    )
    coords = {
        dim: xr.DataArray(np.arange(n) * spacing, dims=dim, attrs={"units": unit})
        for dim, n in zip(dims, shape, strict=True)
        if dim in _SPACE
    }
    return xr.DataArray(data, coords=coords, dims=dims, name="field")


def _block(shape: tuple[int, ...], seed: int, kind: DType, block_info: Any = None) -> Array:
    """Compute the samples of one block."""
    grid = np.ogrid[tuple(slice(a, b) for a, b in block_info[None]["array-location"])]
    unit = [
        (axis.astype(np.float32) + 0.5) / n for axis, n in zip(grid, shape, strict=True)
    ]  # positions between 0 and 1
    rng = np.random.default_rng(seed)
    value: Array | np.float32 = np.float32(0.15)
    for axis, frequency, phase in zip(
        unit, rng.uniform(1, 3, 5), rng.uniform(0, 6, 5), strict=False
    ):
        value = value + np.float32(0.04) * np.sin(
            np.float32(6.28 * frequency) * axis + np.float32(phase)
        )
    for _ in range(_BLOBS):
        centre, width, height = rng.uniform(0, 1, 5), rng.uniform(0.02, 0.08), rng.uniform(0.2, 0.6)
        bell: Array | np.float32 = np.float32(height)
        for axis, middle in zip(unit, centre, strict=False):
            bell = bell * np.exp(-(((axis - np.float32(middle)) / np.float32(width)) ** 2))
        value = value + bell
    value = np.clip(value + np.float32(0.05) * (_noise(grid, shape, seed) - np.float32(0.5)), 0, 1)
    if kind.kind == "b":
        return np.asarray(value > 0.3)
    if kind.kind == "f":
        return np.asarray(value, kind)
    bits = min(8 * kind.itemsize, 16) - 1
    return np.asarray(value * (2**bits - 1)).astype(kind)


def _noise(grid: Sequence[Array], shape: tuple[int, ...], seed: int) -> Array:
    """Return uniform noise in [0, 1): a hash (splitmix64) of the sample's number and the seed."""
    number = np.zeros((), np.uint64)
    for axis, n in zip(grid, shape, strict=True):
        number = number * np.uint64(n) + axis.astype(np.uint64)
    with np.errstate(over="ignore"):
        h = number * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((h ^ (h >> np.uint64(31))) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
