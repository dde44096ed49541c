"""Levels of a stored image whose level 0 has been changed by other programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from xpyramid.errors import PlanError
from xpyramid.existing.image import find_image
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import budget
from xpyramid.geometry.tiles import Region
from xpyramid.reader.open import typed_errors
from xpyramid.runtime.cluster import workers
from xpyramid.store.path import NodePath, Store
from xpyramid.store.transaction import is_unfinished
from xpyramid.writer.changed import changed_regions, mark_in_step, newest_change
from xpyramid.writer.stored_levels import stored_levels
from xpyramid.writer.update import update as update_levels


def update(
    store: Store,
    group: str | None = None,
    region: Mapping[str, slice | int | float] | Literal["changed"] = "changed",
    *,
    deep: bool = False,
    memory: int | str | None = None,
    progress: bool | None = None,
) -> None:
    """Make the levels of an image again where level 0 has changed.

    Only stored objects above the region are written, each at once: readers find the old one or the
    new one. An update that was interrupted is named by :func:`verify`, and finished by the next.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
    group : str, optional
        Path of the image in the store. Default: the store itself, or the only image in it.
    region : mapping of str to slice or number, or "changed"
        What has changed, by dimension, all of those that are left out. Integers are indexes, as for
        :meth:`xarray.DataArray.isel`; other numbers and texts are coordinates, as for
        :meth:`xarray.DataArray.sel`. With "changed", the stored objects of level 0 are compared
        with what is recorded of them: their sizes, and the checksums of those that are younger than
        the record; in stores that tell no times, all checksums.
    deep : bool
        With "changed": whether all checksums are compared, which reads level 0 once. That is exact,
        also where the times of files say nothing, as after copying.
    memory : int or str, optional
        What all workers together may hold; see :meth:`Pyramid.to_ome_zarr`.
    progress : bool, optional
        Whether to show a bar; default: in terminals and notebooks.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no image, or one of which it is not known how its levels were made.
    xpyramid.errors.PlanError
        For a region that names no dimension, or nothing of one.
    xpyramid.errors.ResumeError
        If a build of the image is unfinished.
    xpyramid.errors.TargetBusyError
        If another process is writing the image.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=3)
    >>> zarr.open_array(store, path="field/0/field")[10:20, 50] = 7
    >>> xpyramid.update(store, "field", {"y": slice(10, 20), "x": 50})
    >>> xpyramid.verify(store, deep=True)
    []
    """
    update_image(store, group, region, deep=deep, memory=memory, progress=progress)


def update_image(
    store: Store,
    group: str | None,
    region: Mapping[str, slice | int | float] | Literal["changed"],
    *,
    deep: bool,
    memory: int | str | None,
    progress: bool | None,
) -> tuple[NodePath, int]:
    """Do what `update` does; return the place of the image, and how many objects were redone."""
    if not isinstance(region, Mapping) and region != "changed":
        raise PlanError(
            option="region",
            value=region,
            accepted="'changed', or a mapping, as in {'y': slice(10, 20)}",
        )
    place, node, opened = find_image(store, group)
    with typed_errors(place):
        base, levels = opened.levels[0], stored_levels(place, node)
    newest = None
    if isinstance(region, Mapping):
        regions = [_indexes(base, region)]
    else:
        newest = newest_change(levels)
        regions = changed_regions(levels, deep=deep)
    if not regions and not is_unfinished(place.as_image()):
        return place, 0
    limits = Limits(workers(), budget(memory))
    redone = update_levels(levels, regions, limits, progress)
    if newest is not None:
        mark_in_step(levels, newest)
    return place, redone


def _indexes(base: xr.DataArray, region: Mapping[str, object]) -> Region:
    """Return a region by index along each dimension.

    Raises
    ------
    PlanError
    """
    if unknown := [dim for dim in region if dim not in base.dims]:
        raise PlanError(
            f"names {unknown[0]!r}, which is no dimension",
            option="region", value=dict(region), accepted=", ".join(map(str, base.dims)),
        )  # fmt: skip
    return tuple(_along(base, str(dim), region.get(str(dim), slice(None))) for dim in base.dims)


def _along(base: xr.DataArray, dim: str, part: object) -> slice:
    ends = [part.start, part.stop] if isinstance(part, slice) else [part]
    if isinstance(part, slice) and part.step not in (None, 1):
        raise PlanError(
            f"along {dim!r}", option="region", value=part, accepted="slices without a step"
        )
    if all(end is None or isinstance(end, int | np.integer) for end in ends):
        how, coords = "isel", {}
    elif dim in base.coords:
        how, coords = "sel", {dim: base.coords[dim]}
    else:
        raise PlanError(
            f"along {dim!r}, which has no coordinate",
            option="region", value=part, accepted="indexes: integers, or slices of them",
        )  # fmt: skip
    positions = xr.DataArray(np.arange(base.sizes[dim]), coords, [dim])
    try:
        chosen = np.atleast_1d(getattr(positions, how)({dim: part}).values)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PlanError(
            f"along {dim!r}: {error}", option="region", value=part,
            accepted=_accepted(base, dim),
        ) from error  # fmt: skip
    if not chosen.size:
        raise PlanError(
            f"selects nothing along {dim!r}", option="region", value=part,
            accepted=_accepted(base, dim),
        )  # fmt: skip
    return slice(int(chosen.min()), int(chosen.max()) + 1)


def _accepted(base: xr.DataArray, dim: str) -> str:
    """Say which parts there are along a dimension."""
    indexes = f"indexes below {base.sizes[dim]}"
    if dim not in base.coords or not base.sizes[dim]:
        return indexes
    first, last = (base.coords[dim].values[i] for i in (0, -1))
    return f"{indexes}, or coordinates from {first} to {last}"
