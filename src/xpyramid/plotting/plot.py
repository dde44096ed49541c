"""Pictures of a pyramid by matplotlib: as many samples are read as a screen shows."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from xpyramid import ngff
from xpyramid.errors import AxisError, PlanError, SelectionError
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.selection import Part, selected
from xpyramid.lazy.levels import Levels
from xpyramid.lazy.selection import parts_of, selected_levels
from xpyramid.plotting.pixels import colored_labels, composed, percentiles, rgb
from xpyramid.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Project = Literal["max", "min", "mean", "sum"]

#: How many samples of the level that is drawn a pixel may stand for, along each axis.
_OVERSAMPLED = 2

#: What a projection reads at most, in samples.
_PROJECTED = 2**24


@dataclass(frozen=True)
class Plot:
    """``pyramid.plot``: pictures of a pyramid. Needs matplotlib.

    Parameters
    ----------
    levels : Levels
    plan : Plan
    metadata : mapping
        OME metadata of a stored image, whose colours and windows are used.
    name : str or None
    """

    _levels: Levels
    _plan: Plan
    _metadata: Mapping[str, object]
    _name: str | None = None

    def __call__(
        self,
        *,
        ax: Axes | None = None,
        level: int | None = None,
        project: Project | None = None,
        **indexers: object,
    ) -> AxesImage:
        """Draw the level that fits the pixels of the axes, in physical coordinates.

        The last two space dimensions are drawn. Channels are composed in their colours, labels get
        colours of their own. Of other dimensions, what is not selected is shown in the middle, or
        for time at its beginning; the title says where.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.
        level : int, optional
            Draws this level instead.
        project : {"max", "min", "mean", "sum"}, optional
            Draws a projection along the third space dimension, of a level with at most 2**24
            samples.
        **indexers
            What to show along each dimension, in coordinates: ``x=slice(10, 20)``, ``z=5``. Single
            ones need not be met exactly.

        Returns
        -------
        matplotlib.image.AxesImage
            Its axes are its ``axes``.

        Raises
        ------
        ImportError
            Without matplotlib.
        xpyramid.errors.AxisError
            If there are fewer than two space dimensions.
        xpyramid.errors.SelectionError
            For a level or a place that is not there.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((64, 300, 200)).pyramid.build(levels=3)
        >>> image = p.plot(z=10)
        >>> image.get_array().shape
        (300, 200)
        """
        pyplot = _pyplot()
        plan, parts = self._plan, self._parts(indexers, project)
        if level is not None:  # before there are axes, which would stay empty
            level = self._levels.position(level)
        if ax is None:
            ax = pyplot.subplots()[1]
        box = ax.get_window_extent()
        k = self._fitting(parts, box.width, box.height) if level is None else level
        shown = selected_levels(self._levels, plan, parts)[k]
        image = self._draw(ax, shown, k, parts, project)
        ax.set_title(self._title(shown, k))
        self._add_colorbar(image, shown, ax)
        return image

    def levels(self, *, figsize: tuple[float, float] | None = None, **indexers: object) -> Figure:
        """Draw all levels beside each other: the part in the middle that level 0 has pixels for.

        Colours stand for the same values in all of them.

        Parameters
        ----------
        figsize : (number, number), optional
            In inches.
        **indexers
            As for a plot.

        Returns
        -------
        matplotlib.figure.Figure
            With axes for each level.
        """
        number = len(self._levels)
        size = (3 * number, 3.4) if figsize is None else figsize
        pyplot, parts = _pyplot(), [*self._parts(indexers, None)]
        figure, row = pyplot.subplots(1, number, figsize=size, squeeze=False, layout="constrained")
        box = row[0, 0].get_window_extent()
        for i, pixels in zip(self._drawn(), (box.height, box.width), strict=True):
            part = parts[i]
            if isinstance(part, slice) and part.stop - part.start > pixels:
                middle, half = (part.start + part.stop) // 2, int(pixels) // 2
                parts[i] = slice(middle - half, middle + half)
        images = []
        for k, ax in enumerate(row[0]):
            shown = selected_levels(self._levels, self._plan, parts)[k]
            images.append(self._draw(ax, shown, k, parts, None))
            ax.set_title(self._title(shown, k, between="\n"))
        if not _has_own_colors(images[0]):
            lows, highs = zip(*[image.get_clim() for image in images], strict=True)
            for image in images:
                image.set_clim(min(lows), max(highs))
        self._add_colorbar(images[0], shown, list(row[0]))
        drawn: Figure = figure
        return drawn

    def _drawn(self) -> tuple[int, int]:
        """Return which dimensions are drawn, from above and from the left."""
        space = [i for i, axis in enumerate(self._plan.axes) if axis.type == "space"]
        if len(space) < 2:
            raise AxisError(
                f"there are not two space dimensions to draw among {', '.join(self._plan.dims)}",
                fix="say which are: array.pyramid.build(axis_types={'...': 'space'}), or plot a "
                "level: p[0].plot()",
            )
        return space[-2], space[-1]

    def _parts(self, indexers: Mapping[str, object], project: Project | None) -> tuple[Part, ...]:
        """Return what is shown of level 0 along each dimension."""
        if project not in (None, "max", "min", "mean", "sum"):
            raise PlanError(option="project", value=project, accepted="max, min, mean, sum")
        coordinates, plan = self._levels.coordinates[0], self._plan
        numbers = {d for d, v in coordinates.variables.items() if v.dtype.kind in "iufmM"}
        near = {d: v for d, v in indexers.items() if d in numbers and not isinstance(v, slice)}
        rest = {d: v for d, v in indexers.items() if d not in near}
        parts = [*parts_of(coordinates, plan, rest, "sel")]
        nearest = parts_of(coordinates, plan, near, "sel", "nearest")
        for i, axis in enumerate(plan.axes):
            part = parts[i] = nearest[i] if axis.dim in near else parts[i]
            is_space = axis.type == "space"
            if i in self._drawn():
                if not isinstance(part, slice):
                    raise SelectionError(
                        f"a single place along {axis.dim!r}, which is one of the two dimensions "
                        "that are drawn",
                        accepted=f"a slice, as in {axis.dim}=slice(0, 10)",
                    )
            elif isinstance(part, slice) and axis.type != "channel" and not (project and is_space):
                parts[i] = (part.start + part.stop) // 2 if is_space else part.start
        return tuple(parts)

    def _fitting(self, parts: Sequence[Part], width: float, height: float) -> int:
        """Return the finest level that has not many more samples than there are pixels."""
        plan = selected(self._plan, parts)
        drawn = [plan.dims.index(self._plan.dims[i]) for i in self._drawn()]
        channels = [i for i, axis in enumerate(plan.axes) if axis.type == "channel"]
        for k, level in enumerate(plan.levels):
            rows, columns = (level.shape[i] for i in drawn)
            depth = math.prod(
                n for i, n in enumerate(level.shape) if i not in drawn and i not in channels
            )
            fits = rows <= _OVERSAMPLED * height and columns <= _OVERSAMPLED * width
            if fits and (depth == 1 or rows * columns * depth <= _PROJECTED):
                return k
        return len(plan.levels) - 1

    def _draw(
        self, ax: Axes, shown: xr.DataArray, k: int, parts: Sequence[Part], project: Project | None
    ) -> AxesImage:
        """Draw a part of a level."""
        dims = [self._plan.dims[i] for i in self._drawn()]
        colors = [a.dim for a in self._plan.axes if a.type == "channel" and a.dim in shown.dims]
        steps = {dim: slice(None, None, max(1, shown.sizes[dim] // 4096)) for dim in dims}
        read = shown.isel(steps).transpose(..., *dims).compute()
        if project is not None:
            others = [dim for dim in read.dims if dim not in (*dims, *colors)]
            read = getattr(read, project)(others)
        options: dict[str, Any] = {"extent": self._extent(k, parts), "aspect": self._aspect()}
        if self._plan.kind == "labels":
            colors_of_labels = ngff.label_colors(self._metadata, self._levels[0].attrs)
            picture = colored_labels(read.values, colors_of_labels)
            image = ax.imshow(picture, interpolation="nearest", **options)
        elif colors:
            channels = self._channels(colors[0], read, parts)
            image = ax.imshow(composed(read.values, channels), **options)
        else:
            low, high = self._window(read.values, parts)
            colormap = "gray" if read.dtype.kind in "biu" else "viridis"
            image = ax.imshow(read.values, cmap=colormap, vmin=low, vmax=high, **options)
        if is_upward(dims[0], self._unit(dims[0])) == ax.yaxis_inverted():
            ax.invert_yaxis()
        ax.set_ylabel(_labelled(dims[0], self._unit(dims[0])))
        ax.set_xlabel(_labelled(dims[1], self._unit(dims[1])))
        return image

    def _add_colorbar(
        self, image: AxesImage, shown: xr.DataArray, axes: Axes | Sequence[Axes]
    ) -> None:
        """Say what colours stand for, where they are no shades of grey, channels or labels."""
        if image.get_cmap().name == "viridis" and not _has_own_colors(image):
            label = _labelled(shown.name, shown.attrs.get("units"))
            image.axes.figure.colorbar(image, ax=axes, label=label)

    def _unit(self, dim: str) -> str | None:
        axis = self._plan.axes[self._plan.dims.index(dim)]
        variables = self._levels.coordinates[0].variables
        return axis.unit or (variables[dim].attrs.get("units") if dim in variables else None)

    def _aspect(self) -> Literal["equal", "auto"]:
        i, j = self._drawn()
        return "equal" if self._plan.axes[i].unit == self._plan.axes[j].unit else "auto"

    def _extent(self, k: int, parts: Sequence[Part]) -> tuple[float, float, float, float]:
        """Return the outer edges of what is drawn: left, right, bottom, top as data lie."""
        whole = tuple(p if isinstance(p, slice) else slice(p, p + 1) for p in parts)
        plan = selected(self._plan, whole)
        edges = []
        for i in self._drawn():
            step, n = plan.scale(k)[i], plan.levels[k].shape[i]
            first = plan.translation(k)[i] - (0 if plan.sampled else step / 2)
            edges.append((first, first + step * n))
        (top, bottom), (left, right) = edges
        return left, right, bottom, top

    def _title(self, shown: xr.DataArray, k: int, between: str = ", ") -> str:
        """Say which level is drawn, and what was chosen of other dimensions."""
        places = [
            f"{dim} = {as_text(shown.coords[dim])}"
            for dim in self._plan.dims
            if dim in shown.coords and not shown.coords[dim].ndim
        ]
        level = ", ".join(filter(None, [self._name, f"level {k}"]))
        return between.join([level, *places])

    @property
    def _stored(self) -> ngff.StoredOmero:
        """What is known of the channels."""
        base = self._levels[0]
        dim = next((axis.dim for axis in self._plan.axes if axis.type == "channel"), None)
        names = ngff.channel_names(base, dim, str(self._name or ""))
        return ngff.described_channels(self._metadata, base, names)

    def _window(self, values: Array, parts: Sequence[Part]) -> tuple[float, float]:
        """Return what is black and what is white of the only channel."""
        part = next(
            (p for a, p in zip(self._plan.axes, parts, strict=True) if a.type == "channel"), 0
        )
        channels = self._stored.get("channels", [])
        position = part if isinstance(part, int) else 0
        if position < len(channels):
            window = channels[position].get("window")
            ends = ngff.ends(window)
            if len(ends) == 4:
                return ends[1], ends[2]
        return percentiles(values)

    def _channels(
        self, dim: str, read: xr.DataArray, parts: Sequence[Part]
    ) -> list[tuple[Array, float, float]]:
        """Return the colour of each channel, black where it is not shown, and its window."""
        part = parts[self._plan.dims.index(dim)]
        taken = part if isinstance(part, slice) else slice(part, part + 1)
        total = self._plan.levels[0].shape[self._plan.dims.index(dim)]
        stored = self._stored.get("channels")
        coordinate = self._levels.coordinates[0].coords
        names = [str(v) for v in coordinate[dim].values] if dim in coordinate else []
        default = ngff.channels(names or [str(i) for i in range(total)], {})
        channels = []
        for i, values in zip(range(total)[taken], read.values, strict=True):
            document = stored[i] if stored else {}
            color = str(document.get("color", default.colors[i]))
            is_shown = bool(document.get("active", i < default.active))
            ends = ngff.ends(document.get("window"))
            if len(ends) == 4:
                low, high = ends[1], ends[2]
            else:
                low, high = (0, 255) if default.is_photograph else percentiles(values)
            channels.append((rgb(color) * is_shown, low, high))
        return channels


def _has_own_colors(image: AxesImage) -> bool:
    """Whether colours are drawn as they are: those of channels and of labels."""
    samples = image.get_array()
    return samples is not None and samples.ndim == 3


def _pyplot() -> Any:
    """Return matplotlib's pyplot.

    Raises
    ------
    ImportError
    """
    try:
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'xpyramid[plot]'") from error


def is_upward(dim: str, unit: object) -> bool:
    """Whether a dimension grows upwards, as latitudes do, and not from row to row."""
    return str(unit).startswith("degree") or dim.lower() in ("lat", "latitude", "northing")


def _labelled(name: object, unit: object) -> str:
    return f"{name} [{unit}]" if unit else str(name or "")


def as_text(value: xr.DataArray) -> str:
    """Return a single value of a coordinate as people write it, with its unit."""
    unit = value.attrs.get("units")
    number = value.values[()]
    if value.dtype.kind == "M":
        text = str(np.datetime_as_string(number, unit="s")).removesuffix("T00:00:00")
    elif value.dtype.kind == "m":
        text = str(number.astype("m8[s]"))
    else:
        text = f"{number:.6g}" if value.dtype.kind in "iuf" else str(number)
    return f"{text} {unit}" if unit else text
