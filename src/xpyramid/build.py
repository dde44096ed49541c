"""From an array to its pyramid: axes, plan, lazy levels."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeGuard, TypeVar, Unpack, cast

import xarray as xr

from xpyramid._compat import map_blocks
from xpyramid.display import listed
from xpyramid.errors import PlanError
from xpyramid.geometry import axes as axes_module
from xpyramid.geometry import coordinates
from xpyramid.geometry.axes import COLORS, AxisSpec, has_trailing_colors, names_colors
from xpyramid.geometry.bounds import bounds_in, without_overridden
from xpyramid.geometry.chunks import parse_chunks, stored_chunks
from xpyramid.geometry.overrides import Overrides, apply
from xpyramid.geometry.plan import MethodOptions, Plan, largest_window, make_plan, without_none
from xpyramid.geometry.steps import factors_by_dim, named_dims
from xpyramid.inputs.duck_arrays import as_plain_array
from xpyramid.inputs.kinds import attributes_for, choose
from xpyramid.inputs.missing_values import missing_value, with_missing_attributes
from xpyramid.lazy.coarse_array import coarse_data, is_lazily_indexed
from xpyramid.lazy.coarsen import as_dask, coarsen, source_chunks
from xpyramid.lazy.coordinates import level_coordinates
from xpyramid.lazy.label_geometry import ImageGeometry, image_boundary, image_factors, place_beside
from xpyramid.lazy.levels import Levels
from xpyramid.messages import say
from xpyramid.options import (
    ArrayBuildOptions,
    AxisOptions,
    BuildOptions,
    CommonBuildOptions,
    DatasetBuildOptions,
    only,
    options_of,
    resolve_options,
)
from xpyramid.options.types import Boundary, Chunks, Factor, Kind
from xpyramid.pyramid import Pyramid
from xpyramid.pyramids import Pyramids
from xpyramid.reducers import Method, Reducer, make_reducer, method_name, named_methods
from xpyramid.store.fast import accelerate_graph, region_reader

T = TypeVar("T")


#: Of coordinates that have none.
_NO_BOUNDS = xr.Dataset()


def build(
    array: xr.DataArray,
    levels: int | None = None,
    *,
    image: ImageGeometry | None = None,
    bounds: xr.Dataset = _NO_BOUNDS,
    is_variable: bool = False,
    **given_options: Unpack[BuildOptions],
) -> Pyramid:
    """Build the lazy pyramid of an array; see `xpyramid.accessor.ArrayAccessor.build`.

    With an ``image``, the array holds its labels: unless something else is said, they get its
    factors, and they get its place where they have none. ``bounds`` are those of the cells of its
    coordinates; see `xpyramid.geometry.bounds`. Messages name the option of a variable of a Dataset
    as the Dataset takes it.
    """
    options = resolve_options(BuildOptions, given_options)
    base = _taken(array, levels, image, bounds, options, is_variable=is_variable)
    return _reduced(base, options["method"])


def build_all(
    array: xr.DataArray,
    levels: int | None = None,
    *,
    image: ImageGeometry | None = None,
    bounds: xr.Dataset = _NO_BOUNDS,
    is_variable: bool = False,
    **given_options: Unpack[ArrayBuildOptions],
) -> Pyramid | Pyramids:
    """Build the pyramid of an array, or those of several methods, which read it once."""
    options: Any = {**resolve_options(ArrayBuildOptions, given_options)}
    methods = named_methods(options["method"])
    if methods is None:
        return build(array, levels, image=image, bounds=bounds, is_variable=is_variable, **options)
    base = _taken(array, levels, image, bounds, options, is_variable=is_variable)
    name = None if array.name is None else str(array.name)
    members = {key: _reduced(base, method) for key, method in methods.items()}
    return Pyramids(members, note=_together(name or "<group>", members), name=name)


def _together(group: str, names: Iterable[str]) -> str:
    """Say where several methods of an array are written."""
    places = listed([f"{group}/{name}" for name in names])
    return f"written in one pass, which reads level 0 once: {places}"


@dataclass(frozen=True)
class _Taken:
    """An array as it is taken, and what is asked of its levels by whatever method.

    Attributes
    ----------
    array : xarray.DataArray
    axes : tuple of AxisSpec
    chunks : tuple of int
        Shape of the stored ones.
    bounds : xarray.Dataset
    image : ImageGeometry or None
    levels, factor, dims, boundary
        As `make_plan` takes them.
    options : BuildOptions
    is_variable : bool
        Whether the array is one of the variables of a Dataset.
    """

    array: xr.DataArray
    axes: tuple[AxisSpec, ...]
    chunks: tuple[int, ...]
    bounds: xr.Dataset
    image: ImageGeometry | None
    levels: int | None
    factor: Factor | None
    dims: str | tuple[str, ...] | None
    boundary: Boundary
    options: BuildOptions
    is_variable: bool


def _taken(
    array: xr.DataArray,
    levels: int | None,
    image: ImageGeometry | None,
    bounds: xr.Dataset,
    options: BuildOptions,
    *,
    is_variable: bool,
) -> _Taken:
    """Return an array as it is taken."""
    _check_lengths(array)
    array = with_missing_attributes(as_plain_array(array))
    dims = _as_dims(options["dims"])
    factor = factors_by_dim(options["factor"], tuple(map(str, array.dims)))
    named = named_dims(factor, dims)
    before = array
    array, axes, stored = _with_axes(array, overrides_of(options), named, options["chunks"])
    if bounds.variables:
        bounds, array = without_overridden(bounds, before, array)
    boundary = options["boundary"]
    if image is not None:
        if factor is None and dims is None and levels in (None, len(image.coordinates)):
            factor = image_factors(axes, image)
            levels = len(image.coordinates)
        boundary = image_boundary(image) if boundary == "pad" else boundary
    return _Taken(
        array, axes, stored, bounds, image, levels, factor, dims, boundary, options, is_variable
    )


def _reduced(base: _Taken, method: Method | None) -> Pyramid:
    """Return the pyramid of an array by one method."""
    array, image, options = base.array, base.image, base.options
    choice = choose(
        array, options["kind"], method, image.path if image else None, is_variable=base.is_variable
    )
    method = choice.method
    plan = make_plan(
        base.axes, array.shape, array.dtype, base.chunks,
        levels=base.levels, factor=base.factor, dims=base.dims, boundary=base.boundary,
        method=method_name(method),
    )  # fmt: skip
    coordinates.check_coarsenable(array, plan.coarsened)
    largest = largest_window(array.shape, plan.levels[-1].factors)
    ignore = options["ignore"]
    if ignore is None and isinstance(method, str) and not plan.sampled:
        ignore = missing_value(array)
    counting: MethodOptions = {
        "skipna": options["skipna"], "ignore": ignore, "min_valid": options["min_valid"]
    }  # fmt: skip
    reducer = make_reducer(method, array.dtype, largest, **counting)
    plan = replace(
        plan, options=without_none(counting),
        source_chunks=(source_chunks(array),), holistic=reducer.holistic, copies=reducer.copies,
        kind=choice.kind, kind_reason=choice.reason,
    )  # fmt: skip
    has_own_base = reducer.base is not None
    if has_own_base:
        plan = plan.made_of(array.dtype, reducer.dtype)
    levels = _lazy_levels(array, plan, reducer, base.bounds)
    if image is not None:
        levels, plan = place_beside(levels, plan, image)
    return Pyramid(levels, plan, reducer, _samples=array if has_own_base else None)


def overrides_of(options: AxisOptions) -> Overrides:
    """Return what options say of the axes."""
    get: Any = options.get
    return Overrides(**{name: get(name) for name in options_of(AxisOptions)})


def _with_axes(
    array: xr.DataArray, overrides: Overrides, coarsened: Collection[str], chunks: Chunks | None
) -> tuple[xr.DataArray, tuple[AxisSpec, ...], tuple[int, ...]]:
    """Return an array as it is taken, with its axes and the chunks to store it in."""
    array, axes = apply(array, overrides, coarsened)
    if isinstance(chunks, Sequence) and len(chunks) == array.ndim:
        chunks = dict(zip(map(str, array.dims), chunks, strict=True))
    if has_trailing_colors(array) and axes[-1].type == "channel":
        array, axes = _channel_first(array, axes)
    for dim in (str(dim) for dim in array.dims if names_colors(array, str(dim))):
        array = array.assign_coords({dim: list(COLORS[: array.sizes[dim]])})
    in_space = [axis.type == "space" for axis in axes]
    stored = stored_chunks(array.shape, in_space, array.dtype.itemsize, _existing_chunks(array))
    if chunks is not None:
        dims = [axis.dim for axis in axes]
        stored = parse_chunks(chunks, dims, array.shape, stored, in_space)
    return array, axes, stored


def _lazy_levels(array: xr.DataArray, plan: Plan, reducer: Reducer, bounds: xr.Dataset) -> Levels:
    """Return the levels, which are made when they are asked for; their coordinates are now."""
    coords = [level_coordinates(array, plan, k, bounds) for k in range(len(plan.levels))]
    makers = [partial(_level, array, plan, k, reducer, coords[k]) for k in range(len(coords))]
    return Levels(makers, coords)


def _as_dims(dims: str | Iterable[str] | None) -> str | tuple[str, ...] | None:
    """Return dimensions that can be looked at more than once."""
    return dims if dims is None or isinstance(dims, str) else tuple(dims)


def _check_lengths(array: xr.DataArray) -> None:
    """Refuse dask arrays whose chunk sizes are known only once they are computed."""
    if unknown := [dim for dim, n in zip(array.dims, array.shape, strict=True) if math.isnan(n)]:
        raise PlanError(
            f"the length of {unknown} is unknown (nan), as after choosing samples by their values",
            accepted="arrays of known shape",
            fix="call array.data.compute_chunk_sizes() first",
        )


def build_dataset(
    dataset: xr.Dataset,
    levels: int | None = None,
    *,
    image: ImageGeometry | None = None,
    **given_options: Unpack[DatasetBuildOptions],
) -> Pyramids:
    """Build the pyramids of a Dataset; see `xpyramid.accessor.DatasetAccessor.build`."""
    options = resolve_options(DatasetBuildOptions, given_options)
    overrides = overrides_of(options)
    overrides.check_dims(tuple(dataset.dims))
    options["dims"] = _as_dims(options["dims"])  # once, for all variables
    dims = _dims_to_coarsen(dataset, options["dims"], overrides)
    arrays = {
        str(name): coordinates.with_grid_mapping(dataset, array)
        for name, array in dataset.data_vars.items()
        if set(dims) <= set(array.dims)
    }
    texts = [str(name) for name in dataset.data_vars]
    if twice := sorted({text for text in texts if texts.count(text) > 1}):
        raise PlanError(f"several variables are called {twice} as text", fix="rename all but one")
    if not arrays:
        shapes = {str(name): array.dims for name, array in dataset.data_vars.items()}
        raise PlanError(
            f"no variable has all of the dimensions {dims}; the variables have "
            f"{shapes}; say which to coarsen with " + say("{dims}")
        )
    methods: Mapping[str, Any] = _by_variable("method", options["method"], arrays)
    kind = cast("Kind | Mapping[str, Kind | None] | None", options["kind"])  # which `build` checks
    kinds: Mapping[str, Kind | None] = _by_variable("kind", kind, arrays)
    shared = only(CommonBuildOptions, options)
    pyramids = {
        name: build_all(
            array,
            levels,
            image=image,
            method=methods.get(name),
            kind=kinds.get(name),
            bounds=bounds_in(dataset, array),
            is_variable=True,
            **{**shared, **vars(overrides.only(array.dims))},
        )
        for name, array in arrays.items()
    }
    notes = [_together(name, several) for name, several in pyramids.items() if _is_several(several)]
    left_out = _left_out(dataset, dims, arrays)
    return Pyramids(
        _by_path(pyramids), attrs=dataset.attrs, note="\n".join(filter(None, [*notes, left_out]))
    )


def _is_several(pyramid: Pyramid | Pyramids) -> TypeGuard[Pyramids]:
    return isinstance(pyramid, Pyramids)


def _by_path(pyramids: Mapping[str, Pyramid | Pyramids]) -> dict[str, Pyramid]:
    """Return the pyramids of variables by name, and those of several methods below it."""
    members: dict[str, Pyramid] = {}
    for name, member in pyramids.items():
        of_name = (
            {name: member}
            if isinstance(member, Pyramid)
            else {f"{name}/{k}": p for k, p in member.items()}
        )
        if twice := members.keys() & of_name.keys():
            raise PlanError(f"several images would be {min(twice)!r}", fix="rename a variable")
        members |= of_name
    return members


def _left_out(
    dataset: xr.Dataset, coarsened: Sequence[Hashable], arrays: Mapping[str, xr.DataArray]
) -> str:
    """Say which variables have no pyramid; a grid mapping comes along, as a coordinate."""
    kept = {*arrays, *(str(name) for array in arrays.values() for name in array.coords)}
    kept |= {str(name) for array in arrays.values() for name in bounds_in(dataset, array).coords}
    others = [
        f"{name} ({', '.join(map(str, array.dims))})"
        for name, array in dataset.data_vars.items()
        if str(name) not in kept
    ]
    dims = f"dimension{'s' if len(coarsened) > 1 else ''} {', '.join(map(str, coarsened))}"
    return f"left out, without the {dims}: {listed(others)}" if others else ""


def _by_variable(
    option: str, value: T | Mapping[str, T], arrays: Mapping[str, xr.DataArray]
) -> Mapping[str, T]:
    """Return an option for each variable, from a mapping or from what is for all of them."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(arrays, value)
    if unknown := [name for name in value if name not in arrays]:
        raise PlanError(f"{option}= names {unknown}", accepted=f"{', '.join(arrays)}")
    return value


