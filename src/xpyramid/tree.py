"""From a DataTree with the levels of an array back to a pyramid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import xarray as xr

from xpyramid.errors import AxisError, NotAPyramidError
from xpyramid.geometry.axes import AxisSpec, describe_axes
from xpyramid.geometry.plan import Level, Plan
from xpyramid.geometry.steps import Factors
from xpyramid.inputs.kinds import label_reason
from xpyramid.lazy.coarsen import source_chunks
from xpyramid.lazy.levels import Levels
from xpyramid.pyramid import Pyramid
from xpyramid.pyramids import Pyramids

#: How far a spacing may be from a multiple of that of level 0, relatively.
_TOLERANCE = 1e-3


def pyramid_of_tree(tree: xr.DataTree) -> Pyramid | Pyramids:
    """Return the pyramid whose levels are the children ``0``, ``1``, and so on of a tree.

    Factors are told by the spacing of coordinates, and where there are none by the lengths. Nothing
    is read but coordinates.

    Parameters
    ----------
    tree : xarray.DataTree
        As :meth:`xpyramid.Pyramid.to_datatree` or ``xr.open_datatree(..., engine="ome-zarr")``
        return it for an image. Each child holds an array, or several, of the same names.

    Returns
    -------
    Pyramid or Pyramids
        As it is: it can be written and selected from; how its levels were made is not known. Where
        levels hold several arrays, as those of ndpyramid and topozarr, there is one for each.

    Raises
    ------
    NotAPyramidError
        If there are no such children, or they do not hold the same arrays.
    AxisError
        If a level is not coarser than the one before it by whole factors.

    Examples
    --------
    >>> import xpyramid
    >>> p = xpyramid.example_field((300, 200)).pyramid.build(levels=3)
    >>> p.to_datatree().pyramid.factors[2]
    {'y': 4, 'x': 4}
    """
    names = sorted(filter(str.isdecimal, tree.children), key=int)
    if names != [str(k) for k in range(len(names))] or not names:
        images = [node.path for node in tree.subtree if "0" in node.children][:20]
        raise NotAPyramidError(
            f"{tree.path!r} has no children '0', '1', ... that are levels",
            accepted="a DataTree of one image" + (f", as one of {images}" if images else ""),
        )
    levels = [tree.children[name].to_dataset() for name in names]
    variables = _variables(levels[0])
    for name, level in zip(names, levels, strict=True):
        found = _variables(level)
        if not found or {*found} != {*variables}:
            raise NotAPyramidError(
                f"{tree.path!r}: level {name} has the variables {found}, and level 0 {variables}",
                accepted="levels with the same arrays",
            )
    made = {name: _pyramid(_arrays(tree, levels, name)) for name in variables}
    if len(made) == 1:
        return made[variables[0]]
    announced = ("multiscales", "zarr_conventions")
    return Pyramids(made, {k: value for k, value in tree.attrs.items() if k not in announced})


def _variables(level: xr.Dataset) -> list[str]:
    """Return the names of the arrays of a level; numbers alone, as grid mappings, are none."""
    return [str(name) for name, variable in level.data_vars.items() if variable.ndim]


def _pyramid(arrays: Sequence[xr.DataArray]) -> Pyramid:
    """Return the pyramid of the levels of an array."""
    axes = [describe_axes(array) for array in arrays]
    factors = [
        _factors(arrays[0], array, axes[0], own) for array, own in zip(arrays, axes, strict=True)
    ]
    for fine, coarse in pairwise(factors):
        if any(b % a for a, b in zip(fine, coarse, strict=True)):
            raise AxisError(
                f"the factors of levels, {factors}, are not multiples of each other",
                accepted="levels that are coarser than those before by whole factors",
            )
    levels = tuple(
        Level(array.shape, f, _chunks(array), array.nbytes)
        for array, f in zip(arrays, factors, strict=True)
    )
    plan = Plan(
        axes=axes[0],
        dtype=arrays[0].dtype,
        method="unknown",
        boundary="pad",
        steps=tuple(
            tuple(b // a for a, b in zip(fine, coarse, strict=True))
            for fine, coarse in pairwise(factors)
        ),
        levels=levels,
        stored=tuple(tuple((axis.spacing, axis.origin) for axis in own) for own in axes),
        source_chunks=tuple(map(source_chunks, arrays)),
        kind="labels" if label_reason(arrays[0]) else "image",
    )
    return Pyramid(Levels.from_arrays(arrays), plan)


def _arrays(tree: xr.DataTree, levels: Sequence[xr.Dataset], name: str) -> list[xr.DataArray]:
    """Return the levels of an array."""
    arrays = [level[name] for level in levels]
    base = arrays[0]
    for k, array in enumerate(arrays):
        if (array.dims, array.dtype) != (base.dims, base.dtype):
            raise NotAPyramidError(
                f"{tree.path!r}: level {k} holds {name!r} {array.dims} {array.dtype}, and "
                f"level 0 {name!r} {base.dims} {base.dtype}"
            )
    return arrays


def _factors(
    base: xr.DataArray, level: xr.DataArray, axes: Sequence[AxisSpec], own: Sequence[AxisSpec]
) -> Factors:
    """Return the factors of a level against level 0."""
    return tuple(
        _factor(base, level, str(dim), base_axis.spacing, axis.spacing)
        for dim, base_axis, axis in zip(base.dims, axes, own, strict=True)
    )


def _factor(base: xr.DataArray, level: xr.DataArray, dim: str, fine: float, coarse: float) -> int:
    n, m = base.sizes[dim], level.sizes[dim]
    has_steps = dim in base.coords and dim in level.coords and min(n, m) > 1
    ratio = coarse / fine if has_steps and fine else n / max(m, 1)
    factor = max(1, round(ratio))
    is_multiple = not has_steps or abs(ratio - factor) <= _TOLERANCE * factor
    if not is_multiple or m not in (n // factor, math.ceil(n / factor)):
        raise AxisError(
            f"along {dim!r}, a level has {m} samples at a spacing of {coarse:.6g}, and level 0 has "
            f"{n} at {fine:.6g}",
            accepted="levels that are coarser by whole factors",
        )
    return factor


def _chunks(array: xr.DataArray) -> tuple[int, ...]:
    """Return the chunks that an array has in a store, or would have."""
    preferred = array.encoding.get("chunks") or (
        None if array.chunks is None else [max(lengths, default=1) for lengths in array.chunks]
    )
    chosen = array.shape if preferred is None else preferred
    return tuple(max(1, min(c, n)) for c, n in zip(chosen, array.shape, strict=True))
