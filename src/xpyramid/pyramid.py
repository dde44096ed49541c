"""The frozen result: levels, their geometry, and a readable table of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any, Unpack

import xarray as xr
from dask.delayed import Delayed

from xpyramid import display
from xpyramid.errors import NotAPyramidError, check_kind
from xpyramid.geometry.plan import Plan
from xpyramid.growth import append_pyramids
from xpyramid.lazy.label_geometry import ImageGeometry, place_beside
from xpyramid.lazy.levels import Levels
from xpyramid.messages import Message, joined, printable
from xpyramid.options import BuildOptions, LevelOptions, WriteOptions, options_of, takes_options
from xpyramid.options.types import Chunks, Kind
from xpyramid.reader import DaskChunks, find_images, open_levels
from xpyramid.reducers import Reducer
from xpyramid.store.label_groups import check_image_path
from xpyramid.store.path import Store, as_prefix, check_name
from xpyramid.types import Attrs
from xpyramid.warn import warn
from xpyramid.writer import ImageSource, write

#: What is asked of building, not of writing.
_BUILDING = {".pyramid.build()": options_of(LevelOptions, BuildOptions)}


@dataclass(frozen=True, eq=False, repr=False)
class Pyramid:
    """One array at several resolutions, lazily.

    Made by ``array.pyramid.build()`` or :func:`xpyramid.open_pyramid`, not by hand.

    Attributes
    ----------
    levels : sequence of xarray.DataArray
        Level 0 is the base, as it was given; each coarser level is a dask-backed array with
        coordinates, attrs and name of its own. Those of a stored pyramid are read lazily, by dask
        only if `open_pyramid` was given ``chunks``.
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

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, level: int) -> xr.DataArray:
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
        """Dimensions that are coarsened."""
        return self.plan.coarsened

    @property
    def factors(self) -> tuple[dict[str, int], ...]:
        """Cumulative factor of each level against level 0, along each dimension."""
        dims = self.plan.dims
        return tuple(dict(zip(dims, level.factors, strict=True)) for level in self.plan.levels)

    @property
    def nbytes(self) -> int:
        """Uncompressed size of all levels, in bytes."""
        return self.plan.nbytes

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

    @takes_options(WriteOptions, call="to_ome_zarr()", elsewhere=_BUILDING)
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
        of = image_of_labels(store, options.get("labels_of"))
        return _write([self._source(group, chunks, of)], store, options)

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
        notes = display.notes(
            self.plan, self.levels.coordinates[0], is_new=is_new, labels=self.labels
        )
        return display.headline(self.name, self.plan), self.table(), self.plan, list(notes)

    def __repr__(self) -> str:
        return display.as_text(*self._parts())

    def _repr_html_(self) -> str:
        return display.as_html(*self._parts())


@dataclass(frozen=True, eq=False, repr=False)
class Pyramids(Mapping[str, Pyramid]):
    """The pyramids of a Dataset's variables, or of several methods; written together, in one pass.

    Attributes
    ----------
    members : mapping of str to Pyramid
    attrs : mapping
        Those of the Dataset; stored on every level's group.
    note : str
        Says which variables of the Dataset were left out, and why, and where several methods of an
        array are written; may be empty.
    name : str or None
        Of the group that they are written to unless another one is named: that of the array, where
        all are made of one. Empty is the root of the store.
    """

    members: Mapping[str, Pyramid]
    attrs: Attrs = field(default_factory=dict)
    note: str = ""
    name: str | None = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", MappingProxyType(dict(self.members)))

    def __getitem__(self, name: str) -> Pyramid:
        return self.members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def to_datatree(self) -> xr.DataTree:
        """Return a DataTree with one child per pyramid, each with the children 0, 1, ..."""
        return xr.DataTree.from_dict(
            {f"{path}/{k}": p.levels.as_dataset(k, p.name or path.rpartition("/")[2])
             for path, p in self.items() for k in range(len(p))}
        )  # fmt: skip

    @takes_options(WriteOptions, call="to_ome_zarr()", elsewhere=_BUILDING)
    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        *,
        chunks: Chunks | None = None,
        **options: Unpack[WriteOptions],
    ) -> Delayed | None:
        """Write every pyramid to ``<group>/<key>``; see :meth:`Pyramid.to_ome_zarr`.

        All are computed together, so shared intermediate results are computed once, and what is
        made of one array by several methods reads it once.

        Parameters
        ----------
        store : str, path, URL, zarr store or zarr.Group
            Created if it is not there.
        group : str, optional
            Path of a group in the store; default: its root, or for several methods of an array the
            name of the array.
        chunks : int, {dim: int} or sequence of int, optional
            Shape of the stored chunks. Default: those that each pyramid has.
        **options
            Those of `xpyramid.options.WriteOptions`.

        Returns
        -------
        dask.delayed.Delayed or None
            A Delayed with ``compute=False``.
        """
        check_kind("group", group, str, "text, as in 'lab/field'")
        prefix = as_prefix(self._group(group).strip("/"))
        of = image_of_labels(store, options.get("labels_of"))
        images = [p._source(prefix + name, chunks, of, self.attrs) for name, p in self.items()]
        return _write(images, store, options)

    def _group(self, group: str | None) -> str:
        """Return the path of the group that the pyramids go to."""
        if group is not None or self.name == "":
            return group or ""
        return check_name(self.name, nested=False)

    def __repr__(self) -> str:
        tables = [repr(p) for p in self.values()]
        parts = [f"<xpyramid.Pyramids: {', '.join(self)}>", *tables, self.note]
        return joined("\n\n", filter(None, parts))

    def _repr_html_(self) -> str:
        tables = "".join(p._repr_html_() for p in self.values())
        return f"{tables}<div>{escape(printable(self.note))}</div>" if self.note else tables