def _dims_to_coarsen(
    dataset: xr.Dataset, dims: str | Sequence[str] | None, overrides: Overrides
) -> tuple[Hashable, ...]:
    """Return the given dimensions, or the space dimensions of the variable that has most."""
    if dims is not None:
        return (dims,) if isinstance(dims, str) else tuple(dims)
    candidates = [
        tuple(axis.dim for axis in _axes(array, overrides) if axis.type == "space")
        for array in dataset.data_vars.values()
        if array.dims
    ]
    return max(candidates, key=len, default=())


def _axes(array: xr.DataArray, overrides: Overrides) -> tuple[AxisSpec, ...]:
    """Return the axes of a variable, of the types that the caller says."""
    return axes_module.describe_axes(array, overrides.only(array.dims).axis_types)


def _channel_first(
    array: xr.DataArray, axes: tuple[AxisSpec, ...]
) -> tuple[xr.DataArray, tuple[AxisSpec, ...]]:
    """Return a photograph with its colours, the last dimension, in the place OME-NGFF has them."""
    *others, dim = array.dims
    at = next((i for i, axis in enumerate(axes) if axis.type == "space"), 0)
    order = (*others[:at], dim, *others[at:])
    array = array.transpose(*order).assign_coords({dim: list(COLORS[: array.sizes[dim]])})
    by_dim = {axis.dim: axis for axis in axes}
    return array, tuple(by_dim[str(dim)] for dim in order)


