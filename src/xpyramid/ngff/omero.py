"""How viewers are to show the channels: the ``omero`` metadata.

https://ngff.openmicroscopy.org/0.5/, the same in 0.4 and 0.6:

"The `omero` metadata is optional, but if present it MUST contain the field `channels`, which is an
array of objects describing the channels of the image."
"""

from __future__ import annotations

import colorsys
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpyramid.errors import PlanError, literal
from xpyramid.ngff.plain import Number, is_map, is_number

Window = tuple[Number, Number]

#: M. Okabe and K. Ito's colours, made for all kinds of colour vision; black is left out.
_COLORS = ("56B4E9", "E69F00", "009E73", "F0E442", "CC79A7", "D55E00", "0072B2", "FFFFFF")

#: How many channels are shown at first: viv draws no more.
_ACTIVE = 6

_KEYS = ("colors", "labels", "windows")

_COLOR = re.compile("[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class Channels:
    """Names and colours of channels, and windows where they are given.

    Attributes
    ----------
    labels, colors : tuple of str
    windows : tuple of (number, number), or None
        Start and end of each; None takes them from the data.
    stored : mapping
        ``omero`` metadata of the image that is copied. What they say of the channels is kept.
    """

    labels: tuple[str, ...]
    colors: tuple[str, ...]
    windows: tuple[Window, ...] | None = None
    stored: Mapping[str, Any] = field(default_factory=dict)


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
                f"omero={{{key!r}: {literal(values)}}} for {len(names)} channels; one for each"
            )
    colors = tuple(str(color).removeprefix("#") for color in given.get("colors", ()))
    for color in colors:
        if not _COLOR.fullmatch(color):
            raise PlanError(
                f"omero= has color {literal(color)}; accepted: six digits as in 'FF8800'"
            )
    windows = given.get("windows")
    for window in windows or ():
        if not (len(window) == 2 and window[0] < window[1]):
            raise PlanError(
                f"omero= has window {literal(window)}; accepted: (start, end), start < end"
            )
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
    rdefs = _plain(shown.stored.get("rdefs"))
    old = shown.stored.get("channels", found)
    return {
        "channels": [new | _kept(one, new) for new, one in zip(found, old, strict=True)],
        **({"rdefs": rdefs} if rdefs else {}),
    }


def stored_channels(document: Mapping[Any, Any], number: int | None) -> Mapping[str, Any]:
    """Return the ``omero`` metadata of a stored image, if they are of its channels; else nothing.

    Parameters
    ----------
    document : mapping
        That holds ``multiscales``, or the attributes of an array.
    number : int or None
        Of channels that there are; None is any number.
    """
    omero = document.get("omero")
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(omero, Mapping) or not isinstance(channels, list):
        return {}
    fit = number in (None, len(channels)) and all(isinstance(one, Mapping) for one in channels)
    return omero if fit else {}


def channels_of_attrs(attrs: Mapping[Any, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """Return what ``attrs["omero"]`` of an array says of the channels that it has.

    Channels are told by their labels, so that those of a selection, or in another order, keep what
    is theirs; where labels say nothing, by their position.

    Parameters
    ----------
    attrs : mapping
        Of the array.
    names : sequence of str
        Of its channels.
    """
    omero = stored_channels(attrs, None)
    if not omero:
        return {}
    channels = omero["channels"]
    labels = [str(channel.get("label")) for channel in channels]
    if len(set(labels)) == len(labels) and set(names) <= set(labels):
        return {**omero, "channels": [channels[labels.index(name)] for name in names]}
    if len(channels) == len(names):
        return omero
    warnings.warn(
        f"attrs['omero'] has the channels {', '.join(labels)[:200]}, and the array "
        f"{', '.join(names)[:200]}; their colours and windows are left out",
        UserWarning,
        stacklevel=2,
    )
    return {}


def _kept(channel: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes sense of that which somebody wrote about a channel, beside ``new``."""
    kept = {
        key: value
        for key, value in _plain(channel).items()
        if key not in new or _kind(value) == _kind(new[key])
    }
    color = str(kept.pop("color", "")).removeprefix("#")
    if _COLOR.fullmatch(color):
        kept["color"] = color
    window = _plain(channel.get("window"))
    if len(ends(window)) == 4:
        kept["window"] = window
    if not kept.get("label"):
        kept.pop("label", None)
    return kept


def ends(window: object) -> list[Number]:
    """Return min, start, end and max of a window, as far as they are numbers."""
    found = [window.get(k) for k in ("min", "start", "end", "max")] if is_map(window) else []
    return [e for e in found if is_number(e)]


def _plain(given: object) -> dict[str, Any]:
    """Return the entries of a mapping that are text, numbers or booleans."""
    entries = given.items() if is_map(given) else ()
    return {key: value for key, value in entries if isinstance(value, str) or is_number(value)}


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)
