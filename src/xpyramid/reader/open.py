"""From a store back to levels, lazily."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
import xarray as xr
import zarr
from zarr.errors import BaseZarrError

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError, PyramidError, ReplacedError
from xpyramid.geometry import axes as axes_module
from xpyramid.geometry import units
from xpyramid.geometry.chunks import joined
from xpyramid.geometry.plan import Level, Plan
from xpyramid.geometry.ranges import LONGEST_MADE, range_coordinates
from xpyramid.geometry.steps import Factors
from xpyramid.inputs.kinds import label_reason
from xpyramid.lazy.coarsen import source_chunks
from xpyramid.messages import HOW_TO_FINISH
from xpyramid.options.types import AxisType
from xpyramid.reader import explain
from xpyramid.reader.chunked import DaskChunks, check_chunks, in_chunks
from xpyramid.reader.find import image_above, images_below
from xpyramid.reader.own_levels import open_own_levels
from xpyramid.store import flat_layout as flat
from xpyramid.store.checked import as_checked, confirm
from xpyramid.store.confined import check_path, resolve_confined
from xpyramid.store.decoding import check_codecs, name_damage
from xpyramid.store.faults import find_fault
from xpyramid.store.identity import TIMES, Mark, cheap_marks_at, is_same_mark
from xpyramid.store.level_array import level_of, level_variable
from xpyramid.store.path import Node, NodePath, Store, ZarrArray, check_group_path, members_of
from xpyramid.store.retrying import reading
from xpyramid.store.transaction import find_unfinished
from xpyramid.types import DType

#: More chunks than that are joined to larger blocks, for dask lists them all.
MAX_BLOCKS = 2**18


@dataclass(frozen=True)
class StoredImage:
    """The levels of a stored image and their geometry; see :class:`xpyramid.Pyramid`.

    ``others`` are the names of the images that the same group announces after the first.
    """

    levels: tuple[xr.DataArray, ...]
    plan: Plan
    metadata: Mapping[str, object]
    labels: tuple[str, ...]
    bounds: tuple[xr.Dataset, ...] = ()
    others: tuple[str, ...] = ()


def open_levels(
    store: Store,
    group: str | None,
    multiscale: int | str = 0,
    chunks: DaskChunks | None = None,
) -> StoredImage:
    """Open a stored image; see :func:`xpyramid.open_pyramid`."""
    check_chunks(chunks)
    opened = _open_confined(store, group, multiscale)
    if chunks is None:
        return opened
    levels = tuple(in_chunks(level, chunks) for level in opened.levels)
    plan = replace(opened.plan, source_chunks=tuple(map(source_chunks, levels)))
    return replace(opened, levels=levels, plan=plan)


def _open_confined(store: Store, group: str | None, multiscale: int | str) -> StoredImage:
    check_group_path(group)
    place = None
    try:
        place = resolve_confined(store)
        if group:
            place = place / group.strip("/")
        with typed_errors(place):
            return _open(place, multiscale)
    except NotAPyramidError as error:
        if (unfinished := find_unfinished(store, group)) is None:
            _say_where(place, error)
            raise
        raise NotAPyramidError(
            f"{unfinished} is unfinished: its build was interrupted",
            fix=HOW_TO_FINISH,
        ) from error


def _say_where(place: NodePath | None, error: NotAPyramidError) -> None:
    """Add to an error of opening a part of an image where the image is.

    Raises
    ------
    NotAPyramidError
    """
    image = None if place is None else image_above(place)
    if image is not None:
        raise NotAPyramidError(
            error.message, fix=f"the image it is a part of is {image}"
        ) from error


@contextmanager
def typed_errors(place: NodePath) -> Iterator[None]:
    """Turn what goes wrong with somebody's metadata into an error that says where.

    Zarr, xarray and what they stand on trip over malformed documents in their own ways. Faults of
    the system (no permission, no network) are no fault of the metadata.

    Raises
    ------
    NotAPyramidError
    ReadError
        For faults of the system.
    """
    try:
        yield
    except NotAPyramidError as error:
        if str(error).startswith(str(place)):
            raise
        raise NotAPyramidError(f"{place}: " + error.message) from error
    except (PyramidError, MemoryError, Warning) as error:
        if not isinstance(error, BaseZarrError):
            raise
        raise _not_a_pyramid(place, error) from error
    except OSError as error:
        if isinstance(error, BaseZarrError):  # some are kinds of FileNotFoundError
            raise _not_a_pyramid(place, error) from error
        with reading(place.store, place.path):
            raise
    except Exception as error:
        raise _not_a_pyramid(place, error) from error


def _not_a_pyramid(place: NodePath, error: Exception) -> NotAPyramidError:
    """Return an error that says what is wrong at a place, in our words if there are any."""
    message = " ".join(str(error).split())[:300]
    return NotAPyramidError(
        explain.fault(place)
        or f"{place}: cannot be read as an image: {type(error).__name__}: {message}"
    )


def _open(place: NodePath, multiscale: int | str) -> StoredImage:
    """Open an image; if it is replaced meanwhile, open that which has taken the place.

    Raises
    ------
    ReplacedError
        If that happens each of several times.
    """
    for _ in range(TIMES - 1):
        before = cheap_marks_at(place)
        try:
            opened = _open_now(place, multiscale, before)
            if is_same_mark(before, cheap_marks_at(place)):  # nor has it grown
                return opened
        except ReplacedError:
            continue
        except Exception:  # zarr trips over what vanishes in its own ways
            if is_same_mark(before, cheap_marks_at(place)):
                raise
    return _open_now(place, multiscale, cheap_marks_at(place))


def _open_now(place: NodePath, multiscale: int | str, before: Mark) -> StoredImage:
    node = place.node()
    if node is None:
        if fault := find_fault(place):  # zarr takes it for nothing
            raise NotAPyramidError(fault)
        raise NotAPyramidError(f"{place}: " + explain.missing(place))
    if not isinstance(node, zarr.Group):
        raise NotAPyramidError(
            f"{place}: there is an array", accepted="the group of an OME-Zarr image"
        )
    attrs = dict(node.attrs)
    if ngff.version_of(attrs) is None:
        images = list(islice(images_below(place), 2)) if ngff.may_list_images(attrs) else []
        if len(images) == 1 and images[0]:
            return _open(place / images[0], multiscale)
        raise NotAPyramidError(f"{place}: " + explain.explain(place, node))
    image = ngff.parse(attrs, multiscale)
    place, node = as_checked(place, node, before)
    with confirm(place):
        opened = _open_levels(place, node, image)
    return replace(opened, others=ngff.image_names(attrs)[1:])


def open_base(place: NodePath, node: zarr.Group) -> StoredImage:
    """Open level 0 of an image, whatever is to be said of the others.

    Raises
    ------
    NotAPyramidError
        If the metadata of the group announce no image, or several, or none that can be understood.
    """
    with typed_errors(place):
        attrs = dict(node.attrs)
        ngff.check_single(attrs, str(place))
        image = ngff.parse(attrs)
        factors = image.metadata.get("factors")
        first = {"factors": factors[:1]} if isinstance(factors, list) else {}
        metadata = {**image.metadata, **first}
        base = replace(image, datasets=image.datasets[:1], metadata=metadata)
        return _open_levels(place, node, base)


def _open_levels(place: NodePath, node: zarr.Group, image: ngff.Multiscale) -> StoredImage:
    """Open the levels of an image by its metadata."""
    member = members_of(node)
    arrays = [_array(place, member, dataset.path, len(image.axes)) for dataset in image.datasets]
    shapes = [array.shape for array in arrays]
    factors = _recorded(image, shapes) or ngff.recover(image, shapes)
    image = ngff.in_own_units(ngff.fill_transforms(image, factors, shapes), factors)
    dims = _own_dims(image)
    name = image.name or node.basename or "image"
    bounds: tuple[xr.Dataset, ...] = ()
    if _is_flat(image):
        levels = tuple(flat.open_level(array, image, k) for k, array in enumerate(arrays))
    elif dims is None:
        levels = tuple(
            _open_other(array, dataset, image, name)
            for array, dataset in zip(arrays, image.datasets, strict=True)
        )
    else:
        levels, bounds = open_own_levels(place, node, arrays, image, dims, factors)
    if _holds_labels(image):  # what is built from them must not average them
        for level in levels:
            if level.dtype.kind in "iu" and not label_reason(level):
                level.attrs["image-label"] = {}  # attributes outlive most of what is done to them
            level.encoding["kind"] = "labels"
    elif omero := ngff.stored_channels(image.document, _channel_count(image, arrays[0])):
        for level in levels:
            level.encoding["omero"] = omero  # for what is made of a level alone
    own = dims is not None or _is_flat(image)
    axes = ngff.recover_axes(image, levels[0]) if own else _axes(image, levels[0])
    plan = _plan(axes, levels[0].dtype, arrays, image, factors)
    return StoredImage(
        levels,
        replace(plan, source_chunks=tuple(map(source_chunks, levels))),
        image.document,
        explain.labels_of(node),
        bounds,
    )


def _channel_count(image: ngff.Multiscale, array: ZarrArray) -> int:
    pairs = zip(image.axes, array.shape, strict=True)
    return next((n for axis, n in pairs if axis.type == "channel"), 1)


def _array(
    place: NodePath, member: Callable[[str], Node | None], path: str, ndim: int
) -> ZarrArray:
    """Return the array of a dataset, which must lie inside the image's group."""
    node = member(check_path(path))
    if not isinstance(node, zarr.Array):
        if fault := find_fault(place / path):  # zarr takes some of them for nothing
            raise NotAPyramidError(fault)
        raise NotAPyramidError(f"the metadata announce {path[:80]!r}, but there is no array")
    if node.ndim != ndim:
        raise NotAPyramidError(
            f"{path[:80]!r} has {node.ndim} dimensions and the metadata {ndim} axes"
        )
    if math.prod(max(1, n) for n in node.shape) * node.dtype.itemsize >= 2**63:
        raise NotAPyramidError(
            f"{path[:80]!r} has the shape {node.shape}, which is too large to read"
        )
    check_codecs(node, path)
    return name_damage(node)


