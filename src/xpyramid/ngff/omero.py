"""How viewers are to show the channels: the ``omero`` metadata.

https://ngff.openmicroscopy.org/0.5/, the same in 0.4 and 0.6:

"The `omero` metadata is optional, but if present it MUST contain the field `channels`, which is an
array of objects describing the channels of the image."
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeGuard, cast

from xpyramid.errors import PlanError
from xpyramid.messages import literal, say
from xpyramid.ngff.json_types import Number, is_map, is_number
from xpyramid.types import Attrs
from xpyramid.warn import warn

if TYPE_CHECKING:
    import xarray as xr

Window = tuple[Number, Number]

#: M. Okabe and K. Ito's colours, made for all kinds of colour vision; black is left out.
_COLORS = ("56B4E9", "E69F00", "009E73", "F0E442", "CC79A7", "D55E00", "0072B2", "FFFFFF")

#: How many channels are shown at first: viv draws no more.
_ACTIVE = 6

_KEYS = ("labels", "colors", "windows", "contrast_limits", "percentiles")

_COLOR = re.compile("[0-9A-Fa-f]{6}")

#: Percentiles of the values between which a channel is shown at first.
PERCENTILES = (0.1, 99.9)

#: Names that mean another colour in microscopy, and in napari, than in CSS.
_PURE = {"green": "00FF00", "gray": "FFFFFF", "grey": "FFFFFF"}

#: The channels of a photograph, and their colours; alpha is not shown.
_RGB = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
_ALPHA = "alpha"


class WindowDocument(TypedDict):
    """What is shown of a channel's values."""

    min: Number
    max: Number
    start: Number
    end: Number


class ChannelDocument(TypedDict):
    """How a channel is shown."""

    label: str
    color: str
    active: bool
    coefficient: int
    family: str
    inverted: bool
    window: WindowDocument


class OmeroDocument(TypedDict):
    """How channels are shown."""

    channels: list[ChannelDocument]
    rdefs: NotRequired[object]


class StoredOmero(TypedDict, total=False):
    """``omero`` metadata of which no more has been checked than that the channels are mappings."""

    channels: list[Mapping[str, object]]
    rdefs: object


@dataclass(frozen=True)
class Channels:
    """Names and colours of channels, and windows where they are given.

    Attributes
    ----------
    labels, colors : tuple of str
    windows : tuple of (number, number) or None
        Start and end of each; None takes them from the data.
    percentiles : tuple of (number, number)
        Which ones of the data.
    active : int
        How many are shown at first.
    stored : mapping
        ``omero`` metadata of the image that is copied. What they say of the channels is kept.
    """

    labels: tuple[str, ...]
    colors: tuple[str, ...]
    windows: tuple[Window | None, ...]
    percentiles: tuple[Window, ...]
    active: int = _ACTIVE
    stored: StoredOmero = field(default_factory=StoredOmero)

    @property
    def is_photograph(self) -> bool:
        """Whether the channels are the colours of one picture, to be shown with one window."""
        return _is_photograph(self.labels)


def channels(
    names: Sequence[str], options: Mapping[str, object], *, are_alike: bool = False
) -> Channels:
    """Return what is shown of some channels.

    Parameters
    ----------
    names : sequence of str
        Of the channels, unless labels are given.
    options : mapping
        ``labels``, ``colors`` (six hexadecimal digits, or names as in CSS), ``windows`` or
        ``contrast_limits`` (start, end), and ``percentiles`` (low, high); all optional. Each has
        one entry for each channel, or is a mapping from the labels of some; one pair of numbers is
        for all.
    are_alike : bool
        Whether they are several of one thing, such as the members of an ensemble: shown in white,
        the first one at first.

    Raises
    ------
    PlanError
        For other keys, a wrong number of entries, labels that there are not, colours that are
        none, or windows without width.
    """
    if unknown := [key for key in options if key not in _KEYS]:
        raise PlanError(
            f"has {unknown}",
            option="omero",
            accepted=f"{', '.join(_KEYS)}",
        )
    if "windows" in options and "contrast_limits" in options:
        raise PlanError(
            "has windows and contrast_limits, which are the same",
            option="omero",
            fix="give one",
        )
    labels = _for_each("labels", options.get("labels"), names)
    named = [
        name if label is None else str(label) for name, label in zip(names, labels, strict=True)
    ]
    limits = "contrast_limits" if "contrast_limits" in options else "windows"
    colors = map(_color, _for_each("colors", options.get("colors"), named))
    windows = _for_each(limits, options.get(limits), named)
    if "percentiles" in options and None not in windows:
        raise PlanError(
            f"has percentiles, and {limits} of all channels",
            option="omero",
            fix="give one of them",
        )
    percentiles = _for_each("percentiles", options.get("percentiles"), named)
    return Channels(
        tuple(named),
        tuple(a or b for a, b in zip(colors, _channel_colors(named, are_alike), strict=True)),
        tuple(None if window is None else _pair(limits, window) for window in windows),
        tuple(PERCENTILES if pair is None else _percentiles(pair) for pair in percentiles),
        1 if are_alike else len(_RGB) if _is_photograph(named) else _ACTIVE,
    )


