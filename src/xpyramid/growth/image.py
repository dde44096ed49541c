"""A stored image that is to grow along a dimension: its levels, its lengths, its coordinates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import xarray as xr
import zarr
from zarr.errors import UnstableSpecificationWarning
from zarr.storage import StorePath

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError, PlanError
from xpyramid.geometry.plan import Plan
from xpyramid.lazy.levels import Levels
from xpyramid.messages import say
from xpyramid.reader import open_levels
from xpyramid.reader.open import typed_errors
from xpyramid.store.encoding import dims_of
from xpyramid.store.lengths import with_shape
from xpyramid.store.manifest import taken_back
from xpyramid.store.names import names_back
from xpyramid.store.path import NodePath, ZarrArray
from xpyramid.writer.compression import with_checksums
from xpyramid.writer.stored_levels import StoredLevels, stored_levels
from xpyramid.writer.target_checks import check_writable


@dataclass(frozen=True)
class GrowingImage:
    """A stored image, and the dimension along which it grows.

    Attributes
    ----------
    levels : StoredLevels
        Its arrays, to be written to.
    plan : Plan
        Their geometry as it is now.
    coordinates : tuple of xarray.Dataset
        Of each level, under the names that they have for xarray.
    base : xarray.DataArray
        Level 0, lazily.
    axis : int
        Position of the dimension.
    beside : tuple of mapping
        For each level, the arrays of coordinates that run along the dimension, by path.
    """

    levels: StoredLevels
    plan: Plan
    coordinates: tuple[xr.Dataset, ...]
    base: xr.DataArray
    axis: int
    beside: tuple[Mapping[str, ZarrArray], ...] = ()

    @property
    def place(self) -> NodePath:
        """The group of the image."""
        return self.levels.place

    @property
    def dim(self) -> str:
        """The dimension along which the image grows."""
        return self.plan.dims[self.axis]

    @property
    def length(self) -> int:
        """Of level 0, now."""
        return self.levels.base.shape[self.axis]

    @property
    def factors(self) -> list[int]:
        """Of each level, along the dimension."""
        return [factors[self.axis] for factors in self.levels.factors]

    @property
    def is_coarsened(self) -> bool:
        """Whether coarser levels are shorter along the dimension."""
        return self.factors[-1] > 1

    @cached_property
    def is_flat(self) -> bool:
        """Whether its levels are arrays, with no coordinates beside them."""
        return ngff.parse(self.attributes).metadata.get("layout") == "arrays"

    @cached_property
    def objects(self) -> list[tuple[int, ...]]:
        """Shape of the stored objects of each level: chunks, or shards."""
        return [array.shards or array.chunks for array in self.levels.arrays]

    def lengths(self, total: int) -> list[int]:
        """Return how long each level is where level 0 is so long."""
        is_trimmed = self.plan.boundary == "trim"
        return [total // f if is_trimmed else -(-total // f) for f in self.factors]

    @property
    def first_coordinate(self) -> int:
        """From where on the coordinates are stored: means of windows may all be others."""
        return 0 if self.is_coarsened else self.length

    @property
    def first_object(self) -> int:
        """Where, in level 0, the stored objects begin that are not whole; else where it ends.

        Where no level is coarsened along the dimension, that holds for all of them.
        """
        levels = self.objects[:1] if self.is_coarsened else self.objects
        unit = math.lcm(*(lengths[self.axis] for lengths in levels))
        return self.length // unit * unit

    @property
    def is_aligned(self) -> bool:
        """Whether all that is stored stays as it is, and only new objects are added."""
        return not self.is_coarsened and self.first_object == self.length

    @cached_property
    def stored_dims(self) -> tuple[str, ...]:
        """Names of the dimensions in the store."""
        named = dims_of(self.levels.base)
        return named or tuple(axis.name for axis in ngff.parse(self.attributes).axes)

    @property
    def attributes(self) -> dict[str, object]:
        """Of the image's group, with the record of what is stored."""
        return taken_back(self.levels.attributes)

    def axis_in(self, path: str) -> int:
        """Return the position of the dimension in an array: of a level, or of a coordinate."""
        if path in self.levels.paths:
            return self.axis
        array = next(arrays[path] for arrays in self.beside if path in arrays)
        return dims_of(array).index(self.stored_dims[self.axis])

    @property
    def arrays(self) -> dict[str, ZarrArray]:
        """All arrays that run along the dimension, by path."""
        every = dict(zip(self.levels.paths, self.levels.arrays, strict=True))
        return {**every, **{path: a for arrays in self.beside for path, a in arrays.items()}}

    def longer(self, total: int) -> dict[str, ZarrArray]:
        """Return all arrays as they are where level 0 is so long, which no document says yet."""
        levels = zip(self.levels.paths, self.beside, self.lengths(total), strict=True)
        return {
            name: with_length(self.place / name, self.arrays[name], self.axis_in(name), length)
            for path, beside, length in levels
            for name in (path, *beside)
        }

    def own_name(self, path: str) -> str:
        """Return what xarray calls the coordinate that is stored at a path."""
        name = path.rpartition("/")[2]
        by_dim = dict(zip(self.stored_dims, self.plan.dims, strict=True))
        metadata = ngff.parse(self.attributes).metadata
        return by_dim.get(name) or names_back(metadata, [name]).get(name, name)


