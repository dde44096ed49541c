"""Levels that we wrote: each is a Dataset that holds the array and all its coordinates."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial

import xarray as xr
import zarr
from zarr.api.asynchronous import open_group
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, MemoryStore

from xpyramid import ngff
from xpyramid._compat import sync, unwrapped
from xpyramid.errors import NotAPyramidError, PyramidError
from xpyramid.geometry.bounds import bounds_in, named_bounds
from xpyramid.geometry.chunks import joined
from xpyramid.geometry.ranges import LONGEST_READ, range_coordinates, warn_too_long
from xpyramid.geometry.steps import Factors
from xpyramid.reader import explain
from xpyramid.store.chunk_grid import open_array
from xpyramid.store.decoding import check_codecs, name_damage
from xpyramid.store.encoding import (
    attributes_back,
    decode,
    dims_of,
    open_raw,
    restore_attributes,
)
from xpyramid.store.lengths import as_announced
from xpyramid.store.level_array import as_level, level_of, stored_variable
from xpyramid.store.names import names_back, own_name, with_names
from xpyramid.store.path import (
    GROUP_FIELDS,
    NodePath,
    ZarrArray,
    list_at_once,
    members_of,
    node_document,
)
from xpyramid.store.transaction import is_growing

#: More chunks than that are joined to larger blocks, for dask lists them all. There are more than
#: for images of others: these are the chunks that they are written in again.
MAX_OWN_BLOCKS = 2**22

_NO_BOUNDS = xr.Dataset()

#: The arrays of a level group, by name.
Arrays = dict[str, ZarrArray]


def open_own_levels(
    place: NodePath,
    group: zarr.Group,
    arrays: Sequence[ZarrArray],
    image: ngff.Multiscale,
    dims: Sequence[str],
    factors: Sequence[Factors],
) -> tuple[tuple[xr.DataArray, ...], tuple[xr.Dataset, ...]]:
    """Open levels, and the bounds of their cells, for which a DataArray has no room.

    Parameters
    ----------
    place : NodePath
        Of the image.
    group : zarr.Group
    arrays : sequence of zarr.Array
        Of the levels, as the group has them.
    image : Multiscale
    dims : sequence of str
        Dimensions as xarray knows them.
    factors : sequence of tuple of int
        Of each level, against level 0.

    Raises
    ------
    NotAPyramidError
        If a document of a level cannot be read.
    """
    is_growing_now = cache(partial(is_growing, place))
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always", ZarrUserWarning)
        stored = _own_arrays(place, group, image, is_growing_now)
    if caught_warnings and (fault := explain.fault(place)):  # what zarr cannot read, it leaves out
        raise NotAPyramidError(fault)
    stored = [
        _without_others(beside, dataset.path, ngff.dataset_paths(dict(group.attrs)))
        for beside, dataset in zip(stored, image.datasets, strict=True)
    ]
    # Elsewhere, that an array says something else than the group costs a request to know.
    is_near = isinstance(unwrapped(place.store), LocalStore | MemoryStore)
    opened = []
    for beside, copy, dataset, f in zip(stored, arrays, image.datasets, factors, strict=True):
        array = beside.pop(dataset.path.rpartition("/")[2], None)
        if not is_near:
            array = copy
        elif array is None:
            array = open_array(place / dataset.path)  # which says why
        array = name_damage(as_announced(array, copy, is_growing_now))
        opened.append(_open_own(array, beside, dataset, image, dims, f))
    levels, bounds = zip(*opened, strict=True)
    return levels, bounds


def _without_others(beside: Arrays, path: str, announced: Collection[str]) -> Arrays:
    """Return what is in the group of a level without the levels of other images, if there are any.

    Coordinates along dimensions that only those have are left out, too.

    Parameters
    ----------
    beside : dict
        All arrays of the group, by name.
    path : str
        Of the level's own array.
    announced : collection of str
        Paths of all levels of all images.
    """
    level, _, own = path.rpartition("/")
    in_level = {other.rpartition("/")[2] for other in announced if other.startswith(f"{level}/")}
    others = beside.keys() & (in_level - {own})
    if not others or own not in beside:
        return beside
    foreign = {dim for name in others for dim in dims_of(beside[name])} - {*dims_of(beside[own])}
    return {
        name: array for name, array in beside.items()
        if name not in others and foreign.isdisjoint(dims_of(array))
    }  # fmt: skip


def _own_arrays(
    place: NodePath,
    group: zarr.Group,
    image: ngff.Multiscale,
    is_growing_now: Callable[[], bool],
) -> list[Arrays]:
    """Return the arrays of each level from their own documents, as long as the group says."""
    nodes = [dataset.path.rpartition("/")[0] for dataset in image.datasets]
    places = [place / node for node in nodes]
    at_once = [_arrays_at_once(level) for level in places]
    levels = [arrays for arrays in at_once if arrays is not None]
    if len(levels) < len(places):
        levels = sync(_arrays_in(places))
    for arrays in levels:
        for path, array in arrays.items():
            check_codecs(array, path)
    if group.metadata.consolidated_metadata is None:
        return levels
    member = members_of(group)
    return [
        {
            path: as_announced(array, member(f"{node}/{path}"), is_growing_now)
            for path, array in arrays.items()
        }
        for node, arrays in zip(nodes, levels, strict=True)
    ]


def _arrays_at_once(level: NodePath) -> Arrays | None:
    """Return the arrays in a group of Zarr v3 on a local disk, None where zarr has to look."""
    arrays = {}
    try:
        document = node_document(level.store, level.path)
        if document is None or not _is_group(document):
            return None
        for name in list_at_once(level.store, level.path):
            node = None if name == "zarr.json" else (level / name).node_at_once()
            if isinstance(node, zarr.Array):
                arrays[name] = node
            elif node is None and name != "zarr.json":
                return None
    except PyramidError:
        raise
    except Exception:  # zarr says what is wrong
        return None
    return arrays


def _is_group(document: Mapping[str, object]) -> bool:
    """Whether a document of Zarr v3 is that of a group, with nothing else in it.

    Readers must refuse what they do not know. The copies of what is in the group are not looked at.
    """
    is_known = document.keys() <= GROUP_FIELDS and isinstance(document.get("attributes", {}), dict)
    return is_known and document["node_type"] == "group"


async def _arrays_in(levels: Sequence[NodePath]) -> list[Arrays]:
    """Return the arrays in some groups, all of them in one go through zarr's event loop."""

    async def arrays_in(level: NodePath) -> Arrays:
        try:
            group = await open_group(level.store, path=level.path, mode="r", use_consolidated=False)
        except FileNotFoundError:  # nor is there an array, whatever consolidated metadata say
            return {}
        return {path: zarr.Array(array) async for path, array in group.arrays()}

    return list(await asyncio.gather(*map(arrays_in, levels)))


