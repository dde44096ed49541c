"""From (plan, levels) to a store: check everything, write every chunk once, announce last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import xarray as xr
import zarr
from dask.delayed import delayed

from xpyramid import ngff
from xpyramid._version import __version__
from xpyramid.chunks import align
from xpyramid.coarsen import as_dask
from xpyramid.errors import AxisError, DtypeError, PlanError
from xpyramid.io.create import (
    ZarrFormat,
    consolidate,
    create_array,
    json_attributes,
    prepare_coordinates,
    store_coordinates,
)
from xpyramid.io.target import Place, Store, check_free, check_name, resolve
from xpyramid.plan import Plan

LIBRARY = {"library": "xpyramid", "version": __version__}


@dataclass(frozen=True)
class Image:
    """What to write.

    Attributes
    ----------
    levels : tuple of xarray.DataArray
    plan : Plan
    group : str or None
        Path in the store; None is the name of the array.
    attrs : mapping
        Of the Dataset that the array comes from; kept on every level's group.
    """

    levels: tuple[xr.DataArray, ...]
    plan: Plan
    group: str | None = None
    attrs: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """An image whose checks have passed."""

    place: Place
    levels: tuple[xr.DataArray, ...]
    coordinates: tuple[xr.Dataset, ...]
    plan: Plan
    name: str
    attributes: dict[str, Any]
    announcement: dict[str, Any]
    zarr_format: ZarrFormat


def write(
    images: Sequence[Image],
    store: Store,
    *,
    version: str,
    irregular: ngff.Irregular,
    compute: bool,
) -> Any:
    """Write images; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Everything that can be refused is refused before anything is touched. All images are computed
    together; each stored chunk is written once, by one task.
    """
    root = resolve(store, read_only=False)
    jobs = [_check(image, root, version, irregular) for image in images]
    sources: list[da.Array] = []
    targets: list[Any] = []
    for job in jobs:
        for k, array in enumerate(_create(job)):
            sources.append(_aligned(job.levels[k], job.plan.levels[k].chunks))
            targets.append(array)
    if not compute:
        stored = da.store(sources, targets, lock=False, compute=False, return_stored=False)
        return delayed(_announce)(jobs, after=stored)
    da.store(sources, targets, lock=False)
    return _announce(jobs)


def _check(image: Image, root: Place, version: str, irregular: ngff.Irregular) -> _Job:
    """Refuse what cannot be written; touch nothing."""
    if version not in ngff.VERSIONS:
        raise PlanError(f"version={version!r}; accepted: {', '.join(ngff.VERSIONS)}")
    base = image.levels[0]
    named = None if base.name is None else check_name(str(base.name), nested=False)
    group = check_name(image.group or named)
    name = named or group.split("/")[-1]
    if odd := {str(level.dtype) for level in image.levels[1:] if level.dtype != base.dtype}:
        raise DtypeError(
            f"method={image.plan.method!r} turns dtype {base.dtype} into {', '.join(odd)}, and the "
            "levels of an OME-Zarr image have one dtype; call "
            f".astype({next(iter(odd))!r}) before .pyramid"
        )
    if name in base.coords or name in base.dims:
        raise AxisError(
            f"{name!r} is the name of the array and of a coordinate; rename one of them"
        )
    paths = [f"{k}/{name}" for k in range(len(image.levels))]
    described = ngff.describe(image.plan, paths, group.split("/")[-1], irregular, LIBRARY)
    taken = {axis.name for axis in image.plan.axes} & {
        str(coord) for coord in base.coords if coord not in base.dims
    }
    if taken:
        raise AxisError(
            f"coordinate {sorted(taken)} has the name of an OME-NGFF axis of this array; rename it"
        )
    spoken = ngff.VERSIONS[version]
    place = root / group
    check_free(place, spoken.zarr_format)
    names = {axis.dim: axis.name for axis in image.plan.axes}
    attrs = json_attributes(image.attrs)
    return _Job(
        place=place,
        levels=image.levels,
        coordinates=tuple(prepare_coordinates(level, names, attrs) for level in image.levels),
        plan=image.plan,
        name=name,
        attributes=json_attributes(base.attrs),
        announcement=spoken.attributes(described),
        zarr_format=spoken.zarr_format,
    )


def _create(job: _Job) -> list[zarr.Array[Any]]:
    """Create the groups, coordinates and empty arrays of an image."""
    for place in [*job.place.parents(), job.place]:
        zarr.open_group(place.store, path=place.path, mode="a", zarr_format=job.zarr_format)
    dims = [axis.name for axis in job.plan.axes]
    arrays = []
    for k, (array, level) in enumerate(zip(job.levels, job.plan.levels, strict=True)):
        place = job.place / str(k)
        store_coordinates(job.coordinates[k], place, job.zarr_format)
        arrays.append(
            create_array(
                place / job.name, level, array.dtype, dims, job.attributes, job.zarr_format
            )
        )
    return arrays


def _aligned(level: xr.DataArray, chunks: tuple[int, ...]) -> da.Array:
    """Return the data in blocks of whole stored chunks, so that one task writes each."""
    data = as_dask(level, chunks)
    blocks = tuple(align(cs, c) for cs, c in zip(data.chunks, chunks, strict=True))
    aligned: da.Array = data.rechunk(blocks)
    return aligned


def _announce(jobs: Sequence[_Job], after: object = None) -> None:  # noqa: ARG001
    """Make images of what is complete now."""
    for job in jobs:
        group = zarr.open_group(job.place.store, path=job.place.path, mode="r+")
        group.attrs.update(job.announcement)
        for k in range(len(job.levels)):
            consolidate(job.place / str(k))
        consolidate(job.place)
        for above in job.place.parents():
            # Whoever consolidated a group above would not see the new image in it.
            node = above.node()
            if isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None:
                consolidate(above)
