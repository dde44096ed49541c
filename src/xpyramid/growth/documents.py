"""The documents of an image that has grown: lengths, places along the axis, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer
from zarr.storage import StorePath

from xpyramid import ngff
from xpyramid.errors import AxisError, PlanError
from xpyramid.geometry.tiles import Region
from xpyramid.growth.continuity import axis_of, joined
from xpyramid.growth.image import GrowingImage
from xpyramid.options.types import Irregular
from xpyramid.store import flat_layout
from xpyramid.store.chunk_grid import ChunkGrid, grid_of_array
from xpyramid.store.documents import Documents, as_buffer, get_document
from xpyramid.store.encoding import attributes_back
from xpyramid.store.listing import children
from xpyramid.store.local_chunks import indexes_in
from xpyramid.store.manifest import manifest_of, tables_of, with_tables
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath, ZarrArray, as_prefix, is_name
from xpyramid.writer import documents
from xpyramid.writer.object_tables import rows_of

Scalar = TypeVar("Scalar", bound=np.generic)

#: Attributes by which xarray stores other values than it is given.
_CODING = (
    "units",
    "calendar",
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "dtype",
)


def with_length(place: NodePath, array: ZarrArray, axis: int, length: int) -> ZarrArray:
    """Return an array at a place that is as long along an axis as its documents do not say yet."""
    shape = (*array.shape[:axis], length, *array.shape[axis + 1 :])
    config, metadata = array.async_array.config, array.metadata.update_shape(shape)
    return zarr.Array(zarr.AsyncArray(metadata, StorePath(place.store, place.path), config))


@dataclass(frozen=True)
class Growth:
    """What an image gets.

    Attributes
    ----------
    image : GrowingImage
    total : int
        How long level 0 will be.
    coordinates : sequence of xarray.Dataset
        Of each level, from `GrowingImage.first_coordinate` on.
    along : xarray.DataArray or None
        The coordinate of the dimension at level 0, from the first sample that is new.
    irregular : {"error", "approximate"}
    """

    image: GrowingImage
    total: int
    coordinates: Sequence[xr.Dataset]
    along: xr.DataArray | None
    irregular: Irregular

    @property
    def attributes(self) -> dict[str, object]:
        """Of the image's group, but for the record of what is stored.

        Raises
        ------
        AxisError
            For coordinates that OME-NGFF has no words for.
        PlanError
            For metadata of maps, along a dimension of space.
        """
        image, plan = self.image, self.image.plan
        axis = plan.axes[image.axis]
        if axis.type == "space" and ngff.is_geozarr(image.attributes):
            raise PlanError(
                f"the GeoZarr metadata of {image.place} say how long {image.dim!r} is",
                fix="write a new image",
            )
        if self.along is None:
            return image.attributes
        whole = joined(image.coordinates[0].coords[image.dim], self.along)
        axis = axis_of(plan, image.axis, whole)
        axes = (*plan.axes[: image.axis], axis, *plan.axes[image.axis + 1 :])
        names = dict(zip(plan.dims, image.stored_dims, strict=True))
        now = replace(plan, axes=axes, stored=())
        return ngff.with_axis(
            image.attributes, now, image.axis, names, self.irregular, self._notes(whole, axes)
        )

    def _notes(self, whole: xr.DataArray, axes: Sequence[object]) -> dict[str, object]:
        """Return what the metadata keep of a coordinate that has no array of its own."""
        image = self.image
        kept = ngff.parse(image.attributes).metadata.get("coordinates")
        if not image.is_flat or not isinstance(kept, Mapping):
            return {}
        old = image.coordinates[0].coords[image.dim]
        named = whole.rename(image.dim).assign_attrs(old.attrs)
        named.encoding = dict(old.encoding)
        frame = xr.DataArray(np.zeros(whole.shape, bool), {image.dim: named}, [image.dim])
        (axis,) = (one for one in axes if getattr(one, "dim", None) == image.dim)
        remembered = flat_layout.remember(frame, (axis,), "", image.plan.coarsened)  # type: ignore[arg-type]
        own = remembered["coordinates"]
        others = {dim: entry for dim, entry in kept.items() if dim != image.dim}
        return {"coordinates": {**others, **(own if isinstance(own, dict) else {})}}

    def arrays(self) -> dict[str, ZarrArray]:
        """Return all arrays of the image that get longer, by path, as long as they will be."""
        image, lengths = self.image, self.image.lengths(self.total)
        longer = {}
        for k, path in enumerate(image.levels.paths):
            longer[path] = with_length(
                image.place / path, image.levels.arrays[k], image.axis, lengths[k]
            )
            for beside, array in image.coordinate_arrays(k).items():
                longer[beside] = with_length(
                    image.place / beside, array, _axis_in(image, array), lengths[k]
                )
        return longer

    def put_coordinates(self) -> dict[str, Region]:
        """Store the coordinates; return where, by the path of their array.

        Readers do not see what lies behind the end of an array.

        Raises
        ------
        AxisError
            If one of them cannot be stored as those before it are.
        """
        regions = {}
        for path, array, values in self.encoded():
            axis, start = _axis_in(self.image, array), self._start
            longer = with_length(self.image.place / path, array, axis, start + values.shape[axis])
            region = tuple(
                slice(start, n) if i == axis else slice(0, n) for i, n in enumerate(longer.shape)
            )
            longer[region] = values
            regions[path] = region
        return regions

    def encoded(self) -> list[tuple[str, ZarrArray, NDArray[np.generic]]]:
        """Return path, array and new values of each coordinate that is stored.

        Raises
        ------
        AxisError
            If one of them is missing, or cannot be stored as those before it are.
        """
        image, made = self.image, []
        undecoded = ngff.parse(image.attributes).metadata.get("undecoded")
        raw = undecoded if isinstance(undecoded, list) else []
        for k in range(len(image.levels.paths)):
            for path, array in image.coordinate_arrays(k).items():
                name = image.own_name(path)
                if name not in self.coordinates[k].variables:
                    raise AxisError(
                        f"the new samples have no coordinate {name!r}, and {image.place} has one "
                        f"along {image.dim!r}",
                        fix=f"add it with .assign_coords({name}=...)",
                    )
                variable = self.coordinates[k].variables[name]
                is_raw = path.rpartition("/")[2] in raw
                made.append((path, array, _encoded(name, variable, array, is_raw=is_raw)))
        return made

    @property
    def _start(self) -> int:
        return self.image.first_coordinate


def _axis_in(image: GrowingImage, array: ZarrArray) -> int:
    """Return the position of the dimension that grows in a coordinate's array."""
    names = array.attrs.get("_ARRAY_DIMENSIONS")
    named = array.metadata.dimension_names if array.metadata.zarr_format == 3 else names
    return list(named).index(image.stored_dims[image.axis])  # type: ignore[arg-type]


