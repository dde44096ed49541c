"""Decoding every stored object, and computing levels once more to compare them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from threading import Lock

import dask
import numpy as np
from numpy.typing import NDArray

from xpyramid import engine, ngff
from xpyramid.errors import PyramidError, ReadError
from xpyramid.geometry.passes import Limits, Shape, SourceChunks, passes
from xpyramid.ngff import Problem
from xpyramid.reducers import Array, Reducer, make_reducer, reduce_levels
from xpyramid.runtime.cluster import workers
from xpyramid.verifier.arrays import Region, Stored

Damaged = Mapping[str, list[Region]]

#: Methods that others' levels are compared with, and the samples that are read for that.
_CANDIDATES = ("mean", "nearest", "mode", "median", "max", "min")
_SAMPLES = 2**24


def decode(
    arrays: Iterable[Stored], changed: dict[str, Problem]
) -> tuple[list[Problem], dict[str, list[Region]]]:
    """Decode every stored object, which compares the checksums that there are.

    Parameters
    ----------
    arrays : iterable of Stored
    changed : dict
        What is known to be wrong with objects, by their keys. It is added there that they cannot be
        decoded, so that damage is said once.

    Returns
    -------
    problems : list of Problem
    damaged : dict
        The regions of each array that are missing or cannot be decoded.
    """
    problems: list[Problem] = []
    damaged: dict[str, list[Region]] = {}
    with ThreadPoolExecutor(workers()) as pool:
        for stored in arrays:
            holes = damaged.setdefault(stored.path, [])
            indexes = [int(i) for i in np.flatnonzero(stored.present)]
            for index, reason in zip(
                indexes, pool.map(lambda i, s=stored: _decoding_error(s, i), indexes), strict=True
            ):
                if reason is None:
                    continue
                holes.append(stored.grid.region(index))
                key, text = stored.key(index), f"cannot be decoded: {reason}"
                if key in changed:
                    known = changed[key]
                    changed[key] = replace(known, message=f"{known.message}; it {text}")
                else:
                    problems.append(Problem("unreadable", key, f"the {stored.noun} {text}"))
    return problems, damaged


def _decoding_error(stored: Stored, index: int) -> str | None:
    """Decode an object; return what is wrong with it."""
    try:
        stored.array[stored.grid.region(index)]
    except ReadError:  # the store does not answer, which says nothing of the object
        raise
    except Exception as error:  # codecs raise what happens to go wrong first
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


class _Base(engine.Source):
    """Level 0 as it is stored; what cannot be decoded is left empty."""

    def __init__(self, stored: Stored, damaged: Sequence[Region]) -> None:
        self.array, self.damaged = stored.array, damaged

    def read(self, region: Region) -> Array:
        """Return the samples of a region."""
        if not any(_overlap(region, hole) for hole in self.damaged):
            return np.asarray(self.array[region])
        out = np.zeros(tuple(r.stop - r.start for r in region), self.array.dtype)
        whole = _objects(region, self.array.shards or self.array.chunks)
        for part in whole:
            if not any(_overlap(part, hole) for hole in self.damaged):
                pairs = zip(part, region, strict=True)
                at = tuple(slice(p.start - r.start, p.stop - r.start) for p, r in pairs)
                out[at] = self.array[part]
        return out


def _objects(region: Region, lengths: Sequence[int]) -> Iterator[Region]:
    """Divide a region at the edges of stored objects."""
    sides = []
    for part, length in zip(region, lengths, strict=True):
        first = part.start // length * length
        edges = [part.start, *range(first + length, part.stop, length), part.stop]
        sides.append([slice(a, b) for a, b in pairwise(edges)])
    for index in np.ndindex(*map(len, sides)):
        yield tuple(side[i] for side, i in zip(sides, index, strict=True))


def _overlap(a: Region, b: Region) -> bool:
    return all(x.start < y.stop and y.start < x.stop for x, y in zip(a, b, strict=True))


class _Comparer:
    """A sink that compares with what is stored, instead of storing."""

    def __init__(self, stored: Stored, factors: Sequence[int], damaged: Damaged, base: str) -> None:
        self.stored, self.factors = stored, factors
        self.own, self.base = damaged.get(stored.path, []), damaged.get(base, [])
        self.problems: list[Problem] = []
        self.lock = Lock()

    def __call__(self, region: Region, values: Array) -> None:
        """Compare the values of a region, by stored objects."""
        for part in _objects(region, self.stored.array.shards or self.stored.array.chunks):
            pairs = zip(part, region, strict=True)
            at = tuple(slice(p.start - r.start, p.stop - r.start) for p, r in pairs)
            if not any(_overlap(part, hole) for hole in self.own):
                self._compare(part, values[at])

    def _compare(self, region: Region, values: Array) -> None:
        stored = np.asarray(self.stored.array[region])
        wrong = ~_same(stored, values)
        for hole in self.base:  # nothing can be said of what lies above damage
            wrong[_above(hole, self.factors, region)] = False
        if not wrong.any():
            return
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        cell = tuple(r.start + i for r, i in zip(region, at, strict=True))
        message = (
            f"{int(wrong.sum())} of {wrong.size} cells are wrong, the first at {cell}: "
            f"{stored[at]}; expected {values[at]}"
        )
        lengths = self.stored.grid.lengths
        place = np.ravel_multi_index(
            tuple(r.start // n for r, n in zip(region, lengths, strict=True)),
            self.stored.grid.counts,
        )
        with self.lock:
            self.problems.append(Problem("values", self.stored.key(int(place)), message))


def _above(hole: Region, factors: Sequence[int], region: Region) -> Region:
    """Return the cells of a region that a region of level 0 reaches."""
    return tuple(
        slice(max(0, h.start // f - r.start), max(0, -(-h.stop // f) - r.start))
        for h, f, r in zip(hole, factors, region, strict=True)
    )


def _same(a: Array, b: Array) -> NDArray[np.bool_]:
    """Whether values are the same, NaN and NaT included."""
    equal: NDArray[np.bool_] = np.asarray(a == b)
    if a.dtype.kind in "fcmM":
        equal |= (a != a) & (b != b)  # noqa: PLR0124
    return equal


def recompute(
    image: ngff.Multiscale, levels: Sequence[Stored], damaged: Damaged, notes: list[str]
) -> list[Problem]:
    """Compute the levels of an image of ours once more, and return those that differ.

    In memory that does not grow with the image; on threads, whatever scheduler is configured.
    """
    factors = ngff.recorded_factors(image)
    base = levels[0].array
    if len(levels) == 1 or factors is None or _is_elsewhere(levels, factors):
        return []  # nothing to compute, or said already
    try:
        reducer = ngff.reducer_of(image, base.dtype, base.shape, factors[-1])
        jobs, sinks = _jobs(reducer, levels, factors, damaged)
    except (PyramidError, TypeError, ValueError) as error:
        notes.append(f"the values were not computed again: {error}")
        return []
    with dask.config.set(scheduler="threads"):
        engine.run(jobs, progress=False)
    problems = [problem for sink in sinks for problem in sink.problems]
    return sorted(problems, key=lambda problem: problem.where)


def _is_elsewhere(levels: Sequence[Stored], factors: Sequence[tuple[int, ...]]) -> bool:
    """Whether shapes are no levels of the base."""
    shape = levels[0].array.shape
    return any(
        not all(n // f <= m <= -(-n // f) for n, m, f in zip(shape, s.array.shape, fs, strict=True))
        for s, fs in zip(levels, factors, strict=True)
    )


def _jobs(
    reducer: Reducer,
    levels: Sequence[Stored],
    factors: Sequence[tuple[int, ...]],
    damaged: Damaged,
) -> tuple[list[engine.Job], list[_Comparer]]:
    """Return the jobs of computing all levels, mostly one, and what compares them."""
    base = levels[0]
    holes = damaged.get(base.path, [])
    sinks = [_Comparer(s, f, damaged, base.path) for s, f in zip(levels, factors, strict=True)][1:]
    shapes = [Shape(s.array.shape, s.array.shards or s.array.chunks) for s in levels]
    steps = [tuple(b // a for a, b in zip(x, y, strict=True)) for x, y in pairwise(factors)]
    limits, itemsize = Limits(workers(), None), base.array.dtype.itemsize
    jobs = []
    for image_pass in passes(
        shapes,
        steps,
        [SourceChunks()],
        itemsize,
        limits,
        holistic=reducer.holistic,
        copies=reducer.copies,
        present=[0],
    ):
        targets = tuple(sinks[k - 1] if k else None for k in image_pass.levels)
        used = tuple(levels[k].array.shape for k in image_pass.levels)
        work = engine.Work(image_pass.tiling, (engine.Output(reducer, used, targets),))
        jobs.append(engine.Job(work, _Base(base, holes)))
    return jobs, sinks


def fitting(image: ngff.Multiscale, levels: Sequence[Stored], damaged: Damaged) -> Iterator[str]:
    """Say which method fits the levels that others wrote, each made from the one above it.

    A part of each level is read: its first, its middle and its last stored object, as far as they
    are not too large.
    """
    paths_by_methods: dict[str, list[str]] = {}
    if not ngff.has_transforms(image):
        return  # there are none, or it has been said already
    for k, (fine, coarse) in enumerate(pairwise(levels), start=1):
        above, here = image.datasets[k - 1], image.datasets[k]
        ratios = [ngff.ratio_of(here, above, i) for i in range(len(image.axes))]
        step = tuple(1 if ratio is None else max(1, round(ratio)) for ratio in ratios)
        if max(step) == 1 or _is_elsewhere((fine, coarse), ((1,) * len(step), step)):
            continue
        parts = list(_parts(fine, coarse, step, damaged))
        if parts:
            fits = [
                m for m in _CANDIDATES if all(_is_explained_by(m, a, b, step) for a, b in parts)
            ]
            methods = " and ".join(fits) or f"none of {', '.join(_CANDIDATES)}"
            paths_by_methods.setdefault(methods, []).append(coarse.path)
    for methods, paths in paths_by_methods.items():
        where = ", ".join(paths)
        yield f"{where}: {methods} of the level above fits, within rounding, where it was compared"


def _parts(
    fine: Stored, coarse: Stored, step: Sequence[int], damaged: Damaged
) -> Iterator[tuple[Array, Array]]:
    """Yield samples of a level and the cells above them, a few and not too large."""
    for index in sorted({0, coarse.grid.total // 2, coarse.grid.total - 1}):
        cells = coarse.grid.region(index)
        under = tuple(
            slice(c.start * f, min(c.stop * f, n))
            for c, f, n in zip(cells, step, fine.array.shape, strict=True)
        )
        lost = [_overlap(hole, under) for hole in damaged.get(fine.path, [])]
        lost += [_overlap(hole, cells) for hole in damaged.get(coarse.path, [])]
        if not any(lost) and math.prod(p.stop - p.start for p in under) <= _SAMPLES:
            yield np.asarray(fine.array[under]), np.asarray(coarse.array[cells])


def _is_explained_by(method: str, block: Array, stored: Array, step: tuple[int, ...]) -> bool:
    """Whether values are a method's, but for rounding, in all windows that are whole."""
    if method == "mean" and block.dtype.kind in "iu":
        block = block.astype(np.float64)
    try:
        reducer = make_reducer(method, block.dtype, math.prod(step))
    except PyramidError:
        return False
    values = reduce_levels(np.ascontiguousarray(block), [step], reducer)[0]
    whole = tuple(
        slice(0, min(n // f, m)) for n, f, m in zip(block.shape, step, stored.shape, strict=True)
    )
    ours, theirs = values[whole], stored[whole]
    if method == "mean" and theirs.dtype.kind in "iu":
        less = ours - theirs
        return bool((abs(less) <= 0.5).all() or ((less >= 0) & (less < 1)).all())
    if block.dtype.kind in "fc":
        return bool(np.allclose(ours, theirs, rtol=1e-5, atol=0, equal_nan=True))
    return bool(_same(ours, theirs).all())
