"""Images on a plain page: tiles as PNG, composed here; a page that needs no package."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import xarray as xr

from xpyramid.plotting.pixels import colored_labels, composed, rgb
from xpyramid.plotting.plot import as_text
from xpyramid.types import Array
from xpyramid.viewing.image import ViewedImage
from xpyramid.viewing.objects import MadeObjects

#: Edge of a tile, in pixels.
TILE = 256

#: More places along a dimension than that are numbered, and not called what they are.
_MOST_PLACES = 1024

#: image/level/row_column/places of other dimensions/channels
_NUMBERS = r"(-|\d{1,9}(?:_\d{1,9})*)"
_TILE = re.compile(
    rf"tile/(\d{{1,4}})/(\d{{1,4}})/(\d{{1,9}}_\d{{1,9}})/{_NUMBERS}/{_NUMBERS}\.png"
)


class Page(MadeObjects):
    """A page, what it says of images, and their tiles, by keys.

    Parameters
    ----------
    images : sequence of ViewedImage
    """

    def __init__(self, images: Sequence[ViewedImage]) -> None:
        self._images = [_Tiled(image) for image in images]

    def make(self, key: str) -> bytes | None:
        """Return the page, its description, or a tile; None where there is no such thing."""
        if key == "index.html":
            return Path(__file__).with_name("page.html").read_bytes()
        if key == "images.json":
            return json.dumps([image.description for image in self._images]).encode()
        match = _TILE.fullmatch(key)
        if match is None:
            return None
        number, *where = map(_numbers, match.groups())
        return self._images[number[0]].tile(*where) if number[0] < len(self._images) else None


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split("_")] if text != "-" else []


class _Tiled:
    """An image, and its tiles."""

    def __init__(self, image: ViewedImage) -> None:
        self.image = image
        axes = image.plan.axes
        self._drawn = [i for i, axis in enumerate(axes) if axis.type == "space"][-2:]
        self._channel = None if image.is_labels else image.channel_axis
        self._others = [
            i for i in range(len(axes)) if i not in self._drawn and i != self._channel
        ]  # fmt: skip
        self._levels = image.lazy_levels()

    @cached_property
    def description(self) -> dict[str, object]:
        """What the page has to know."""
        plan = self.image.plan
        levels = [
            {
                "shape": [plan.levels[k].shape[i] for i in self._drawn],
                "scale": [self.image.grid(k)[i][0] for i in self._drawn],
                "start": [self.image.grid(k)[i][1] for i in self._drawn],
            }
            for k in range(len(plan.levels))
        ]
        shape, middle = (
            plan.levels[0].shape,
            {i: plan.levels[0].shape[i] // 2 for i in self._others},
        )
        others = [
            {
                "dim": plan.axes[i].dim,
                "length": shape[i],
                "at": middle[i] if plan.axes[i].type == "space" else 0,
                "places": self._places(plan.axes[i].dim),
            }
            for i in self._others
        ]
        channels = [] if self.image.is_labels else self.image.channels
        return {
            "name": self.image.name,
            "labels": self.image.is_labels,
            "upward": self.image.is_upward,
            "unit": plan.axes[self._drawn[-1]].unit or "",
            "levels": levels,
            "others": others,
            "channels": [
                {"label": c["label"], "color": f"#{c['color']}", "active": bool(c["active"])}
                for c in channels
            ],
        }

    def _places(self, dim: str) -> list[str]:
        """Return what the places along a dimension are called; none where there are very many."""
        coordinates = self.image.source.levels.coordinates[0]
        if dim not in coordinates or coordinates.sizes[dim] > _MOST_PLACES:
            return []
        return [as_text(value) for value in coordinates[dim].load()]

    def tile(
        self, level: list[int], place: list[int], others: list[int], channels: list[int]
    ) -> bytes | None:
        """Return a tile as PNG, None outside of the image."""
        (k,), plan = level, self.image.plan
        if k >= len(plan.levels) or len(others) != len(self._others) or 0 in plan.levels[k].shape:
            return None
        shape, factors = plan.levels[k].shape, plan.levels[k].factors
        parts: list[slice | int] = [slice(None)] * len(shape)
        for i, at in zip(self._others, others, strict=True):
            parts[i] = min(at // factors[i], shape[i] - 1)
        for i, at in zip(self._drawn, place, strict=True):
            parts[i] = slice(at * TILE, min((at + 1) * TILE, shape[i]))
            if at * TILE >= shape[i]:
                return None
        samples = self._levels[k][tuple(parts)]
        dims = [plan.dims[i] for i in self._drawn]
        return _png(self._colored(samples.transpose(..., *dims), channels))

    def _colored(self, samples: xr.DataArray, numbers: Sequence[int]) -> Array:
        """Return samples in colours: those of labels, or of some channels together."""
        if self.image.is_labels:
            return colored_labels(samples.values, self.image.label_colors)
        channels = self.image.channels
        chosen = [i for i in numbers if i < len(channels)]
        if self._channel is None:
            values = samples.values[None]
            chosen = [0]
        else:
            values = samples.isel({self.image.plan.dims[self._channel]: chosen}).values
        windows = [channels[i]["window"] for i in chosen]
        lights = [
            (rgb(channels[i]["color"]), window["start"], window["end"])
            for i, window in zip(chosen, windows, strict=True)
        ]
        return composed(values, lights)


def _png(picture: Array) -> bytes:
    from PIL import Image  # noqa: PLC0415  # only needed here

    data = BytesIO()
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(data, "PNG", compress_level=1)
    return data.getvalue()
