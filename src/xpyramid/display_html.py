"""How a pyramid is shown in notebooks: in xarray's style, which follows light and dark themes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

import xarray as xr

from xpyramid import ngff
from xpyramid._compat import html_page, html_section, html_sections_of
from xpyramid.display import Row, columns, cost_in_words, headline, known_cost, table
from xpyramid.geometry.plan import Cost, Plan
from xpyramid.lazy.levels import Levels
from xpyramid.messages import as_html, one_line, printable
from xpyramid.types import Attrs

#: How wide the drawing of level 0 is, in pixels.
_WIDTH = 120

#: Through all columns of xarray's sections.
_WIDE = "grid-column:1/-1"

_COLOR = re.compile(r"[0-9A-Fa-f]{6}")


def page(
    shown: object,
    head: str,
    plan: Plan,
    rows: Sequence[Row],
    lines: Sequence[str],
    base: xr.DataArray | xr.Dataset,
    attrs: Attrs,
    metadata: Mapping[str, object],
    cost: Cost | None,
) -> str:
    """Return the whole of a pyramid.

    Parameters
    ----------
    shown : object
        Whose ``repr`` stands in where a notebook shows no styles.
    head : str
    plan : Plan
    rows : sequence of Row
        Of the table of levels.
    lines : sequence of str
        What else is to be said.
    base : xarray.DataArray or Dataset
        With the coordinates of level 0.
    attrs : mapping
        Of level 0.
    metadata : mapping
        OME metadata of a stored image.
    cost : Cost or None
        Of writing it.
    """
    coordinates, attributes = map(printable, html_sections_of(base, attrs))
    sections = [_levels(plan, rows), coordinates]
    channels = ngff.stored_channels(metadata, None).get("channels", [])
    if channels:
        swatches = "".join(map(_swatch, channels))
        sections.append(html_section("Channels:", swatches, len(channels)))
    if cost is not None:
        sections.append(_cost(cost))
    if lines:
        notes = "".join(f"<div>{escape(printable(line))}</div>" for line in lines)
        notes = f"<div style='{_WIDE}'>{notes}</div>"
        sections.append(html_section("Notes:", notes, len(lines)))
    sections.append(attributes)
    return html_page(shown, [_head(head)], sections)


@as_html.register
def _plan_page(plan: Plan) -> str:
    """Return the whole of a plan: levels, axes, and what it takes to write it."""
    rows = table(plan)
    sections = [_levels(plan, rows), html_section("Axes:", _axes(plan), len(plan.axes))]
    if (cost := known_cost(plan)) is not None:
        sections.append(_cost(cost, collapsed=False))
    head = headline(None, plan).replace("Pyramid", "Plan", 1)
    return html_page(plan, [_head(head)], sections)


@as_html.register
def _levels_page(levels: Levels) -> str:
    """Return all levels; none is made for it."""
    sections = []
    for k, line in enumerate(repr(levels).splitlines()[1:]):
        made = levels.made(k)
        shown: xr.DataArray | xr.Dataset = levels.coordinates[k] if made is None else made
        coordinates, attributes = map(printable, html_sections_of(shown, shown.attrs))
        items_of = f"{_item(coordinates)}{_item(attributes)}"
        details = f"<ul class='xr-sections' style='{_WIDE}'>{items_of}</ul>"
        items = len(shown.coords) + len(shown.attrs)
        sections.append(html_section(escape(line), details, items, collapsed=True))
    return html_page(levels, [_head(f"<xpyramid: {len(levels)} levels>")], sections)


def _item(section: str) -> str:
    return f"<li class='xr-section-item'>{section}</li>"


def _head(text: str) -> str:
    return f"<div class='xr-obj-type'>{escape(one_line(text))}</div>"


def _levels(plan: Plan, rows: Sequence[Row]) -> str:
    """Return the section with a drawing of the levels, and their table."""
    shown = f"{drawing(plan)}{_table(columns(plan), rows)}"
    levels = f"<div style='display:flex;gap:1em;{_WIDE}'>{shown}</div>"
    return html_section("Levels:", levels, len(rows))


def _cost(cost: Cost, *, collapsed: bool = True) -> str:
    """Return the section that says what it takes to write."""
    text = escape(cost_in_words(cost))
    return html_section("Writing:", f"<div style='{_WIDE}'>{text}</div>", 1, collapsed=collapsed)


def _axes(plan: Plan) -> str:
    """Return a table of the axes."""
    rows = [
        (a.dim, a.name, a.type, a.unit or "", f"{a.spacing:.6g}", f"{a.origin:.6g}")
        for a in plan.axes
    ]
    headings = ("dimension", "axis", "type", "unit", "spacing", "origin")
    return f"<div style='{_WIDE}'>{_table(headings, rows)}</div>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        style = "text-align:left;white-space:nowrap;padding-right:1em"
        texts = [escape(one_line(cell)) for cell in cells]
        inner = "".join(f"<{tag} style='{style}'>{text}</{tag}>" for text in texts)
        return f"<tr>{inner}</tr>"

    body = row(headings, "th") + "".join(row(cells, "td") for cells in rows)
    return f"<table>{body}</table>"


def drawing(plan: Plan) -> str:
    """Return the levels as rectangles on top of each other, the coarsest in front.

    The last two dimensions are drawn, in their true proportions up to a ratio of four.
    """
    shapes = [(1, *level.shape)[-2:] for level in plan.levels]
    height, width = (max(1, n) for n in shapes[0])
    ratio = min(4.0, max(0.25, height / width))
    box_width, box_height = (_WIDTH, _WIDTH * ratio) if ratio <= 1 else (_WIDTH / ratio, _WIDTH)
    drawn = "".join(
        f"<rect x='1' y='1' width='{max(2.0, box_width * n / width):.1f}' "
        f"height='{max(2.0, box_height * m / height):.1f}' "
        f"style='fill:currentColor;fill-opacity:{0.08 + 0.08 * k:.2f};stroke:currentColor'/>"
        for k, (m, n) in enumerate(shapes)
    )
    return (
        f"<svg width='{box_width + 2:.0f}' height='{box_height + 2:.0f}' "
        f"style='flex:none' role='img' aria-label='levels'>{drawn}</svg>"
    )


def _swatch(channel: Mapping[str, object]) -> str:
    """Return the name of a channel beside its colour."""
    color = str(channel.get("color", ""))
    fill = f"#{color}" if _COLOR.fullmatch(color) else "none"
    label = escape(one_line(str(channel.get("label", "")))[:60])
    return (
        "<span style='margin-right:1em;white-space:nowrap'><span style='display:inline-block;"
        f"width:0.8em;height:0.8em;margin-right:0.3em;border:1px solid;background:{fill}'></span>"
        f"{label}</span>"
    )