def _encoded(
    name: str, variable: xr.Variable, array: ZarrArray, *, is_raw: bool
) -> NDArray[np.generic]:
    """Return the values of a coordinate as those before them are stored.

    Raises
    ------
    AxisError
    """
    attrs = attributes_back(array)
    values = np.asarray(variable.values)
    if not is_raw:
        kept = {key: attrs[key] for key in _CODING if key in attrs}
        kept["dtype"] = np.dtype(array.dtype) if values.dtype.kind != "b" else np.dtype(bool)
        plain = xr.Variable(variable.dims, values, encoding=kept)
        try:
            values = np.asarray(xr.conventions.encode_cf_variable(plain, name=name).values)
        except (ValueError, OverflowError, TypeError) as error:
            raise _not_storable(name, attrs, array, str(error)) from error
    with np.errstate(invalid="ignore", over="ignore"):
        stored = values.astype(array.dtype)
    back = xr.Variable(variable.dims, stored, {} if is_raw else attrs)
    if not is_raw and values.dtype.kind not in "UST":
        dates = xr.coders.CFDatetimeCoder(use_cftime=variable.dtype.kind == "O")
        back = xr.conventions.decode_cf_variable(name, back, decode_times=dates)
    if not _are_equal(np.asarray(back.values), np.asarray(variable.values)):
        raise _not_storable(name, attrs, array, "")
    return stored


