"""Several pyramids at once: of a Dataset's variables, or of several methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any, Literal, Unpack

import xarray as xr
from dask.delayed import Delayed

from xpyramid import ngff
from xpyramid.errors import PlanError, check_kind
from xpyramid.growth import write_or_append
from xpyramid.messages import joined, printable
from xpyramid.options import WriteOptions, takes_options
from xpyramid.options.types import Chunks
from xpyramid.pyramid import BUILDING, Pyramid
from xpyramid.reader import image_of_labels
from xpyramid.store.path import Store, as_prefix, check_name
from xpyramid.types import Attrs
from xpyramid.viewing import Cache, view
from xpyramid.writer import ImageSource, check_factors


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

    def level(self, k: int) -> xr.Dataset:
        """Return a Dataset of all variables at one level.

        Parameters
        ----------
        k : int
            Which level; 0 is that of the variables as they are.

        Returns
        -------
        xarray.Dataset
            With the attributes of the Dataset that the pyramids were built from.

        Raises
        ------
        IndexError
            If one of the pyramids has no such level.
        xarray.MergeError, ValueError
            If the levels of the variables do not fit together.

        Examples
        --------
        >>> import xpyramid
        >>> fields = xpyramid.example_field((300, 200)).to_dataset(name="a")
        >>> dict(fields.assign(b=fields.a).pyramid.build(levels=3).level(2).sizes)
        {'y': 75, 'x': 50}
        """
        levels = {name: p[k].rename(name) for name, p in self.items()}
        return xr.Dataset(levels, attrs=dict(self.attrs))

    def view(self, viewer: str | None = None, *, block: bool | None = None) -> Any:
        """Show all pyramids in one viewer, labels above images; see :meth:`Pyramid.view`.

        Parameters
        ----------
        viewer : {"napari", "neuroglancer", "page"}, optional
            Default: the first that is installed.
        block : bool, optional
            Whether to wait until the view ends. Default: not in notebooks and IPython.

        Returns
        -------
        napari.Viewer, View or None
            With ``block=False``.
        """
        cache = Cache()
        images = [p._viewed(cache, name) for name, p in self.items()]
        return view(sorted(images, key=lambda image: image.is_labels), viewer, block=block)

    def to_datatree(self, layout: Literal["images", "datasets"] = "images") -> xr.DataTree:
        """Return the levels of all pyramids as a DataTree; nothing is computed.

        Parameters
        ----------
        layout : {"images", "datasets"}
            With "images", there is a child for each pyramid, with the children ``0``, ``1``, ...
            as :meth:`to_ome_zarr` writes them. With "datasets", these are the children of the tree
            itself, and each holds the level of all variables: what ndpyramid and topozarr make.
            The attributes of the tree are those of the zarr-conventions ``multiscales``.

        Returns
        -------
        xarray.DataTree
            :meth:`to_ome_zarr` writes either in one pass, with the `layout` "groups" or "datasets".
            ``tree.to_zarr(path)`` reads level 0 again for each level, and promises nothing.

        Raises
        ------
        xpyramid.errors.PlanError
            With "datasets", if the levels of the variables are not coarser by the same factors, or
            a name has a slash, as those of several methods have.

        Examples
        --------
        >>> import xpyramid
        >>> fields = xpyramid.example_field((300, 200)).to_dataset(name="a")
        >>> tree = fields.assign(b=fields.a).pyramid.build(levels=2).to_datatree("datasets")
        >>> list(tree.children), list(tree["1"].data_vars), list(tree.pyramid)
        (['0', '1'], ['a', 'b'], ['a', 'b'])
        """
        if layout not in ("images", "datasets"):
            raise PlanError(option="layout", value=layout, accepted="'images', 'datasets'")
        if layout == "datasets":
            return self._tree_of_datasets()
        return xr.DataTree.from_dict(
            {f"{path}/{k}": p.levels.as_dataset(k, p.name or path.rpartition("/")[2])
             for path, p in self.items() for k in range(len(p))}
        )  # fmt: skip

    def _tree_of_datasets(self) -> xr.DataTree:
        """Return the levels with all variables in each."""
        if nested := [name for name in self if "/" in name]:
            raise PlanError(
                f"the variables {nested} would have slashes in their names",
                option="layout", value="datasets", accepted="names without slashes",
                fix="leave out layout, for one group an image",
            )  # fmt: skip
        plan = check_factors({name: p.plan for name, p in self.items()})
        names = [str(k) for k in range(len(plan.levels))]
        root = xr.Dataset(attrs={**self.attrs, **ngff.multiscales(names, plan)})
        return xr.DataTree.from_dict(
            {"/": root, **{name: self.level(k) for k, name in enumerate(names)}}
        )

    @takes_options(WriteOptions, call="to_ome_zarr()", elsewhere=BUILDING)
    def to_ome_zarr(
        self,
        store: Store,
        group: str | None = None,
        *,
        chunks: Chunks | None = None,
        **options: Unpack[WriteOptions],
    ) -> Delayed | None:
        """Write every pyramid to ``<group>/<key>``; see :meth:`Pyramid.to_ome_zarr`.

        With ``layout="datasets"``, ``<group>/0``, ``<group>/1``, ... are the levels of all of them,
        each a Dataset: what ndpyramid and topozarr make, and :meth:`to_datatree`.

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
        return write_or_append(self._sources(store, group, chunks, options), store, options)

    def _sources(
        self, store: Store, group: str | None, chunks: Chunks | None, options: WriteOptions
    ) -> list[ImageSource]:
        """Return what is to be written."""
        check_kind("group", group, str, "text, as in 'lab/field'")
        place = self._group(group).strip("/")
        prefix = as_prefix(place)
        of = image_of_labels(store, options.get("labels_of"))
        is_shared = options.get("layout") == "datasets"
        return [
            p._source(place if is_shared else prefix + name, chunks, of, self.attrs)
            for name, p in self.items()
        ]

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
