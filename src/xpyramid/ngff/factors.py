"""Factors of levels that others made, from their shapes and scales."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from xpyramid.errors import NotAPyramidError
from xpyramid.geometry.plan import centre
from xpyramid.geometry.steps import Factors
from xpyramid.ngff.model import Dataset, Multiscale
from xpyramid.warn import warn

Shape = tuple[int, ...]


def recover(image: Multiscale, shapes: Sequence[Shape]) -> tuple[Factors, ...]:
    """Return the cumulative factors of each level.

    Factors are integers; scales need not be. Many writers take the scale from the shapes (65
    samples become 32, so 2.03125): such a scale says no more than the shapes do, and of the
    integers that lead from one length to the other, the one that the image uses elsewhere is
    taken.

    Parameters
    ----------
    image : Multiscale
    shapes : sequence of tuple of int
        Of the levels.

    Raises
    ------
    NotAPyramidError
        If a level is finer than the one before, as its scale says, or without one its shape.

    Examples
    --------
    >>> from xpyramid.ngff import Axis, Dataset, Multiscale
    >>> axes = (Axis("y", "space"), Axis("x", "space"))
    >>> levels = (Dataset("0", (1, 1), (0, 0)), Dataset("1", (2.03125, 2), (0, 0)))
    >>> recover(Multiscale(axes, levels), [(65, 64), (32, 32)])
    ((1, 1), (2, 2))
    """
    _unknown_scales(image, shapes)
    ndim = len(image.axes)
    steps = [
        [(fine[i], coarse[i], _ratio(a, b, i)) for i in range(ndim)]
        for fine, coarse, a, b in zip(
            shapes, shapes[1:], image.datasets, image.datasets[1:], strict=False
        )
    ]
    for k, step in enumerate(steps, 1):
        # Where scales say it, a level is coarse however long: webknossos fills up its last shard.
        if any(ratio < 1 if ratio else coarse > fine for fine, coarse, ratio in step):
            raise NotAPyramidError(
                f"dataset {image.datasets[k].path[:80]!r} has the shape {shapes[k]} and "
                f"the one before {shapes[k - 1]}",
                accepted="datasets from fine to coarse",
            )
    guesses = Counter(
        f for step in steps for n, m, ratio in step if n != m and (f := _nearest(n, m, ratio)) > 1
    )
    common_factor = guesses.most_common(1)[0][0] if guesses else 2
    factors = [(1,) * ndim]
    for k, step in enumerate(steps, 1):
        step_factors = [_factor(*lengths, common_factor) for lengths in step]
        if not all(_leads_to(n, m, f) for (n, m, _), f in zip(step, step_factors, strict=True)):
            warn(
                f"the scale of dataset {image.datasets[k].path[:80]!r} does not fit its shape "
                f"{shapes[k]} and the shape before, {shapes[k - 1]}; the scale is used"
            )
        factors.append(tuple(a * f for a, f in zip(factors[-1], step_factors, strict=True)))
    return tuple(factors)


def fill_transforms(
    image: Multiscale, factors: Sequence[Factors], shapes: Sequence[Shape]
) -> Multiscale:
    """Return the image with a scale and a translation for each level.

    Versions 0.1 to 0.3 do not have any: there, coordinates count the samples of level 0. Some
    writers give the scale 0 to an axis with one sample, whose spacing says nothing: it is what
    other levels make of it, else 1.

    Parameters
    ----------
    image : Multiscale
    factors : sequence of tuple of int
        Of the levels.
    shapes : sequence of tuple of int
        Of the levels.

    Raises
    ------
    NotAPyramidError
        If an axis has the scale 0 and more than one sample.
    """
    spacing = [
        next((d.scale[i] / f[i] for d, f in _scaled(image, factors) if d.scale[i]), 1.0)
        for i in range(len(image.axes))
    ]
    for axis, paths in _unknown_scales(image, shapes).items():
        warn(
            f"the scale along {axis[:80]!r} is 0, in {[path[:80] for path in paths[:10]]}: there "
            "is one sample, and its spacing is not known; that of other levels is taken, else 1"
        )
    datasets = []
    for dataset, f in zip(image.datasets, factors, strict=True):
        if dataset.scale:
            pairs = enumerate(dataset.scale)
            scale = tuple(s or spacing[i] * f[i] for i, s in pairs)
            datasets.append(Dataset(dataset.path, scale, dataset.translation))
        else:
            shifts = tuple(centre(n, sampled=False) for n in f)
            datasets.append(Dataset(dataset.path, tuple(map(float, f)), shifts))
    return replace(image, datasets=tuple(datasets))


def _scaled(image: Multiscale, factors: Sequence[Factors]) -> list[tuple[Dataset, Factors]]:
    pairs = zip(image.datasets, factors, strict=True)
    return [(dataset, f) for dataset, f in pairs if dataset.scale]


def _unknown_scales(image: Multiscale, shapes: Sequence[Shape]) -> dict[str, list[str]]:
    """Return the axes along which scales are 0, and the datasets where they are.

    Raises
    ------
    NotAPyramidError
        If an axis has more than one sample there.
    """
    paths_by_axis: dict[str, list[str]] = {}
    for dataset, shape in zip(image.datasets, shapes, strict=True):
        for axis, value, n in zip(image.axes, dataset.scale, shape, strict=bool(dataset.scale)):
            if value == 0 and n > 1:
                raise NotAPyramidError(
                    f"dataset {dataset.path[:80]!r} has the scale 0 along {axis.name[:80]!r}, "
                    f"where it has {n} samples",
                    accepted="positive numbers, and 0 for one sample",
                )
            if value == 0:
                paths_by_axis.setdefault(axis.name, []).append(dataset.path)
    return paths_by_axis


def _ratio(fine: Dataset, coarse: Dataset, i: int) -> float | None:
    """Return the ratio of two scales, None where the metadata do not say, or say nonsense."""
    if not fine.scale or not coarse.scale:
        return None
    if not fine.scale[i] or not coarse.scale[i]:
        return None
    ratio = coarse.scale[i] / fine.scale[i]
    return ratio if math.isfinite(ratio) and ratio < 2**53 else None


def _factor(fine: int, coarse: int, ratio: float | None, common_factor: int) -> int:
    if fine == coarse and ratio is None:
        return 1
    from_shapes = ratio is None or math.isclose(ratio, fine / max(1, coarse), rel_tol=1e-6)
    if from_shapes and fine != coarse and _leads_to(fine, coarse, common_factor):
        return common_factor
    return _nearest(fine, coarse, ratio)


def _nearest(fine: int, coarse: int, ratio: float | None) -> int:
    return max(1, round(fine / max(1, coarse) if ratio is None else ratio))


def _leads_to(fine: int, coarse: int, factor: int) -> bool:
    """Whether a factor leads from one length to the other, rounded down or up."""
    return coarse in (fine // factor, -(-fine // factor))
