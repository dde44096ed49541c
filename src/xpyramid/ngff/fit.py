"""Whether a label image covers the image that it is of.

A label image may be of a lower resolution, and may lack the channels and the times of its image.
But what it covers along an axis, from the outer edge of its first sample to that of its last, must
be what the image covers, within a sample of the coarser of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xpyramid.geometry import units
from xpyramid.ngff.model import Multiscale
from xpyramid.ngff.problems import Problem, Severity

Shape = tuple[int, ...]

#: Parts of a sample that rounded decimals may differ by.
_ROUNDED = 2e-3


@dataclass(frozen=True)
class _Line:
    """Level 0 along one axis, in the axis' unit."""

    length: int
    scale: float
    translation: float
    unit: str | None

    def ends(self) -> tuple[float, float]:
        """Return the outer edges of the first and the last sample."""
        low = self.translation - self.scale / 2
        return low, low + self.scale * self.length

    def __str__(self) -> str:
        low, high = self.ends()
        return f"{low:.6g} to {high:.6g} {self.unit or 'samples'}"


def check_label(
    image: Multiscale, shape: Shape | None, label: Multiscale, label_shape: Shape | None
) -> Iterator[Problem]:
    """Yield what is wrong between a label image and its image.

    Parameters
    ----------
    image, label : Multiscale
    shape, label_shape : tuple of int or None
        Of the levels 0; None where they are not known.
    """
    names = [axis.name for axis in image.axes]
    if unknown := [axis.name for axis in label.axes if axis.name not in names]:
        message = f"axes {unknown} that the image does not have; expected some of {names}"
        yield Problem("labels", "", message, "warning")
    label_lines, image_lines = _lines(label, label_shape), _lines(image, shape)
    kinds = {axis.name: axis.type for axis in image.axes}
    if missing := [n for n in names if kinds[n] == "space" and n not in _names(label)]:
        message = f"no axes {missing}, which the image has; expected all its space axes"
        yield Problem("labels", "", message, "warning")
    for name in (name for name in image_lines if name in label_lines and kinds[name] != "channel"):
        yield from _check_line(name, label_lines[name], image_lines[name], kinds[name])


def _names(image: Multiscale) -> list[str]:
    return [axis.name for axis in image.axes]


def _lines(image: Multiscale, shape: Shape | None) -> dict[str, _Line]:
    """Return level 0 along each axis whose scale and length are known."""
    first = image.datasets[0]
    if shape is None or len(shape) != len(image.axes) or not first.scale:
        return {}
    numbers = zip(image.axes, shape, first.scale, first.translation, strict=True)
    return {axis.name: _Line(n, s, t, axis.unit) for axis, n, s, t in numbers if n and s > 0}


def _check_line(name: str, label: _Line, image: _Line, kind: str | None) -> Iterator[Problem]:
    """Compare a label image with its image along an axis."""
    measured = label.unit is not None and image.unit is not None
    if (label.unit is None) != (image.unit is None):
        message = f"unit {label.unit!r} along {name!r}; expected {image.unit!r}, as the image has"
        yield Problem("labels", "", message, "warning")
    unit_size = _ratio(label.unit, image.unit, kind or "space") if measured else 1.0
    if unit_size is None:
        message = f"unit {label.unit!r} along {name!r}, and the image has {image.unit!r}"
        yield Problem("labels", "", f"{message}; expected the same unit", "warning")
        return
    covered = _Line(
        label.length, label.scale * unit_size, label.translation * unit_size, image.unit
    )
    coarser = max(covered.scale, image.scale)
    apart = [abs(a - b) for a, b in zip(covered.ends(), image.ends(), strict=True)]
    if max(apart) > coarser * (1 + _ROUNDED):
        severity: Severity = "error" if measured else "warning"
        message = f"the label image covers {covered} along {name!r}, and the image {image}"
        yield Problem("labels", "", f"{message}; expected the same", severity)
    elif covered.length == image.length and max(apart) > coarser * _ROUNDED:
        message = (
            f"scale {covered.scale:.9g} and translation {covered.translation:.9g} along {name!r}"
        )
        expected = f"{image.scale:.9g} and {image.translation:.9g}, as the image has"
        yield Problem("labels", "", f"{message}; expected {expected}", "warning")


def _ratio(unit: str | None, other: str | None, kind: str) -> float | None:
    """Return the size of one unit in another, None where they cannot be compared."""
    if unit == other:
        return 1.0
    word, other_word = units.to_ngff(unit, kind), units.to_ngff(other, kind)
    if word is None or other_word is None:
        return None
    return units.size(word) / units.size(other_word)
