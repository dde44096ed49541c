"""From (plan, levels) to a store: check everything, write every chunk once, announce last."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from xpyramid import engine, ngff
from xpyramid._version import __version__
from xpyramid.chunks import Chunks
from xpyramid.coarsen import as_dask
from xpyramid.errors import AxisError, DtypeError, PlanError
from xpyramid.io import flat, labels, shown
from xpyramid.io.create import (
    ZarrFormat,
    consolidate,
    create_array,
    json_attributes,
    prepare_coordinates,
    store_coordinates,
    try_coordinates,
)
from xpyramid.io.fast import accelerate, accelerate_reads
from xpyramid.io.target import Place, Store, check_free, check_name, resolve
from xpyramid.io.viewers import warn_of_dtypes
from xpyramid.levels import Levels
from xpyramid.plan import Plan, budget
from xpyramid.reducers import Reducer, at_once, copier
from xpyramid.tiles import LEAF_BYTES, TILE_BYTES, make_tiling

Layout = Literal["groups", "arrays"]

LIBRARY = {"library": "xpyramid", "version": __version__}


@dataclass(frozen=True)
class Image:
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
    """

    levels: Levels
    plan: Plan
    reducer: Reducer | None = None
    group: str | None = None
    attrs: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How to write; see :meth:`xpyramid.Pyramid.to_ome_zarr`."""

    version: str = "0.5"
    irregular: ngff.Irregular = "error"
    shards: Chunks | None = None
    memory: int | str | None = None
    progress: bool | None = None
    compute: bool = True
    layout: Layout = "groups"
    omero: bool | Mapping[str, Any] | None = None
    labels_of: str | None = None
    conventions: Sequence[str] = ()


@dataclass(frozen=True)
class _Checked:
    """An image whose checks have passed."""

    place: Place
    levels: Levels
    objects: tuple[tuple[int, ...], ...]
    coordinates: tuple[xr.Dataset, ...]
    plan: Plan
    reducer: Reducer | None
    name: str
    attributes: dict[str, Any]
    announcement: dict[str, Any]
    zarr_format: ZarrFormat
    paths: tuple[str, ...]
    shown: shown.Shown | None = None
    labels_group: labels.LabelsGroup | None = None


class ZarrSink:
    """Puts values into a Zarr array."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = accelerate(array)

    def __call__(self, region: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        """Store values in a region of whole chunks."""
        self.array[region] = values


def write(images: Sequence[Image], store: Store, options: Options) -> Any:
    """Write images; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Everything that can be refused is refused before anything is touched. All images are made
    together, and announced when they are complete.
    """
    root = resolve(store, read_only=False)
    if isinstance(root.store, MemoryStore) and not engine.in_process():
        raise PlanError(
            "a store in memory, and tasks in other processes, which would write to copies of it; "
            "accepted: a store on disk, or dask.config.set(scheduler='threads')"
        )
    checked = [_check(image, root, options) for image in images]
    warn_of_dtypes({one.name: one.plan.dtype for one in checked}, stacklevel=3)
    limits = _Limits(engine.workers(), budget(options.memory))
    for image in checked:  # fails before anything is created
        list(_jobs(image, [None] * len(image.levels), limits))
    groups = [shown.watch(list(_jobs(one, _create(one), limits)), one.shown) for one in checked]
    jobs = [job for group in groups for job in group]
    counts = [len(group) for group in groups]
    if not options.compute:
        return engine.delay(jobs, _announce, checked, counts)
    try:
        seen = engine.run(jobs, options.progress)
    except KeyboardInterrupt:
        places = ", ".join(str(image.place) for image in checked)
        raise KeyboardInterrupt(
            f"interrupted; {places} is incomplete, remove it before you try again"
        ) from None
    return _announce(seen, checked, counts)


@dataclass(frozen=True)
class _Limits:
    workers: int
    memory: int | None


def _jobs(
    checked: _Checked, sinks: Sequence[engine.Sink | None], limits: _Limits
) -> Iterator[engine.Job]:
    """Yield what there is to do for an image, mostly one job for all of its levels."""
    plan, reducer = checked.plan, checked.reducer
    count = range(len(plan.levels))
    if reducer is None:  # levels that are stored elsewhere are copied
        for k in count:
            yield _job(checked, [k], (), copier(plan.dtype), [sinks[k]], limits)
    elif not reducer.whole:
        yield _job(checked, count, plan.steps, reducer, sinks, limits)
    else:
        yield _job(checked, [0], (), reducer, [sinks[0]], limits)
        for k in count[1:]:
            step = plan.levels[k].factors
            yield _job(checked, [0, k], (step,), at_once(reducer), [None, sinks[k]], limits)


def _job(
    checked: _Checked,
    levels: Sequence[int],
    steps: Sequence[tuple[int, ...]],
    reducer: Reducer,
    sinks: Sequence[engine.Sink | None],
    limits: _Limits,
) -> engine.Job:
    """Return the job of writing some levels, made from the first of them."""
    base = checked.levels[levels[0]]
    objects = [checked.objects[k] for k in levels]
    joined = None if base.chunks is not None else _joined(objects[0], base, limits)
    tiling = make_tiling(
        base.shape, steps, [joined or objects[0], *objects[1:]], base.dtype.itemsize,
        workers=limits.workers, memory=limits.memory,
        tile_bytes=LEAF_BYTES if joined is None else TILE_BYTES,  # dask holds all blocks of a tile
    )  # fmt: skip
    shapes = tuple(checked.plan.levels[k].shape for k in levels)
    work = engine.Work(tiling, reducer, shapes, tuple(sinks))
    if joined is not None:
        return engine.Job(work, engine.Source(accelerate_reads(base.variable)))
    data = as_dask(base, checked.objects[levels[0]])
    return engine.Job(work, engine.DaskSource(data, tiling.reach(tiling.tile)))


def _joined(stored: tuple[int, ...], base: xr.DataArray, limits: _Limits) -> tuple[int, ...] | None:
    """Return regions of whole chunks of both source and target, None where they get too large.

    What is read in such regions is read once.
    """
    on_disk = base.encoding.get("preferred_chunks", {})
    chunks = [on_disk.get(dim, 1) for dim in base.dims]
    if not all(isinstance(chunk, int) for chunk in chunks):
        return None
    pairs = zip(stored, chunks, base.shape, strict=True)
    region = tuple(min(math.lcm(s, chunk), max(1, n)) for s, chunk, n in pairs)
    most = 4 * LEAF_BYTES
    if limits.memory is not None:  # a worker holds a region as it is read, encoded, and reduced
        most = min(most, limits.memory // (4 * limits.workers))
    limit = max(most, math.prod(stored) * base.dtype.itemsize)
    return region if math.prod(region) * base.dtype.itemsize <= limit else None


def _check(image: Image, root: Place, options: Options) -> _Checked:
    """Refuse what cannot be written; touch nothing."""
    version = options.version
    if version not in ngff.VERSIONS:
        raise PlanError(f"version={version!r}; accepted: {', '.join(ngff.VERSIONS)}")
    spoken = ngff.VERSIONS[version]
    if options.shards is not None and spoken.zarr_format == 2:
        raise PlanError(
            f"shards={options.shards!r} with version={version!r}, which is Zarr v2; "
            "accepted: version='0.5'"
        )
    base = image.levels[0]
    named = None if base.name is None else check_name(str(base.name), nested=False)
    group = check_name(image.group or named)
    name = named or group.split("/")[-1]
    labels_group = None
    if options.labels_of is not None:
        of = check_name(options.labels_of.strip("/"))
        labels_group = labels.prepare(root / of, group, base.dtype, len(image.levels), version)
        group = f"{of}/labels/{group}"
    if options.layout not in get_args(Layout):
        raise PlanError(f"layout={options.layout!r}; accepted: 'groups', 'arrays'")
    grouped = options.layout == "groups"
    if image.reducer is not None and len(image.levels) > 1 and image.reducer.dtype != base.dtype:
        raise DtypeError(
            f"method={image.plan.method!r} turns dtype {base.dtype} into {image.reducer.dtype}, "
            "and the levels of an OME-Zarr image have one dtype; call "
            f".astype('{image.reducer.dtype}') before .pyramid"
        )
    if name in base.coords or name in base.dims:
        raise AxisError(
            f"{name!r} is the name of the array and of a coordinate; rename one of them"
        )
    paths = tuple(f"{k}/{name}" if grouped else f"{k}" for k in range(len(image.levels)))
    about = LIBRARY if grouped else LIBRARY | flat.remember(base, image.plan.axes, name)
    described = ngff.describe(image.plan, paths, group.split("/")[-1], options.irregular, about)
    announcement = spoken.attributes(described)
    if options.conventions:
        announcement |= _conventions(base, image.plan, paths, options)
    if labels_group is not None:
        label = json_attributes(labels_group.metadata(base.attrs))
        announcement = ngff.announce(announcement, "image-label", label)
    taken = {axis.name for axis in image.plan.axes} & {
        str(coord) for coord in base.coords if coord not in base.dims
    }
    if taken:
        raise AxisError(
            f"coordinate {sorted(taken)} has the name of an OME-NGFF axis of this array; rename it"
        )
    place = root / group
    check_free(place, spoken.zarr_format)
    names = {axis.dim: axis.name for axis in image.plan.axes}
    attrs = json_attributes(image.attrs)
    stored = [prepare_coordinates(c, names, attrs) for c in image.levels.coordinates]
    for coordinates in stored[:2]:  # what is coarsened is the same for all coarser levels
        try_coordinates(coordinates)
    return _Checked(
        place=place,
        levels=image.levels,
        objects=image.plan.objects(options.shards),
        coordinates=tuple(stored),
        plan=image.plan,
        reducer=image.reducer,
        name=name,
        attributes=json_attributes(base.attrs),
        announcement=announcement,
        zarr_format=spoken.zarr_format,
        paths=paths,
        shown=None if labels_group else shown.prepare(base, image.plan, options.omero),
        labels_group=labels_group,
    )


def _conventions(
    base: xr.DataArray, plan: Plan, paths: Sequence[str], options: Options
) -> dict[str, Any]:
    """Return attributes of other conventions, which go beside ``ome``."""
    if isinstance(options.conventions, str) or set(options.conventions) - {"geozarr"}:
        raise PlanError(f"conventions={options.conventions!r}; accepted: ['geozarr']")
    if ngff.VERSIONS[options.version].zarr_format == 2:
        raise PlanError(
            f"conventions={options.conventions!r} with version={options.version!r}, whose "
            "'multiscales' is in the same place; accepted: version='0.5'"
        )
    name = base.attrs.get("grid_mapping", base.encoding.get("grid_mapping", "spatial_ref"))
    crs = base.coords[name].attrs if name in base.coords else {}
    return ngff.geozarr(plan, paths, crs)


def _create(job: _Checked) -> list[ZarrSink]:
    """Create the groups, coordinates and empty arrays of an image."""
    for place in [*job.place.parents(), job.place]:
        zarr.open_group(place.store, path=place.path, mode="a", zarr_format=job.zarr_format)
    dims = [axis.name for axis in job.plan.axes]
    sinks = []
    for k, (level, shape) in enumerate(zip(job.plan.levels, job.objects, strict=True)):
        path = job.paths[k]
        if "/" in path:
            store_coordinates(job.coordinates[k], job.place / str(k), job.zarr_format)
        shards = None if shape == level.chunks else shape
        array = create_array(
            job.place / path, level, shards, job.plan.dtype, dims, job.attributes, job.zarr_format
        )
        sinks.append(ZarrSink(array))
    return sinks


def _announce(
    seen: Sequence[engine.Statistics], images: Sequence[_Checked], counts: Sequence[int]
) -> None:
    """Make images of what is complete now; what was seen is given for each job of each image."""
    for job, first in zip(images, accumulate(counts, initial=0), strict=False):
        group = zarr.open_group(job.place.store, path=job.place.path, mode="r+")
        announcement = job.announcement
        if job.shown is not None:
            announcement = ngff.announce(announcement, "omero", job.shown.metadata(seen[first]))
        group.attrs.update(announcement)
        if job.labels_group is not None:
            job.labels_group.add()
        for path in job.paths:
            if "/" in path:
                consolidate(job.place / path.split("/")[0])
        consolidate(job.place)
        for above in job.place.parents():
            # Whoever consolidated a group above would not see the new image in it.
            node = above.node()
            if isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None:
                consolidate(above)
