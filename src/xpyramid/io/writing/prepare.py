"""Everything that can be known before anything is written, and all that can be refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, get_args

import numpy as np
import xarray as xr
import zarr

from xpyramid import ngff
from xpyramid._version import __version__
from xpyramid.errors import AxisError, DtypeError, PlanError, TargetExistsError, check_kind
from xpyramid.io.form import flat, labels, shown
from xpyramid.io.form.attributes import json_attributes
from xpyramid.io.form.collection import ImageCollection
from xpyramid.io.form.encoding import encode_fill_value, note
from xpyramid.io.store.staging import Staging, announced
from xpyramid.io.store.target import (
    Place,
    check_above,
    check_free,
    check_name,
    check_replaceable,
    is_root,
)
from xpyramid.io.writing.checks import check_chunks, check_names, check_writable, group_attributes
from xpyramid.io.writing.compression import compressor_of
from xpyramid.io.writing.coordinates import prepare_coordinates
from xpyramid.io.writing.draft import Sketch, draft
from xpyramid.io.writing.guard import Spot, check_source
from xpyramid.io.writing.image import Checked, Image, Layout, Mode, Options
from xpyramid.kinds import AVERAGING, averaged

LIBRARY = {"library": "xpyramid", "version": __version__}


def prepare(image: Image, root: Place, options: Options, read: Sequence[Spot]) -> Checked:
    """Make all documents of an image; refuse what cannot be written, and touch nothing.

    Parameters
    ----------
    image : Image
    root : Place
        The store.
    options : Options
    read : sequence of Spot
        What is read, and must not be written to.
    """
    _check_options(options)
    spoken, base = ngff.VERSIONS[options.version], image.levels[0]
    check_names(base)
    check_chunks(image.plan)
    named = None if base.name is None else check_name(str(base.name), nested=False)
    group = "" if is_root(image.group) else check_name(image.group or named)
    name = named or check_name(group.split("/")[-1] or None)
    _check_levels(image, name, options)
    group, labels_group = _in_image(image, group, root, options)
    count = range(len(image.levels))
    paths = [f"{k}/{name}" if options.layout == "groups" else f"{k}" for k in count]
    staging = Staging((root / group).as_image())
    check_source(read, [staging.target])
    check_writable(staging.target)
    check_above(staging.target, spoken.zarr_format)
    check_target(staging, paths, options)
    objects = image.plan.objects(options.shards)
    names = {axis.dim: axis.name for axis in image.plan.axes}
    attrs = json_attributes(group_attributes(image.attrs))
    sketch = Sketch(
        paths=paths,
        levels=image.plan.levels,
        objects=objects,
        coordinates=[prepare_coordinates(c, names, attrs) for c in image.levels.coordinates],
        dtype=image.plan.dtype,
        dims=list(names.values()),
        attributes=_attributes(base, spoken.zarr_format),
        announcement=_announcement(image, paths, group, labels_group, options),
        zarr_format=spoken.zarr_format,
        compressor=compressor_of(options.compressor, spoken.zarr_format),
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
        shown=(
            None if labels_group else shown.prepare(base, image.plan, options.omero, image.document)
        ),
        labels_group=labels_group,
        collection=None if labels_group else _collection(staging.target, options),
    )


def _collection(target: Place, options: Options) -> ImageCollection | None:
    """Return where an image is listed with others, None for one that is the root itself."""
    if target.outside or not target.path:
        return None
    return ImageCollection(Place(target.store, ""), target.path, options.version)


def _check_options(options: Options) -> None:
    """Refuse options that are none, or do not go together."""
    version, conventions = options.version, options.conventions
    for name in ("version", "mode", "layout", "irregular", "labels_of"):
        check_kind(name, getattr(options, name), str, "text")
    for name in ("resume", "compute", "durable", "strict", "progress"):
        check_kind(name, getattr(options, name), (bool, np.bool_), "True, False")
    check_kind("conventions", conventions, Collection, "['geozarr']")
    if version not in ngff.VERSIONS:
        raise PlanError(f"version={version!r}; accepted: {', '.join(ngff.VERSIONS)}")
    if options.mode not in get_args(Mode):
        raise PlanError(f"mode={options.mode!r}; accepted: 'w-' (new), 'w' (replace)")
    if options.layout not in get_args(Layout):
        raise PlanError(f"layout={options.layout!r}; accepted: 'groups', 'arrays'")
    if (
        conventions is None
        or isinstance(conventions, str)
        or any(one != "geozarr" for one in conventions)
    ):
        raise PlanError(f"conventions={conventions!r}; accepted: ['geozarr']")
    if ngff.VERSIONS[version].zarr_format == 2 and options.shards is not None:
        raise PlanError(
            f"shards={options.shards!r} with version={version!r}, which is Zarr v2; "
            "accepted: version='0.5'"
        )
    if ngff.VERSIONS[version].zarr_format == 2 and conventions:
        raise PlanError(
            f"conventions={conventions!r} with version={version!r}, whose 'multiscales' is in the "
            "same place; accepted: version='0.5'"
        )


def _check_method(image: Image, options: Options) -> None:
    """Refuse labels of which coarser levels are, or would be, averages."""
    method, is_copy = image.plan.method, image.reducer is None
    if method not in AVERAGING or len(image.levels) == 1 or image.plan.dtype.kind == "f":
        return
    if is_copy and "image-label" in image.document:
        return  # somebody's labels, whatever they call how they were made
    if image.plan.kind == "labels" or options.labels_of is not None:
        raise PlanError(averaged(method))


def _check_levels(image: Image, name: str, options: Options) -> None:
    """Refuse arrays whose levels OME-NGFF, or a Dataset, has no place for."""
    base, axes = image.levels[0], {axis.name for axis in image.plan.axes}
    if image.reducer is not None and len(image.levels) > 1 and image.reducer.dtype != base.dtype:
        raise DtypeError(
            f"method={image.plan.method!r} turns dtype {base.dtype} into {image.reducer.dtype}, "
            "and the levels of an OME-Zarr image have one dtype; call "
            f".astype('{image.reducer.dtype}') before .pyramid"
        )
    _check_method(image, options)
    if name in base.coords or name in base.dims:
        raise AxisError(
            f"{name!r} is the name of the array and of a coordinate; rename one of them"
        )
    if taken := axes & {str(coord) for coord in base.coords if coord not in base.dims}:
        raise AxisError(
            f"coordinate {sorted(taken)} has the name of an OME-NGFF axis of this array; rename it"
        )


def _in_image(
    image: Image, group: str, root: Place, options: Options
) -> tuple[str, labels.LabelsGroup | None]:
    """Return where an image goes, and where it is listed if it holds the labels of another."""
    if options.labels_of is None:
        return group, None
    check_name(group or None)
    of = labels.check_image_path(options.labels_of)
    dtype, count = image.levels[0].dtype, len(image.levels)
    listed = labels.prepare(root / of, group, dtype, count, options.version)
    return f"{of}/labels/{group}".strip("/"), listed


def _announcement(
    image: Image,
    paths: Sequence[str],
    group: str,
    labels_group: labels.LabelsGroup | None,
    options: Options,
) -> dict[str, Any]:
    """Return the attributes that make an image of a group, as far as they are known."""
    base, plan = image.levels[0], image.plan
    name = group.rpartition("/")[2] or str(base.name)
    about: dict[str, Any] = dict(LIBRARY)
    if options.layout == "arrays":
        about |= flat.remember(base, plan.axes, str(base.name or name))
    described = ngff.describe(plan, paths, name, options.irregular, about)
    described = note(described, image.levels.coordinates[0], base.dtype)
    attributes = ngff.VERSIONS[options.version].attributes(described)
    if options.conventions:
        attributes |= ngff.geozarr(plan, paths, _crs(base))
    label: dict[str, Any] = {}
    if labels_group is not None:
        label = labels_group.metadata(base.attrs, image.document)
    elif plan.kind == "labels" and base.dtype.kind in "iu":
        label = ngff.image_label(base.attrs, options.version, None, image.document)
    if label:
        attributes = ngff.announce(attributes, "image-label", json_attributes(label))
    return attributes


def _attributes(base: xr.DataArray, zarr_format: int) -> dict[str, Any]:
    """Return the attributes of the level arrays."""
    beside = shown.attributes_beside(base.attrs)
    return json_attributes(encode_fill_value(beside, base.dtype, zarr_format))


def _crs(base: xr.DataArray) -> dict[Any, Any]:
    """Return the attributes of the coordinate that holds the grid mapping."""
    name = base.attrs.get("grid_mapping", base.encoding.get("grid_mapping", "spatial_ref"))
    return base.coords[name].attrs if name in base.coords else {}


def check_target(staging: Staging, paths: Sequence[str], options: Options) -> None:
    """Refuse a place that is taken, unless by what may be replaced or gone on with."""
    target = staging.target
    unfinished = staging.record() is not None
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
    node = target.sound_node()
    old = announced(node) if isinstance(node, zarr.Group) else set()
    check_replaceable(target, sorted({path.split("/")[0] for path in paths}), old)
