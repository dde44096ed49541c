"""The ``.pyramid`` accessors: doors, nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import xarray as xr

from xpyramid.axes import AxisType
from xpyramid.build import build, build_dataset
from xpyramid.chunks import Chunks
from xpyramid.io import Options, levels_of
from xpyramid.overrides import Overrides
from xpyramid.plan import Boundary, Factor
from xpyramid.pyramid import Pyramid, Pyramids, Store
from xpyramid.reducers import Method


@xr.register_dataarray_accessor("pyramid")
class ArrayAccessor:
    """``array.pyramid``: multi-resolution pyramids of a DataArray."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def build(
        self,
        levels: int | None = None,
        *,
        factor: Factor | None = None,
        method: Method | None = None,
        dims: str | Sequence[str] | None = None,
        boundary: Boundary = "pad",
        skipna: bool | None = None,
        ignore: float | None = None,
        min_valid: float | None = None,
        chunks: Chunks | None = None,
        spacing: float | Mapping[str, float] | None = None,
        origin: float | Mapping[str, float] | None = None,
        units: str | Mapping[str, str] | None = None,
        axis_types: Mapping[str, AxisType] | None = None,
    ) -> Pyramid:
        """Build the pyramid of this array, lazily: no data are read.

        Every level is the reduction of level 0 over windows of its cumulative factor, rounded once.

        Parameters
        ----------
        levels : int, optional
            Number of levels, the base included. Default: until every coarsened dimension fits into
            one chunk.
        factor : int, {dim: int}, or a list of those, optional
            Step from one level to the next; a list has one entry per step. Default: 2 along space
            dimensions, and where their spacings differ, only along the finest ones until samples
            are about as deep as wide. A dimension that is down to one sample is left at that,
            unless a list says otherwise.
        method : str or callable, optional
            "mean", "mode", "median", "min", "max", "sum", "nearest", or a reduction of one's own: a
            NumPy function, called as ``method(windows, axis=-1)``, or a function compiled by numba,
            called with the samples of one window. Windows at the ends of the array have fewer
            samples than others, down to one. Default: "mode" for labels (bool, CF flags,
            ``image-label`` attributes), else "mean".
        dims : str or sequence of str, optional
            Dimensions to coarsen. Default: those that ``factor`` names, or the space dimensions.
        boundary : {"pad", "trim", "exact"}
            A last, partial window is reduced over the samples that exist, is dropped, or is an
            error: the words of :meth:`xarray.DataArray.coarsen`.
        skipna : bool, optional
            Whether NaN samples do not count. Default: they do not; a window with none left is NaN.
        ignore : number, optional
            A background value that does not count; a window with nothing else is that value.
            Default: ``_FillValue`` or ``missing_value`` of the attributes.
        min_valid : float, optional
            The least fraction of samples that count, from 0 to 1, for a cell to be valid.
        chunks : int, {dim: int} or sequence of int, optional
            Shape of the stored chunks; an integer is for the space dimensions. Default: the chunks
            that the array has on disk or in dask if they suit viewers, else 512 x 512 or
            64 x 64 x 64 in space and 1 elsewhere.
        spacing, origin : float or {dim: float}, optional
            Where the samples lie, ``origin + spacing * i``, in place of what the coordinate says,
            or where there is none; a number is for the space dimensions. Level 0 then has this
            coordinate. Default: those of the coordinates.
        units : str or {dim: str}, optional
            Units of the coordinates, in any spelling; one that OME-NGFF has no word for is kept as
            an attribute. A single one is for the space dimensions. Default: their attributes.
        axis_types : {dim: {"time", "channel", "space"}}, optional
            What dimensions are, where their names and coordinates do not say it.

        Returns
        -------
        Pyramid

        Raises
        ------
        xpyramid.errors.AxisError
            For 0 dimensions, duplicate ones, coordinates of a coarsened dimension that are no
            numbers or hold NaN, or spacings, origins, units or types that make no axis.
        xpyramid.errors.PlanError
            For levels, factors, dimensions or chunks that make no pyramid.
        xpyramid.errors.DtypeError
            For a dtype that the method cannot reduce.

        Examples
        --------
        >>> import xpyramid
        >>> field = xpyramid.example_field((100, 300, 300), chunks=64, dtype="uint16")
        >>> p = field.pyramid.build()
        >>> [level.shape for level in p]
        [(100, 300, 300), (50, 150, 150), (25, 75, 75), (13, 38, 38)]
        """
        return build(
            self._array, levels, factor=factor, method=method, dims=dims, boundary=boundary,
            skipna=skipna, ignore=ignore, min_valid=min_valid, chunks=chunks,
            overrides=Overrides(spacing, origin, units, axis_types),
        )  # fmt: skip

    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        **options: Any,
    ) -> Any:
        """Build and write in one call: the options of :meth:`build` and `Pyramid.to_ome_zarr`."""
        build_options, write_options = _split(options, store)
        return self.build(**build_options).to_ome_zarr(store, group, **write_options)


@xr.register_dataset_accessor("pyramid")
class DatasetAccessor:
    """``dataset.pyramid``: pyramids of all variables that have the dimensions."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def build(
        self,
        levels: int | None = None,
        *,
        factor: Factor | None = None,
        method: Method | Mapping[str, Method] | None = None,
        dims: str | Sequence[str] | None = None,
        boundary: Boundary = "pad",
        skipna: bool | None = None,
        ignore: float | None = None,
        min_valid: float | None = None,
        chunks: Chunks | None = None,
        spacing: float | Mapping[str, float] | None = None,
        origin: float | Mapping[str, float] | None = None,
        units: str | Mapping[str, str] | None = None,
        axis_types: Mapping[str, AxisType] | None = None,
    ) -> Pyramids:
        """Build the pyramid of every variable that has the dimensions to coarsen.

        Parameters are those of :meth:`ArrayAccessor.build`; without ``dims``, the dimensions are
        the space dimensions of the variable that has most of them. ``method`` may also be a mapping
        from variables to methods; those that it leaves out get the one that suits them.

        Raises
        ------
        xpyramid.errors.PlanError
            If no variable has the dimensions, or ``method`` names one that has not.

        Examples
        --------
        >>> import xpyramid
        >>> ds = xpyramid.example_field((300, 200)).to_dataset()
        >>> ds.pyramid.build(levels=2)["field"][1].shape
        (150, 100)
        """
        return build_dataset(
            self._dataset, dims, levels=levels, factor=factor, method=method, boundary=boundary,
            skipna=skipna, ignore=ignore, min_valid=min_valid, chunks=chunks,
            overrides=Overrides(spacing, origin, units, axis_types),
        )  # fmt: skip

    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        **options: Any,
    ) -> Any:
        """Build and write in one call: the options of :meth:`build` and `Pyramids.to_ome_zarr`."""
        build_options, write_options = _split(options, store)
        return self.build(**build_options).to_ome_zarr(store, group, **write_options)


def _split(options: dict[str, Any], store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return options of building, and those of writing."""
    writing = {option.name for option in fields(Options)}
    write = {name: value for name, value in options.items() if name in writing}
    build = {name: value for name, value in options.items() if name not in writing}
    if write.get("labels_of") is not None:
        if build.get("levels") is None:
            build["levels"] = levels_of(store, write["labels_of"])
        if build.get("method") is None:
            build["method"] = "mode"
    return build, write
