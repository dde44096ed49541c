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

#: How large a step from level to level may be where one sample is left, which tells nothing of it.
_STEP = 16


def pyramid_of_tree(tree: xr.DataTree) -> Pyramid | Pyramids:
    """Return the pyramid whose levels are the children ``0``, ``1``, and so on of a tree.

    Factors are ratios of the spacing of coordinates, or of lengths where there are none. Nothing
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
        own_variables = _variables(level)
        if not own_variables or {*own_variables} != {*variables}:
            raise NotAPyramidError(
                f"{tree.path!r}: level {name} has the variables {own_variables}, and level 0 "
                f"{variables}",
                accepted="levels with the same arrays",
            )
    made = {name: _pyramid(_arrays(tree, levels, name)) for name in variables}
    if len(made) == 1:
        return made[variables[0]]
    announced = ("multiscales", "zarr_conventions", "ome", "xpyramid")
    return Pyramids(made, {k: value for k, value in tree.attrs.items() if k not in announced})


def _variables(level: xr.Dataset) -> list[str]:
    """Return the names of the arrays of a level; numbers alone, as grid mappings, are none."""
    return [str(name) for name, variable in level.data_vars.items() if variable.ndim]


def _pyramid(arrays: Sequence[xr.DataArray]) -> Pyramid:
    """Return the pyramid of the levels of an array."""
    axes = [describe_axes(array) for array in arrays]
    factors = [(1,) * arrays[0].ndim]
    for k in range(1, len(arrays)):
        factors.append(_factors(arrays[: k + 1], axes[: k + 1], factors))
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
        stored=tuple(
            tuple(
                _grid(array, axis, base, factor)
                for axis, base, factor in zip(own, axes[0], level.factors, strict=True)
            )
            for array, own, level in zip(arrays, axes, levels, strict=True)
        ),
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


def _grid(array: xr.DataArray, axis: AxisSpec, base: AxisSpec, factor: int) -> tuple[float, float]:
    """Return spacing and origin of a level along a dimension; what it does not say, level 0 does.

    Without a coordinate there is neither, and one sample has no spacing.
    """
    has_coord = axis.dim in array.coords
    if has_coord and array.sizes[axis.dim] > 1:
        return axis.spacing, axis.origin
    origin = axis.origin if has_coord else base.origin + base.spacing * (factor - 1) / 2
    return base.spacing * factor, origin


def _factors(
    arrays: Sequence[xr.DataArray], axes: Sequence[Sequence[AxisSpec]], before: Sequence[Factors]
) -> Factors:
    """Return the factors of the last level against level 0: multiples of those before it.

    Lengths may allow for several. Then a dimension is as much coarser as others are, or as levels
    were before, or halved.
    """
    possible = [_possible(arrays, [own[i] for own in axes], f) for i, f in enumerate(before[-1])]
    unique_steps = [
        candidates[0] // f
        for candidates, f in zip(possible, before[-1], strict=True)
        if len(candidates) == 1
    ]
    earlier_steps = [
        b // a for fine, coarse in pairwise(before) for a, b in zip(fine, coarse, strict=True)
    ]
    likely = [step for step in (*unique_steps, *reversed(earlier_steps), 2) if step > 1]
    return tuple(
        next((step * f for step in likely if step * f in candidates), candidates[0])
        for candidates, f in zip(possible, before[-1], strict=True)
    )


def _possible(arrays: Sequence[xr.DataArray], axes: Sequence[AxisSpec], before: int) -> list[int]:
    """Return the factors that the last level may have along a dimension."""
    (base, *_, finer, level), dim = (arrays[0], *arrays), axes[0].dim
    fine, coarse = axes[0].spacing, axes[-1].spacing
    n, m = base.sizes[dim], level.sizes[dim]
    has_steps = dim in base.coords and dim in level.coords and min(n, m) > 1 and fine != 0
    if has_steps:
        ratio = coarse / fine
        factor = max(1, round(ratio))
        candidates = [factor] if abs(ratio - factor) <= _TOLERANCE * factor else []
    elif m == finer.sizes[dim]:
        candidates = [before]
    else:
        candidates = [step * before for step in range(1, max(n // before + 1, _STEP) + 1)]
    factors = [factor for factor in candidates if m in _lengths(n, factor)]
    others = factors or [f for f in range(1, n + 1) if not has_steps and m in _lengths(n, f)]
    if others and others[0] % before:
        raise AxisError(
            f"along {dim!r}, the factors of levels, {before} and {others[0]}, are not multiples of "
            "each other",
            accepted="levels that are coarser than those before by whole factors",
        )
    if not factors:
        raise AxisError(
            f"along {dim!r}, a level has {m} samples at a spacing of {coarse:.6g}, and level 0 has "
            f"{n} at {fine:.6g}",
            accepted="levels that are coarser by whole factors",
        )
    return factors


def _lengths(n: int, factor: int) -> tuple[int, int]:
    """Return how long a level may be, without and with the samples of a last, partial window."""
    return n // factor, math.ceil(n / factor)


def _chunks(array: xr.DataArray) -> tuple[int, ...]:
    """Return the chunks that an array has in a store, or would have."""
    preferred = array.encoding.get("chunks") or (
        None if array.chunks is None else [max(lengths, default=1) for lengths in array.chunks]
    )
    chosen = array.shape if preferred is None else preferred
    return tuple(max(1, min(c, n)) for c, n in zip(chosen, array.shape, strict=True))
