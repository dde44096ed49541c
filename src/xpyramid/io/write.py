"""From (plan, levels) to a store: check everything, write every object once, announce last."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import zarr
from zarr.storage import MemoryStore

from xpyramid import engine, ngff
from xpyramid._version import __version__
from xpyramid.errors import AxisError, DtypeError, PlanError, TargetExistsError
from xpyramid.io.checks import (
    check_chunks,
    check_names,
    check_space,
    check_writable,
    group_attributes,
)
from xpyramid.io.draft import (
    Sketch,
    announcement,
    consolidate,
    draft,
    json_attributes,
    prepare_coordinates,
    write_lazy,
)
from xpyramid.io.encoding import note
from xpyramid.io.guard import Spot, check_source, sources
from xpyramid.io.image import Checked, Image, Limits, Options
from xpyramid.io.jobs import jobs_of
from xpyramid.io.missing import check_missing
from xpyramid.io.resume import check_input, check_same, record_of
from xpyramid.io.sinks import open_sink
from xpyramid.io.staging import Staging, announced, put
from xpyramid.io.target import (
    Place,
    Store,
    check_above,
    check_free,
    check_name,
    check_replaceable,
    resolve,
)
from xpyramid.plan import budget

LIBRARY = {"library": "xpyramid", "version": __version__}


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
    read = sources(thing for image in images for thing in (*image.read, *image.levels.coordinates))
    checked = [_check(image, root, options, read) for image in images]
    places = [image.staging.target for image in checked]
    check_space(store, places, sum(image.plan.nbytes for image in images))
    lazily = [level.variable for image in images for level in image.read]
    check_missing(lazily, strict=options.strict)
    limits = Limits(engine.workers(), budget(options.memory))
    for image in checked:  # fails before anything is created
        list(jobs_of(image, [None] * len(image.levels), limits, None))
    with ExitStack() as held:
        for image in checked:
            held.enter_context(image.staging.held())
        jobs = [job for image in checked for job in _begin(image, options, limits)]
        if not options.compute:
            return engine.delay(jobs, _finish, checked, options)
        try:
            engine.run(jobs, options.progress)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {_way_on(checked)}") from None
        except Exception as error:
            error.add_note(_way_on(checked))
            raise
        return _finish(checked, options)


def _way_on(images: Sequence[Checked]) -> str:
    """Say what can be done about unfinished images."""
    places = ", ".join(str(image.staging.target) for image in images)
    if all(image.staging.resumable for image in images):
        return f"{places} is unfinished; call again with resume=True to go on, or with mode='w'"
    return f"{places} is unfinished; call again with mode='w'"


def _begin(image: Checked, options: Options, limits: Limits) -> list[engine.Job]:
    """Create what has no data yet, or take up what an earlier build has left."""
    staging, tasks = image.staging, None
    _check_target(staging, image.paths, options)  # again: nobody else can change it now
    record = record_of(image, limits)
    found = staging.record() if options.resume else None
    if found is None:
        staging.clear()
        staging.withdraw()
        staging.create_parents(image.zarr_format)
    else:
        check_same(found, record, staging.target)
        staging.tidy()
        limits = replace(limits, workers=int(found["workers"]))  # decides which tasks there are
        record = {**record, "workers": limits.workers}
    if found is None or not found["created"]:
        staging.note(record)
        put(staging.image, image.draft.documents)
        write_lazy(image.draft, staging.image)
        staging.note({**record, "created": True})
    if staging.resumable and options.compute:
        tasks = staging.yard / "tasks"
    sinks = [
        open_sink(staging.image / path, staging.target / path, k)
        for k, path in enumerate(image.paths)
    ]
    jobs = list(jobs_of(image, sinks, limits, tasks))
    for job in jobs:
        check_input(job, image)
    return jobs


def _check(image: Image, root: Place, options: Options, read: Sequence[Spot]) -> Checked:
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
    check_names(base)
    check_chunks(image.plan)
    named = None if base.name is None else check_name(str(base.name), nested=False)
    group = check_name(image.group or named)
    name = named or group.split("/")[-1]
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
    paths = [f"{k}/{name}" for k in range(len(image.levels))]
    described = ngff.describe(image.plan, paths, group.split("/")[-1], options.irregular, LIBRARY)
    described = note(described, image.levels.coordinates[0], base.dtype)
    taken = {axis.name for axis in image.plan.axes} & {
        str(coord) for coord in base.coords if coord not in base.dims
    }
    if taken:
        raise AxisError(
            f"coordinate {sorted(taken)} has the name of an OME-NGFF axis of this array; rename it"
        )
    staging = Staging(root / group)
    check_source(read, [staging.target])
    check_writable(staging.target)
    check_above(staging.target, spoken.zarr_format)
    _check_target(staging, paths, options)
    names = {axis.dim: axis.name for axis in image.plan.axes}
    attrs, objects = (
        json_attributes(group_attributes(image.attrs)),
        image.plan.objects(options.shards),
    )
    sketch = Sketch(
        name=name,
        levels=image.plan.levels,
        objects=objects,
        coordinates=[prepare_coordinates(c, names, attrs) for c in image.levels.coordinates],
        dtype=image.plan.dtype,
        dims=list(names.values()),
        attributes=json_attributes(base.attrs),
        announcement=spoken.attributes(described),
        zarr_format=spoken.zarr_format,
    )
    return Checked(
        staging=staging,
        levels=image.levels,
        objects=objects,
        plan=image.plan,
        reducer=image.reducer,
        paths=tuple(paths),
        draft=draft(sketch),
        zarr_format=spoken.zarr_format,
    )


def _check_target(staging: Staging, paths: Sequence[str], options: Options) -> None:
    """Refuse a place that is taken, unless by what may be replaced or gone on with."""
    target = staging.target
    unfinished = staging.record() is not None
    if options.mode not in ("w-", "w"):
        raise PlanError(f"mode={options.mode!r}; accepted: 'w-' (new), 'w' (replace)")
    if unfinished and options.mode == "w-" and not options.resume:
        raise TargetExistsError(
            f"there is an unfinished build of {target}; call again with resume=True to go on with "
            "it, or with mode='w' to begin anew"
        )
    if unfinished and staging.directory is None:
        return  # what is there is the unfinished build itself
    if options.mode == "w-":
        check_free(target)
        return
    node = target.node()
    old = announced(node) if isinstance(node, zarr.Group) else set()
    check_replaceable(target, sorted({path.split("/")[0] for path in paths}), old)


def _finish(images: Sequence[Checked], options: Options) -> None:
    """Make images of what is complete now."""
    for image in images:
        staging = image.staging
        staging.publish(announcement(image.draft, staging.image), durable=options.durable)
        for above in image.staging.target.parents():
            # Whoever consolidated a group above would not see the new image in it.
            node = above.node()
            if isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None:
                consolidate(above)
