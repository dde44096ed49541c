"""From the values that were seen while writing to the windows in which viewers show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from xpyramid import engine, ngff
from xpyramid.errors import DtypeError, PlanError
from xpyramid.geometry.axes import is_channel_name
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.sections import MOST, Sections, make_sections
from xpyramid.geometry.tiles import Lengths
from xpyramid.store.names import name_of
from xpyramid.types import Attrs, DType

#: Part of the values by which tails are longer than they need be: one percent of them may change,
#: and the quantiles still lie in the tails.
_SLACK = 0.0125

#: How many whole distributions the tails of all sections may be together.
_TAILS = 4


@dataclass(frozen=True)
class OmeroRequest:
    """The channels of an image, and where they are found.

    ``of_base`` says whether the values that are looked at are those of level 0.
    """

    channels: ngff.Channels
    axis: int | None
    dtype: DType
    ignore: int | float | None = None
    sections: Sections | None = None
    of_base: bool = True

    @property
    def observer(self) -> engine.Observer:
        """What looks at the base."""
        return engine.Observer(self.axis, self.ignore, self.sections, tails(self.channels))

    def metadata(self, statistics: engine.Statistics) -> ngff.OmeroDocument:
        """Return the ``omero`` metadata."""
        statistics = engine.by_channel(statistics, len(self.channels.labels))
        extremes: list[ngff.Window] = []
        ranges: list[ngff.Window] = []
        for i in range(len(self.channels.labels)):
            distribution = statistics.get(i)
            if distribution is None:  # no value, or none that is finite
                extremes.append((0, 1))
                ranges.append((0, 1))
            else:
                extremes.append((distribution.low, distribution.high))
                low, high = (p / 100 for p in self.channels.percentiles[i])
                ends = (
                    distribution.quantile(low, self.dtype),
                    distribution.quantile(high, self.dtype),
                )
                if distribution.low == distribution.high == _highest(self.dtype):
                    ends = ends[0] - 1, ends[1]  # there is nothing above
                ranges.append(ends)
        if self.channels.is_photograph:
            extremes, ranges = self._together(extremes, ranges)
        return ngff.omero(self.channels, extremes, ranges)

    def _together(
        self, extremes: list[ngff.Window], ranges: list[ngff.Window]
    ) -> tuple[list[ngff.Window], list[ngff.Window]]:
        """Return one window for the colours of a photograph, which else would be others."""
        if self.dtype == np.uint8:
            whole: list[ngff.Window] = [(0, 255)] * len(extremes)
            return whole, whole
        starts, ends = zip(*ranges, strict=True)
        return extremes, [(min(starts), max(ends))] * len(ranges)


def _highest(dtype: DType) -> int | None:
    """Return the largest value of an integer dtype."""
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else None


def tails(channels: ngff.Channels) -> tuple[float, float]:
    """Return how long the tails of a distribution are to be known: the quantiles lie in them.

    They are longer than that, so that they still do when some values have changed.
    """
    low = max((pair[0] / 100 for pair in channels.percentiles), default=0)
    high = max((1 - pair[1] / 100 for pair in channels.percentiles), default=0)
    return min(1.0, 4 * low + _SLACK), min(1.0, 4 * high + _SLACK)


def sections_of(
    shape: Lengths, stored: Lengths, factors: Lengths, channels: ngff.Channels
) -> Sections:
    """Return the sections of level 0 whose values are counted apart.

    The longer the tails are, the fewer sections: all tails together are no more than a few whole
    distributions.
    """
    most = max(8, min(MOST, int(_TAILS / sum(tails(channels)))))
    return make_sections(shape, stored, factors, most)


def watch(jobs: Sequence[engine.Job], request: OmeroRequest | None) -> list[engine.Job]:
    """Return the jobs of an image, of which the first, which reads level 0, looks at it."""
    if request is None:
        return list(jobs)
    first, *others = jobs
    return [replace(first, work=first.work.with_observer(request.observer)), *others]


def omero_request(
    base: xr.DataArray,
    plan: Plan,
    omero: bool | Mapping[str, object] | None,
    document: Mapping[str, object],
) -> OmeroRequest | None:
    """Return what to show of an array: of images, unless nothing was asked for.

    Parameters
    ----------
    base : xarray.DataArray
    plan : Plan
    omero : bool, mapping or None
        What was asked for.
    document : mapping
        Metadata of the stored image that is copied, if it is one. They hold unless something else
        was asked for.

    Raises
    ------
    DtypeError
        If it is asked for, and the values are no real numbers.
    PlanError
        If what is asked for does not fit the channels.
    """
    axis = next((i for i, a in enumerate(plan.axes) if a.type == "channel"), None)
    real = base.dtype.kind in "biuf"
    dim = None if axis is None else plan.axes[axis].dim
    names = ngff.channel_names(base, dim, name_of(base, ""))
    stored: ngff.StoredOmero = {}
    if omero is None:
        stored = ngff.described_channels(document, base, names)
        is_new = not document  # what is copied gets windows only where it has channels
        omero = bool(stored) or (real and plan.kind != "labels" and (is_new or axis is not None))
        omero = omero and real
    if omero is False:
        return None
    if not (omero is True or isinstance(omero, Mapping)):
        raise PlanError(option="omero", value=omero, accepted="None, True, False, or a mapping")
    if not real:
        raise DtypeError(
            f"for dtype {base.dtype}",
            option="omero",
            value=omero,
            accepted="real numbers",
        )
    requested = {} if omero is True else omero
    channels = ngff.channels(names, requested, are_alike=_are_alike(base, dim))
    ignore = plan.options.get("ignore") if plan.samples is None else None
    return OmeroRequest(replace(channels, stored=stored), axis, base.dtype, ignore)


def attributes_without_omero(attrs: Attrs) -> Attrs:
    """Return the attributes of an array without what becomes the ``omero`` metadata."""
    is_shown = bool(ngff.stored_channels(attrs, None))
    return {key: value for key, value in attrs.items() if key != "omero" or not is_shown}


def _are_alike(base: xr.DataArray, dim: str | None) -> bool:
    """Whether channels are runs of one thing (members, levels), of which viewers show the first."""
    if dim is None or is_channel_name(dim):
        return False
    return dim not in base.coords or base.coords[dim].dtype.kind in "iufmM"
