"""Units that OME-NGFF has no word for, and that are an exact multiple of one that it has.

The metadata are in the unit that it has: a spacing of 2 kpc is one of 2000 parsec. The coordinates,
and all that is opened again, stay in the unit of the source; the metadata note how to get there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import xarray as xr

from xpyramid.geometry import units
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.plan import Plan, centre
from xpyramid.geometry.steps import Factors
from xpyramid.ngff.json_types import is_number
from xpyramid.ngff.model import Multiscale

#: Where the multiples are noted.
_KEY = "multiples"

_FRACTION = re.compile(r"\d{1,100}(/\d{1,100})?")


def in_known_units(
    image: Multiscale, plan: Plan, multiples: Mapping[str, tuple[str, Fraction]]
) -> Multiscale:
    """Return the metadata of an image in units that NGFF has words for.

    Parameters
    ----------
    image : Multiscale
        In the units of the source.
    plan : Plan
    multiples : mapping
        From dimensions to the unit that NGFF has, and how many of it make one of the source's.
    """
    chosen = {axis.dim: multiples.get(axis.dim) for axis in plan.axes if axis.uneven is None}
    recorded: dict[str, object] = {}
    for i, axis in enumerate(plan.axes):
        multiple = chosen.get(axis.dim)
        if multiple is None:
            continue
        unit, number = multiple
        numbers = {"spacing": plan.scale(0)[i], "origin": plan.translation(0)[i]}
        recorded[axis.dim] = {"number": str(number), **numbers}
        axes = [
            replace(image_axis, unit=unit if j == i else image_axis.unit)
            for j, image_axis in enumerate(image.axes)
        ]
        image = replace(_with_numbers(image, i, _times(image, i, number)), axes=tuple(axes))
    return replace(image, metadata={**image.metadata, _KEY: recorded}) if recorded else image


def multiples_of(base: xr.DataArray, axes: Sequence[AxisSpec]) -> dict[str, tuple[str, Fraction]]:
    """Return the units of dimensions that are exact multiples of those that NGFF has words for."""
    multiples = {}
    for axis in axes:
        attrs = base.coords[axis.dim].attrs if axis.dim in base.coords else {}
        multiple = units.exact(attrs.get("units", attrs.get("unit")), axis.type)
        if multiple is not None and axis.unit is None and axis.spacing:
            multiples[axis.dim] = multiple
    return multiples


def in_own_units(image: Multiscale, factors: Sequence[Factors]) -> Multiscale:
    """Return the metadata of an image in the units of its source, if they were others.

    Parameters
    ----------
    image : Multiscale
        As it is stored.
    factors : sequence of tuple of int
        Of the levels.
    """
    recorded, dims = image.metadata.get(_KEY), image.metadata.get("dims")
    if not isinstance(recorded, Mapping) or not isinstance(dims, list):
        return image
    for i, dim in enumerate(dims[: len(image.axes)]):
        note = recorded.get(dim) if isinstance(dim, str) else None
        number = _number(note)
        if not isinstance(note, Mapping) or number is None:
            continue
        grid = []
        for k, (scale, shift) in enumerate(_grid(image, i)):
            recorded_grid = _noted_grid(
                note, factors[k][i], image.metadata.get("method") == "nearest"
            )
            pairs = zip((scale, shift), recorded_grid, strict=True)
            grid.append([_back(converted, expected, number) for converted, expected in pairs])
        axes = [
            replace(axis, unit=None if j == i else axis.unit) for j, axis in enumerate(image.axes)
        ]
        image = replace(_with_numbers(image, i, grid), axes=tuple(axes))
    return image


def _number(note: object) -> Fraction | None:
    """Return how many of the stored units make one of the source's; strangers write anything."""
    text = note.get("number") if isinstance(note, Mapping) else None
    if not isinstance(text, str) or not _FRACTION.fullmatch(text):
        return None
    _, _, below = text.partition("/")
    return None if below and not int(below) else Fraction(text) or None


def _noted_grid(note: Mapping[str, object], factor: int, sampled: bool) -> tuple[float, float]:
    """Return spacing and origin of a level, as they were before they were converted."""
    spacing, origin = note.get("spacing"), note.get("origin")
    if not (is_number(spacing) and is_number(origin)):
        return 0.0, 0.0
    return spacing * factor, origin + spacing * centre(factor, sampled)


def _back(converted: float, expected: float, number: Fraction) -> float:
    """Return the number that was converted: to divide may miss its last digit."""
    for candidate in (expected, -expected + 0.0):
        if float(Fraction(candidate) * number) == converted:
            return candidate
    return float(Fraction(converted) / number)


def _grid(image: Multiscale, i: int) -> list[tuple[float, float]]:
    return [(dataset.scale[i], dataset.translation[i]) for dataset in image.datasets]


def _times(image: Multiscale, i: int, number: Fraction) -> list[list[float]]:
    return [[float(Fraction(value) * number) for value in pair] for pair in _grid(image, i)]


def _with_numbers(image: Multiscale, i: int, grid: Sequence[Sequence[float]]) -> Multiscale:
    """Return an image with other scales and translations along an axis."""
    datasets = [
        replace(
            dataset,
            scale=(*dataset.scale[:i], scale, *dataset.scale[i + 1 :]),
            translation=(*dataset.translation[:i], shift, *dataset.translation[i + 1 :]),
        )
        for dataset, (scale, shift) in zip(image.datasets, grid, strict=True)
    ]
    return replace(image, datasets=tuple(datasets))
