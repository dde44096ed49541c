"""The ``.pyramid`` accessors: doors, nothing more."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import xarray as xr

from xpyramid.axes import AxisType
from xpyramid.build import build, build_dataset, with_overrides
from xpyramid.chunks import Chunks
from xpyramid.io import Options
from xpyramid.kinds import Kind
from xpyramid.options import check_options, explains_options
from xpyramid.overrides import Overrides, PerDim
from xpyramid.plan import Boundary, Factor
from xpyramid.pyramid import Pyramid, Pyramids, Store, image_of_labels
from xpyramid.reducers import Method


@xr.register_dataarray_accessor("pyramid")
class ArrayAccessor:
    """``array.pyramid``: multi-resolution pyramids of a DataArray."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @explains_options(".pyramid.build()")
    def build(
        self,
        levels: int | None = None,
        *,
        factor: Factor | None = None,
        method: Method | None = None,
        kind: Kind | None = None,
        dims: str | Sequence[str] | None = None,
        boundary: Boundary = "pad",
        skipna: bool | None = None,
        ignore: float | None = None,
        min_valid: float | None = None,
        chunks: Chunks | None = None,
        spacing: PerDim | None = None,
        origin: PerDim | None = None,
        units: str | Mapping[str, str] | Sequence[str | None] | None = None,
        axis_types: Mapping[str, AxisType] | None = None,
    ) -> Pyramid:
        """Build the pyramid of this array, lazily: no data are read.

        Every level is the reduction of level 0 over windows of its cumulative factor, rounded once.

        Parameters
        ----------
        levels : int, optional
            Number of levels, the base included. Default: until every coarsened dimension fits into
            one chunk.
        factor : int, {dim: int}, tuple of int, or a list of those, optional
            Step from one level to the next: for all coarsened dimensions, for some, or a tuple
            with one entry for each dimension of the array; a list has one entry per step. Default:
            2 along space dimensions, and where their spacings differ, only along the finest ones
            until samples are about as deep as wide. A dimension that is down to one sample is left
            at that, unless a list says otherwise.
        method : str or callable, optional
            "mean", "mode", "median", "min", "max", "sum", "nearest", or a reduction of one's own: a
            NumPy function, called as ``method(windows, axis=-1)``, or a function compiled by numba,
            called with the samples of one window. Windows at the ends of the array have fewer
            samples than others, down to one. Default: "mode" for labels, else "mean".
        kind : {"labels", "image"}, optional
            What the samples are. Labels are never averaged, and viewers are told of them. Default:
            labels are booleans, arrays with CF flags or ``image-label`` among their attributes,
            integers with a name such as "segmentation", "mask" or "cell_ids", and what is reduced
            by ``method="mode"``. Integers of 32 and 64 bits of which nothing is known are an image,
            with a warning that ``method`` or ``kind`` silences.
        dims : str or sequence of str, optional
            Dimensions to coarsen. Default: those that ``factor`` names, or the space dimensions:
            those with the name of one, a unit of length or angle, or a CF axis. Any other, such as
            ``ensemble``, stays as it is unless it is named here or in ``factor``.
        boundary : {"pad", "trim", "exact"}
            A last, partial window is reduced over the samples that exist, is dropped, or is an
            error: the words of :meth:`xarray.DataArray.coarsen`.
        skipna : bool, optional
            Whether NaN samples do not count. Default: they do not; a window with none left is NaN.
        ignore : number, optional
            A background value that does not count; a window with nothing else is that value.
            Default: ``_FillValue`` or ``missing_value`` of the attributes, or of the encoding of
            integers.
        min_valid : float, optional
            The least fraction of samples that count, from 0 to 1, for a cell to be valid.
        chunks : int, {dim: int} or sequence of int, optional
            Shape of the stored chunks; an integer is for the space dimensions. Default: the chunks
            that the array has on disk or in dask if they suit viewers, else 512 x 512 or
            64 x 64 x 64 in space and 1 elsewhere.
        spacing, origin : float, {dim: float} or sequence of float, optional
            Where the samples lie, ``origin + spacing * i``, in place of what the coordinate says,
            or where there is none; a number is for the space dimensions, a sequence has an entry
            for each dimension of the array (None leaves one out). Level 0 then has this
            coordinate. Default: those of the coordinates.
        units : str, {dim: str} or sequence of str, optional
            Units of the coordinates, in any spelling; one that OME-NGFF has no word for is kept as
            an attribute. A single one is for the space dimensions. Default: their attributes.
        axis_types : {dim: {"time", "channel", "space"}}, optional
            What dimensions are, where their names and coordinates do not say it.

        Returns
        -------
        Pyramid
            Its ``levels`` are lazy DataArrays, level 0 this array itself.

        Raises
        ------
        xpyramid.errors.AxisError
            For 0 dimensions, duplicate ones, coordinates of a coarsened dimension that are no
            numbers or hold NaN, or spacings, origins, units or types that make no axis.
        xpyramid.errors.PlanError
            For levels, factors, dimensions or chunks that make no pyramid.
        xpyramid.errors.DtypeError
            For a dtype that the method cannot reduce.
        xpyramid.errors.OptionError
            For an option that there is not; the words of other tools are told ours.

        Examples
        --------
        >>> import xpyramid
        >>> field = xpyramid.example_field((100, 300, 300), chunks=64, dtype="uint16")
        >>> p = field.pyramid.build()
        >>> [level.shape for level in p]
        [(100, 300, 300), (50, 150, 150), (25, 75, 75), (13, 38, 38)]
        """
        return build(
            self._array, levels, factor=factor, method=method, kind=kind, dims=dims,
            boundary=boundary, skipna=skipna, ignore=ignore, min_valid=min_valid, chunks=chunks,
            overrides=Overrides(spacing, origin, units, axis_types),
        )  # fmt: skip

    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        **options: Any,
    ) -> Any:
        """Build and write in one call.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            Created if it is not there.
        group : str, optional
            Path of the image in the store; default: the name of the array.
        **options
            Those of :meth:`build` and of :meth:`xpyramid.Pyramid.to_ome_zarr`.

        Returns
        -------
        dask.delayed.Delayed or None
            What writes it when computed, with ``compute=False``.
        """
        build_options, write_options = _split(options, self.build)
        return build(
            self._array, image=image_of_labels(store, write_options.get("labels_of")),
            **with_overrides(build_options),
        ).to_ome_zarr(store, group, **write_options)  # fmt: skip