def _for_each(key: str, values: object, labels: Sequence[str]) -> list[object]:
    """Return the value for each channel, None where none is given."""
    if isinstance(values, Mapping):
        if unknown := [label for label in values if label not in labels]:
            raise PlanError(
                say("{omero}", omero={key: ...}) + f" names {unknown}",
                option="omero",
                accepted=f"the channels {list(labels)}",
            )
        return [values.get(label) for label in labels]
    if values is None:
        return [None] * len(labels)
    if key in ("windows", "contrast_limits", "percentiles") and _is_pair(values):
        return [values] * len(labels)
    if isinstance(values, str) or not _is_listed(values) or len(values) != len(labels):
        raise PlanError(
            say("{omero}", omero={key: values}) + f" for {len(labels)} channels",
            option="omero",
            accepted="one for each, or a mapping from the labels of some",
        )
    return list(values)


def _is_listed(values: object) -> TypeGuard[Collection[object]]:
    return hasattr(values, "__len__")


def _is_pair(values: object) -> TypeGuard[Sequence[Number]]:
    return _is_listed(values) and len(values) == 2 and all(map(is_number, values))


def _pair(key: str, window: object) -> Window:
    if not _is_pair(window) or not window[0] < window[1]:
        raise PlanError(
            f"has {key} {literal(window)}",
            option="omero",
            accepted="(start, end), start < end",
        )
    start, end = window
    return start, end


def _percentiles(pair: object) -> Window:
    low, high = _pair("percentiles", pair)
    if not 0 <= low < high <= 100:
        raise PlanError(
            f"has percentiles {literal(pair)}",
            option="omero",
            accepted="from 0 to 100",
        )
    return low, high


def _color(color: object) -> str | None:
    """Return the digits of a colour."""
    if color is None or _COLOR.fullmatch(str(color).removeprefix("#")):
        return None if color is None else str(color).removeprefix("#")
    if (pure := _PURE.get(str(color).lower())) is not None:
        return pure
    from PIL import ImageColor  # noqa: PLC0415  # only names of colours need it

    try:
        red, green, blue, *_ = ImageColor.getrgb(str(color))
    except ValueError as error:
        raise PlanError(
            f"has color {literal(color)}",
            option="omero",
            accepted="six digits as in 'FF8800', or a name as in CSS: 'magenta'",
        ) from error
    return f"{red:02X}{green:02X}{blue:02X}"


def _is_photograph(labels: Sequence[str]) -> bool:
    lowered = [label.lower() for label in labels]
    return lowered in ([*_RGB], [*_RGB, _ALPHA], ["r", "g", "b"], ["r", "g", "b", "a"])


def _channel_colors(labels: Sequence[str], are_alike: bool) -> tuple[str, ...]:
    if are_alike:
        return ("FFFFFF",) * len(labels)
    if _is_photograph(labels):
        return (*_RGB.values(), "FFFFFF")[: len(labels)]
    return default_colors(len(labels))


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


def omero(shown: Channels, extremes: Sequence[Window], ranges: Sequence[Window]) -> OmeroDocument:
    """Return the metadata.

    Parameters
    ----------
    shown : Channels
    extremes : sequence of (number, number)
        Smallest and largest value of each channel.
    ranges : sequence of (number, number)
        What to show at first of each channel, unless windows are given.
    """
    channel_documents: list[ChannelDocument] = []
    for i, (low, high) in enumerate(extremes):
        start, end = shown.windows[i] or ranges[i]
        if not start < end:  # most values are the same one
            start, end = (low, high) if low < high else (low, low + 1)
        lowest, highest = min(low, start), max(high, end)
        channel_documents.append(
            {
                "label": shown.labels[i],
                "color": shown.colors[i],
                "active": i < shown.active,
                "coefficient": 1,
                "family": "linear",
                "inverted": False,
                "window": {"min": lowest, "max": highest, "start": start, "end": end},
            }
        )
    rdefs = _plain(shown.stored.get("rdefs"))
    old: Sequence[Mapping[str, object]] = shown.stored.get("channels", channel_documents)
    channels = [
        # All that there is to say of a channel is there, whatever else is kept.
        cast("ChannelDocument", new | _kept(stored, new))
        for new, stored in zip(channel_documents, old, strict=True)
    ]
    return {"channels": channels, "rdefs": rdefs} if rdefs else {"channels": channels}