def _write(images: Sequence[ImageSource], store: Store, options: WriteOptions) -> Delayed | None:
    """Write images, or append to those that are there."""
    dim = options.get("append_dim")
    if dim is not None:
        return append_pyramids(images, store, dim, options)
    return write(images, store, options)


def image_of_labels(store: Store, path: str | None) -> ImageGeometry | None:
    """Return the geometry of the image that labels belong to, None without one.

    Raises
    ------
    NotAPyramidError
        If there is no image at the path.
    """
    if path is None:
        return None
    path = check_image_path(path)
    try:
        opened = open_levels(store, path)
    except NotAPyramidError as error:
        raise NotAPyramidError(
            Message("names a place where no OME-Zarr image is: ", error.message),
            option="labels_of",
            value=path,
        ) from error
    coordinates = tuple(level.coords.to_dataset() for level in opened.levels)
    return ImageGeometry(path, opened.plan, coordinates)


def open_pyramids(
    store: Store, group: str | None = None, *, chunks: DaskChunks | None = None
) -> Pyramids:
    """Open all OME-Zarr images of a store, lazily.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        As for :func:`open_pyramid`.
    group : str, optional
        Where in the store to look; default: everywhere. A plate is also a group of images.
    chunks : int, {dim: int}, "auto" or None, optional
        As for :func:`open_pyramid`; of all images.

    Returns
    -------
    Pyramids
        A mapping from the path of each image, below ``group``, to its pyramid; if the group is
        itself an image, its key is its name. Unreadable images are left out, with a warning.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no image, or none that can be read.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> fields = xpyramid.example_field((300, 200)).to_dataset(name="a")
    >>> fields.assign(b=fields.a).pyramid.to_ome_zarr(store, levels=2)
    >>> list(xpyramid.open_pyramids(store))
    ['a', 'b']
    """
    opened: dict[str, Pyramid] = {}
    failures: list[NotAPyramidError] = []
    prefix = f"{group.strip('/')}/" if group else ""
    for path in find_images(store, group) or [""]:
        try:
            pyramid = open_pyramid(store, f"{prefix}{path}".strip("/") or None, chunks=chunks)
        except NotAPyramidError as error:
            failures.append(error)
        else:
            opened[path or pyramid.name or "image"] = pyramid
    if not opened:
        raise failures[0]
    for failure in failures:
        warn(f"an image is left out: {failure}")
    return Pyramids(opened)


def open_pyramid(
    store: Store,
    group: str | None = None,
    *,
    multiscale: int | str = 0,
    chunks: DaskChunks | None = None,
) -> Pyramid:
    """Open a stored OME-Zarr image of any version from 0.1 to 0.6, lazily.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        A directory, or a ``.zip`` or ``.ozx`` file.
    group : str, optional
        Path of the image in the store. Default: the store itself, or the only image in it.
    multiscale : int or str, optional
        Position or name of the image, if the metadata of the group announce several.
    chunks : int, {dim: int}, "auto" or None, optional
        As for :func:`xarray.open_zarr`. By default the levels are indexed lazily, without dask:
        what is selected is read when its samples are asked for, and nothing is kept. With ``{}``
        they are dask arrays in the stored chunks; other lengths are those of dask's chunks.

    Returns
    -------
    Pyramid
        An image that xpyramid wrote has its original dimensions, coordinates and attributes; for
        other images, coordinates are computed from the coordinate transformations. Reading a level
        raises a ReadError where a chunk or shard is missing, or has another size than xpyramid
        recorded, and a ReplacedError where the image was replaced since it was opened.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no complete OME-Zarr image, or its metadata are invalid or lead out of the
        store. The message names what is there instead: the images one level below, the
        wells of a plate, labels.
    xpyramid.errors.PlanError
        If ``chunks`` are invalid.
    xpyramid.errors.ReadError
        If a stored coordinate is missing, or has another size than recorded.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=2)
    >>> xpyramid.open_pyramid(store, "field")[1].dims
    ('y', 'x')
    """
    opened = open_levels(store, group, multiscale, chunks)
    return Pyramid(
        Levels.from_arrays(opened.levels, opened.bounds),
        opened.plan,
        labels=opened.labels,
        _metadata=opened.metadata,
    )
