"""What is recorded of how windows of channels were made, so that an update makes them again.

The record of an image (`xpyramid.store.manifest`) has an entry ``omero``:

- ``windows``: of each channel the window that was computed, as its ``min``, ``max``, ``start`` and
  ``end``; null where it came with the image. Whoever writes another window later keeps it: it is
  not the one that is recorded.
- ``given``: start and end that were asked for, by channel; ``percentiles``, ``axis``, ``ignore``
  and ``photograph``: how the others are computed from the values.
- ``values``: the path of the array beside which the distributions of sections of level 0 are kept,
  and their digest, see `xpyramid.store.value_counts`. It is not there where level 0 is one section,
  nor in stores that have no room for it: then level 0 is counted again as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypedDict, cast

import numpy as np

from xpyramid import engine, ngff
from xpyramid.geometry.tiles import Lengths, Region
from xpyramid.messages import say
from xpyramid.store import value_counts
from xpyramid.store.documents import get_document, remove
from xpyramid.store.manifest import omero_entry, values_of
from xpyramid.store.object_table import digest_of
from xpyramid.store.path import NodePath, takes_nodes_only
from xpyramid.store.value_counts import ValueCounts
from xpyramid.types import DType
from xpyramid.warn import warn
from xpyramid.writer.omero import OmeroRequest, sections_of


@dataclass(frozen=True)
class LevelZero:
    """The shapes of level 0.

    Attributes
    ----------
    shape : tuple of int
    stored : tuple of int
        Of its stored objects.
    factors : tuple of int
        Of the coarsest level, against it.
    dtype : numpy.dtype
    """

    shape: Lengths
    stored: Lengths
    factors: Lengths
    dtype: DType


_ENDS = ("min", "max", "start", "end")


class OmeroEntry(TypedDict, total=False):
    """What the record of an image has of its windows, as it was read: nothing is checked yet."""

    windows: list[list[object] | None]
    axis: int | None
    percentiles: list[ngff.Window]
    given: Mapping[str, ngff.Window]
    ignore: float | None
    photograph: bool
    values: Mapping[str, object]


def _entry_of(attributes: Mapping[str, object]) -> OmeroEntry | None:
    return cast("OmeroEntry | None", omero_entry(attributes))


@dataclass(frozen=True)
class Windows:
    """The ``omero`` metadata of an image, and what is recorded of it.

    Attributes
    ----------
    metadata : dict
    entry : dict
        Of the record of the image.
    values : dict
        The object that belongs to it, if there is one, by its key below the image.
    """

    metadata: Mapping[str, object]
    entry: OmeroEntry
    values: dict[str, bytes]

    @property
    def path(self) -> str | None:
        """Of the array beside which that is."""
        return next((key.rpartition("/")[0] for key in self.values), None)


def remove_values(place: NodePath, paths: Iterable[str], but: str | None) -> None:
    """Remove distributions beside arrays that stay, but those beside one, which are right."""
    for path in paths:
        if path != but and not takes_nodes_only(place.store):
            remove(place / path / value_counts.KEY)


def windows_of(
    request: OmeroRequest,
    statistics: engine.Statistics,
    place: NodePath,
    path: str | None,
    bounds: engine.Bounds = MappingProxyType({}),
) -> Windows:
    """Return the windows of what was counted.

    Parameters
    ----------
    request : OmeroRequest
    statistics : Statistics
        Of the base.
    place : NodePath
        Of the image.
    path : str or None
        Of the array beside which the distributions go, None where they go nowhere.
    bounds : mapping
        Keys that are counted as one already.
    """
    metadata = request.metadata(statistics)
    own = _windows_in(metadata["channels"])
    stored: Sequence[Mapping[str, object]] = request.channels.stored.get("channels", ())
    came = [len(ngff.ends(channel.get("window"))) == 4 for channel in stored] or [False] * len(own)
    if any(came):  # those of a copy may be what would be computed
        plain = replace(request, channels=replace(request.channels, stored={}))
        computed = _windows_in(plain.metadata(statistics)["channels"])
        came = [kept and a != b for kept, a, b in zip(came, own, computed, strict=True)]
    if not request.of_base:  # level 0 does not say how they were made
        came = [True] * len(own)
    entry = _described(request)
    entry["windows"] = [None if kept else w for kept, w in zip(came, own, strict=True)]
    is_kept = path is not None and not takes_nodes_only(place.store) and not all(came)
    counts = _counts(request, statistics, bounds) if is_kept else None
    if counts is None:
        return Windows(metadata, entry, {})
    data = counts.to_bytes()
    entry["values"] = {"path": path, "digest": digest_of(data)}
    return Windows(metadata, entry, {f"{path}/{value_counts.KEY}": data})


def _counts(
    request: OmeroRequest, statistics: engine.Statistics, kept_bounds: engine.Bounds
) -> ValueCounts | None:
    """Return the distributions that are kept, None for one section, which is soon counted again."""
    sections, observer = request.sections, request.observer
    if sections is None or sections.total < 2:
        return None
    bounds = {
        channel: (min(first, kept_bounds[channel][0]), max(last, kept_bounds[channel][1]))
        if channel in kept_bounds
        else (first, last)
        for channel, (first, last) in ({**kept_bounds} | observer.bounds(statistics)).items()
    }
    kept = engine.lump(statistics, bounds, observer.channels)
    return ValueCounts(sections, observer.channels, bounds, kept)


def _described(request: OmeroRequest) -> OmeroEntry:
    """Return how windows are computed from values."""
    channels = request.channels
    entry: OmeroEntry = {"axis": request.axis, "percentiles": list(channels.percentiles[:1])}
    if len({*channels.percentiles}) > 1:
        entry["percentiles"] = list(channels.percentiles)
    if windows := {str(i): w for i, w in enumerate(channels.windows) if w is not None}:
        entry["given"] = windows
    if request.ignore is not None and np.isfinite(request.ignore):  # others never count
        entry["ignore"] = np.asarray(request.ignore).item()
    if channels.is_photograph:
        entry["photograph"] = True
    return entry


def _windows_in(channels: Iterable[Mapping[str, object]]) -> list[list[object] | None]:
    """Return min, max, start and end of each channel, None for a channel without."""
    windows: list[list[object] | None] = []
    for channel in channels:
        window = channel.get("window")
        if isinstance(window, Mapping) and {*_ENDS} <= {*window}:
            windows.append([window[end] for end in _ENDS])
        else:
            windows.append(None)
    return windows


def request_of(entry: OmeroEntry, number: int, base: LevelZero) -> OmeroRequest:
    """Return the request that an entry describes, for so many channels.

    Raises
    ------
    KeyError, TypeError, ValueError
        For an entry that is none.
    """
    axis = None if entry["axis"] is None else int(entry["axis"])
    channels = _described_by(entry, number)
    return with_sections(OmeroRequest(channels, axis, base.dtype, entry.get("ignore")), base)


def _described_by(entry: OmeroEntry, number: int) -> ngff.Channels:
    names = ("red", "green", "blue", "alpha") if entry.get("photograph") else ("",) * number
    pairs = [(float(low), float(high)) for low, high in entry["percentiles"]]
    windows = {int(i): (start, end) for i, (start, end) in entry.get("given", {}).items()}
    return ngff.Channels(
        tuple(names[:number]),
        ("",) * number,
        tuple(windows.get(i) for i in range(number)),
        tuple(pairs if len(pairs) == number else pairs[:1] * number),
    )


def with_sections(request: OmeroRequest, base: LevelZero) -> OmeroRequest:
    """Return a request by which sections of level 0 are counted apart."""
    sections = sections_of(base.shape, base.stored, base.factors, request.channels)
    return replace(request, sections=sections)


def as_before(request: OmeroRequest, attributes: Mapping[str, object]) -> OmeroRequest:
    """Return a request for an image that is there, whose windows are to be made as they were.

    Those that were computed are computed again; those that somebody else has written stay.
    """
    entry = _entry_of(attributes)
    before = request.channels
    stored: Sequence[Mapping[str, object]] = before.stored.get("channels", ())
    if entry is None or not stored:
        return request
    try:
        made = _described_by(entry, len(stored))
        pairs = list(zip(stored, entry["windows"], _windows_in(stored), strict=True))
    except (KeyError, TypeError, ValueError):
        return request
    channels: list[Mapping[str, object]] = [
        {k: v for k, v in channel.items() if k != "window" or was is None or was != now}
        for channel, was, now in pairs
    ]
    return replace(
        request,
        channels=replace(
            before,
            windows=made.windows,
            percentiles=made.percentiles,
            stored={**before.stored, "channels": channels},
        ),
    )


#: Counts the values of some sections again; of all of them for None.
Count = Callable[[OmeroRequest, set[int] | None], engine.Statistics]


@dataclass(frozen=True)
class RecordedWindows:
    """The windows of an image, and how they are made again.

    Attributes
    ----------
    place : NodePath
        Of the image.
    metadata : mapping
        Its ``omero`` metadata.
    entry : mapping
        What is recorded of them.
    path : str
        Of the array beside which distributions go where none are yet.
    """

    place: NodePath
    metadata: Mapping[str, object]
    entry: OmeroEntry
    path: str

    def own(self) -> list[bool]:
        """Return which windows are those that we have computed."""
        now = _windows_in(_channels(self.metadata))
        pairs = zip(self.entry["windows"], now, strict=True)
        return [recorded is not None and recorded == w for recorded, w in pairs]

    def again(self, request: OmeroRequest, regions: Sequence[Region], count: Count) -> Windows:
        """Return the windows after samples in some regions have changed.

        Sections that they touch are counted again; all of level 0 where no distributions are kept,
        or where those do not tell a quantile any more.
        """
        kept, sections, bounds = self._kept(request), request.sections, dict[int, tuple[int, int]]()
        changed = set() if sections is None else sections.touched(regions)
        if kept is None or sections is None or len(changed) == sections.total:
            statistics = count(request, None)
        else:
            bounds = kept.bounds
            fresh = engine.lump(count(request, changed), bounds, kept.channels)
            others = kept.statistics.items()
            statistics = {
                k: counted for k, counted in others if k // kept.channels not in changed
            } | fresh
            if not are_known(request, statistics, bounds):
                statistics, bounds = count(request, None), {}
        return self.replaced_by(windows_of(request, statistics, self.place, self.path, bounds))

    def replaced_by(self, made: Windows) -> Windows:
        """Return windows in the place of those that we have computed; others stay."""
        now = _channels(made.metadata)
        channels = [
            {**channel, "window": new["window"]} if is_own else channel
            for channel, new, is_own in zip(_channels(self.metadata), now, self.own(), strict=True)
        ]
        windows = [
            new if recorded is not None else None
            for recorded, new in zip(self.entry["windows"], _windows_in(now), strict=True)
        ]
        return Windows(
            {**self.metadata, "channels": channels}, {**made.entry, "windows": windows}, made.values
        )

    def _kept(self, request: OmeroRequest) -> ValueCounts | None:
        """Return the distributions of the sections that level 0 has, None where there are none."""
        kept, own = self.counts(), (request.sections, request.observer.channels)
        return kept if kept is not None and (kept.sections, kept.channels) == own else None

    def counts(self) -> ValueCounts | None:
        """Return the distributions that are kept; None where they are not there, or damaged."""
        named = self.entry.get("values")
        if not isinstance(named, Mapping):
            return None
        raw = get_document(self.place / str(named.get("path")) / value_counts.KEY)
        if raw is None or digest_of(raw) != named.get("digest"):
            return None
        try:
            return ValueCounts.from_bytes(raw)
        except ValueError:
            return None


def recorded_windows(
    place: NodePath, attributes: Mapping[str, object], base: LevelZero, path: str
) -> tuple[RecordedWindows, OmeroRequest] | None:
    """Return the windows of an image, None where none are to be made again.

    Parameters
    ----------
    place : NodePath
    attributes : mapping
        Of its group.
    base : LevelZero
    path : str
        Of the array beside which distributions go where none are yet.

    Warns
    -----
    UserWarning
        Where there are windows, and nothing says how they were made.
    """
    metadata = ngff.stored_channels(ngff.ome_metadata(attributes), None)
    entry = _entry_of(attributes)
    if not metadata or not any(_windows_in(metadata["channels"])):
        return None
    if entry is not None:
        path = str(values_of(attributes).get("path", path))
        try:
            if all(window is None for window in entry["windows"]):
                return None
            windows = RecordedWindows(place, metadata, entry, path)
            request = request_of(entry, len(metadata["channels"]), base)
        except (KeyError, TypeError, ValueError):
            pass
        else:
            if len(entry["windows"]) == len(metadata["channels"]):
                return windows, request
    warn(
        f"the omero windows of {place} stay as they are, though level 0 has changed: how they were "
        "made is not recorded; "
        + say("write the image anew for others, or leave them out with {omero}", omero=False)
    )
    return None


def _channels(metadata: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    return ngff.stored_channels({"omero": metadata}, None).get("channels", [])


def are_known(request: OmeroRequest, statistics: engine.Statistics, bounds: engine.Bounds) -> bool:
    """Whether all quantiles lie in the tails, of which all keys are known."""
    together = engine.by_channel(statistics, request.observer.channels)
    return not any(
        bounds[channel][0] <= distribution.key_at(part / 100) <= bounds[channel][1]
        for channel, distribution in together.items()
        if channel in bounds
        for part in request.channels.percentiles[channel]
    )
