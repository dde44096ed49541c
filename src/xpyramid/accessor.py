"""The ``.pyramid`` accessors, which only pass on to the modules below.

Those are imported when they are called, so that ``import xpyramid`` takes little time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import xarray as xr

from xpyramid.options import (
    ArrayBuildOptions,
    DatasetBuildOptions,
    LevelOptions,
    RunOptions,
    WriteOptions,
    only,
    options_of,
    takes_options,
)

if TYPE_CHECKING:
    from dask.delayed import Delayed

    from xpyramid.pyramid import Pyramid
    from xpyramid.pyramids import Pyramids
    from xpyramid.store.path import Store

#: What is asked of writing, not of building.
_WRITING = {"to_ome_zarr()": options_of(WriteOptions)}


class ArrayOptions(LevelOptions, ArrayBuildOptions, WriteOptions, total=False):
    """Options of building and writing an array in one call."""


class DatasetOptions(LevelOptions, DatasetBuildOptions, WriteOptions, total=False):
    """Options of building and writing the variables of a Dataset in one call."""


@xr.register_dataarray_accessor("pyramid")
class ArrayAccessor:
    """``array.pyramid``: multi-resolution pyramids of a DataArray."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @takes_options(ArrayBuildOptions, call=".pyramid.build()", elsewhere=_WRITING)
    def build(
        self, levels: int | None = None, **options: Unpack[ArrayBuildOptions]
    ) -> Pyramid | Pyramids:
        """Build the pyramid of this array, lazily: no data are read.

        Every level is the reduction of level 0 over windows of its cumulative factor, rounded once.

        Parameters
        ----------
        levels : int, optional
            Number of levels, the base included. Default: until every coarsened dimension fits into
            one chunk.
        **options
            Those of `xpyramid.options.ArrayBuildOptions`.

        Returns
        -------
        Pyramid or Pyramids
            Its ``levels`` are lazy DataArrays; level 0 is this array itself. For several methods, a
            mapping from their names to pyramids.

        Raises
        ------
        xpyramid.errors.AxisError
            For 0 dimensions, duplicate ones, coordinates of a coarsened dimension that are not
            numeric or hold NaN, or invalid spacings, origins, units or axis types.
        xpyramid.errors.PlanError
            For levels, factors, dimensions or chunks from which no pyramid can be built.
        xpyramid.errors.DtypeError
            For a dtype that the method cannot reduce.
        xpyramid.errors.OptionError
            For an unknown option; for the names that other tools use, the message gives ours.

        Examples
        --------
        >>> import xpyramid
        >>> field = xpyramid.example_field((100, 300, 300), chunks=64, dtype="uint16")
        >>> p = field.pyramid.build()
        >>> [level.shape for level in p]
        [(100, 300, 300), (50, 150, 150), (25, 75, 75), (13, 38, 38)]
        >>> list(field.pyramid.build(method=["mean", "max"]))
        ['mean', 'max']
        """
        from xpyramid.build import build_all

        return build_all(self._array, levels, **options)

    @takes_options(ArrayOptions, call=".pyramid.to_ome_zarr()")
    def to_ome_zarr(
        self, store: Store, group: str | None = None, **options: Unpack[ArrayOptions]
    ) -> Delayed | None:
        """Build and write in one call: as ``build()`` and `xpyramid.Pyramid.to_ome_zarr` do.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            Created if it is not there. Sibling groups and arrays are left alone.
        group : str, optional
            Path of the image in the store, or of the group of those of several methods; default:
            the name of the array.
        **options
            Those of `ArrayBuildOptions` and `WriteOptions` of `xpyramid.options`.

        Returns
        -------
        dask.delayed.Delayed or None
            A Delayed with ``compute=False``.

        Raises
        ------
        xpyramid.errors.PyramidError
            As :meth:`build` and :meth:`xpyramid.Pyramid.to_ome_zarr` do.

        Examples
        --------
        >>> import xpyramid, zarr
        >>> store = zarr.storage.MemoryStore()
        >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=3)
        >>> len(xpyramid.open_pyramid(store, "field"))
        3
        """
        from xpyramid.build import build_all
        from xpyramid.reader import image_of_labels

        pyramid = build_all(
            self._array,
            options.get("levels"),
            image=image_of_labels(store, options.get("labels_of")),
            **only(ArrayBuildOptions, options),
        )
        return pyramid.to_ome_zarr(store, group, **only(WriteOptions, options))

    @takes_options(RunOptions, call=".pyramid.append()")
    def append(
        self,
        store: Store,
        group: str | None = None,
        dim: str | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """Append these samples to a stored image, which becomes longer along a dimension.

        Level 0 and all coarser levels get longer together; they are made as the image says. All
        other dimensions, their coordinates, the dtype and the units must be those of the image, and
        the coordinate of the dimension must go on where the image ends. Without one, an evenly
        spaced coordinate goes on. A single frame, without the dimension, is one sample.

        Readers see the old length or the new one, and an interrupted call leaves the image as long
        as it was. The same call with ``resume=True`` goes on, and any other begins anew.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            With an image that xpyramid wrote, or has added levels to.
        group : str, optional
            Path of the image in the store; default: the name of the array, or the store itself.
        dim : str, optional
            The dimension that grows; default: that of time. Where it is coarsened, windows that
            were not whole are reduced again.
        **options
            Those of `RunOptions` of `xpyramid.options`.

        Raises
        ------
        xpyramid.errors.NotAPyramidError
            If there is no image, or it is not known how its levels were made.
        xpyramid.errors.AxisError
            For other dimensions or lengths, and for coordinates that overlap, or leave a gap.
        xpyramid.errors.DtypeError
            For another dtype.
        xpyramid.errors.PlanError
            For other units or places, or an unknown dimension.
        xpyramid.errors.SourceOverlapError
            If the samples are read from the image.
        xpyramid.errors.SourceError
            If level 0 is a base of others, and they have changed it since its levels were made.
        xpyramid.errors.TargetExistsError
            If metadata in the image, or of a group around it, are damaged.
        xpyramid.errors.ResumeError
            If another build of the image is unfinished.

        Examples
        --------
        >>> import numpy as np, xarray as xr, xpyramid, zarr
        >>> store = zarr.storage.MemoryStore()
        >>> film = xr.DataArray(np.ones((3, 64, 64), "uint16"), dims=("t", "y", "x"), name="film")
        >>> film.pyramid.to_ome_zarr(store, levels=2)
        >>> film.pyramid.append(store)
        >>> [level.shape for level in xpyramid.open_pyramid(store, "film")]
        [(6, 64, 64), (6, 32, 32)]
        """
        from xpyramid.growth import append_array

        append_array(self._array, store, group, dim, xr.Dataset(), only(RunOptions, options))


@xr.register_dataset_accessor("pyramid")
class DatasetAccessor:
    """``dataset.pyramid``: pyramids of all variables that have the dimensions to coarsen."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @takes_options(DatasetBuildOptions, call=".pyramid.build()", elsewhere=_WRITING)
    def build(self, levels: int | None = None, **options: Unpack[DatasetBuildOptions]) -> Pyramids:
        """Build the pyramid of every variable that has the dimensions to coarsen.

        Without ``dims``, these are the space dimensions of the variable with the most of them. The
        repr ends with the variables that have no pyramid.

        Parameters
        ----------
        levels : int, optional
            As for :meth:`ArrayAccessor.build`.
        **options
            Those of `xpyramid.options.DatasetBuildOptions`.

        Returns
        -------
        Pyramids
            A mapping from the name of each variable to its pyramid; where it has several methods,
            from ``name/method`` to each.

        Raises
        ------
        xpyramid.errors.PlanError
            If no variable has the dimensions, or ``method`` or ``kind`` names a variable that does
            not have them.

        Examples
        --------
        >>> import xpyramid
        >>> ds = xpyramid.example_field((300, 200)).to_dataset()
        >>> ds.pyramid.build(levels=2)["field"][1].shape
        (150, 100)
        """
        from xpyramid.build import build_dataset

        return build_dataset(self._dataset, levels, **options)

    @takes_options(DatasetOptions, call=".pyramid.to_ome_zarr()")
    def to_ome_zarr(
        self, store: Store, group: str | None = None, **options: Unpack[DatasetOptions]
    ) -> Delayed | None:
        """Build and write in one call: as ``build()`` and `xpyramid.Pyramids.to_ome_zarr` do.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            Created if it is not there.
        group : str, optional
            Path of a group in the store, which gets a subgroup for each variable.
        **options
            Those of `DatasetBuildOptions` and `WriteOptions` of `xpyramid.options`.

        Returns
        -------
        dask.delayed.Delayed or None
            A Delayed with ``compute=False``.
        """
        from xpyramid.build import build_dataset
        from xpyramid.reader import image_of_labels

        pyramids = build_dataset(
            self._dataset,
            options.get("levels"),
            image=image_of_labels(store, options.get("labels_of")),
            **only(DatasetBuildOptions, options),
        )
        return pyramids.to_ome_zarr(store, group, **only(WriteOptions, options))

    @takes_options(RunOptions, call=".pyramid.append()")
    def append(
        self,
        store: Store,
        group: str | None = None,
        dim: str | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """Append the variables to the images of their names; see :meth:`ArrayAccessor.append`.

        All are read and written together. Variables of which there is no image are left out.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            With images that xpyramid wrote, or has added levels to.
        group : str, optional
            Path of the group that holds them; default: the root of the store.
        dim : str, optional
            The dimension that grows; default: that of time.
        **options
            Those of `RunOptions` of `xpyramid.options`.
        """
        from xpyramid.growth import append_dataset

        append_dataset(self._dataset, store, group, dim, only(RunOptions, options))


@xr.register_datatree_accessor("pyramid")  # type: ignore[untyped-decorator]  # of xarray
def _pyramid_of_tree(tree: xr.DataTree) -> Pyramid | Pyramids:
    """Return what a tree holds the levels of; see `xpyramid.tree.pyramid_of_tree`."""
    from xpyramid.tree import pyramid_of_tree

    return pyramid_of_tree(tree)
