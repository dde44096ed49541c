"""How a pyramid is shown: a headline, a table of the levels, and what was guessed or left out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import xarray as xr

from xpyramid.errors import PyramidError
from xpyramid.geometry import units
from xpyramid.geometry.axes import AxisSpec, is_unnamed
from xpyramid.geometry.plan import Cost, Plan
from xpyramid.messages import Message, joined, one_line, say

Row = tuple[str, str, str, str, str]

#: How many names are listed, and how much of each.
_LISTED, _LONGEST = 20, 60


def headline(name: str | None, plan: Plan) -> str:
    """Return one line that says what a pyramid is."""
    sizes = ", ".join(f"{d}: {n}" for d, n in zip(plan.dims, plan.levels[0].shape, strict=True))
    of = "" if plan.method == "unknown" else f" of {plan.method}"
    over = f"{of} over {', '.join(plan.coarsened)}" if plan.coarsened else ""
    named = f" {name!r}" if name else ""
    return (
        f"<xpyramid.Pyramid{named} ({sizes}) {plan.dtype}: {len(plan.levels)} level"
        f"{'s' if len(plan.levels) > 1 else ''}{over}, {in_bytes(plan.nbytes)}>"
    )


def table(plan: Plan) -> list[Row]:
    """Return level, shape, chunks, size and scale of each level, as text."""
    return [
        (str(k), times(level.shape), times(level.chunks), in_bytes(level.nbytes), _scale(plan, k))
        for k, level in enumerate(plan.levels)
    ]


def notes(
    plan: Plan,
    coordinates: xr.Dataset,
    *,
    is_new: bool,
    labels: Sequence[str] = (),
    others: Sequence[str] = (),
) -> Iterator[str]:
    """Yield a line for each thing that was guessed, or that a user may miss.

    Parameters
    ----------
    plan : Plan
    coordinates : xarray.Dataset
        Of level 0.
    is_new : bool
        Whether the pyramid was built, and not opened: then it could be built otherwise.
    labels : sequence of str
        Names of the label images that belong to a stored image.
    others : sequence of str
        Names of other images of its group, of which this is the first.
    """
    if others:
        yield f"the first image of its group; others: {listed(others)}"
    if labels:
        yield f"label images: {listed(labels)}"
    if plan.kind == "labels":
        yield "labels" + (", as said by " + plan.kind_reason if plan.kind_reason else "")
    kept = [_why_kept(dim, plan) for dim in plan.dims if dim not in plan.coarsened]
    if is_new and plan.coarsened and kept:
        yield "not coarsened: " + joined(", ", kept)
    if is_new and len(plan.levels) == 1:
        yield say(
            "one level: each dimension to coarsen fits into one chunk; pass {levels} or smaller "
            "{chunks} for more",
            levels=2,
        )
    for axis in plan.axes:
        if axis.type == "channel" and is_unnamed(axis.dim):
            yield f"{axis.dim}: colours, as the last axis had no name and a length of 3 or 4"
    if unknown := list(_unknown_units(plan.axes, coordinates)):
        yield "units that OME-NGFF has no word for: " + ", ".join(unknown)


def as_text(head: str, rows: Sequence[Row], plan: Plan, lines: Sequence[str]) -> Message:
    """Return the whole of it for terminals."""
    cells = [columns(plan), *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    aligned = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return joined("\n", [head, *aligned, *lines])


def times(values: Sequence[object]) -> str:
    """Return numbers as they are multiplied."""
    return " × ".join(str(v) for v in values)


def listed(names: Sequence[str]) -> str:
    """Return names for people: not too many, none too long, nothing that a terminal obeys.

    Examples
    --------
    >>> listed(["cells", "nuclei"])
    'cells, nuclei'
    """
    suffix = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    text = ", ".join(name[:_LONGEST] for name in names[:_LISTED])
    return one_line(text) + suffix


def in_bytes(nbytes: int) -> str:
    """Return a byte count for people.

    Examples
    --------
    >>> in_bytes(999), in_bytes(8675001)
    ('999 B', '8.68 MB')
    """
    value = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.4g} PB"


def known_cost(plan: Plan) -> Cost | None:
    """Return what it takes to write a pyramid, None where that is not known."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return plan.cost()
    except PyramidError:
        return None


def cost_in_words(cost: Cost) -> str:
    """Return what it takes to write, for people."""
    return (
        f"{in_bytes(cost.bytes_read)} to read, {in_bytes(cost.bytes_written)} to write before "
        f"compression, {cost.tasks} task{'s' if cost.tasks != 1 else ''}, about "
        f"{in_bytes(cost.memory)} of memory"
    )


def columns(plan: Plan) -> Row:
    """Return the headings of the table."""
    return ("level", "shape", "chunks", "size", f"scale ({', '.join(plan.dims)})")


def _scale(plan: Plan, level: int) -> str:
    is_counted = [a.uneven is not None and a.dim not in plan.coarsened for a in plan.axes]
    pairs = zip(plan.scale(level), is_counted, strict=True)
    scale = ["uneven" if counted else f"{s:.6g}" for s, counted in pairs]
    shared = {axis.unit for axis in plan.axes if axis.unit or axis.type != "channel"}
    if len(shared) < 2:  # channels have none, and need none
        return " ".join([times(scale), *filter(None, shared)])
    words = [
        axis.unit if axis.unit and s != "uneven" else ""
        for axis, s in zip(plan.axes, scale, strict=True)
    ]
    return times([f"{s} {word}".strip() for s, word in zip(scale, words, strict=True)])


def _why_kept(dim: str, plan: Plan) -> str:
    """Return a dimension with the reason why it is not coarsened, where its name is not it."""
    reason = plan.kept.get(dim, "")
    return f"{dim} (" + reason + ")" if reason not in ("", dim) else dim


def _unknown_units(axes: Sequence[AxisSpec], coordinates: xr.Dataset) -> Iterator[str]:
    """Yield units that the metadata say in another unit, or leave to the coordinates."""
    for axis in axes:
        if axis.unit is not None or axis.type not in ("space", "time"):
            continue
        attrs = coordinates.coords[axis.dim].attrs if axis.dim in coordinates.coords else {}
        unit = attrs.get("units", attrs.get("unit"))
        if not unit:
            continue
        shown = f"{str(unit)[:60]} ({axis.dim})"
        if (multiple := units.exact(unit, axis.type)) is not None:
            word, number = multiple
            yield f"{shown}, written as {float(number):.6g} {word}"
        else:
            meant = units.nearest(unit, axis.type)
            hint = f" (did you mean {meant}?)" if meant else ""
            yield f"{shown}, only in the coordinate{hint}"