def open_growing(place: NodePath, dim: str | None) -> GrowingImage:
    """Open an image that is to grow.

    Parameters
    ----------
    place : NodePath
        Of its group, in a store that can be written to.
    dim : str or None
        The dimension; None is the one of time.

    Raises
    ------
    NotAPyramidError
        If there is no image, or it is not known how its levels were made.
    NotWritableError
        If nothing can be written to it.
    PlanError
        If it has no such dimension.
    """
    check_writable(place)
    with typed_errors(place):
        levels = stored_levels(place)
    opened = open_levels(place.store, place.path)
    if opened.plan.method == "count":
        raise NotAPyramidError(
            f"the level 0 of {place} holds counts, and no samples that others could follow",
            fix="make it anew from all samples",
        )
    axis = _axis(opened.plan, dim, place)
    with_all = Levels.from_arrays(opened.levels, opened.bounds)
    _check_lengths(levels.arrays, levels.factors, axis, place)
    image = GrowingImage(levels, opened.plan, with_all.coordinates, opened.levels[0], axis)
    return replace(image, beside=tuple(_beside(image, path) for path in levels.paths))


def _beside(image: GrowingImage, path: str) -> dict[str, ZarrArray]:
    """Return the arrays beside that of a level that run along the dimension, by path."""
    directory, _, name = path.rpartition("/")
    node = (image.place / directory).node() if directory else None
    if not isinstance(node, zarr.Group):
        return {}
    stored = image.stored_dims[image.axis]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnstableSpecificationWarning)  # of text in Zarr v3
        return {
            f"{directory}/{key}": with_checksums(array, {})
            for key, array in node.arrays()
            if key != name and stored in dims_of(array)
        }


def with_length(place: NodePath, array: ZarrArray, axis: int, length: int) -> ZarrArray:
    """Return an array at a place that is as long along an axis as its documents do not say yet."""
    shape = (*array.shape[:axis], length, *array.shape[axis + 1 :])
    return with_shape(array, shape, StorePath(place.store, place.path))


def _axis(plan: Plan, dim: str | None, place: NodePath) -> int:
    """Return the position of a dimension by its name, or of that of time.

    Raises
    ------
    PlanError
    """
    if dim in plan.dims:
        return plan.dims.index(dim)
    times = [i for i, axis in enumerate(plan.axes) if axis.type == "time"]
    if dim is None and len(times) == 1:
        return times[0]
    accepted = ", ".join(map(repr, plan.dims))
    if dim is None:
        raise PlanError(
            f"{place} has no dimension of time",
            fix=say("say along which it grows with {dim}", dim=plan.dims[0]),
            accepted=accepted,
        )
    raise PlanError(f"{place} has no dimension {dim!r} to grow along", accepted=accepted)


def _check_lengths(
    arrays: Sequence[ZarrArray], factors: Sequence[Sequence[int]], axis: int, place: NodePath
) -> None:
    """Refuse levels of which some have grown, and some not.

    Raises
    ------
    NotAPyramidError
    """
    base = arrays[0].shape[axis]
    for k, array in enumerate(arrays):
        n, f = array.shape[axis], factors[k][axis]
        if n not in (base // f, -(-base // f)):
            raise NotAPyramidError(
                f"{place} has {n} samples at level {k}, and {base} at level 0",
                fix="make its levels anew: xpyramid.add_levels(..., mode='w')",
            )
