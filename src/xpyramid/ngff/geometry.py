"""Whether scales, translations and shapes of the levels say the same thing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from xpyramid.ngff.model import Dataset, Multiscale
from xpyramid.ngff.problems import Problem, Severity

Shapes = Sequence[tuple[int, ...] | None]

#: Scales within these parts of a multiple are that multiple: exactly, and as rounded decimals.
_EXACT = 1e-5
_ROUNDED = 2e-3

#: Names of methods whose cells stand for one sample, which need no half-pixel shift.
_SAMPLING = {"nearest", "sample", "subsample", "stride", "striding", "decimate", "decimation"}


def check_geometry(image: Multiscale, shapes: Shapes) -> Iterator[Problem]:
    """Yield what is wrong between the levels.

    Parameters
    ----------
    image : Multiscale
    shapes : sequence of tuple of int or None
        Of the arrays; None for a missing one, or one of the wrong rank.
    """
    broken = list(_check_numbers(image, shapes))
    yield from broken
    if any(problem.severity == "error" for problem in broken):
        return
    disorder = list(_check_order(image, shapes))
    yield from disorder
    if disorder:  # what follows compares with level 0, which is not the base then
        return
    for k in range(1, len(image.datasets)):
        yield from _check_level(image, shapes, k)
    yield from _check_shifts(image)
    yield from _check_recorded(image)


def _check_numbers(image: Multiscale, shapes: Shapes) -> Iterator[Problem]:
    """Scales must be positive; an axis with one sample may have 0, for its spacing says nothing."""
    for dataset, shape in zip(image.datasets, shapes, strict=True):
        zeros = [i for i, s in enumerate(dataset.scale) if s == 0]
        if shape and zeros and all(shape[i] <= 1 for i in zeros):
            names = [image.axes[i].name for i in zeros]
            message = f"scale 0 along {names}, with at most one sample there"
            yield Problem(
                "scale", dataset.path, f"{message}; expected a positive number", "warning"
            )
            zeros = []
        if zeros or not _is_transform(dataset):
            yield Problem(
                "scale",
                dataset.path,
                f"scale {list(dataset.scale)}, translation {list(dataset.translation)}; expected "
                "positive, finite scales and finite translations",
            )


def has_transforms(image: Multiscale) -> bool:
    """Whether there are scales, not negative and finite, and translations that are finite."""
    return all(dataset.scale and _is_transform(dataset) for dataset in image.datasets)


def _is_transform(dataset: Dataset) -> bool:
    sound = all(math.isfinite(s) and s >= 0 for s in dataset.scale)
    return sound and all(map(math.isfinite, dataset.translation))


def ratio_of(coarse: Dataset, fine: Dataset, axis: int) -> float | None:
    """Return how many times as large a scale is; None where one is not known, or too small."""
    if not coarse.scale or not fine.scale or not coarse.scale[axis] or not fine.scale[axis]:
        return None
    ratio = coarse.scale[axis] / fine.scale[axis]
    return ratio if 2**-60 < ratio < 2**60 else None


def _check_order(image: Multiscale, shapes: Shapes) -> Iterator[Problem]:
    """Each level must be coarser and smaller than the one before."""
    for k, (fine, coarse) in enumerate(pairwise(image.datasets), start=1):
        pairs = [(a, b) for a, b in zip(fine.scale, coarse.scale, strict=False) if a and b]
        finer = any(b < a * (1 - _ROUNDED) for a, b in pairs)
        if finer or (
            pairs and all(b <= a for a, b in pairs) and not _has_unknown_scales(fine, coarse)
        ):
            yield Problem(
                "order",
                coarse.path,
                f"scale {list(coarse.scale)} after {list(fine.scale)} of {fine.path!r}; expected "
                "levels from the finest to the coarsest",
            )
            continue
        above, below = shapes[k - 1], shapes[k]
        if above and below and any(b > a for a, b in zip(above, below, strict=True)):
            yield Problem(
                "order",
                coarse.path,
                f"shape {below} after {above} of {fine.path!r}; expected a smaller level",
            )


def _has_unknown_scales(*datasets: Dataset) -> bool:
    """Whether there are scales that are not known: along such an axis a level may be coarser."""
    return any(0 in dataset.scale for dataset in datasets)


def _check_level(image: Multiscale, shapes: Shapes, k: int) -> Iterator[Problem]:
    is_ours = image.metadata.get("library") == "xpyramid"
    first, dataset = image.datasets[0], image.datasets[k]
    base, shape = shapes[0], shapes[k]
    for i, axis in enumerate(image.axes):
        mismatch = _check_axis(first, dataset, i, (base[i], shape[i])) if base and shape else None
        if mismatch is not None:
            kind, text = mismatch
            # Others resize, by no whole factor: then the ratio of the lengths is right.
            resized = "the ratio of the lengths" in text and not is_ours
            severity: Severity = "warning" if resized else "error"
            yield Problem(kind, dataset.path, f"along {axis.name!r}, {text}", severity)


def _check_axis(
    first: Dataset, dataset: Dataset, i: int, lengths: tuple[int, int]
) -> tuple[str, str] | None:
    """Compare scale and length of a level with those of level 0; return kind and sentence."""
    if bool(lengths[0]) != bool(lengths[1]):
        return "shape", f"the length is {lengths[1]}, and that of level 0 {lengths[0]}"
    if not (first.scale and dataset.scale and first.scale[i] and dataset.scale[i] and lengths[0]):
        return None
    base, scale = first.scale[i], dataset.scale[i]
    ratio = ratio_of(dataset, first, i)
    if ratio is None:
        message = f"the scale is {scale:.9g}, and that of level 0 {base:.9g}"
        return "scale", f"{message}; expected a whole multiple"
    return _check_ratio(base, scale, ratio, lengths)


def _check_ratio(
    base: float, scale: float, ratio: float, lengths: tuple[int, int]
) -> tuple[str, str] | None:
    n, m = lengths
    factor = max(1, round(ratio))
    scale_text = f"the scale {scale:.9g} is {ratio:.9g} times that of level 0"
    if abs(ratio - factor) > _EXACT * factor and n % m and abs(ratio - n / m) < 1e-4 * ratio:
        whole = 2 ** round(math.log2(n / m))
        whole = whole if _is_length_by(n, m, whole) else max(1, round(n / m))
        if not _is_length_by(n, m, whole):
            return None  # resampled by no integer
        return (
            "scale",
            f"{scale_text}, the ratio of the lengths {n} and {m}; expected {base * whole:.9g}",
        )
    if abs(ratio - factor) > _ROUNDED * factor:
        return "scale", f"{scale_text}, and the lengths are {n} and {m}; expected a whole multiple"
    if not _is_length_by(n, m, factor):
        low, high = max(1, n // factor), -(-n // factor)
        expected = str(low) if low == high else f"{low} or {high}"
        return "shape", f"the length is {m} and {scale_text}; expected {expected} from {n}"
    return None


def _is_length_by(n: int, m: int, factor: int) -> bool:
    return max(1, n // factor) <= m <= -(-n // factor)


def _check_shifts(image: Multiscale) -> Iterator[Problem]:
    """Cells of a mean are centred on their windows; that, or no shift at all, for all levels."""
    is_ours = image.metadata.get("library") == "xpyramid"
    methods = {str(image.type).lower(), str(image.metadata.get("method")).lower()}
    sampled = bool(methods & _SAMPLING)
    severity: Severity = "error" if is_ours else "warning"  # the specification says nothing of it
    first, first_paths = image.datasets[0], dict[str, str]()
    for dataset in image.datasets[1:]:
        for i, axis in enumerate(image.axes):
            factor = ratio_of(dataset, first, i)
            if factor is None:
                continue
            step, origin = first.scale[i], first.translation[i]
            shift = (dataset.translation[i] - origin) / step
            centred, noise = (factor - 1) / 2, 1e-3 * factor + 1e-9 * abs(origin) / step
            conventions = {0.0} if is_ours and sampled else {centred} if is_ours else {0.0, centred}
            if not any(abs(shift - convention) <= noise for convention in conventions):
                expected = " or ".join(f"{origin + step * c:.9g}" for c in sorted(conventions))
                yield Problem(
                    "translation",
                    dataset.path,
                    f"along {axis.name!r}, the translation {dataset.translation[i]:.9g} is "
                    f"{shift:.6g} samples of level 0 from its {origin:.9g}; expected {expected}",
                    severity,
                )
            elif factor > 1 + 10 * _ROUNDED:
                first_paths.setdefault("none" if abs(shift) <= noise else "centred", dataset.path)
    if len(first_paths) == 2:
        yield Problem(
            "translation",
            first_paths["none"],
            f"no half-pixel shift here, but one in {first_paths['centred']!r}; expected one "
            "convention",
            severity,
        )
    elif "none" in first_paths and not sampled:
        yield Problem(
            "translation",
            "",
            f"no level is shifted by half a pixel: {first_paths['none']!r} has the translation of "
            "level 0; expected spacing * (factor - 1) / 2 more, unless cells are single samples",
            "warning",
        )


def recorded_factors(image: Multiscale) -> list[tuple[int, ...]] | None:
    """Return the factors that the metadata of an image of ours record, None if they make none."""
    recorded = image.metadata.get("factors")
    if not isinstance(recorded, list) or len(recorded) != len(image.datasets):
        return None
    for factors in recorded:
        right = isinstance(factors, list | tuple) and len(factors) == len(image.axes)
        if not right or not all(type(f) is int and f >= 1 for f in factors):
            return None
    level_factors = [tuple(factors) for factors in recorded]
    steps = [zip(a, b, strict=True) for a, b in pairwise(level_factors)]
    nested = all(b % a == 0 for step in steps for a, b in step)
    return level_factors if nested and all(f == 1 for f in level_factors[0]) else None


def _check_recorded(image: Multiscale) -> Iterator[Problem]:
    """Compare what we record beside NGFF's words with them."""
    if image.metadata.get("library") != "xpyramid":
        return
    recorded = recorded_factors(image)
    first = image.datasets[0]
    ratios = {
        d.path: [ratio_of(d, first, i) for i in range(len(image.axes))] for d in image.datasets
    }
    factors: Mapping[str, object] = {
        path: [None if r is None else round(r) for r in row] for path, row in ratios.items()
    }
    if recorded is None or [list(f) for f in recorded] != list(factors.values()):
        yield Problem(
            "factors",
            "",
            f"metadata.factors is {str(image.metadata.get('factors'))[:200]}; expected "
            f"{list(factors.values())} from the scales",
        )