def _own_dims(image: ngff.Multiscale) -> tuple[str, ...] | None:
    """Return xarray's dimensions of an image of ours with level groups, None for all others."""
    dims = image.metadata.get("dims")
    if image.metadata.get("library") != "xpyramid" or not isinstance(dims, list):
        return None
    nested = all("/" in dataset.path for dataset in image.datasets)
    named = all(isinstance(dim, str) for dim in dims) and len(dims) == len(image.axes)
    return tuple(dims) if nested and named else None


def _is_flat(image: ngff.Multiscale) -> bool:
    """Whether an image is one of ours whose levels are arrays."""
    recorded = [image.metadata.get(key) for key in ("library", "layout")]
    return recorded == ["xpyramid", "arrays"]


def _open_other(
    array: ZarrArray, dataset: ngff.Dataset, image: ngff.Multiscale, name: str
) -> xr.DataArray:
    """Open a level that others wrote, with coordinates computed from its transformation."""
    coords, ranges = {}, []
    for i, (axis, n) in enumerate(zip(image.axes, array.shape, strict=True)):
        if axis.type == "channel":
            if len(image.channels) == n:
                coords[axis.name] = xr.DataArray(list(image.channels), dims=axis.name)
        elif n > LONGEST_MADE:
            step, start = dataset.scale[i], dataset.translation[i]
            attrs = {"units": axis.unit} if axis.unit else {}
            ranges.append(range_coordinates(axis.name, step, start, n, attrs))
        else:
            line = dataset.translation[i] + dataset.scale[i] * np.arange(n)
            attrs = {"units": axis.unit} if axis.unit else {}
            coords[axis.name] = xr.DataArray(line, dims=axis.name, attrs=attrs)
    dims = [axis.name for axis in image.axes]
    blocks = joined(array.shape, array.chunks, MAX_BLOCKS)
    opened = level_of(level_variable(array, dims, {}, blocks), coords, name)
    for coordinates in ranges:
        opened = opened.assign_coords(coordinates)
    return opened


