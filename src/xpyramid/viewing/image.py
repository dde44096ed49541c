"""An image as viewers are to show it: its levels, where they lie, colours and windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from zarr.storage import StorePath

from xpyramid import engine, ngff
from xpyramid._compat import lazily_indexed
from xpyramid.errors import DtypeError
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.tiles import Region
from xpyramid.lazy.levels import Levels
from xpyramid.plotting.plot import is_upward
from xpyramid.reader import open_levels
from xpyramid.store.passed_chunks import source_samples
from xpyramid.store.path import NodePath
from xpyramid.viewing.cache import Cache, CachedLevel
from xpyramid.writer import ImageSource
from xpyramid.writer.omero import OmeroRequest, omero_request
from xpyramid.writer.windows import LevelZero, with_sections

#: How many samples are looked at to choose windows, where nobody has counted them all. Levels of
#: no more samples are looked at as a whole, and get the windows that they are written with.
LOOKED_AT = 2**24


@dataclass(frozen=True)
class ViewedImage:
    """An image, in a store or not.

    Attributes
    ----------
    source : ImageSource
        As it would be written.
    name : str
    labels : tuple of str
        Those in its group, where it is stored.
    cache : Cache
        Of what was looked at.
    """

    source: ImageSource
    name: str
    labels: tuple[str, ...]
    cache: Cache

    @property
    def plan(self) -> Plan:
        """Its geometry."""
        return self.source.plan

    @property
    def is_labels(self) -> bool:
        """Whether the samples are labels."""
        return self.plan.kind == "labels"

    @property
    def channel_axis(self) -> int | None:
        """The dimension of the channels."""
        return next((i for i, a in enumerate(self.plan.axes) if a.type == "channel"), None)

    def grid(self, level: int) -> list[tuple[float, float]]:
        """Return step and start along each dimension, as OME-NGFF has them.

        Where a coordinate descends, it is shown as minus what it is, so that rows keep their order.
        """
        pairs = zip(self.plan.scale(level), self.plan.translation(level), strict=True)
        return [(-step, -start) if step < 0 else (step, start) for step, start in pairs]

    @property
    def is_upward(self) -> bool:
        """Whether it is a map whose rows go from south to north."""
        space = [i for i, axis in enumerate(self.plan.axes) if axis.type == "space"]
        if len(space) < 2 or self.plan.scale(0)[space[-2]] < 0:
            return False
        dim, variables = self.plan.dims[space[-2]], self.source.levels.coordinates[0].variables
        return is_upward(dim, variables[dim].attrs.get("units") if dim in variables else None)

    def check_dtype(self) -> None:
        """Refuse samples that are no real numbers.

        Raises
        ------
        DtypeError
        """
        if self.plan.dtype.kind not in "biuf":
            raise DtypeError(
                f"viewers have no colours for dtype {self.plan.dtype}",
                accepted="real numbers",
                fix="show one part, as in p.map(abs).view()",
            )

    @cached_property
    def channels(self) -> Sequence[ngff.ChannelDocument]:
        """Label, color, active and window of each channel, in the words of ``omero``.

        Raises
        ------
        DtypeError
            If the samples are no real numbers.
        """
        self.check_dtype()
        base, document = self.source.levels[0], self.source.document
        request = omero_request(base, self.plan, None, document)
        request = request or omero_request(base, self.plan, True, document)
        return [] if request is None else self.windows(request)["channels"]

    def windows(self, request: OmeroRequest) -> ngff.OmeroDocument:
        """Return ``omero`` metadata, of all samples where they are few, else of some."""
        stored = request.channels.stored.get("channels", ())
        if stored and all(len(ngff.ends(channel.get("window"))) == 4 for channel in stored):
            return request.metadata({})  # nothing needs to be read
        k, region = self._looked_at()
        level = self.plan.levels[k]
        zero = LevelZero(level.shape, level.chunks, level.factors, request.dtype)
        request = with_sections(replace(request, sections=None), zero)
        block = engine.Source(self.source.levels[k].variable, self.name).read(region)
        return request.metadata(request.observer(region, block))

    def _looked_at(self) -> tuple[int, Region]:
        """Return the level that windows are estimated from, and its part: the middle, at first."""
        levels = self.plan.levels
        counts = [math.prod(level.shape) for level in levels]
        k = 0 if self.source.samples is None else min(1, len(levels) - 1)  # 0 says little then
        if self.source.reducer is None:  # coarser ones need not be made
            k = next((k for k, n in enumerate(counts) if n <= LOOKED_AT), len(levels) - 1)
        axes, lengths = self.plan.axes, list(levels[k].shape)
        times = [i for i, axis in enumerate(axes) if axis.type == "time"]
        others = [i for i, axis in enumerate(axes) if axis.type not in ("time", "channel")]
        for along in (times, others):
            while math.prod(lengths) > LOOKED_AT and any(lengths[i] > 1 for i in along):
                longest = max(along, key=lengths.__getitem__)
                lengths[longest] = -(-lengths[longest] // 2)
        starts = [
            (n - length) // 2 if axis.type == "space" else 0
            for axis, n, length in zip(axes, levels[k].shape, lengths, strict=True)
        ]
        return k, tuple(slice(a, a + n) for a, n in zip(starts, lengths, strict=True))

    @property
    def label_colors(self) -> dict[int, tuple[int, ...]]:
        """Red, green, blue and alpha of labels, up to 255, where the image says them."""
        return ngff.label_colors(self.source.document, self.source.levels[0].attrs)

    @cached_property
    def place(self) -> NodePath | None:
        """Where the image is stored as it is, None for one that is not, or is a part of one."""
        if self.source.reducer is not None or "multiscales" not in self.source.document:
            return None
        paths = ngff.dataset_paths(dict(self.source.document))
        if len(paths) != len(self.source.levels):
            return None
        place = None
        for level, path in zip(self.source.levels, paths, strict=True):
            samples = source_samples(level)
            if samples is None or any(samples.start) or samples.shape != samples.array.shape:
                return None
            if not f"/{samples.array.path}".endswith(f"/{path}"):
                return None
            where = NodePath(samples.array.store, samples.array.path[: -len(path)].strip("/"))
            if place not in (None, where):
                return None
            place = where
        # Viewers show the first of the images that a group announces.
        is_only = place is not None and ngff.count_images(place.attributes()) == 1
        return place if is_only else None

    def images(self) -> list[ViewedImage]:
        """Return the image, and the labels that lie in its group."""
        place = self.place
        if place is None:
            return [self]
        images = [self]
        for name in self.labels:
            opened = open_levels(StorePath(place.store, place.path), f"labels/{name}")
            source = ImageSource(
                Levels.from_arrays(opened.levels, opened.bounds), opened.plan, None, name,
                document=opened.metadata,
            )  # fmt: skip
            images.append(ViewedImage(source, name, (), self.cache))
        return images

    def lazy_levels(self) -> list[xr.DataArray]:
        """Return the levels, read in whole stored chunks, which are kept while there is room.

        Booleans that are labels are returned as integers, for viewers know no other labels.
        """
        is_mask = self.is_labels and self.plan.dtype.kind == "b"
        lazy = []
        for k, level in enumerate(self.plan.levels):
            variable = self.source.levels[k].variable
            source = engine.Source(variable, f"level {k} of {self.name!r}")
            dtype = np.dtype("u1") if is_mask else variable.dtype
            data = lazily_indexed(CachedLevel(source, level.chunks, self.cache, dtype))
            lazy.append(xr.DataArray(data, dims=self.plan.dims))
        return lazy
