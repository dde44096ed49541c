"""What a pyramid can be made of, as Hypothesis strategies."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Array = np.ndarray[Any, np.dtype[Any]]
Chunks = tuple[tuple[int, ...], ...]

DIMS = ("w", "t", "c", "z", "y", "x")
MOST_SAMPLES = 1500  # the oracle is slow

integers = st.sampled_from(
    [np.dtype(order + kind) for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
     for order in "<>"]
)  # fmt: skip
floats = st.sampled_from([np.dtype(order + kind) for kind in ("f2", "f4", "f8") for order in "<>"])
booleans = st.just(np.dtype(bool))
dtypes = booleans | integers | floats
#: What tests that are run often draw: code is compiled for each dtype, in either byte order. Narrow
#: and wide, signed and unsigned; float16 is computed as float32 or float64.
few_integers = st.sampled_from([np.dtype(kind) for kind in ("u1", "<u2", ">u2", "<i8", ">i8")])
few_dtypes = booleans | few_integers | floats
complexes = st.sampled_from([np.dtype(order + kind) for kind in ("c8", "c16") for order in "<>"])
datetimes = st.sampled_from([np.dtype(name) for name in ("<M8[ns]", ">M8[s]", ">M8[D]")])
durations = st.sampled_from([np.dtype(name) for name in ("<m8[ns]", ">m8[us]", "<m8[h]")])


@st.composite
def shapes(draw: st.DrawFn, min_dims: int = 1, max_dims: int = 5) -> tuple[int, ...]:
    """Draw a shape, lengths of 0 and 1 included."""
    shape: list[int] = []
    for _ in range(draw(st.integers(min_dims, max_dims))):
        longest = MOST_SAMPLES // math.prod(shape)
        shape.append(draw(st.integers(1, max(1, min(17, longest)))))
    if draw(st.integers(0, 15)) == 15:
        shape[0] = 0
    return tuple(draw(st.permutations(shape)))


def chunks(shape: tuple[int, ...]) -> st.SearchStrategy[Chunks]:
    """Draw irregular dask chunks, empty ones included."""

    def along(n: int) -> st.SearchStrategy[tuple[int, ...]]:
        cuts = st.lists(st.integers(0, n), max_size=4).map(sorted)
        return cuts.map(lambda c: tuple(np.diff([0, *c, n]).tolist()))

    return st.tuples(*map(along, shape))


def finite_or_extreme(dtype: np.dtype[Any], *, special: bool = True) -> st.SearchStrategy[Any]:
    """Draw values of a dtype: any, small ones, and the ends of its range; with NaN and infinity."""
    anything = hnp.from_dtype(dtype, allow_nan=special, allow_infinity=special)
    if dtype.kind == "b":
        return anything
    if dtype.kind == "f":
        info = np.finfo(dtype)
        ends = [info.max, info.min, info.tiny, info.smallest_subnormal, -info.smallest_subnormal]
        marks = [np.nan, np.inf, -np.inf] if special else []
        return st.sampled_from([dtype.type(x) for x in [*ends, *marks, 0.0, -0.0, 1.0]]) | anything
    if dtype.kind == "c":
        part = finite_or_extreme(np.dtype(f"f{dtype.itemsize // 2}"), special=special)
        return st.builds(complex, part, part)
    if dtype.kind in "mM":  # ticks; the lowest is NaT
        return finite_or_extreme(np.dtype("i8"))
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return st.sampled_from([low, low + 1, high - 1, high]) | st.integers(0, 7) | anything


@st.composite
def values(draw: st.DrawFn, shape: tuple[int, ...], dtype: np.dtype[Any], **kind: Any) -> Array:
    """Draw an array in C order of a few different values, each at many places."""
    pool = draw(st.lists(finite_or_extreme(dtype, **kind), min_size=1, max_size=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return _array(pool, dtype)[rng.integers(len(pool), size=shape)]


def _array(pool: list[Any], dtype: np.dtype[Any]) -> Array:
    if dtype.kind in "mM":
        return np.array(pool, "i8").view(dtype.newbyteorder("=")).astype(dtype)
    return np.array(pool, dtype)


@st.composite
def labels(draw: st.DrawFn, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Draw a segmentation: objects of a size, from single samples (noise) to all in one."""
    pool = draw(st.lists(finite_or_extreme(dtype), min_size=1, max_size=30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([1, 1, 2, 3, 5, 17]))
    coarse = rng.integers(len(pool), size=[-(-n // size) for n in shape])
    for axis in range(len(shape)):
        coarse = np.repeat(coarse, size, axis)
    return np.array(pool, dtype)[coarse[tuple(slice(n) for n in shape)]]


@st.composite
def noise(draw: st.DrawFn, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Draw numbers whose sums depend on the order of additions; in floats, a few are NaN."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    out = rng.normal(scale=50, size=shape)
    if dtype.kind == "c":
        out = out + 1j * rng.normal(size=shape)
    if dtype.kind in "fc":
        out[rng.random(shape) < draw(st.sampled_from([0, 0.01, 0.3]))] = np.nan
    return out.astype(np.int64).astype(dtype) if dtype.kind in "biumM" else out.astype(dtype)


def _strided(array: Array) -> Array:
    out = np.empty(tuple(2 * n for n in array.shape), array.dtype)
    view = out[tuple(slice(None, None, -2) for _ in array.shape)]
    view[...] = array
    return view


def _read_only(array: Array) -> Array:
    array = array.copy()
    array.flags.writeable = False
    return array


#: The same values in other places in memory.
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.array,
    "F": lambda array: np.array(array, order="F"),
    "strided": _strided,
    "read-only": _read_only,
}


@dataclass(frozen=True)
class Recipe:
    """How to coarsen: the factors of each step along each dimension, and what to do at the end."""

    dims: tuple[str, ...]
    steps: tuple[tuple[int, ...], ...]
    boundary: str

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of ``.pyramid.build``."""
        steps = [dict(zip(self.dims, step, strict=True)) for step in self.steps]
        return {"factor": steps, "dims": self.dims, "boundary": self.boundary}

    @property
    def totals(self) -> list[tuple[int, ...]]:
        """Cumulative factors of the levels above the base."""
        return [
            tuple(math.prod(fs) for fs in zip(*self.steps[: k + 1], strict=True))
            for k in range(len(self.steps))
        ]


@st.composite
def recipes(draw: st.DrawFn, shape: tuple[int, ...]) -> Recipe:
    """Draw 1 to 3 steps with a factor of 1 to 5 along each dimension."""
    boundary = draw(st.sampled_from(["pad", "pad", "trim"]))
    left, steps = list(shape), []
    for _ in range(draw(st.integers(1, 3))):
        step = []
        for n in left:
            # trimming must leave something, but for what is empty anyway
            most = min(5, n or 5) if boundary == "trim" else 5
            step.append(draw(st.integers(1, most)))
        if all(f == 1 for f in step):
            continue
        steps.append(tuple(step))
        left = [n // f if boundary == "trim" else -(-n // f) for n, f in zip(left, step)]  # noqa: B905
    if not steps:
        boundary, steps = "pad", [(2,) * len(shape)]
    return Recipe(DIMS[-len(shape) :], tuple(steps), boundary)


@st.composite
def cases(
    draw: st.DrawFn,
    dtype: st.SearchStrategy[np.dtype[Any]] = dtypes,
    values: Callable[..., st.SearchStrategy[Array]] = values,
    max_dims: int = 5,
    **kind: Any,
) -> tuple[Array, Recipe]:
    """Draw an array and how to coarsen it."""
    shape = draw(shapes(max_dims=max_dims))
    return draw(values(shape, draw(dtype), **kind)), draw(recipes(shape))


def field(data: Array, recipe: Recipe, blocks: Chunks | None = None) -> xr.DataArray:
    """Return a DataArray of the data, dask-backed where blocks are given."""
    # Not by name: dask would take equal values in other memory for the same array.
    array = data if blocks is None else da.from_array(data, chunks=blocks, name=False)
    return xr.DataArray(array, dims=recipe.dims, name="field")


def levels(
    data: Array,
    recipe: Recipe,
    blocks: Chunks | None = None,
    scheduler: str = "synchronous",
    **options: Any,
) -> list[Array]:
    """Compute the levels above the base, through the accessor."""
    pyramid = field(data, recipe, blocks).pyramid.build(**recipe.options, **options)
    with dask.config.set(scheduler=scheduler):
        computed = dask.compute(*(level.data for level in pyramid.levels[1:]))
    for lazy, array in zip(pyramid.levels[1:], computed, strict=True):
        assert (lazy.shape, lazy.dtype) == (array.shape, array.dtype)
    return list(computed)


def native(dtype: np.dtype[Any]) -> bool:
    """Whether numbers lie in memory as this machine has them."""
    return dtype.byteorder in "=|" or (dtype.byteorder == "<") == (sys.byteorder == "little")
