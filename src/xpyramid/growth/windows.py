"""Windows of channels while an image grows: what is new is counted, and added to what was.

The distribution of all values is kept with the image, so that the samples that are there need not
be read for it. Where it is not, or does not tell a quantile any more, they are counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from xpyramid import engine
from xpyramid.engine import Bounds, Statistics
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.sections import Sections
from xpyramid.geometry.tiles import Region
from xpyramid.growth.image import GrowingImage
from xpyramid.store import value_counts
from xpyramid.store.object_table import digest_of
from xpyramid.store.path import takes_nodes_only
from xpyramid.store.value_counts import ValueCounts
from xpyramid.types import Array
from xpyramid.writer.omero import OmeroRequest
from xpyramid.writer.windows import (
    LevelZero,
    OmeroEntry,
    RecordedWindows,
    Windows,
    are_known,
    recorded_windows,
    windows_of,
)


@dataclass(frozen=True)
class _New(engine.Observer):
    """Looks at blocks from a position on along a dimension; what is before it has been counted."""

    along: int = 0
    first: int = 0

    def __call__(self, region: Region, block: Array) -> Statistics:
        part = region[self.along]
        start = max(part.start, self.first)
        if start >= part.stop:
            return {}
        kept = (*[slice(None)] * self.along, slice(start - part.start, None))
        rest = (*region[: self.along], slice(start, part.stop), *region[self.along + 1 :])
        return super().__call__(rest, block[kept])


@dataclass
class GrowingWindows:
    """See the module.

    Attributes
    ----------
    recorded : RecordedWindows
    request : OmeroRequest
        How they are computed from values; sections are not counted apart.
    statistics : Statistics or None
        Of each channel; None where it is not known.
    bounds : mapping
        Keys that are counted as one.
    """

    recorded: RecordedWindows
    request: OmeroRequest
    statistics: Statistics | None = None
    bounds: Bounds = field(default_factory=dict)

    @classmethod
    def of(cls, image: GrowingImage) -> Self | None:
        """Return the windows of an image, None where none are to be made again."""
        base, factors = image.levels.base, image.levels.factors
        zero = LevelZero(base.shape, base.shards or base.chunks, factors[-1], base.dtype)
        windows_and_request = recorded_windows(
            image.place, image.attributes, zero, image.levels.paths[-1]
        )
        if windows_and_request is None:
            return None
        recorded, request = windows_and_request
        windows = cls(recorded, replace(request, sections=None))
        if (kept := recorded.counts()) is not None:
            windows.statistics = engine.by_channel(kept.statistics, kept.channels)
            windows.bounds = kept.bounds
        return windows

    def observer(self, image: GrowingImage) -> engine.Observer:
        """Return what looks at the samples that are written, of which some may not be new."""
        plain, new = self.request.observer, image.length - image.first_object
        return _New(plain.channel, plain.ignore, along=image.axis, first=new)

    def add(self, new: Statistics, count: Callable[[], Statistics], shape: Sequence[int]) -> None:
        """Add what has been seen of new samples.

        Parameters
        ----------
        new : Statistics
        count : callable
            Returns the statistics of all samples before them.
        shape : sequence of int
            Of level 0, with them.
        """
        request = self._over(shape)
        if self.statistics is None:
            self.statistics, self.bounds = count(), {}
        number = request.observer.channels
        together = engine.merged([self.statistics, engine.lump(new, self.bounds, number)])
        if not are_known(request, together, self.bounds):
            together, self.bounds = engine.merged([count(), new]), {}
        self.statistics = together

    def made(self, shape: Sequence[int], *, is_kept: bool = True) -> Windows:
        """Return the windows of all samples, with their distribution if that is to be kept."""
        request, recorded, statistics = self._over(shape), self.recorded, self.statistics or {}
        computed = windows_of(request, statistics, recorded.place, None)
        entry: OmeroEntry = {**computed.entry}
        entry.pop("values", None)
        values: dict[str, bytes] = {}
        if is_kept and not takes_nodes_only(recorded.place.store) and request.sections is not None:
            number, bounds = request.observer.channels, dict(self.bounds)
            data = ValueCounts(request.sections, number, bounds, statistics).to_bytes()
            values = {f"{recorded.path}/{value_counts.KEY}": data}
            entry["values"] = {"path": recorded.path, "digest": digest_of(data)}
        windows = recorded.replaced_by(Windows(computed.metadata, entry, values))
        self.recorded = replace(recorded, metadata=windows.metadata, entry=windows.entry)
        return windows

    def _over(self, shape: Sequence[int]) -> OmeroRequest:
        """Return the request for an array of which all is one section."""
        return replace(self.request, sections=Sections(tuple(shape), tuple(shape)))


def count_again(image: GrowingImage, windows: GrowingWindows, limits: Limits) -> Statistics:
    """Return the statistics of all samples that an image has."""
    whole = tuple(slice(0, n) for n in image.levels.base.shape)
    plain = windows.request.observer
    observer = engine.Observer(plain.channel, plain.ignore)
    jobs = list(image.levels.counting(observer, [whole], limits))
    return engine.merged(summary.statistics for summary in engine.run(jobs, progress=False))
