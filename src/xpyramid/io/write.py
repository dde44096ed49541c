"""From (plan, levels) to a store: check everything, write every chunk once, announce last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
import zarr

from xpyramid import engine, ngff
from xpyramid._version import __version__
from xpyramid.errors import AxisError, DtypeError, PlanError
from xpyramid.io.create import (
    ZarrFormat,
    consolidate,
    create_array,
    json_attributes,
    prepare_coordinates,
    store_coordinates,
)
from xpyramid.io.fast import accelerate, accelerate_reads
from xpyramid.io.target import Place, Store, check_free, check_name, resolve
from xpyramid.plan import Plan
from xpyramid.reducers import Reducer, at_once, copier

LIBRARY = {"library": "xpyramid", "version": __version__}


@dataclass(frozen=True)
class Image:
    """What to write.

    Attributes
    ----------
    levels : tuple of xarray.DataArray
    plan : Plan
    reducer : Reducer or None
        How level 0 becomes the others; None if they have data of their own.
    group : str or None
        Path in the store; None is the name of the array.
    attrs : mapping
        Of the Dataset that the array comes from; kept on every level's group.
    """

    levels: tuple[xr.DataArray, ...]
    plan: Plan
    reducer: Reducer | None = None
    group: str | None = None
    attrs: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Checked:
    """An image whose checks have passed."""

    place: Place
    levels: tuple[xr.DataArray, ...]
    coordinates: tuple[xr.Dataset, ...]
    plan: Plan
    reducer: Reducer | None
    name: str
    attributes: dict[str, Any]
    announcement: dict[str, Any]
    zarr_format: ZarrFormat


class ZarrSink:
    """Puts values into a Zarr array."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = accelerate(array)

    def __call__(self, region: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        """Store values in a region of whole chunks."""
        self.array[region] = values


def write(
    images: Sequence[Image],
    store: Store,
    *,
    version: str,
    irregular: ngff.Irregular,
    compute: bool,
) -> Any:
    """Write images; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Everything that can be refused is refused before anything is touched. All images are made
    together, and announced when they are complete.
    """
    root = resolve(store, read_only=False)
    checked = [_check(image, root, version, irregular) for image in images]
    jobs = [job for one in checked for job in _jobs(one, [ZarrSink(a) for a in _create(one)])]
    if not compute:
        return engine.delay(jobs, _announce, checked)
    engine.run(jobs)
    return _announce(checked)


def _jobs(checked: _Checked, sinks: Sequence[engine.Sink]) -> Iterator[engine.Job]:
    """Yield what there is to do for an image, mostly one job for all of its levels."""
    levels, plan, reducer = checked.levels, checked.plan, checked.reducer
    if reducer is None:  # levels that are stored elsewhere are copied
        for k, level in enumerate(levels):
            yield _job(level, plan, [k], (), copier(level.dtype), [sinks[k]])
    elif not reducer.whole:
        yield _job(levels[0], plan, range(len(levels)), plan.steps, reducer, sinks)
    else:
        yield _job(levels[0], plan, [0], (), reducer, [sinks[0]])
        for k in range(1, len(levels)):
            step = plan.levels[k].factors
            yield _job(levels[0], plan, [0, k], (step,), at_once(reducer), [None, sinks[k]])


def _job(
    base: xr.DataArray,
    plan: Plan,
    levels: Sequence[int],
    steps: Sequence[tuple[int, ...]],
    reducer: Reducer,
    sinks: Sequence[engine.Sink | None],
) -> engine.Job:
    objects = [plan.levels[k].chunks for k in levels]
    tiling = engine.make_tiling(base.shape, steps, objects, base.dtype.itemsize)
    shapes = tuple(plan.levels[k].shape for k in levels)
    work = engine.Work(tiling, reducer, shapes, tuple(sinks))
    if base.chunks is None:
        return engine.Job(work, engine.Source(accelerate_reads(base.variable)))
    return engine.Job(work, engine.DaskSource(base.data, tiling.reach(tiling.tile)))


def _check(image: Image, root: Place, version: str, irregular: ngff.Irregular) -> _Checked:
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
    return _Checked(
        place=place,
        levels=image.levels,
        coordinates=tuple(prepare_coordinates(level, names, attrs) for level in image.levels),
        plan=image.plan,
        reducer=image.reducer,
        name=name,
        attributes=json_attributes(base.attrs),
        announcement=spoken.attributes(described),
        zarr_format=spoken.zarr_format,
    )


def _create(job: _Checked) -> list[zarr.Array[Any]]:
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


def _announce(images: Sequence[_Checked]) -> None:
    """Make images of what is complete now."""
    for job in images:
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
