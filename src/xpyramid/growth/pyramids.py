"""Pyramids that are appended to stored images, or written where there are none yet."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr
from dask.delayed import Delayed

from xpyramid.errors import NotAPyramidError, PlanError, TargetExistsError
from xpyramid.geometry.bounds import bounds_in
from xpyramid.geometry.plan import Plan
from xpyramid.growth.image import open_growing
from xpyramid.growth.session import Part, append
from xpyramid.messages import HOW_TO_FINISH, say
from xpyramid.options import RunOptions, WriteOptions, only, resolve_options
from xpyramid.reader.explain import explain_node
from xpyramid.store.path import (
    NodePath,
    Store,
    check_group_path,
    check_name,
    is_image,
    is_root,
    resolve,
)
from xpyramid.store.transaction import is_unfinished
from xpyramid.writer import ImageSource, write


def write_or_append(
    images: Sequence[ImageSource], store: Store, options: WriteOptions
) -> Delayed | None:
    """Write images, or append to those that are there."""
    dim = options.get("append_dim")
    if dim is not None and options.get("layout") == "datasets":
        raise PlanError(
            "with one group for all variables, which nothing can be appended to",
            option="append_dim", value=dim, accepted="None",
            fix=say("leave out {layout}, for one group an image"),
        )  # fmt: skip
    if dim is not None:
        return _append_images(images, store, dim, options)
    return write(images, store, options)


def _append_images(
    images: Sequence[ImageSource], store: Store, dim: str, options: WriteOptions
) -> Delayed | None:
    """Append to images along a dimension; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Images that are not there yet are written.
    """
    resolved = resolve_options(WriteOptions, options)
    for image in images:
        if dim not in image.plan.dims:
            raise PlanError(
                "names no dimension", option="append_dim", value=dim,
                accepted=", ".join(map(repr, image.plan.dims)),
            )  # fmt: skip
    root = resolve(store, read_only=False)
    places = [_place(root, image, resolved) for image in images]
    exist = [is_image(place.sound_node()) for place in places]
    if not any(exist):
        return write(images, store, options)
    if not all(exist):
        missing = places[exist.index(False)]
        raise TargetExistsError(
            f"{missing} is not there, and {places[exist.index(True)]} is",
            fix="append to the variables that are there, and write the others first",
        )
    if resolved["mode"] == "w":
        raise PlanError(
            say("with {append_dim}, which keeps what is there", append_dim=dim),
            option="mode", value="w", accepted="'w-'",
        )  # fmt: skip
    if not resolved["compute"]:
        raise PlanError(
            say("with {append_dim}", append_dim=dim), option="compute", value=False,
            accepted="True",
        )  # fmt: skip
    for place, image in zip(places, images, strict=True):
        place.check_around()
        growing = open_growing(place, dim)
        _check_plan(growing.plan, image.plan, growing.axis, place)
    parts = [
        Part(place, image.levels[0], image.levels.coordinates[0])
        for place, image in zip(places, images, strict=True)
    ]
    append(parts, dim, only(RunOptions, resolved))
    return None


def append_array(
    array: xr.DataArray,
    store: Store,
    group: str | None,
    dim: str | None,
    bounds: xr.Dataset,
    options: RunOptions,
) -> None:
    """Append an array to a stored image; see :meth:`xpyramid.accessor.ArrayAccessor.append`."""
    named = None if array.name is None else str(array.name)
    place = find_image(store, group, named)
    append([Part(place, array, bounds)], dim, resolve_options(RunOptions, options))


def append_dataset(
    dataset: xr.Dataset, store: Store, group: str | None, dim: str | None, options: RunOptions
) -> None:
    """Append variables to stored images; see `xpyramid.accessor.DatasetAccessor.append`."""
    root = resolve(store, read_only=False) / (group or "").strip("/")
    parts = [
        Part(root / str(name), array, bounds_in(dataset, array))
        for name, array in dataset.data_vars.items()
        if is_image((root / str(name)).node())
    ]
    if not parts:
        raise NotAPyramidError(
            f"{root} holds no image of {', '.join(map(str, dataset.data_vars)) or 'no variables'}",
            fix=say(
                "write the first samples with .pyramid.to_ome_zarr(), or all of them with "
                "{to_ome_zarr.append_dim}",
                append_dim=dim or ...,
            ),
        )
    append(parts, dim, resolve_options(RunOptions, options))


def find_image(store: Store, group: str | None, name: str | None) -> NodePath:
    """Return the place of an image: that of a group, or of a name, or the store itself.

    Raises
    ------
    NotAPyramidError
        If there is none.
    """
    check_group_path(group)
    root = resolve(store, read_only=False)
    paths = [name, ""] if group is None else [group.strip("/")]
    places = [root / path if path else root for path in paths if path is not None]
    for place in places:
        if is_image(place.sound_node()):
            place.check_around()
            return place
    unfinished = [place for place in places if is_unfinished(place.as_image())]
    if unfinished:
        raise NotAPyramidError(f"{unfinished[0]} is unfinished", fix=HOW_TO_FINISH)
    raise NotAPyramidError(
        f"{places[0]}: " + explain_node(places[0], places[0].node()),
        fix="to begin a new image, call .pyramid.to_ome_zarr()",
    )


def _place(root: NodePath, image: ImageSource, options: WriteOptions) -> NodePath:
    """Return where an image is, or will be."""
    base = image.levels[0]
    named = None if base.name is None else str(base.name)
    group = "" if is_root(image.group) else check_name(image.group or named)
    labels_of = options["labels_of"]
    return root / (group if labels_of is None else f"{labels_of}/labels/{group}".strip("/"))


def _check_plan(stored: Plan, new: Plan, axis: int, place: NodePath) -> None:
    """Refuse levels that are made in another way than those of the image.

    Raises
    ------
    PlanError
    """
    pairs = {
        "levels": (len(stored.levels), len(new.levels)),
        "factors": (_steps(stored, axis), _steps(new, axis)),
        "method": (stored.method, new.method),
        "boundary": (stored.boundary, new.boundary),
        **{
            key: (stored.options.get(key), new.options.get(key))
            for key in ("skipna", "ignore", "min_valid")
        },
    }
    differ = [
        f"{key} {old!r} there, {now!r} here"
        for key, (old, now) in pairs.items()
        if repr(old) != repr(now)
    ]
    along = stored.levels[-1].factors[axis], new.levels[-1].factors[axis]
    if along[1] > along[0]:  # fewer samples may not be enough for all levels
        differ.append(f"factors {along[0]} along {stored.dims[axis]!r} there, {along[1]} here")
    if differ:
        raise PlanError(
            f"{place} has levels that are made in another way: {differ[0]}",
            fix="call array.pyramid.append(store), which makes them as the image has them",
        )


def _steps(plan: Plan, axis: int) -> list[list[int]]:
    """Return the factors from level to level along the other dimensions."""
    return [[f for i, f in enumerate(step) if i != axis] for step in plan.steps]