def _are_equal(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    if one.dtype.kind in "fcmM" and other.dtype.kind == one.dtype.kind:
        return bool(np.array_equal(one, other, equal_nan=True))
    return bool(np.array_equal(one, other))


def _not_storable(name: str, attrs: Mapping[str, object], array: ZarrArray, why: str) -> AxisError:
    units = f" in {attrs['units']!r}" if "units" in attrs else ""
    return AxisError(
        f"the new values of the coordinate {name!r} cannot be stored as those before them are, as "
        f"{array.dtype}{units}{': ' + why if why else ''}",
        fix="round them, or write a new image",
    )


def documents_below(place: NodePath) -> Documents:
    """Return the documents of all nodes of an image, labels and others in its group included."""
    found: Documents = {}
    waiting = [""]
    names = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
    while waiting:
        path = waiting.pop()
        raw = {name: get_document(place / path / name) for name in names}
        own = {name: as_buffer(text) for name, text in raw.items() if text is not None}
        kind = documents.kind_of({k: v for k, v in own.items() if k != ".zmetadata"})
        if kind is None:
            continue
        found |= {f"{as_prefix(path)}{name}": document for name, document in own.items()}
        if kind == "group":
            inside = children(place / path)
            waiting += [f"{as_prefix(path)}{name}" for name in inside if is_name(name)]
    return found


def grown_documents(
    growth: Growth,
    arrays: Mapping[str, ZarrArray],
    regions: Mapping[str, Region],
    written: Mapping[str, NDArray[np.uint64]],
    build: str,
) -> tuple[dict[str, Buffer], Documents]:
    """Return what makes an image of what is stored now, as long as it will be.

    Parameters
    ----------
    growth : Growth
    arrays : mapping
        Those that get longer, by path.
    regions : mapping
        What was stored of each of them.
    written : mapping
        Records of the objects in these regions, where tasks have noted them; others are read.
    build : str
        What no other build has.

    Returns
    -------
    tables : dict
        What belongs to the record and is stored beside the arrays, before the documents.
    documents : dict
        Those of the nodes that change, by their keys below the image.
    """
    image, before = growth.image, documents_below(growth.image.place)
    after = dict(before)
    for path, array in arrays.items():
        name = "zarr.json" if f"{path}/zarr.json" in before else ".zarray"
        node = documents.parse(before[f"{path}/{name}"])
        after[f"{path}/{name}"] = documents.as_document({**node, "shape": list(array.shape)})
    groups = {path[:i] for path in arrays for i, letter in enumerate(path) if letter == "/"}
    for group in sorted(groups, key=lambda group: -group.count("/")):
        if _has_copies(before, group):
            documents.consolidate(after, group)
    attributes, tables = growth.attributes, dict[str, bytes]()
    if manifest_of(image.attributes) is not None:
        attributes, tables = _recorded(
            growth, attributes, arrays, regions, written, _changed(before, after), build
        )
    if _has_copies(before, ""):
        documents.consolidate(after, attributes=attributes)
    else:
        after |= documents.with_attributes(image.place, attributes)
    return {key: as_buffer(data) for key, data in tables.items()}, _changed(before, after)


def _changed(before: Documents, after: Documents) -> Documents:
    return {key: document for key, document in after.items() if before.get(key) != document}


def _has_copies(before: Documents, group: str) -> bool:
    """Whether a group has copies of the metadata of what lies in it."""
    prefix = as_prefix(group)
    if f"{prefix}zarr.json" not in before:
        return f"{prefix}.zmetadata" in before
    return documents.parse(before[f"{prefix}zarr.json"]).get("consolidated_metadata") is not None


def _recorded(
    growth: Growth,
    attributes: Mapping[str, object],
    arrays: Mapping[str, ZarrArray],
    regions: Mapping[str, Region],
    written: Mapping[str, NDArray[np.uint64]],
    changed: Documents,
    build: str,
) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the attributes with a record of what is stored now, and tables that belong to it."""
    image = growth.image
    old = tables_of(image.place, image.attributes)
    tables: dict[str, ObjectTable] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    grids = {path: grid_of_array(array) for path, array in arrays.items()}
    for path, array in arrays.items():
        counts = _counts_before(image, path, grids[path])
        rows = _rows(image.place / path, array, regions.get(path), written.get(path))
        if path in old:
            sizes = _in_grid(old[path].sizes, counts, grids[path].counts)
            checksums = _in_grid(old[path].checksums, counts, grids[path].counts)
            tables[path] = ObjectTable(sizes, checksums, old[path].algorithm).with_rows(rows)
        elif (mask := image.levels.present(path)) is not None:
            present[path] = _in_grid(mask, counts, grids[path].counts)
            present[path][rows[:, 0]] = rows[:, 1] > 0
    parsed = {key: json.loads(document.to_bytes()) for key, document in changed.items()}
    return with_tables(
        image.place, attributes, tables, present, build, grids=grids, documents=parsed
    )


def _counts_before(image: GrowingImage, path: str, grid: ChunkGrid) -> tuple[int, ...]:
    """Return how many objects an array has along each dimension before it grows."""
    if path in image.levels.paths:
        before = image.levels.arrays[image.levels.paths.index(path)].shape
    else:
        (level,) = (k for k in range(len(image.levels.paths)) if path in image.coordinate_arrays(k))
        before = image.coordinate_arrays(level)[path].shape
    return replace(grid, shape=tuple(before)).counts


def _in_grid(
    values: NDArray[Scalar], before: Sequence[int], counts: Sequence[int]
) -> NDArray[Scalar]:
    """Return what is known of each object of a grid that has become longer."""
    widths = [(0, n - m) for m, n in zip(before, counts, strict=True)]
    return np.pad(values.reshape(before), widths).ravel()


def _rows(
    place: NodePath,
    array: ZarrArray,
    region: Region | None,
    written: NDArray[np.uint64] | None,
) -> NDArray[np.uint64]:
    """Return position, size and checksum of each object of a region; 0 where it is not stored."""
    if region is None:
        return np.zeros((0, 3), np.uint64)
    indexes = sorted(indexes_in(region, array.shards or array.chunks))
    if written is None:
        return rows_of(place, array, indexes)
    counts = grid_of_array(array).counts
    rows = np.zeros((len(indexes), 3), np.uint64)
    rows[:, 0] = np.ravel_multi_index(tuple(np.array(indexes).T), counts)
    return np.concatenate([rows, written])
