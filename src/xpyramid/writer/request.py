"""What to write, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import xarray as xr
from zarr.abc.buffer import Buffer

from xpyramid import ngff
from xpyramid.geometry.passes import Pass
from xpyramid.geometry.plan import Plan
from xpyramid.lazy.levels import Levels
from xpyramid.options.types import Layout
from xpyramid.reducers import Reducer
from xpyramid.store import manifest
from xpyramid.store.collection import ImageCollection
from xpyramid.store.documents import new_group
from xpyramid.store.label_groups import LabelsGroup
from xpyramid.store.names import StoredNames
from xpyramid.store.transaction import Transaction
from xpyramid.types import Attrs
from xpyramid.writer.omero import OmeroRequest
from xpyramid.writer.template import MetadataTemplate


@dataclass(frozen=True)
class KeptLevels:
    """Levels of an image that are in the store already, level 0 among them; others join them.

    Attributes
    ----------
    paths : tuple of str
        Of their arrays in the image's group, that of level 0 first.
    objects : tuple of tuple of int
        Shape of the stored objects of each.
    names : StoredNames
        Of the parts of level 0, which other levels take.
    attributes : mapping
        Of the group as it is now.
    form : mapping
        What else zarr makes arrays like level 0 with.
    replaced : tuple of str
        Names of levels that the group announces now, and that others replace.
    """

    paths: tuple[str, ...]
    objects: tuple[tuple[int, ...], ...]
    names: StoredNames
    attributes: Mapping[str, object]
    form: Mapping[str, object] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()

    @property
    def children(self) -> tuple[str, ...]:
        """Their names in the group."""
        return tuple(dict.fromkeys(path.split("/")[0] for path in self.paths))

    def interim(self, zarr_format: Literal[2, 3]) -> dict[str, Buffer]:
        """Return documents of a group that announces only these, while levels are replaced."""
        if not self.replaced:
            return {}
        attributes = ngff.with_levels(manifest.without_manifest(self.attributes), self.paths)
        return new_group(zarr_format, attributes)

    def path(self, level: int) -> str:
        """Return where a level lies: in the manner of level 0, as ``s2/raw`` beside ``s0/raw``."""
        if level < len(self.paths):
            return self.paths[level]
        first, *inside = self.paths[0].split("/")
        prefix = first[:-1] if first.endswith("0") and not first[-2:-1].isdigit() else ""
        return "/".join([f"{prefix}{level}", *inside])


@dataclass(frozen=True)
class ImageSource:
    """What to write.

    Attributes
    ----------
    levels : Levels
    plan : Plan
    reducer : Reducer or None
        How level 0 becomes the others; None if they have data of their own.
    group : str or None
        Path in the store; None is the name of the array.
    attrs : mapping
        Of the Dataset that the array comes from; kept on every level's group.
    document : mapping
        OME-NGFF metadata of a stored image that is copied.
    kept : KeptLevels or None
        Those that are in their place already.
    samples : xarray.DataArray or None
        What the levels are made from, where that is not level 0.
    by_graph : bool
        Whether its dask blocks are computed for another image, too.
    """

    levels: Levels
    plan: Plan
    reducer: Reducer | None = None
    group: str | None = None
    attrs: Attrs = field(default_factory=dict)
    document: Mapping[str, object] = field(default_factory=dict)
    kept: KeptLevels | None = None
    samples: xr.DataArray | None = None
    by_graph: bool = False

    def paths(self, names: StoredNames, layout: Layout) -> list[str]:
        """Return where each level lies in the image's group."""
        count = range(len(self.levels))
        if self.kept is not None:
            return [self.kept.path(k) for k in count]
        return [f"{k}" if layout == "arrays" else f"{k}/{names.array}" for k in count]

    @property
    def read(self) -> Sequence[xr.DataArray]:
        """The levels that others are not made from."""
        if self.samples is not None:
            return [self.samples]
        return self.levels[: 1 if self.reducer is not None else None]


@dataclass(frozen=True)
class PreparedImage:
    """An image whose checks have passed.

    Attributes
    ----------
    transaction : Transaction
        Where it is made and how it comes to its place.
    levels : Levels
    objects : tuple of tuple of int
        Shape of the stored objects of each level.
    plan : Plan
    reducer : Reducer or None
    paths : tuple of str
        Of the level arrays.
    template : MetadataTemplate
        All that it consists of before it has data.
    zarr_format : {2, 3}
    omero : OmeroRequest or None
        How viewers are to show it.
    labels_group : LabelsGroup or None
        Where it is listed, if it is a label image.
    collection : ImageCollection or None
        The root of the store, unless it is a label image or the root itself.
    passes : tuple of Pass
        How the work on it is divided.
    was_recovered : bool
        Whether an earlier build that died at its last step has been completed now.
    kept : int
        How many levels are in their place already.
    replaced : tuple of str
        Names of levels that others replace beside those.
    interim : mapping
        Documents of its group while levels that it announces are replaced at their place.
    before : mapping
        Attributes that its group had, where levels stay.
    samples : xarray.DataArray or None
        What the levels are made from, where that is not level 0.
    passes_through : bool
        Whether chunks of level 0 that are stored already as they are to be written stay as they
        are, and are not encoded anew.
    by_graph : bool
        Whether its dask blocks are computed for another image, too.
    members : tuple of PreparedImage
        Images of other variables in the same group, which come to their place with this one. All of
        them share the transaction and the template.
    """

    transaction: Transaction
    levels: Levels
    objects: tuple[tuple[int, ...], ...]
    plan: Plan
    reducer: Reducer | None
    paths: tuple[str, ...]
    template: MetadataTemplate
    zarr_format: Literal[2, 3]
    omero: OmeroRequest | None = None
    labels_group: LabelsGroup | None = None
    collection: ImageCollection | None = None
    passes: tuple[Pass, ...] = ()
    was_recovered: bool = False
    kept: int = 0
    replaced: tuple[str, ...] = ()
    interim: Mapping[str, Buffer] = field(default_factory=dict)
    before: Mapping[str, object] = field(default_factory=dict)
    samples: xr.DataArray | None = None
    passes_through: bool = False
    by_graph: bool = False
    members: tuple[PreparedImage, ...] = ()

    @property
    def images(self) -> tuple[PreparedImage, ...]:
        """It, and the other images that come to their place with it."""
        return self, *self.members

    def source(self, level: int) -> xr.DataArray:
        """Return what is read for a level that is not made from others."""
        return self.levels[level] if self.samples is None else self.samples

    @property
    def written(self) -> tuple[str, ...]:
        """Paths of the levels that are written."""
        return self.paths[self.kept :]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.transaction.target.path.rpartition("/")[2]