def _existing_chunks(array: xr.DataArray) -> tuple[int, ...] | None:
    """Return the chunk shape that the array has on disk, or else in dask.

    What is on disk counts as long as the dask chunks are made of whole stored ones; a user who
    chunked differently meant it. ``encoding["chunks"]`` is None where what is read together (the
    strips of a TIFF) cannot be used as chunks.
    """
    if array.encoding.get("chunks", ()) is None:
        return None
    preferred = array.encoding.get("preferred_chunks", {})
    stored = [_largest(preferred[dim]) for dim in array.dims if dim in preferred]
    if array.chunks is None:
        return tuple(stored) if len(stored) == array.ndim else None
    if len(stored) == array.ndim and all(
        c % s == 0 for s, cs in zip(stored, array.chunks, strict=True) for c in cs[:-1]
    ):
        return tuple(stored)
    return tuple(max(cs) for cs in array.chunks)


def _largest(chunk: int | Sequence[int]) -> int:
    return max(chunk) if isinstance(chunk, Sequence) else int(chunk)


def _level(
    array: xr.DataArray, plan: Plan, k: int, reducer: Reducer, coords: xr.Dataset
) -> xr.DataArray:
    """Return level ``k`` as a lazy DataArray."""
    own_base = reducer.base
    if k == 0 and own_base is None:
        return array
    data = _level_data(array, plan, k, reducer)
    attrs = array.attrs if own_base is None else attributes_for(plan.method, array.attrs)
    attrs = coordinates.level_attributes(attrs, array, plan, k)
    other_names = [name for name, c in coords.coords.items() if not {*c.dims} <= {*array.dims}]
    along = coords.drop_vars(other_names).coords
    level = xr.DataArray(data, coords=along, dims=array.dims, name=array.name, attrs=attrs)
    level.encoding = {
        key: array.encoding[key] for key in coordinates.REFERENCES if key in array.encoding
    }
    if level.chunks is None:
        level.encoding["preferred_chunks"] = dict(
            zip(array.dims, plan.levels[k].chunks, strict=True)
        )
    return level


def _level_data(array: xr.DataArray, plan: Plan, k: int, reducer: Reducer) -> object:
    """Return the data of level ``k``: a dask array, or lazily indexed where the array is."""
    level, steps, chunks = plan.levels[k], plan.steps[:k], plan.levels[0].chunks
    if is_lazily_indexed(array.variable):
        return coarse_data(array.variable, steps, reducer, level.shape, chunks, region_reader)
    base = accelerate_graph(as_dask(array, chunks))
    if k == 0 and reducer.base is not None:
        return map_blocks(base, reducer.base, dtype=reducer.dtype)
    return coarsen(base, steps, reducer, level.shape)