def _open_own(
    array: ZarrArray,
    beside: Mapping[str, ZarrArray],
    dataset: ngff.Dataset,
    image: ngff.Multiscale,
    dims: Sequence[str],
    factors: Factors,
) -> tuple[xr.DataArray, xr.Dataset]:
    """Open a level, and the bounds of its cells, from its array and those of its coordinates."""
    name = dataset.path.rpartition("/")[2]
    # A store lists them in any order.
    axes = [axis.name for axis in image.axes]
    order = sorted(beside, key=lambda path: (axes.index(path) if path in axes else len(axes), path))
    arrays = {path: name_damage(beside[path]) for path in order}
    ranges = _ranges(arrays, dataset, image, dims)
    raw = open_raw(arrays, {*ranges, *_too_long(arrays, ranges)})
    blocks = joined(array.shape, array.chunks, MAX_OWN_BLOCKS)
    stored_dims, attrs = dims_of(array), attributes_back(array, is_flat=not dims_of(array))
    # Others name no dimensions of a level 0.
    names = stored_dims or axes
    raw[name] = as_level(stored_variable(array, names, attrs), array, blocks)
    larger = [axis.name for axis, f in zip(image.axes, factors, strict=True) if f > 1]
    samples, stored_coords, _ = decode(raw, name, image.metadata, larger)
    renamed, old_dims = names_back(image.metadata, stored_coords), {}
    for axis, dim in zip(image.axes, dims, strict=True):
        old_dims[axis.name] = dim
        if axis.name in stored_coords:  # which its index is, but in stores of older versions
            renamed[axis.name] = dim
    coords = with_names(stored_coords, old_dims, renamed)
    (variable,) = with_names({name: samples}, old_dims, {}).values()
    own = own_name(image.metadata, name)
    level_array = level_of(variable, coords, None)
    for stored, coordinates in ranges.items():
        restore_attributes(coordinates[old_dims[stored]], stored, image.metadata, larger)
        level_array = level_array.assign_coords(coordinates)
    if not any(map(named_bounds, level_array.coords.values())):
        return level_array.rename(own), _NO_BOUNDS
    bounds = bounds_in(xr.Dataset(coords=xr.Coordinates(coords, indexes={})), level_array)
    return level_array.rename(own), bounds


def _ranges(
    arrays: Mapping[str, ZarrArray],
    dataset: ngff.Dataset,
    image: ngff.Multiscale,
    dims: Sequence[str],
) -> dict[str, xr.Coordinates]:
    """Return the coordinates that are ranges, by their stored names: those are not read."""
    noted, uneven, backwards = (
        listed if isinstance(listed := image.metadata.get(key), list) else []
        for key in ("ranges", "irregular", "reversed")
    )
    ranges = {}
    for i, (axis, dim) in enumerate(zip(image.axes, dims, strict=True)):
        array = arrays.get(axis.name)
        if array is None or array.ndim != 1 or dim in uneven or array.dtype.kind not in "iuf":
            continue
        attrs = attributes_back(array)
        is_time = " since " in str(attrs.get("units", ""))
        if dim in noted or (array.size > LONGEST_READ and not is_time):
            sign = -1.0 if dim in backwards else 1.0
            step, start = sign * dataset.scale[i], sign * dataset.translation[i] + 0.0
            ranges[axis.name] = range_coordinates(dim, step, start, array.size, attrs)
    return ranges


def _too_long(arrays: Mapping[str, ZarrArray], ranges: Collection[str]) -> list[str]:
    """Return other coordinates that are not to be read, for xarray reads them at once."""
    paths = [
        path for path, array in arrays.items()
        if path not in ranges and array.ndim == 1 and array.size > LONGEST_READ
    ]  # fmt: skip
    for path in paths:
        warn_too_long(path, arrays[path].size)
    return paths