def stored_channels(document: Attrs, number: int | None) -> StoredOmero:
    """Return the ``omero`` metadata of a stored image, if they are of its channels; else nothing.

    Parameters
    ----------
    document : mapping
        That holds ``multiscales``, or the attributes of an array.
    number : int or None
        Of channels that there are; None is any number.
    """
    omero = document.get("omero")
    if not _has_channels(omero):
        return {}
    return omero if number in (None, len(omero["channels"])) else {}


def of_channels(document: Attrs, part: slice | int | None) -> dict[str, object]:
    """Return the metadata of an image for a part of it, and some of its channels.

    Parameters
    ----------
    document : mapping
        That may hold ``omero``.
    part : slice, int or None
        Of the channels; None where there are none.
    """
    omero = document.get("omero")
    if not _has_channels(omero):
        return dict(document)
    channels = omero["channels"]
    if part is not None:
        channels = channels[part] if isinstance(part, slice) else channels[part : part + 1]
    # Where a viewer is to start may be outside.
    rest = {key: value for key, value in omero.items() if key != "rdefs"}
    return {**document, "omero": {**rest, "channels": channels}}


def _has_channels(omero: object) -> TypeGuard[StoredOmero]:
    channels = omero.get("channels") if is_map(omero) else None
    return isinstance(channels, list) and all(map(is_map, channels))


def channel_names(base: xr.DataArray, dim: str | None, name: str) -> list[str]:
    """Return the names of the channels of an array; where it is a single one, the name of that.

    Parameters
    ----------
    base : xarray.DataArray
    dim : str or None
        Of the channels.
    name : str
        Of the array.
    """
    if dim is not None:
        channel_values = base.coords[dim].values if dim in base.coords else range(base.sizes[dim])
        return [str(value) for value in channel_values]
    labels = [
        str(channel.get("label"))
        for document in (base.attrs, base.encoding)
        for channel in stored_channels(document, None).get("channels", ())
    ]
    selected = [str(v.values) for v in base.coords.values() if v.ndim == 0]  # as by .sel(c="GFP")
    return [next((value for value in selected if value in labels), name)]


def described_channels(document: Attrs, base: xr.DataArray, names: Sequence[str]) -> StoredOmero:
    """Return the ``omero`` metadata of the channels of an array, nothing where there are none.

    They are those of the stored image, else ``attrs["omero"]``, else those of the image that the
    array was opened from, which its encoding keeps.

    Parameters
    ----------
    document : mapping
        Metadata of the stored image.
    base : xarray.DataArray
    names : sequence of str
        Of its channels.
    """
    return (
        stored_channels(document, len(names))
        or _channels_of(base.attrs, names, "attrs['omero']")
        or _channels_of(base.encoding, names, "the image that it was opened from")
    )


def _channels_of(document: Attrs, names: Sequence[str], where: str) -> StoredOmero:
    """Return what ``omero`` says of the channels that an array has.

    Channels are identified by their labels, so that those of a selection, or in another order, keep
    what is theirs; where labels say nothing, by their position.
    """
    omero = stored_channels(document, None)
    if not omero:
        return {}
    channels = omero["channels"]
    labels = [str(channel.get("label")) for channel in channels]
    if len(set(labels)) == len(labels) and set(names) <= set(labels):
        return {**omero, "channels": [channels[labels.index(name)] for name in names]}
    if len(channels) == len(names):
        return omero
    warn(
        f"{where} has the channels {', '.join(labels)[:200]}, and the array "
        f"{', '.join(names)[:200]}; their colours and windows are left out"
    )
    return {}


def _kept(channel: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
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
    limits = [window.get(k) for k in ("min", "start", "end", "max")] if is_map(window) else []
    return [e for e in limits if is_number(e)]


def _plain(mapping: object) -> dict[str, object]:
    """Return the entries of a mapping that are text, numbers or booleans."""
    entries = mapping.items() if is_map(mapping) else ()
    return {key: value for key, value in entries if isinstance(value, str) or is_number(value)}


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)
