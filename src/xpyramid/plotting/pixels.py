"""From samples to colours: NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from xpyramid.types import Array

#: Percentiles of what is drawn that are black and white, where nothing else is said.
_PERCENTILES = (0.5, 99.5)

#: Colours of neighbouring labels differ: each is a golden section around the circle of hues.
_GOLDEN = (math.sqrt(5) - 1) / 2


def percentiles(values: Array) -> tuple[float, float]:
    """Return what is black and what is white where nothing says it."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, _PERCENTILES)
    return float(low), float(high) if high > low else float(low) + 1


def rgb(color: str) -> Array:
    """Return a colour of six hexadecimal digits as numbers from 0 to 1."""
    try:
        return np.frombuffer(bytes.fromhex(color.lstrip("#")[:6]), np.uint8) / 255.0
    except ValueError:
        return np.ones(3)


def composed(values: Array, channels: Sequence[tuple[Array, float, float]]) -> Array:
    """Return the picture of channels, each in its colour and between the ends of its window.

    Where all channels are NaN it is transparent: there is a fourth number for that, if need be.
    """
    picture = np.zeros((*values.shape[1:], 3))
    is_known = np.zeros(values.shape[1:], bool)
    for channel, (color, low, high) in zip(values, channels, strict=True):
        width = (high - low) or 1  # which somebody may have stored as nothing
        light = np.clip((channel.astype(float) - low) / width, 0, 1)
        picture += np.nan_to_num(light)[..., None] * color
        is_known |= ~np.isnan(light)
    if len(values) and not is_known.all():
        return np.concatenate([np.clip(picture, 0, 1), is_known[..., None]], axis=-1)
    return np.clip(picture, 0, 1)


def colored_labels(
    values: Array, known: Mapping[int, tuple[int, ...]] = MappingProxyType({})
) -> Array:
    """Return a picture in which each label has a colour, and 0 none.

    Parameters
    ----------
    values : ndarray
    known : mapping, optional
        Red, green, blue and alpha, up to 255, of labels that have colours.
    """
    labels, where = np.unique(values, return_inverse=True)
    hues = np.mod(labels.astype(float) * _GOLDEN, 1)
    colors = np.ones((len(labels), 4))
    for i, offset in enumerate((0, 4, 2)):  # HSV with full value, as in colorsys
        phase = np.abs(np.mod(6 * hues + offset, 6) - 3) - 1
        colors[:, i] = 0.15 + 0.85 * np.clip(phase, 0, 1)
    colors[labels == 0] = 0
    for label, rgba in known.items():
        colors[labels == label] = np.array(rgba) / 255
    picture: Array = colors[where.reshape(values.shape)]
    return picture
