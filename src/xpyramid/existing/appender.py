"""Frames, one after the other, into an image that is whole after each of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xpyramid.build import build
from xpyramid.errors import AxisError, PlanError, TargetBusyError, check_kind
from xpyramid.geometry.coordinates import in_nanoseconds
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import budget
from xpyramid.growth import Stream
from xpyramid.messages import say
from xpyramid.options import (
    BuildOptions,
    CostOptions,
    FormOptions,
    LevelOptions,
    ShownOptions,
    WriteOptions,
    only,
    resolve_options,
    takes_options,
)
from xpyramid.pyramid import Pyramid
from xpyramid.runtime.cluster import workers
from xpyramid.store.path import Store, check_name, is_image, is_root, resolve
from xpyramid.store.transaction import is_unfinished
from xpyramid.warn import warn

#: What OME-NGFF has before the dimensions of space.
_ORDER = {"t": 0, "time": 0, "c": 1, "channel": 1}


class AppenderOptions(
    LevelOptions, BuildOptions, FormOptions, ShownOptions, CostOptions, total=False
):
    """Options of an image that is made frame by frame."""


class Appender:
    """An image that is made, or continued, frame by frame: by a microscope, or a simulation.

    After each call of `append`, the image is whole: all levels have the new frame, and readers,
    viewers and :func:`xpyramid.verify` see it. Only what is new is computed and written, so a call
    takes as long after ten thousand frames as after ten. Memory holds a frame and its levels.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        Created with the first frame if it is not there.
    group : str, optional
        Path of the image in the store; default: the store itself is the image.
    dim : str
        The dimension that grows. For one of space, ``factor`` must be a list of steps: a single
        slice does not show whether it is to be coarsened.
    frame_dims : sequence of str, optional
        Names of the dimensions of a frame, for a new image of plain arrays. Default: y and x, for
        frames of two dimensions.
    **options
        Those of ``BuildOptions`` and ``FormOptions`` of ``xpyramid.options``, for a new image. One
        that is there stays as it is.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is an image of which it is not known how its levels were made.
    xpyramid.errors.TargetBusyError
        If another process is writing the image.
    xpyramid.errors.PyramidError
        As :meth:`xpyramid.Pyramid.to_ome_zarr` does, with the first frame.

    Notes
    -----
    Chunks and shards are no longer than the first call is: to have longer ones along the dimension,
    begin with several frames. They are written again with each frame until they are full. Others
    are kept from changing the image until `close`, which also records sizes and checksums for
    `verify`.

    Examples
    --------
    >>> import numpy as np, xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> with xpyramid.Appender(store, levels=2, spacing={"t": 0.5, "y": 2, "x": 2}) as out:
    ...     for frame in np.ones((3, 64, 64), "uint16"):
    ...         out.append(frame)
    >>> xpyramid.open_pyramid(store)[1].t.values
    array([0. , 0.5, 1. ])
    """

    @takes_options(AppenderOptions, call="Appender()")
    def __init__(
        self,
        store: Store,
        group: str | None = None,
        *,
        dim: str = "t",
        frame_dims: Sequence[str] | None = None,
        **options: Unpack[AppenderOptions],
    ) -> None:
        check_kind("group", group, str, "text, as in 'lab/field'")
        self._store, self._options = store, options
        self._group = "" if is_root(group) or group is None else check_name(group.strip("/"))
        self._dim, self._frame_dims = dim, None if frame_dims is None else tuple(frame_dims)
        if self._frame_dims is not None and dim in self._frame_dims:
            raise PlanError(
                f"names {dim!r}, along which frames follow each other", option="frame_dims",
                value=frame_dims, accepted="the names of the other dimensions",
            )  # fmt: skip
        resolve_options(AppenderOptions, options)
        self._stream: Stream | None = None
        self._is_closed = self._has_begun = False
        self._process = os.getpid()
        root = resolve(store, read_only=False)
        self._place = root / self._group if self._group else root
        node = self._place.node()
        if is_image(node):
            self._stream = self._open()
            self._check_spacing(self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return how many samples the image has along the dimension that grows."""
        return 0 if self._stream is None else self._stream.image.length

    def append(self, frame: ArrayLike | xr.DataArray, coordinate: object = None) -> None:
        """Append a frame, or several; the image is whole when this returns.

        Parameters
        ----------
        frame : array_like or xarray.DataArray
            Of all dimensions but the one that grows, or of all. What it holds may be overwritten
            afterwards.
        coordinate : number, datetime, or sequence of them, optional
            Of the frame along the dimension that grows. Default: an even one goes on. Gaps and
            uneven steps are stored as they are.

        Raises
        ------
        xpyramid.errors.AxisError
            For other dimensions or lengths, and coordinates that do not come after those before.
        xpyramid.errors.DtypeError
            For another dtype.
        xpyramid.errors.StorageError
            If the frame cannot be written: the image stays as long as it was.
        xpyramid.errors.TargetBusyError
            In a process that was forked from the one that made this.
        """
        if self._is_closed:
            raise ValueError(f"the Appender of {self._place} is closed")
        if os.getpid() != self._process:
            raise TargetBusyError(
                f"{self._place} is being made by the process that this one was forked from",
                fix="hand frames over to that one",
            )
        array = self._as_array(frame, coordinate)
        if self._stream is not None:
            self._stream.append(array, irregular="approximate")  # a frame is not to be lost
            return
        building = only(BuildOptions, self._options)
        writing: WriteOptions = {**only(WriteOptions, self._options), "progress": False}
        pyramid = build(array, self._options.get("levels"), **building)
        self._check_factors(pyramid)
        self._warn_of_short_chunks(pyramid)
        if self._has_begun and is_unfinished(self._place.as_image()):  # by this one
            writing = {**writing, "mode": "w"}
        self._has_begun = True
        pyramid.to_ome_zarr(self._store, self._group, **writing)
        self._stream = self._open()

    def _check_spacing(self, stream: Stream) -> None:
        """Refuse another spacing along the dimension that grows than an image has.

        Raises
        ------
        PlanError
        """
        image = stream.image
        axis = image.plan.axes[image.axis]
        spacing = self._along(self._options.get("spacing"))
        if spacing is None or axis.uneven is not None or image.length < 2:
            return
        if not np.isclose(spacing, axis.spacing, rtol=1e-6, atol=0):
            self.close()
            raise PlanError(
                f"along {self._dim!r}, and {self._place} has a step of {axis.spacing} there",
                option="spacing", value=self._options.get("spacing"),
                accepted="that of the image; or say the place of each frame: append(frame, ...)",
            )  # fmt: skip

    def _warn_of_short_chunks(self, pyramid: Pyramid) -> None:
        """Say that chunks and shards are no longer than the first call, if more was asked."""
        dims = pyramid.plan.dims
        at = dims.index(self._dim)
        count = pyramid.plan.levels[0].shape[at]
        for name, lengths in (
            ("chunks", self._options.get("chunks")),
            ("shards", self._options.get("shards")),
        ):
            if isinstance(lengths, Mapping):
                length = lengths.get(self._dim)
            elif isinstance(lengths, Sequence):
                length = lengths[at]
            else:  # for the dimensions of space
                length = lengths if pyramid.plan.axes[at].type == "space" else None
            if length is not None and length > count:
                warn(
                    f"{name} of {self._place} have the length {count} along {self._dim!r}, not "
                    f"{length}: they are no longer than the first call of append(), which may have "
                    "several frames"
                )

    def _check_factors(self, pyramid: Pyramid) -> None:
        """Refuse to guess whether slices are to be put together, of which one alone is there.

        Raises
        ------
        PlanError
        """
        axes = {axis.dim: axis for axis in pyramid.plan.axes}
        is_space = axes[self._dim].type == "space"
        if is_space and not isinstance(self._options.get("factor"), list) and len(pyramid) > 1:
            step = dict.fromkeys((d for d in axes if axes[d].type == "space"), 2)
            raise PlanError(
                f"does not say how levels are coarsened along {self._dim!r}, of which one sample "
                "is there yet",
                option="factor", value=self._options.get("factor"),
                accepted=f"a list with an entry for each step, as in [{step}, {step}]",
            )  # fmt: skip

    def close(self) -> None:
        """Record all sizes and checksums, and let others change the image."""
        is_own = os.getpid() == self._process
        if self._stream is not None and not self._is_closed and is_own:
            self._stream.close()
        self._is_closed = True

    def _open(self) -> Stream:
        limits = Limits(workers(), budget(self._options.get("memory")))
        return Stream(self._place, self._dim, limits)

    def _as_array(self, frame: ArrayLike | xr.DataArray, coordinate: object) -> xr.DataArray:
        """Return a frame with its dimensions, and its place along the one that grows."""
        dims = self._all_dims(frame)
        others = tuple(dim for dim in dims if dim != self._dim)
        if isinstance(frame, xr.DataArray):
            array = frame.expand_dims(self._dim) if self._dim not in frame.dims else frame
            array = array.transpose(*dims) if {*map(str, array.dims)} == {*dims} else array
        else:
            samples = np.asanyarray(frame)  # of masked arrays, xarray makes NaN
            names = dims if samples.ndim == len(dims) else others
            if samples.ndim != len(names):
                raise AxisError(
                    f"a frame of {samples.ndim} dimensions, shape {samples.shape}",
                    accepted=f"{', '.join(others)}, or all of {', '.join(dims)}",
                )
            array = xr.DataArray(samples, dims=names, name=self._name)
            if samples.ndim < len(dims):
                array = array.expand_dims({self._dim: 1}, axis=dims.index(self._dim))
        if coordinate is None and self._dim not in array.coords:
            coordinate = self._next(array.sizes[self._dim])
        if coordinate is not None:
            values = np.atleast_1d(np.asarray(coordinate))
            if values.shape != (array.sizes[self._dim],):
                raise AxisError(
                    f"coordinates of shape {values.shape} for {array.sizes[self._dim]} samples "
                    f"along {self._dim!r}",
                    accepted="one for each sample",
                )
            if self._stream is None and values.dtype.kind in "iu":  # as those that follow may be
                values = values.astype(np.float64)
            array = array.assign_coords({self._dim: (self._dim, values)})
        return _with_exact_times(array, self._dim)

    @property
    def _name(self) -> str:
        return self._group.rpartition("/")[2] or "image"

    def _next(self, count: int) -> object:
        """Return the next coordinates, where the options say how far apart they are."""
        if self._stream is None:  # the first ones are made of the options
            return None
        spacing, origin = (self._along(self._options.get(key)) for key in ("spacing", "origin"))
        if spacing is None:
            return None
        return (origin or 0) + spacing * np.arange(len(self), len(self) + count)

    def _along(self, value: Any) -> Any:
        """Return what an option says of the dimension that grows; a number is of space."""
        if isinstance(value, Mapping):
            return value.get(self._dim)
        axes = () if self._stream is None else self._stream.image.plan.axes
        of_dims = {axis.dim: (i, axis.type) for i, axis in enumerate(axes)}
        at, kind = of_dims[self._dim]
        if isinstance(value, Sequence | np.ndarray):
            return value[at]
        return value if kind == "space" else None

    def _all_dims(self, frame: ArrayLike | xr.DataArray) -> tuple[str, ...]:
        """Return the dimensions of the image."""
        if self._stream is not None:
            return self._stream.image.plan.dims
        frame_dims = self._frame_dims
        if frame_dims is None and isinstance(frame, xr.DataArray):
            frame_dims = tuple(dim for dim in map(str, frame.dims) if dim != self._dim)
        if frame_dims is None and np.ndim(frame) == 2:
            frame_dims = "y", "x"
        if frame_dims is None:
            raise AxisError(
                f"a frame of {np.ndim(frame)} dimensions, of which nothing says what they are",
                fix=say("say it with {frame_dims}", frame_dims=["c", "y", "x"]),
            )
        at = sum(_ORDER.get(dim, 2) < _ORDER.get(self._dim, 2) for dim in frame_dims)
        return (*frame_dims[:at], self._dim, *frame_dims[at:])


def _with_exact_times(array: xr.DataArray, dim: str) -> xr.DataArray:
    """Return an array whose times are counted so that all that may follow can be, too.

    xarray would choose units that are just fine enough for the first of them.
    """
    kind = array.coords[dim].dtype.kind if dim in array.coords else ""
    if kind not in "mM" or not kind or "units" in array.coords[dim].encoding:
        return array
    since = " since 1970-01-01" if kind == "M" else ""
    times = array.coords[dim].values
    exact = in_nanoseconds(times)
    if exact.dtype != np.dtype(f"{kind}8[ns]"):  # of other centuries
        return array
    array = array.assign_coords({dim: (dim, exact, array.coords[dim].attrs)})
    array.coords[dim].encoding |= {"units": f"nanoseconds{since}", "dtype": "int64"}
    return array
