"""The mean over windows, slowly and obviously right; shares nothing with the library.

Python integers and fractions are exact, so a cell has exactly one right value; where it is no
number of the dtype, one rounding to the nearest (ties to even) makes it one.
"""

import math
from collections.abc import Iterator
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

    A window without samples that count is NaN, or ``ignore`` where the dtype has no NaN.
    """
    out = np.empty(shape(base.shape, factors, boundary), base.dtype)
    for cell, samples in windows(base, factors, boundary, **options):
        if base.dtype.kind == "f":
            out[cell] = rounded(mean_of_floats(samples), base.dtype)
        elif not samples:
            out[cell] = options["ignore"]
        elif base.dtype.kind == "b":
            out[cell] = 2 * sum(samples) > len(samples)  # a tie is False
        else:
            out[cell] = round(Fraction(sum(samples), len(samples)))  # half to even
    return out


def mean_of_floats(samples: list[float]) -> Fraction | float:
    """Return the exact mean, or the infinity or NaN that it is."""
    if not samples or any(map(math.isnan, samples)):
        return math.nan
    if infinite := {x for x in samples if math.isinf(x)}:
        return infinite.pop() if len(infinite) == 1 else math.nan
    return sum(map(Fraction, samples), Fraction()) / len(samples)


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


def float_errors(got: Array, base: Array, factors: tuple[int, ...], **options: Any) -> list[str]:
    """Return a line for each cell that is further from the exact mean than rounding explains.

    Half a unit in the last place for the final rounding, a little for rounding twice, and what
    adding ``n`` numbers up in float64, in whatever order, may lose: ``n * 2**-53`` of the mean
    magnitude. Sums of float16 numbers are exact in float64.
    """
    wrong = []
    for cell, samples in windows(base, factors, **options):
        exact, value = mean_of_floats(samples), float(got[cell])
        if isinstance(exact, float) or not math.isfinite(value):
            if not (value == exact or (math.isnan(value) and math.isnan(exact))):
                wrong.append(f"{cell}: {value}, not {exact}")
            continue
        allowed = (Fraction(1, 2) + Fraction(1, 2**20)) * ulp(exact, base.dtype)
        if base.dtype.itemsize > 2:
            allowed += sum(abs(Fraction(x)) for x in samples) / 2**53
        if abs(Fraction(value) - exact) > allowed:
            wrong.append(f"{cell}: {value!r}, not {float(exact)!r}")
    return wrong