@xr.register_dataset_accessor("pyramid")
class DatasetAccessor:
    """``dataset.pyramid``: pyramids of all variables that have the dimensions."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @explains_options(".pyramid.build()")
    def build(
        self,
        levels: int | None = None,
        *,
        factor: Factor | None = None,
        method: Method | Mapping[str, Method] | None = None,
        kind: Kind | Mapping[str, Kind] | None = None,
        dims: str | Sequence[str] | None = None,
        boundary: Boundary = "pad",
        skipna: bool | None = None,
        ignore: float | None = None,
        min_valid: float | None = None,
        chunks: Chunks | None = None,
        spacing: PerDim | None = None,
        origin: PerDim | None = None,
        units: str | Mapping[str, str] | Sequence[str | None] | None = None,
        axis_types: Mapping[str, AxisType] | None = None,
    ) -> Pyramids:
        """Build the pyramid of every variable that has the dimensions to coarsen.

        Parameters
        ----------
        levels : int, optional
            This and all below that say nothing else are as in :meth:`ArrayAccessor.build`.
        factor : int, {dim: int}, tuple of int, or a list of those, optional
            Step from one level to the next.
        method : str, callable or mapping of those, optional
            Of all variables, or a mapping from variables; those that it leaves out get what suits
            them.
        kind : {"labels", "image"} or mapping of those, optional
            What the samples are, of all variables or a mapping from variables in the same way.
        dims : str or sequence of str, optional
            Dimensions to coarsen. Default: the space dimensions of the variable that has most.
        boundary : {"pad", "trim", "exact"}
            What becomes of a last, partial window.
        skipna : bool, optional
            Whether NaN samples do not count.
        ignore : number, optional
            A background value that does not count.
        min_valid : float, optional
            The least fraction of samples that count for a cell to be valid.
        chunks : int, {dim: int} or sequence of int, optional
            Shape of the stored chunks.
        spacing, origin : float, {dim: float} or sequence of float, optional
            Where the samples lie.
        units : str, {dim: str} or sequence of str, optional
            Units of the coordinates.
        axis_types : {dim: {"time", "channel", "space"}}, optional
            What dimensions are.

        Returns
        -------
        Pyramids
            A mapping from names of variables. Its repr ends with those that have no pyramid.

        Raises
        ------
        xpyramid.errors.PlanError
            If no variable has the dimensions, or ``method`` or ``kind`` names one that has not.

        Examples
        --------
        >>> import xpyramid
        >>> ds = xpyramid.example_field((300, 200)).to_dataset()
        >>> ds.pyramid.build(levels=2)["field"][1].shape
        (150, 100)
        """
        return build_dataset(
            self._dataset, dims, levels=levels, factor=factor, method=method, kind=kind,
            boundary=boundary, skipna=skipna, ignore=ignore, min_valid=min_valid, chunks=chunks,
            overrides=Overrides(spacing, origin, units, axis_types),
        )  # fmt: skip

    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        **options: Any,
    ) -> Any:
        """Build and write in one call.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            Created if it is not there.
        group : str, optional
            Path of the group of the images in the store; default: the root.
        **options
            Those of :meth:`build` and of :meth:`xpyramid.Pyramid.to_ome_zarr`.

        Returns
        -------
        dask.delayed.Delayed or None
            What writes them when computed, with ``compute=False``.
        """
        build_options, write_options = _split(options, self.build)
        return build_dataset(
            self._dataset, image=image_of_labels(store, write_options.get("labels_of")),
            **with_overrides(build_options),
        ).to_ome_zarr(store, group, **write_options)  # fmt: skip


def _split(
    options: dict[str, Any], build: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return options of building, and those of writing."""
    writing = {option.name for option in fields(Options)}
    building = [name for name in inspect.signature(build).parameters if name not in writing]
    check_options(options, [*building, *writing], ".pyramid.to_ome_zarr()")
    write_options = {name: value for name, value in options.items() if name in writing}
    build_options = {name: value for name, value in options.items() if name not in writing}
    return build_options, write_options
