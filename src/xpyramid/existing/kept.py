"""Which levels of an image stay where they are when others are added, and whether they may."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import zarr

from xpyramid import ngff
from xpyramid.errors import PyramidError, TargetExistsError
from xpyramid.existing.base import StoredBase
from xpyramid.existing.form import filters_of, names_of
from xpyramid.geometry.plan import Plan
from xpyramid.messages import say
from xpyramid.options import AxisOptions, only
from xpyramid.pyramid import Pyramid
from xpyramid.reader import StoredImage, open_levels
from xpyramid.store.chunk_grid import open_array
from xpyramid.store.path import Store, level_names
from xpyramid.writer import KeptLevels


def kept_levels(
    store: Store, base: StoredBase, pyramid: Pyramid, options: Mapping[str, object]
) -> KeptLevels | None:
    """Return the levels that stay; None if all are there."""
    node = base.node
    stored = (node.shards or node.chunks,)
    announced = ngff.dataset_paths(base.attributes)
    names = names_of(base, pyramid)
    form = {
        "chunk_key_encoding": base.chunk_keys,
        "fill_value": node.fill_value,
        **filters_of(base),
    }
    first = KeptLevels((base.path,), stored, names, base.attributes, form)
    others = announced[1:]
    if not others:
        return None if announced and _is_alone(store, base, pyramid, options) else first
    group = base.place.node()
    listed = level_names(group) if isinstance(group, zarr.Group) else set()
    levels = sorted(listed - {*first.children})
    if options.get("mode") == "w":
        return replace(first, replaced=tuple(levels))
    nodes = {path: (base.place / path).sound_node() for path in others}
    if missing := [path for path, node in nodes.items() if not isinstance(node, zarr.Array)]:
        raise TargetExistsError(
            f"{base.place} announces the levels {missing}, and they are not there",
            fix=say("make all of them anew with {mode}", mode="w"),
        )
    current = _open(store, base)
    if current is None or not _is_alike(current.plan, pyramid.plan, base):
        how = "" if current is None else _how(current.plan, pyramid.plan)
        raise TargetExistsError(
            f"{base.place} already has the levels {levels}{how}, which were made in another way",
            fix=say("replace them with {mode}", mode="w"),
        )
    _check_axes(current.plan, pyramid.plan, options, base)
    if len(pyramid.plan.levels) <= len(announced):
        return None
    arrays = [open_array(base.place / path) for path in others]
    objects = [array.shards or array.chunks for array in arrays]
    return replace(first, paths=tuple(announced), objects=(*stored, *objects))


def _is_alone(
    store: Store, base: StoredBase, pyramid: Pyramid, options: Mapping[str, object]
) -> bool:
    """Whether an image of one level is what it is to be."""
    if len(pyramid) > 1 or options.get("mode") == "w" or _says_axes(options):
        return False
    current = _open(store, base)
    return current is not None and _is_alike(current.plan, pyramid.plan, base)


def _open(store: Store, base: StoredBase) -> StoredImage | None:
    """Open what is there; None where that cannot be done."""
    try:
        return open_levels(store, base.group or None)
    except PyramidError:
        return None


def _is_alike(current: Plan, plan: Plan, base: StoredBase) -> bool:
    """Whether levels that are there were made as those of a plan are."""
    if ngff.parse(base.attributes).metadata.get("library") != "xpyramid":
        return False
    common = min(len(current.steps), len(plan.steps))
    shapes = [[level.shape for level in of_plan.levels] for of_plan in (current, plan)]
    return (
        current.steps[:common] == plan.steps[:common]
        and all(old == new for old, new in zip(*shapes, strict=False))
        and (current.method, current.boundary) == (plan.method, plan.boundary)
        and _comparable(current.options) == _comparable(plan.options)
    )


def _how(current: Plan, plan: Plan) -> str:
    """Say how levels that are there were made, where that is known and differs from a plan."""
    pairs = {name: (getattr(current, name), getattr(plan, name)) for name in ("method", "boundary")}
    for name in sorted({*current.options, *plan.options}):
        pairs[name] = current.options.get(name), plan.options.get(name)
    differ = [f"{name}={old!r}" for name, (old, new) in pairs.items() if repr(old) != repr(new)]
    return f" ({', '.join(differ)})" if differ else ""


def _check_axes(current: Plan, plan: Plan, options: Mapping[str, object], base: StoredBase) -> None:
    """Refuse to say something else of the axes than levels that stay do."""
    if not _says_axes(options):
        return
    for axis, other in zip(current.axes, plan.axes, strict=True):
        for what in ("type", "unit", "spacing", "origin"):
            old, new = getattr(axis, what), getattr(other, what)
            numbers = isinstance(old, float | int) and isinstance(new, float | int)
            if not (math.isclose(old, new, rel_tol=1e-6, abs_tol=1e-12) if numbers else old == new):
                raise TargetExistsError(
                    f"the levels of {base.place} have the {what} {old} along {axis.dim!r}, and the "
                    f"options say {new}",
                    fix=say("leave that out, or replace them with {mode}", mode="w"),
                )


def _says_axes(options: Mapping[str, object]) -> bool:
    """Whether the options say what the axes are."""
    return any(value is not None for value in only(AxisOptions, options).values())


def _comparable(options: Mapping[str, object]) -> dict[str, object]:
    """Return options that compare equal where they are: NaN too."""
    return {key: repr(value) for key, value in options.items() if value is not None}
