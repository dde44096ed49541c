"""What an image that grows gets: planned from what is known of it; nothing is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpyramid import ngff
from xpyramid._compat import da, lazy_variable
from xpyramid._version import __version__
from xpyramid.errors import PlanError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import Plan
from xpyramid.geometry.tiles import Region
from xpyramid.growth.continuity import (
    as_part,
    as_stored,
    axis_of,
    check_continues,
    check_part,
    joined,
    with_coordinate,
)
from xpyramid.growth.coordinates import encoded_coordinates, part_coordinates, plan_of
from xpyramid.growth.image import GrowingImage
from xpyramid.lazy.coarsen import as_dask, source_chunks
from xpyramid.lazy.levels import Levels
from xpyramid.options.types import Irregular
from xpyramid.store import flat_layout
from xpyramid.store.build_record import APPEND
from xpyramid.store.transaction import Transaction
from xpyramid.writer.jobs import passes_of
from xpyramid.writer.request import PreparedImage
from xpyramid.writer.template import MetadataTemplate


@dataclass(frozen=True)
class Growth:
    """What an image gets.

    Attributes
    ----------
    image : GrowingImage
    total : int
        How long level 0 will be.
    encoded : mapping
        New values of each coordinate that is stored, by path, from
        `GrowingImage.first_coordinate` on.
    coordinates : xarray.Dataset
        Of level 0, from there on.
    along : xarray.DataArray or None
        The coordinate of the dimension at level 0, from the first sample that is new.
    irregular : {"error", "approximate"}
    """

    image: GrowingImage
    total: int
    encoded: Mapping[str, NDArray[np.generic]]
    coordinates: xr.Dataset
    along: xr.DataArray | None
    irregular: Irregular

    @cached_property
    def attributes(self) -> dict[str, object]:
        """Of the image's group, but for the record of what is stored.

        Raises
        ------
        AxisError
            For coordinates that OME-NGFF has no words for.
        PlanError
            For metadata of maps, along a dimension of space.
        """
        image, plan = self.image, self.plan
        axis = plan.axes[image.axis]
        if axis.type == "space" and ngff.is_geozarr(image.attributes):
            raise PlanError(
                f"the GeoZarr metadata of {image.place} say how long {image.dim!r} is",
                fix="write a new image",
            )
        if self.along is None:
            return image.attributes
        names = dict(zip(plan.dims, image.stored_dims, strict=True))
        return ngff.with_axis(
            image.attributes, plan, image.axis, names, self.irregular, self._notes()
        )

    @cached_property
    def whole(self) -> xr.DataArray | None:
        """The coordinate of the dimension at level 0, as it will be."""
        if self.along is None:
            return None
        return joined(self.image.coordinates[0].coords[self.image.dim], self.along)

    @cached_property
    def plan(self) -> Plan:
        """The plan of the image, with the axis as it will be."""
        plan, i = self.image.plan, self.image.axis
        if self.whole is None:
            return plan
        axes = (*plan.axes[:i], axis_of(plan, i, self.whole), *plan.axes[i + 1 :])
        return replace(plan, axes=axes, stored=())

    def grown(self, attributes: Mapping[str, object]) -> GrowingImage:
        """Return the image as it is then, with the attributes of its group."""
        image, longer = self.image, self.image.longer(self.total)
        levels = replace(
            image.levels,
            attributes=attributes,
            arrays=[longer[path] for path in image.levels.paths],
        )
        base, *coarser = image.coordinates
        kept = (
            base.isel({image.dim: slice(0, image.first_coordinate)})
            if image.dim in base.dims
            else base
        )
        variables = {
            name: xr.Variable.concat([variable, self.coordinates.variables[name]], image.dim)
            if image.dim in variable.dims
            else variable
            for name, variable in kept.variables.items()
        }
        return replace(
            image,
            levels=levels,
            plan=self.plan,
            coordinates=(xr.Dataset(coords=variables), *coarser),
            beside=tuple({path: longer[path] for path in arrays} for arrays in image.beside),
        )

    def _notes(self) -> dict[str, object]:
        """Return what the metadata keep of a coordinate that has no array of its own."""
        image = self.image
        kept = ngff.parse(image.attributes).metadata.get("coordinates")
        whole = self.whole
        if not image.is_flat or not isinstance(kept, Mapping) or whole is None:
            return {}
        old = image.coordinates[0].coords[image.dim]
        named = whole.rename(image.dim).assign_attrs(old.attrs)
        named.encoding = dict(old.encoding)
        frame = xr.DataArray(np.zeros(whole.shape, bool), {image.dim: named}, [image.dim])
        axes = (self.plan.axes[image.axis],)
        remembered = flat_layout.remember(frame, axes, "", image.plan.coarsened)
        own = remembered["coordinates"]
        others = {dim: entry for dim, entry in kept.items() if dim != image.dim}
        return {"coordinates": {**others, **(own if isinstance(own, dict) else {})}}


@dataclass(frozen=True)
class PreparedGrowth:
    """An image that is to grow, all checks of which have passed.

    Attributes
    ----------
    growth : Growth
    prepared : PreparedImage
        The part of it that is written from its source: whole stored objects.
    about : mapping
        What must be the same where the call is resumed.
    """

    growth: Growth
    prepared: PreparedImage
    about: Mapping[str, object]

    @property
    def image(self) -> GrowingImage:
        """The image as it is."""
        return self.growth.image

    @property
    def transaction(self) -> Transaction:
        """What keeps others from changing it, and holds notes."""
        return self.prepared.transaction

    @property
    def region(self) -> Region:
        """What is new of level 0."""
        image, shape = self.image, self.image.levels.base.shape
        return tuple(
            slice(image.length, self.growth.total) if i == image.axis else slice(0, n)
            for i, n in enumerate(shape)
        )


def plan_growth(
    image: GrowingImage,
    array: xr.DataArray,
    bounds: xr.Dataset,
    transaction: Transaction,
    limits: Limits,
    irregular: Irregular,
) -> PreparedGrowth | None:
    """Check that samples continue an image, and plan what is written; None where there are none.

    Parameters
    ----------
    image : GrowingImage
    array : xarray.DataArray
    bounds : xarray.Dataset
        Of the cells of its coordinates, and these coordinates.
    transaction : Transaction
        Of the image.
    limits : Limits
    irregular : {"error", "approximate"}

    Raises
    ------
    AxisError
    DtypeError
    PlanError
    """
    array = with_coordinate(image, as_stored(image, as_part(image, array)))
    check_part(image, array)
    if image.plan.axes[image.axis].type == "channel" and ngff.stored_channels(
        ngff.ome_metadata(image.attributes), None
    ):
        raise PlanError(
            f"the metadata of {image.place} describe each of its channels", fix="write a new image"
        )
    if not array.sizes[image.dim]:
        return None
    check_continues(image, array, irregular)
    total = image.length + array.sizes[image.dim]
    if image.plan.boundary == "exact" and total % image.factors[-1]:
        raise PlanError(
            f"{image.place} would have {total} samples along {image.dim!r}, and boundary='exact' "
            f"demands multiples of {image.factors[-1]}"
        )
    has_coordinate = image.dim in array.coords  # of which `get` would make one
    along = array.coords[image.dim] if has_coordinate else None
    coordinates = part_coordinates(image, array, bounds, total)
    encoded = encoded_coordinates(image, coordinates)
    growth = Growth(image, total, encoded, coordinates[0], along, irregular)
    _ = growth.attributes  # which may be refused
    prepared = _prepared_image(image, array, total, transaction)
    prepared = replace(prepared, passes=tuple(passes_of(prepared, limits)))
    return PreparedGrowth(growth, prepared, _about(growth, array, limits))


def about_nothing(image: GrowingImage) -> dict[str, object]:
    """Return what is noted where an image stays as long as it is, and only its record changes."""
    return {APPEND: image.dim, "from": image.length, "to": image.length}


def _about(growth: Growth, array: xr.DataArray, limits: Limits) -> dict[str, object]:
    """Return what must be the same where a call is resumed."""
    digest = hashlib.sha256()
    for path, values in growth.encoded.items():
        digest.update(f"{path} {values.dtype}\0".encode() + np.ascontiguousarray(values).tobytes())
    return {
        APPEND: growth.image.dim,
        "from": growth.image.length,
        "to": growth.total,
        "library": __version__,
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "memory": limits.memory,
        "coordinates": digest.hexdigest(),
    }


def _prepared_image(
    image: GrowingImage, array: xr.DataArray, total: int, transaction: Transaction
) -> PreparedImage:
    """Return the part of an image that is written from its source: whole stored objects.

    Where coarser levels are shorter along the dimension, that is level 0 alone.
    """
    start = image.first_object
    source = array if start == image.length else _with_tail(image, array, start)
    reducer = image.levels.reducer
    plan = plan_of(image, total - start, total)
    plan = replace(
        plan, source_chunks=(source_chunks(source),), holistic=reducer.holistic,
        copies=reducer.copies, dtype=source.dtype,
    )  # fmt: skip
    paths, objects = tuple(image.levels.paths), tuple(image.objects)
    if image.is_coarsened:
        plan = replace(plan, levels=plan.levels[:1], steps=(), holistic=False)
        paths, objects = paths[:1], objects[:1]
    return PreparedImage(
        transaction=transaction,
        levels=Levels.from_arrays([source]),
        objects=objects,
        plan=plan,
        reducer=None if image.is_coarsened else reducer,
        paths=paths,
        template=MetadataTemplate({}, {}, {}),
        zarr_format=image.levels.base.metadata.zarr_format,
    )


def _with_tail(image: GrowingImage, array: xr.DataArray, start: int) -> xr.DataArray:
    """Return new samples behind those with which they share stored objects."""
    base = image.levels.base
    stored = da.from_array(lazy_variable(base, list(image.plan.dims), {}), chunks=base.chunks)
    tail = stored[
        tuple(slice(start, None) if i == image.axis else slice(None) for i in range(base.ndim))
    ]
    new = as_dask(array, base.chunks)
    return xr.DataArray(da.concatenate([tail, new], axis=image.axis), dims=array.dims)
