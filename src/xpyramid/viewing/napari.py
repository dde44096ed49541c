"""Images in napari: its own arguments for layers, exact in place, names, colours and windows."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from xpyramid.errors import AxisError
from xpyramid.viewing.image import ViewedImage

#: Colours where only those of some labels are known: none for 0, grey for all else.
_OTHER_LABELS: dict[int | None, list[float]] = {0: [0, 0, 0, 0], None: [0.6, 0.6, 0.6, 1]}


def layer_kwargs(image: ViewedImage) -> dict[str, object]:
    """Return what ``add_image`` of a napari viewer, or ``add_labels``, takes of an image.

    Scale and position are those of level 0; napari finds out how the other levels lie from shapes.
    """
    plan, axis = image.plan, image.channel_axis
    data = image.lazy_levels()
    kept = [i for i in range(len(plan.axes)) if i != axis or image.is_labels]
    axes = [plan.axes[i] for i in kept]
    layer: dict[str, object] = {
        "data": data if len(data) > 1 else data[0],
        "multiscale": len(data) > 1,
        "name": image.name,
        "scale": [image.grid(0)[i][0] for i in kept],
        "translate": [image.grid(0)[i][1] for i in kept],
        "units": [a.unit or "pixel" for a in axes],
        "axis_labels": [a.name for a in axes],
    }
    if image.is_labels:
        colors = dict(_OTHER_LABELS)
        for value, rgba in image.label_colors.items():
            colors[value] = [part / 255 for part in rgba]
        return layer | ({"colormap": colors} if image.label_colors else {})
    each = [
        {
            "name": f"{image.name}: {channel['label']}" if axis is not None else image.name,
            "colormap": f"#{channel['color']}",
            "contrast_limits": (channel["window"]["start"], channel["window"]["end"]),
            "visible": bool(channel["active"]),
        }
        for channel in image.channels
    ]
    if axis is None:
        return layer | each[0]
    if not each:
        raise AxisError(
            f"there are no channels to show along {plan.dims[axis]!r}", accepted="one or more"
        )
    of_channels = {key: [channel[key] for channel in each] for key in each[0]}
    return layer | of_channels | {"channel_axis": axis, "blending": "additive"}


def open_napari(images: Sequence[ViewedImage], title: str, *, block: bool) -> Any:
    """Open a napari viewer with images; return it, or wait until it is closed."""
    napari = importlib.import_module("napari")
    viewer = napari.Viewer(title=title)
    if images[0].is_upward:
        viewer.camera.orientation2d = ("up", "right")
    for image in images:
        add = viewer.add_labels if image.is_labels else viewer.add_image
        add(**layer_kwargs(image))
    if not block:
        return viewer
    napari.run()
    return None
