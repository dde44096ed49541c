"""How a pyramid is shown in notebooks: in xarray's style, which follows light and dark themes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

import xarray as xr

from xpyramid import ngff
from xpyramid._compat import html_page, html_section, html_sections_of
from xpyramid.display import Row, columns, cost_in_words
from xpyramid.geometry.plan import Cost, Plan
from xpyramid.messages import one_line, printable
from xpyramid.types import Attrs

#: How wide the drawing of level 0 is, in pixels.
_WIDTH = 120

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
    levels = f"<div style='display:flex;gap:1em'>{drawing(plan)}{_table(plan, rows)}</div>"
    sections = [html_section("Levels:", levels, len(rows)), coordinates]
    channels = ngff.stored_channels(metadata, None).get("channels", [])
    if channels:
        swatches = "".join(map(_swatch, channels))
        sections.append(html_section("Channels:", swatches, len(channels)))
    if cost is not None:
        text = escape(cost_in_words(cost))
        sections.append(html_section("Writing:", f"<div>{text}</div>", 1, collapsed=True))
    if lines:
        notes = "".join(f"<div>{escape(printable(line))}</div>" for line in lines)
        sections.append(html_section("Notes:", notes, len(lines)))
    sections.append(attributes)
    header = f"<div class='xr-obj-type'>{escape(one_line(head))}</div>"
    return html_page(shown, [header], sections)


def _table(plan: Plan, rows: Sequence[Row]) -> str:
    def row(cells: Row, tag: str) -> str:
        style = "text-align:left;white-space:nowrap;padding-right:1em"
        texts = [escape(one_line(cell)) for cell in cells]
        inner = "".join(f"<{tag} style='{style}'>{text}</{tag}>" for text in texts)
        return f"<tr>{inner}</tr>"

    body = row(columns(plan), "th") + "".join(row(cells, "td") for cells in rows)
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
