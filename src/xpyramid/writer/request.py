"""What to write, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import xarray as xr

from xpyramid.geometry.passes import Pass
from xpyramid.geometry.plan import Plan
from xpyramid.lazy.levels import Levels
from xpyramid.reducers import Reducer
from xpyramid.store.collection import ImageCollection
from xpyramid.store.label_groups import LabelsGroup
from xpyramid.store.transaction import Transaction
from xpyramid.types import Attrs
from xpyramid.writer.omero import OmeroRequest
from xpyramid.writer.template import MetadataTemplate


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
    """

    levels: Levels
    plan: Plan
    reducer: Reducer | None = None
    group: str | None = None
    attrs: Attrs = field(default_factory=dict)
    document: Mapping[str, object] = field(default_factory=dict)

    @property
    def read(self) -> Sequence[xr.DataArray]:
        """The levels that others are not made from."""
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

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.transaction.target.path.rpartition("/")[2]
