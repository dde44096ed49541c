"""The frozen result: levels, their geometry, and a readable table of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, Unpack, overload

import xarray as xr
from dask.delayed import Delayed

from xpyramid import display, ngff
from xpyramid.display_html import page
from xpyramid.errors import PlanError
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.resolution import finest_below, level_of_resolution
from xpyramid.geometry.selection import (
    as_given,
    part_of_channel,
    selected,
    whole_windows,
)
from xpyramid.growth import write_or_append
from xpyramid.lazy.label_geometry import ImageGeometry, place_beside
from xpyramid.lazy.levels import Levels
from xpyramid.lazy.selection import How, mapped, parts_of, region_of, selected_levels, with_sources
from xpyramid.options import BuildOptions, LevelOptions, WriteOptions, options_of, takes_options
from xpyramid.options.types import Chunks, Kind
from xpyramid.plotting import Plot
from xpyramid.reader import image_of_labels
from xpyramid.reducers import Reducer
from xpyramid.store.path import Store
from xpyramid.types import Attrs, DType, Indexers
from xpyramid.viewing import Cache, ViewedImage, layer_kwargs, view
from xpyramid.writer import ImageSource
from xpyramid.writer.compression import how_source_is_compressed

#: What is asked of building, not of writing.
BUILDING = {".pyramid.build()": options_of(LevelOptions, BuildOptions)}


P = ParamSpec("P")


@dataclass(frozen=True, eq=False, repr=False)
class Pyramid:
    """One array at several resolutions, lazily.

    Made by ``array.pyramid.build()`` or :func:`xpyramid.open_pyramid`, not by hand.

    Attributes
    ----------
    levels : sequence of xarray.DataArray
        Level 0 is the base, as it was given; each coarser level is a lazy array with coordinates,
        attrs and name of its own. Where xarray has opened the base without dask, so are the levels:
        what is selected of them is made when its samples are asked for. Those of any other base are
        dask arrays, with a block over each block of the base. Those of a stored pyramid are read
        lazily, by dask only if `open_pyramid` was given ``chunks``.
    plan : Plan
        Geometry and cost; holds no data.
    labels : tuple of str
        For a stored pyramid, the label images that belong to it. Open ``"cells"`` with
        ``group="<group>/labels/cells"``.
    """

    levels: Levels
    plan: Plan
    #: How the levels are made; None for a pyramid that is in a store.
    _reducer: Reducer | None = None
    labels: tuple[str, ...] = ()
    _metadata: Mapping[str, object] = field(default_factory=dict)
    #: What the levels are made from, where that is not level 0.
    _samples: xr.DataArray | None = None
    #: Names of the other images of its group, where none was chosen.
    _others: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, level: int | str) -> xr.DataArray:
        return self.levels[level]

    def __iter__(self) -> Iterator[xr.DataArray]:
        return iter(self.levels)

    @property
    def name(self) -> str | None:
        """Name of the array, None if it has no name."""
        name = self.levels[0].name
        return None if name is None else str(name)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """OME-NGFF metadata of a stored pyramid, as they are in the store.

        The mapping that holds ``multiscales``, ``omero`` and all else; empty for a new pyramid.
        """
        return MappingProxyType(dict(self._metadata))

    @property
    def method(self) -> str:
        """How the levels are reduced."""
        return self.plan.method

    @property
    def kind(self) -> Kind:
        """What the samples are: "labels" or "image"."""
        return self.plan.kind

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of every level."""
        return self.plan.dims

    @property
    def coarsened(self) -> tuple[str, ...]:
        """Dimensions that are coarsened."""
        return self.plan.coarsened

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of level 0."""
        return self.plan.levels[0].shape

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length of level 0 along each dimension."""
        return MappingProxyType(dict(zip(self.dims, self.shape, strict=True)))

    @property
    def dtype(self) -> DType:
        """Dtype of all levels."""
        return self.plan.dtype

    @property
    def coords(self) -> xr.Coordinates:
        """Coordinates of level 0, as :attr:`xarray.DataArray.coords`."""
        return self.levels[0].coords

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of level 0."""
        return MappingProxyType(self.levels[0].attrs)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of the chunks that level 0 has, or is to have, in a store."""
        return self.plan.levels[0].chunks

    @property
    def units(self) -> Mapping[str, str | None]:
        """Unit along each dimension, None where nothing says it.

        A word of OME-NGFF where there is one, otherwise what the coordinate says.
        """
        variables = self.levels.coordinates[0].variables
        unit_of: dict[str, str | None] = {}
        for axis in self.plan.axes:
            own_unit = variables[axis.dim].attrs.get("units") if axis.dim in variables else None
            unit_of[axis.dim] = axis.unit or (None if own_unit is None else str(own_unit))
        return MappingProxyType(unit_of)

    @property
    def factors(self) -> tuple[dict[str, int], ...]:
        """Cumulative factor of each level against level 0, along each dimension."""
        dims = self.plan.dims
        return tuple(dict(zip(dims, level.factors, strict=True)) for level in self.plan.levels)

    @property
    def nbytes(self) -> int:
        """Uncompressed size of all levels, in bytes."""
        return self.plan.nbytes

    def at(
        self,
        *,
        resolution: float | str | Mapping[str, float | str] | None = None,
        max_bytes: int | str | None = None,
        max_pixels: float | None = None,
    ) -> xr.DataArray:
        """Return the level that suits a resolution or a size; pass one of them.

        Parameters
        ----------
        resolution : number, str or mapping, optional
            The coarsest level is taken whose cells are not longer than that: a number in the unit
            of the axes, or text as ``"10 um"``; along all dimensions that are coarsened, or by
            dimension.
        max_bytes : int or str, optional
            The finest level is taken that has at most so many bytes, as in ``"500 MB"``.
        max_pixels : int, optional
            The finest level is taken that has at most so many cells in space, of one channel and at
            one time.

        Returns
        -------
        xarray.DataArray
            The level, lazily.

        Raises
        ------
        xpyramid.errors.SelectionError
            If no level is fine, or small, enough.
        xpyramid.errors.PlanError
            For none or several of them, and for a unit that cannot be compared to that of the axes.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((300, 200)).pyramid.build(levels=3, spacing=2, units="um")
        >>> p.at(resolution="5 um").shape, p.at(max_bytes="10 kB").shape
        ((150, 100), (75, 50))
        """
        limits = {"resolution": resolution, "max_bytes": max_bytes, "max_pixels": max_pixels}
        named = {name: value for name, value in limits.items() if value is not None}
        if len(named) != 1:
            raise PlanError(f"at() takes one of {', '.join(limits)}; {len(named)} are given")
        if resolution is not None:
            return self[level_of_resolution(self.plan, resolution, self.units)]
        return self[finest_below(self.plan, max_bytes=max_bytes, max_pixels=max_pixels)]

    @overload
    def sel(
        self, indexers: Indexers | None = None, *, method: str | None = None,
        max_pixels: None = None, **indexers_kwargs: object,
    ) -> Pyramid: ...  # fmt: skip

    @overload
    def sel(
        self, indexers: Indexers | None = None, *, method: str | None = None,
        max_pixels: float, **indexers_kwargs: object,
    ) -> xr.DataArray: ...  # fmt: skip

    def sel(
        self,
        indexers: Indexers | None = None,
        *,
        method: str | None = None,
        max_pixels: float | None = None,
        **indexers_kwargs: object,
    ) -> Pyramid | xr.DataArray:
        """Return a region of all levels, by coordinates.

        Levels of a region are those of the whole: the region begins and ends with cells of the
        coarsest level, and so is enlarged to them. It can be written, and has the levels that it
        would have been built with. Where a single place is taken along a dimension that is
        coarsened, each level has the cell that lies there.

        Parameters
        ----------
        indexers : mapping, optional
            From dimensions to coordinates of level 0, single ones or slices. Dimensions without
            coordinates take indexes.
        method : str, optional
            How to find single coordinates that are not there, ``"nearest"`` for example; see
            :meth:`xarray.DataArray.sel`.
        max_pixels : int, optional
            Return the region on the finest level alone where it has at most so many cells in
            space, of one channel and at one time. It is enlarged to whole cells of that level.
        **indexers_kwargs
            The same as ``indexers``, by name.

        Returns
        -------
        Pyramid or xarray.DataArray
            A DataArray with ``max_pixels``.

        Raises
        ------
        xpyramid.errors.SelectionError
            For what is not there, a slice with a step, and where all levels have more pixels.

        Examples
        --------
        >>> import numpy as np, xpyramid
        >>> field = xpyramid.example_field((300, 200)).assign_coords(x=0.5 * np.arange(200))
        >>> p = field.pyramid.build(levels=3)
        >>> part = p.sel(x=slice(10, 20))
        >>> [level.sizes["x"] for level in part]
        [24, 12, 6]
        >>> p.sel(x=slice(10, 20), max_pixels=1000).shape
        (75, 6)
        """
        chosen = {**(indexers or {}), **indexers_kwargs}
        return self._selected(chosen, "sel", method, max_pixels)

    @overload
    def isel(
        self, indexers: Indexers | None = None, *, max_pixels: None = None,
        **indexers_kwargs: object,
    ) -> Pyramid: ...  # fmt: skip

    @overload
    def isel(
        self, indexers: Indexers | None = None, *, max_pixels: float,
        **indexers_kwargs: object,
    ) -> xr.DataArray: ...  # fmt: skip

    def isel(
        self,
        indexers: Indexers | None = None,
        *,
        max_pixels: float | None = None,
        **indexers_kwargs: object,
    ) -> Pyramid | xr.DataArray:
        """Return a region of all levels, by indexes of level 0; see :meth:`sel`.

        Parameters
        ----------
        indexers : mapping, optional
            From dimensions to indexes of level 0, single ones or slices.
        max_pixels : int, optional
            As for :meth:`sel`.
        **indexers_kwargs
            The same as ``indexers``, by name.

        Returns
        -------
        Pyramid or xarray.DataArray
            A DataArray with ``max_pixels``.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((40, 300, 200)).pyramid.build(levels=3)
        >>> p.isel(z=7)[2].shape
        (75, 50)
        """
        chosen = {**(indexers or {}), **indexers_kwargs}
        return self._selected(chosen, "isel", None, max_pixels)

    def _selected(
        self, indexers: Indexers, how: How, method: str | None, max_pixels: float | None
    ) -> Pyramid | xr.DataArray:
        """Return a region of all levels, or of one that has not too many pixels."""
        plan, levels = self.plan, self.levels
        parts = parts_of(levels.coordinates[0], plan, indexers, how, method)
        if max_pixels is not None:
            k = finest_below(selected(plan, parts), max_pixels=max_pixels)
            return selected_levels(levels, plan, parts)[k]
        parts = whole_windows(plan, parts)
        levels, plan, samples, reducer = region_of(
            levels, plan, parts, self._samples, self._reducer
        )
        return replace(
            self, levels=levels, plan=plan, labels=(), _others=(), _reducer=reducer,
            _metadata=ngff.of_channels(self._metadata, part_of_channel(self.plan, parts)),
            _samples=samples,
        )  # fmt: skip

    def map(
        self,
        function: Callable[Concatenate[xr.DataArray, P], xr.DataArray],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Pyramid:
        """Return the levels with a function applied to each, lazily.

        Of means and other reductions, this is the pyramid of the function of level 0 only where
        that is linear: the mean of squares is not the square of the mean.

        Parameters
        ----------
        function : callable
            From a DataArray to another one of the same dimensions and shape.
        *args, **kwargs
            What the function gets beside the level.

        Returns
        -------
        Pyramid
            With the same coordinates, unless the function changes them.

        Raises
        ------
        xpyramid.errors.PlanError
            If a level comes back with other dimensions, or of another shape.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((300, 200)).pyramid.build(levels=3)
        >>> brighter = p.map(lambda level: level * 2.0)
        >>> brighter.dtype, brighter[2].shape
        (dtype('float64'), (75, 50))
        """
        levels = mapped(self.levels, self.plan, lambda level: function(level, *args, **kwargs))
        name = getattr(function, "__name__", type(function).__name__)
        plan = replace(self.plan.made_of(self.dtype, levels[0].dtype), samples=None)
        plan = with_sources(as_given(plan, f"{self.method}, then {name}"), levels, None, None)
        return replace(self, levels=levels, plan=plan, _reducer=None, _samples=None)

    @property
    def plot(self) -> Plot:
        """Pictures by matplotlib; see :class:`xpyramid.plotting.Plot`.

        ``p.plot()`` draws the level that fits the pixels of the axes, ``p.plot.levels()`` all of
        them side by side.
        """
        return Plot(self.levels, self.plan, self._metadata, self.name)

    def view(self, viewer: str | None = None, *, block: bool | None = None) -> Any:
        """Show the pyramid in a viewer, whether it is in a store or not.

        Levels that are not written are computed chunk by chunk where somebody looks, and are kept
        in memory while the view lasts. Labels of a stored image lie over it.

        Parameters
        ----------
        viewer : {"napari", "neuroglancer", "page"}, optional
            The last two are pages in a browser; "page" needs no package. Default: the first that is
            installed; not napari in a notebook, nor without a screen.
        block : bool, optional
            Whether to wait until napari is closed, or for Ctrl-C. Default: not in notebooks and
            IPython.

        Returns
        -------
        napari.Viewer, View or None
            With ``block=False``. A View has a ``url``, shows itself in a notebook, and is served to
            this machine alone until its ``close()``.

        Raises
        ------
        ImportError
            If the viewer is not installed; the message has the ``pip install``.
        xpyramid.errors.PlanError
            For a viewer that there is not.
        xpyramid.errors.AxisError
            On pages: if there are fewer than two space dimensions, and with neuroglancer if
            OME-NGFF has no place for the others.
        xpyramid.errors.DtypeError
            For dtypes that are no real numbers.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((64, 300, 200)).pyramid.build(levels=3)
        >>> with p.view("page", block=False) as shown:  # doctest: +SKIP
        ...     print(shown.url)
        """
        return view([self._viewed(Cache())], viewer, block=block)

    def layer_kwargs(self) -> dict[str, Any]:
        """Return what ``add_image`` of a napari viewer takes, or ``add_labels`` for labels.

        That are all levels, read where napari looks, with name, place, units, and colours and
        windows of channels. Windows that are not stored are estimated from a part of the samples.

        Returns
        -------
        dict
            Arguments by their names.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((64, 300, 200)).pyramid.build(levels=3)
        >>> kwargs = p.layer_kwargs()  # viewer.add_image(**kwargs)
        >>> kwargs["multiscale"], kwargs["name"], kwargs["axis_labels"]
        (True, 'field', ['z', 'y', 'x'])
        """
        return layer_kwargs(self._viewed(Cache()))

    def _viewed(self, cache: Cache, name: str | None = None) -> ViewedImage:
        """Return the pyramid as viewers show it."""
        name = name or self.name or "image"
        source = self._source(self.name or "image", None, None)
        return ViewedImage(source, name, self.labels, cache)

    def to_datatree(self) -> xr.DataTree:
        """Return the levels as a DataTree with the children ``"0"``, ``"1"``, ...

        Each child is a Dataset that holds the level under the array's name (``"data"`` without
        one). Nothing is computed.

        Returns
        -------
        xarray.DataTree
            Named after the array.

        Examples
        --------
        >>> import xpyramid
        >>> p = xpyramid.example_field((64, 64)).pyramid.build(levels=2)
        >>> list(p.to_datatree().children)
        ['0', '1']
        """
        name = self.name or "data"
        nodes = {str(k): self.levels.as_dataset(k, name) for k in range(len(self.levels))}
        return xr.DataTree.from_dict(nodes, name=name)

    @takes_options(WriteOptions, call="to_ome_zarr()", elsewhere=BUILDING)
    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        *,
        chunks: Chunks | None = None,
        **options: Unpack[WriteOptions],
    ) -> Delayed | None:
        """Write the pyramid as an OME-Zarr image.

        Level ``k`` becomes the Zarr group ``<group>/<k>``, an xarray Dataset of its own: the array
        and its coordinates. The ``multiscales`` metadata that announce the image are written when
        all levels are complete.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            Created if it is not there. Sibling groups and arrays are left alone.
        group : str, optional
            Path of the image in the store; default: the name of the array.
        chunks : int, {dim: int} or sequence of int, optional
            Shape of the stored chunks, as in :meth:`xpyramid.accessor.ArrayAccessor.build`, except
            that the number of levels stays the same. Default: those that the pyramid has.
        **options
            Those of `xpyramid.options.WriteOptions`.

        Returns
        -------
        dask.delayed.Delayed or None
            With ``compute=False``, a Delayed that writes the pyramid when computed.

        Raises
        ------
        xpyramid.errors.TargetExistsError
            If the group is there already, or an unfinished build of it.
        xpyramid.errors.TargetBusyError
            If another process is writing it, an image in its group, or one that it lies in.
        xpyramid.errors.ResumeError
            If ``resume`` finds an unfinished build with another input, other options or another
            shape; the message says which. Also where the build of a Delayed, or of this call, is no
            longer there when its tasks run.
        xpyramid.errors.AxisError
            If OME-NGFF has no place for the dimensions, their order, or irregular coordinates.
        xpyramid.errors.InvalidNameError
            If there is no name, or Zarr does not allow it.
        xpyramid.errors.PlanError
            If the chunks are invalid, shards do not fit them, the compressor does not suit the
            Zarr format, the memory is too small for a tile, or a chunk has 2 GiB or more.
        xpyramid.errors.AttributeValueError
            For attributes that JSON cannot hold.
        xpyramid.errors.SourceOverlapError
            If the data are read from where they would be written to.
        xpyramid.errors.NotWritableError
            If the store cannot be written to.
        xpyramid.errors.MissingChunkError
            If chunks of the source are missing, and ``strict=True``.

        Nothing has been written when one of these is raised.

        xpyramid.errors.StorageError
            If a part of an array cannot be written; the message names it. The build can be
            resumed.

        Examples
        --------
        >>> import xpyramid, zarr
        >>> store = zarr.storage.MemoryStore()
        >>> xpyramid.example_field((300, 200)).pyramid.build(levels=3).to_ome_zarr(store)
        >>> xpyramid.open_pyramid(store, "field")[2].shape
        (75, 50)
        """
        return write_or_append(self._sources(store, group, chunks, options), store, options)

    def _sources(
        self, store: Store, group: str | None, chunks: Chunks | None, options: WriteOptions
    ) -> list[ImageSource]:
        """Return what is to be written."""
        of = image_of_labels(store, options.get("labels_of"))
        return [self._source(group, chunks, of)]

    def _source(
        self,
        group: str | None,
        chunks: Chunks | None,
        of: ImageGeometry | None,
        attrs: Attrs = MappingProxyType({}),
    ) -> ImageSource:
        """Return what is to be written, in a group, maybe as labels of an image."""
        levels, plan = self.levels, self.plan.rechunked(chunks)
        if of is not None:
            levels, plan = place_beside(levels, plan, of)
        return ImageSource(
            levels, plan, self._reducer, group, attrs, self._metadata, samples=self._samples
        )

    def table(self) -> list[display.Row]:
        """Return level, shape, chunks, size and scale of each level, as text."""
        return display.table(self.plan)

    def _parts(self) -> tuple[str, list[display.Row], Plan, list[str]]:
        is_new = self._reducer is not None
        notes: Iterable[str] = display.notes(
            self.plan,
            self.levels.coordinates[0],
            is_new=is_new,
            labels=self.labels,
            others=self._others,
        )
        compressed = how_source_is_compressed(self.levels[0]) if is_new else ""
        if compressed and self._samples is None:
            notes = [*notes, f"compressed as the source is, by default: {compressed}"]
        return display.headline(self.name, self.plan), self.table(), self.plan, list(notes)

    def __repr__(self) -> str:
        return display.as_text(*self._parts())

    def _repr_html_(self) -> str:
        head, rows, plan, lines = self._parts()
        base = self.levels.coordinates[0]
        cost = None if self._reducer is None else display.known_cost(self.plan)
        return page(self, head, plan, rows, lines, base, self.attrs, self._metadata, cost)
