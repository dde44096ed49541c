"""How viewers are to show the channels: the ``omero`` metadata.

https://ngff.openmicroscopy.org/0.5/, the same in 0.4 and 0.6:

"The `omero` metadata is optional, but if present it MUST contain the field `channels`, which is an
array of objects describing the channels of the image."
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xpyramid.errors import PlanError

Number = int | float
Window = tuple[Number, Number]

#: M. Okabe and K. Ito's colours, made for all kinds of colour vision; black is left out.
_COLORS = ("56B4E9", "E69F00", "009E73", "F0E442", "CC79A7", "D55E00", "0072B2", "FFFFFF")

#: How many channels are shown at first: viv draws no more.
_ACTIVE = 6

_KEYS = ("colors", "labels", "windows")


@dataclass(frozen=True)
class Channels:
    """Names and colours of channels, and windows where they are given.

    Attributes
    ----------
    labels, colors : tuple of str
    windows : tuple of (number, number), or None
        Start and end of each; None takes them from the data.
    """

    labels: tuple[str, ...]
    colors: tuple[str, ...]
    windows: tuple[Window, ...] | None = None


def channels(names: Sequence[str], given: Mapping[str, Any]) -> Channels:
    """Return what is shown of some channels.

    Parameters
    ----------
    names : sequence of str
        Of the channels, unless labels are given.
    given : mapping
        ``labels``, ``colors`` (six hexadecimal digits) and ``windows`` (start, end), one for each
        channel; all optional.

    Raises
    ------
    PlanError
        For other keys, a wrong number of entries, colours that are none, or windows without width.
    """
    if unknown := [key for key in given if key not in _KEYS]:
        raise PlanError(f"omero= has {unknown}; accepted: {', '.join(_KEYS)}")
    for key, values in given.items():
        if isinstance(values, str) or len(values) != len(names):
            raise PlanError(
                f"omero={{{key!r}: {values!r}}} for {len(names)} channels; one for each"
            )
    colors = tuple(str(color).removeprefix("#") for color in given.get("colors", ()))
    for color in colors:
        if not re.fullmatch("[0-9A-Fa-f]{6}", color):
            raise PlanError(f"omero= has color {color!r}; accepted: six digits as in 'FF8800'")
    windows = given.get("windows")
    for window in windows or ():
        if not (len(window) == 2 and window[0] < window[1]):
            raise PlanError(f"omero= has window {window!r}; accepted: (start, end), start < end")
    return Channels(
        tuple(str(label) for label in given.get("labels", names)),
        colors or default_colors(len(names)),
        None if windows is None else tuple((start, end) for start, end in windows),
    )


def default_colors(number: int) -> tuple[str, ...]:
    """Return colours that can be told apart; one channel is white.

    Examples
    --------
    >>> default_colors(1), default_colors(2)
    (('FFFFFF',), ('56B4E9', 'E69F00'))
    """
    if number == 1:
        return ("FFFFFF",)
    if number <= len(_COLORS):
        return _COLORS[:number]
    hues = [colorsys.hsv_to_rgb(i / number, 0.4 + 0.6 * (i % 2), 1) for i in range(number)]
    return tuple("".join(f"{round(255 * part):02X}" for part in rgb) for rgb in hues)


def omero(shown: Channels, extremes: Sequence[Window], ranges: Sequence[Window]) -> dict[str, Any]:
    """Return the metadata.

    Parameters
    ----------
    shown : Channels
    extremes : sequence of (number, number)
        Smallest and largest value of each channel.
    ranges : sequence of (number, number)
        What to show at first of each channel, unless windows are given.
    """
    found = []
    starts = ranges if shown.windows is None else shown.windows
    for i, (low, high) in enumerate(extremes):
        start, end = starts[i]
        if not start < end:  # most values are the same one
            start, end = (low, high) if low < high else (low, low + 1)
        window = {"min": min(low, start), "max": max(high, end), "start": start, "end": end}
        found.append(
            {
                "label": shown.labels[i],
                "color": shown.colors[i],
                "active": i < _ACTIVE,
                "coefficient": 1,
                "family": "linear",
                "inverted": False,
                "window": window,
            }
        )
    return {"channels": found}
