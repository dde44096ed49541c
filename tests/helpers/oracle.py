"""Reductions over windows, slowly and obviously right; shares nothing with the library.

Python integers and fractions are exact, so a cell has exactly one right value; where it is no
number of the dtype, one rounding to the nearest (ties to even) makes it one.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Cell = tuple[int, ...]


def shape(base: tuple[int, ...], factors: tuple[int, ...], boundary: str = "pad") -> Cell:
    """Return the shape of a level: partial windows count where they are padded."""
    if boundary == "trim":
        return tuple(n // f for n, f in zip(base, factors, strict=True))
    return tuple(math.ceil(Fraction(n, f)) for n, f in zip(base, factors, strict=True))


def windows(
    base: Array,
    factors: tuple[int, ...],
    boundary: str = "pad",
    *,
    skipna: bool = True,
    ignore: float | None = None,
) -> Iterator[tuple[Cell, list[Any]]]:
    """Yield each cell and the samples of level 0 that count in it, as Python numbers."""
    for cell in np.ndindex(shape(base.shape, factors, boundary)):
        window = base[tuple(slice(i * f, (i + 1) * f) for i, f in zip(cell, factors, strict=True))]
        samples = window.ravel().tolist()
        if ignore is not None:
            unwanted = base.dtype.type(ignore).item()
            samples = [x for x in samples if x != unwanted]
        if skipna:
            samples = [x for x in samples if not math.isnan(x)]
        yield cell, samples


def mean(base: Array, factors: tuple[int, ...], boundary: str = "pad", **options: Any) -> Array:
    """Return the mean of each window, rounded once to the dtype of the base.

    A window without samples that count is ``ignore``, or NaN where there is none.
    """
    out = np.empty(shape(base.shape, factors, boundary), base.dtype)
    for cell, samples in windows(base, factors, boundary, **options):
        if not samples:
            out[cell] = empty(options)
        elif base.dtype.kind == "f":
            out[cell] = rounded(mean_of_floats(samples), base.dtype)
        elif base.dtype.kind == "b":
            out[cell] = 2 * sum(samples) > len(samples)  # a tie is False
        else:
            out[cell] = round(Fraction(sum(samples), len(samples)))  # half to even
    return out


def empty(options: dict[str, Any]) -> float:
    """Return what a window without samples that count is."""
    ignore = options.get("ignore")
    return math.nan if ignore is None else ignore


NAT = -(2**63)

#: From the samples that count, at least one and none of them NaN, to the value of a cell.
REDUCTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "min": min,
    "max": max,
    "median": lambda samples: sorted(samples)[(len(samples) - 1) // 2],
    "mode": lambda samples: min(set(samples), key=lambda v: (-samples.count(v), v)),
    "sum": sum,
}


def reduce(
    base: Array, factors: tuple[int, ...], method: str, boundary: str = "pad", **options: Any
) -> Array:
    """Return the reduction of each window by any method; floats are not added up here.

    A window without samples that count is ``ignore``; where there is none, NaN or NaT.
    """
    if method == "nearest":
        return nearest(base, factors, boundary)
    if base.dtype.kind in "mM":
        return reduce_ticks(base, factors, method, boundary, **options)
    if method == "mean":
        return mean(base, factors, boundary, **options)
    function = REDUCTIONS[method]
    is_sum, is_float = method == "sum", base.dtype.kind == "f"
    assert not (is_sum and is_float), "for those there is float_errors"
    dtype = np.dtype("u8" if base.dtype.kind == "u" else "i8") if is_sum else base.dtype
    out = np.empty(shape(base.shape, factors, boundary), dtype)
    for cell, samples in windows(base, factors, boundary, **options):
        if any(map(math.isnan, samples)):
            out[cell] = math.nan
        elif not samples:
            out[cell] = empty(options)
        else:
            out[cell] = modulo(function(samples), dtype) if is_sum else function(samples)
    return out


def modulo(value: int, dtype: np.dtype[Any]) -> int:
    """Return what is left of an integer in 64 bits."""
    low = int(np.iinfo(dtype).min)
    return (value - low) % 2**64 + low


def nearest(base: Array, factors: tuple[int, ...], boundary: str = "pad") -> Array:
    """Return the first sample of each window."""
    out = np.empty(shape(base.shape, factors, boundary), base.dtype)
    for cell in np.ndindex(out.shape):
        out[cell] = base[tuple(i * f for i, f in zip(cell, factors, strict=True))]
    return out


def reduce_ticks(
    base: Array,
    factors: tuple[int, ...],
    method: str,
    boundary: str = "pad",
    *,
    skipna: bool = True,
) -> Array:
    """Reduce datetimes or durations: integers, of which one is NaT."""
    numbers = base.astype(base.dtype.newbyteorder("=")).view("i8")
    out = reduce(numbers, factors, method, boundary, ignore=NAT)
    if not skipna:
        out[valid(base, factors, boundary) < 1] = NAT
    return out.view(base.dtype.newbyteorder("=")).astype(base.dtype)


def valid(
    base: Array, factors: tuple[int, ...], boundary: str = "pad", *, ignore: float | None = None
) -> Array:
    """Return the fraction of the samples of each window that count."""
    if base.dtype.kind in "mM":
        base, ignore = base.astype(base.dtype.newbyteorder("=")).view("i8"), NAT
    out = np.empty(shape(base.shape, factors, boundary))
    there = {cell: len(xs) for cell, xs in windows(base, factors, boundary, skipna=False)}
    for cell, samples in windows(base, factors, boundary, ignore=ignore):
        out[cell] = len(samples) / there[cell]
    return out


def count(base: Array, factors: tuple[int, ...], boundary: str = "pad", **options: Any) -> Array:
    """Return how many samples of each window count, in the smallest dtype for a whole window."""
    there = [len(xs) for _, xs in windows(base, factors, skipna=False)]
    out = np.zeros(shape(base.shape, factors, boundary), np.min_scalar_type(max(there, default=1)))
    for cell, samples in windows(base, factors, boundary, **options):
        out[cell] = len(samples)
    return out


def variance(samples: list[Any]) -> Fraction | float:
    """Return the exact variance; NaN without samples, or where one is not finite."""
    if not samples or not all(map(math.isfinite, samples)):
        return math.nan
    numbers = list(map(Fraction, samples))
    mean = sum(numbers, Fraction()) / len(numbers)
    return sum(((x - mean) ** 2 for x in numbers), Fraction()) / len(numbers)


def std_errors(got: Array, base: Array, factors: tuple[int, ...], **options: Any) -> list[str]:
    """Return a line for each cell whose square is further from the exact variance than rounding is.

    Half a unit in the last place of the dtype, and a relative 2**-44 for what is lost in float64.
    Numbers whose squares are below 2**-1000 are too small for that.
    """
    wrong = []
    unit = Fraction(2) ** -np.finfo(got.dtype).nmant / 2 + Fraction(2) ** -44
    smallest = float(np.finfo(got.dtype).smallest_normal)
    for cell, samples in windows(base, factors, **options):
        exact, value = variance(samples), float(got[cell])
        if isinstance(exact, float) or not math.isfinite(value):
            if not (isinstance(exact, float) and math.isnan(value)):
                wrong.append(f"{cell}: {value}, not the root of {exact}")
        elif exact > max(Fraction(smallest) ** 2, Fraction(2) ** -1000):
            if not (1 - unit) ** 2 <= Fraction(value) ** 2 / exact <= (1 + unit) ** 2:
                wrong.append(f"{cell}: {value!r}, not the root of {float(exact)!r}")
        elif not exact and value:
            wrong.append(f"{cell}: {value!r}, not 0")
    return wrong


def mean_of_floats(samples: list[float]) -> Fraction | float:
    """Return the exact mean, or the infinity or NaN that it is."""
    if not samples or any(map(math.isnan, samples)):
        return math.nan
    if infinite := {x for x in samples if math.isinf(x)}:
        return infinite.pop() if len(infinite) == 1 else math.nan
    return sum(map(Fraction, samples), Fraction()) / len(samples)


def sum_of_floats(samples: list[float]) -> Fraction | float:
    """Return the exact sum, or the infinity or NaN that it is."""
    mean = mean_of_floats(samples)
    return mean if isinstance(mean, float) else mean * len(samples)


def ulp(value: Fraction, dtype: np.dtype[Any]) -> Fraction:
    """Return the distance between neighbours of ``dtype`` in the binade that holds ``value``."""
    info = np.finfo(dtype)
    exponent = int(info.minexp)
    if value:
        numerator, denominator = abs(value.numerator), value.denominator
        guess = numerator.bit_length() - denominator.bit_length()
        guess -= abs(value) < Fraction(2) ** guess  # now 2**guess <= |value| < 2**(guess + 1)
        exponent = max(exponent, guess)
    return Fraction(2) ** (exponent - int(info.nmant))


def rounded(value: Fraction | float, dtype: np.dtype[Any]) -> float:
    """Round to the nearest number of ``dtype``, ties to even; a Python float holds it exactly."""
    if isinstance(value, float):
        return value
    unit = ulp(value, dtype)
    return float(round(value / unit) * unit)


def float_errors(
    got: Array,
    base: Array,
    factors: tuple[int, ...],
    *,
    method: str = "mean",
    **options: Any,
) -> list[str]:
    """Return a line for each cell that is further from the exact value than rounding explains.

    Half a unit in the last place for the final rounding, a little for rounding twice, and what
    adding ``n`` numbers up in float64, in whatever order, may lose: ``n * 2**-53`` of the mean
    magnitude (of the sum: ``n`` times that). Sums of float16 numbers are exact in float64.
    """
    wrong = []
    largest = Fraction(float(np.finfo(base.dtype).max))
    for cell, samples in windows(base, factors, **options):
        exact = sum_of_floats(samples) if method == "sum" else mean_of_floats(samples)
        if not samples:
            exact = float(base.dtype.type(empty(options)))
        value: Any = float(got[cell])
        if isinstance(exact, Fraction):
            unit = ulp(min(abs(exact), largest), base.dtype)
            allowed = (Fraction(1, 2) + Fraction(1, 2**20)) * unit
            if base.dtype.itemsize > 2:
                lost = sum(abs(Fraction(x)) for x in samples) / 2**53
                allowed += lost * len(samples) if method == "sum" else lost
        if isinstance(exact, Fraction) and method == "sum":
            # Of a sum that is out of range, infinity is the number next to the largest.
            beyond = largest + ulp(largest, base.dtype)
            exact = max(-beyond, min(beyond, exact))
            value = int(math.copysign(1, value)) * beyond if math.isinf(value) else value
        if isinstance(exact, float) or not (isinstance(value, Fraction) or math.isfinite(value)):
            if not (value == exact or (math.isnan(value) and math.isnan(exact))):
                wrong.append(f"{cell}: {value}, not {exact}")
        elif abs(Fraction(value) - exact) > allowed:
            wrong.append(f"{cell}: {value!r}, not {float(exact)!r}")
    return wrong