def _axes(image: ngff.Multiscale, base: xr.DataArray) -> tuple[axes_module.AxisSpec, ...]:
    """Return the axes of an image that others wrote, in their own words and numbers."""
    types: dict[str | None, AxisType] = {
        "time": "time", "channel": "channel", "space": "space"
    }  # fmt: skip
    first = image.datasets[0]
    specs = []
    for i, (axis, guess) in enumerate(
        zip(image.axes, axes_module.describe_axes(base), strict=True)
    ):
        kind = guess.type if axis.type is None else types.get(axis.type, "other")
        spec = axes_module.AxisSpec(axis.name, axis.name, kind)
        if kind != "channel":
            unit = units.to_ngff(axis.unit, kind)
            spec = replace(spec, unit=unit, spacing=first.scale[i], origin=first.translation[i])
        specs.append(spec)
    return tuple(specs)


def _recorded(image: ngff.Multiscale, shapes: Sequence[tuple[int, ...]]) -> list[Factors] | None:
    """Return the factors in our own metadata, None if there are no valid ones."""
    factors = image.metadata.get("factors")
    if image.metadata.get("library") != "xpyramid" or not isinstance(factors, list):
        return None
    if len(factors) != len(shapes) or not all(
        isinstance(row, list)
        and len(row) == len(image.axes)
        and all(isinstance(f, int) and not isinstance(f, bool) and 1 <= f < 2**63 for f in row)
        for row in factors
    ):
        return None
    nested = all(
        b % a == 0 for fine, coarse in pairwise(factors) for a, b in zip(fine, coarse, strict=True)
    )
    return [tuple(row) for row in factors] if nested and set(factors[0]) == {1} else None


def _holds_labels(image: ngff.Multiscale) -> bool:
    return "image-label" in image.document or image.metadata.get("kind") == "labels"


def _plan(
    axes: tuple[axes_module.AxisSpec, ...],
    dtype: DType,
    arrays: Sequence[ZarrArray],
    image: ngff.Multiscale,
    factors: Sequence[Factors],
) -> Plan:
    """Put the geometry of stored levels together."""
    boundary = image.metadata.get("boundary")
    method = image.metadata.get("method")
    plan = Plan(
        axes=axes,
        dtype=dtype,
        method=method if isinstance(method, str) else image.type or "unknown",
        boundary=boundary if boundary in ("pad", "trim", "exact") else "pad",
        steps=tuple(
            tuple(b // a for a, b in zip(fine, coarse, strict=True))
            for fine, coarse in pairwise(factors)
        ),
        levels=tuple(
            Level(
                shape=array.shape,
                factors=f,
                chunks=array.chunks,
                nbytes=math.prod(array.shape) * array.dtype.itemsize,
            )
            for array, f in zip(arrays, factors, strict=True)
        ),
        options=ngff.options_of(image),
        kind="labels" if _holds_labels(image) else "image",
    )
    return ngff.as_stored(plan, image)
