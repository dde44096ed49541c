"""From a store back to levels, lazily."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from xpyramid import axes as axes_module
from xpyramid import ngff
from xpyramid.errors import NotAPyramidError
from xpyramid.io import flat
from xpyramid.io.target import Place, Store, resolve
from xpyramid.plan import Level, Plan


@dataclass(frozen=True)
class Opened:
    """The levels of a stored image and their geometry."""

    levels: tuple[xr.DataArray, ...]
    plan: Plan


def open_levels(store: Store, group: str | None) -> Opened:
    """Open a stored image; see :func:`xpyramid.open_pyramid`."""
    place = resolve(store, read_only=True)
    if group:
        place = place / group.strip("/")
    node = place.node()
    if not isinstance(node, zarr.Group):
        what = "nothing" if node is None else "an array"
        raise NotAPyramidError(
            f"{place}: there is {what}; accepted: the group of an OME-Zarr image"
        )
    attrs = dict(node.attrs)
    if ngff.version_of(attrs) is None:
        raise NotAPyramidError(f"{place}: {_what_is_there(node)}")
    image = ngff.parse(attrs)
    arrays = [_array(node, dataset.path) for dataset in image.datasets]
    own = image.metadata.get("library") == "xpyramid"
    if own and image.metadata.get("layout") == "arrays":
        levels = tuple(flat.open_level(array, image, k) for k, array in enumerate(arrays))
        return Opened(levels, _plan(levels, arrays, image))
    levels = tuple(
        _open_own(place, dataset.path, image) if own else _open_any(array, dataset, image, node)
        for array, dataset in zip(arrays, image.datasets, strict=True)
    )
    return Opened(levels, _plan(levels, arrays, image))


def _what_is_there(group: zarr.Group) -> str:
    """Say why a group is no image, and which of its children are."""
    images = [
        name for name, child in group.groups() if ngff.version_of(dict(child.attrs)) is not None
    ]
    if images:
        return f"this group is no image itself, but holds {images}; pass group={images[0]!r}"
    return "this group has no multiscales metadata: it is no OME-Zarr image, or an unfinished one"


def _array(group: zarr.Group, path: str) -> zarr.Array[Any]:
    """Return the array of a dataset, which must lie inside the image's group."""
    if path.startswith("/") or "\\" in path or {".", "..", ""} & set(path.split("/")):
        raise NotAPyramidError(f"dataset path {path[:80]!r} is no path inside the image's group")
    node = group.get(path)
    if not isinstance(node, zarr.Array):
        raise NotAPyramidError(f"the metadata announce {path[:80]!r}, and there is no array there")
    return node


def _open_own(place: Place, path: str, image: ngff.Multiscale) -> xr.DataArray:
    """Open a level that we wrote: a Dataset that holds the array and all its coordinates."""
    node, _, name = path.rpartition("/")
    level = place / node
    raw = xr.open_zarr(
        level.store, group=level.path, chunks={}, consolidated=False, decode_cf=False
    )
    # Coordinates are stored as xarray encodes them; the array itself is stored as it is.
    dataset = xr.decode_cf(raw.drop_vars(name)).assign({name: raw[name].variable})
    for axis, dim in zip(image.axes, image.metadata.get("dims", ()), strict=False):
        if axis.name != dim:
            rename = dataset.swap_dims if dim in dataset.coords else dataset.rename_dims
            dataset = rename({axis.name: dim})
    level_array: xr.DataArray = dataset[name]
    return level_array


def _open_any(
    array: zarr.Array[Any], dataset: ngff.Dataset, image: ngff.Multiscale, group: zarr.Group
) -> xr.DataArray:
    """Open a level that others wrote, with coordinates computed from its transformation."""
    if array.ndim != len(image.axes):
        raise NotAPyramidError(
            f"{dataset.path!r} has {array.ndim} dimensions and the metadata {len(image.axes)} axes"
        )
    coords = {
        axis.name: xr.DataArray(
            shift + scale * np.arange(n),
            dims=axis.name,
            attrs={"units": axis.unit} if axis.unit else {},
        )
        for axis, scale, shift, n in zip(
            image.axes, dataset.scale, dataset.translation, array.shape, strict=True
        )
        if axis.type != "channel"
    }
    name = image.name or group.basename or "image"
    dims = [axis.name for axis in image.axes]
    return xr.DataArray(da.from_zarr(array), coords=coords, dims=dims, name=name)


def _plan(
    levels: Sequence[xr.DataArray], arrays: Sequence[zarr.Array[Any]], image: ngff.Multiscale
) -> Plan:
    """Recover the geometry: factors from our own metadata, else from the scales."""
    recorded = image.metadata.get("factors")
    first = image.datasets[0]
    factors = [
        tuple(recorded[k])
        if recorded is not None
        else tuple(max(1, round(s / b)) for s, b in zip(d.scale, first.scale, strict=True))
        for k, d in enumerate(image.datasets)
    ]
    steps = [
        tuple(b // a for a, b in zip(fine, coarse, strict=True))
        for fine, coarse in pairwise(factors)
    ]
    return Plan(
        axes=axes_module.describe(levels[0]),
        dtype=levels[0].dtype,
        method=str(image.metadata.get("method", image.type or "unknown")),
        boundary=image.metadata.get("boundary", "pad"),
        steps=tuple(steps),
        levels=tuple(
            Level(
                shape=array.shape,
                factors=f,
                chunks=array.chunks,
                nbytes=math.prod(array.shape) * array.dtype.itemsize,
            )
            for array, f in zip(arrays, factors, strict=True)
        ),
    )
