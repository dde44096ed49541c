"""Open images in napari, with its OME-Zarr plugin, and keep pictures of them.

python draw_in_napari.py IMAGE PICTURE ...   prints what napari says, a line for each image.
It needs a screen, of which xvfb-run makes one.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import imageio.v3
import napari


def drawn(viewer: Any, image: str, picture: str) -> dict[str, Any]:
    """Return what napari says of the layers of an image, of which it keeps a picture."""
    viewer.layers.clear()
    viewer.open(image, plugin="napari-ome-zarr")
    for layer in viewer.layers:
        layer.visible = True  # labels are not, at first
        if type(layer).__name__ == "Labels":
            layer.opacity = 1
    viewer.scale_bar.visible = True
    viewer.reset_view()
    for _ in range(20):  # until all that is loaded is drawn
        viewer.window._qt_viewer.canvas.native.update()
        qt.processEvents()
    imageio.v3.imwrite(picture, viewer.screenshot(canvas_only=True, flash=False))
    return {
        "layers": [type(layer).__name__ for layer in viewer.layers],
        "units": [str(unit) for unit in viewer.layers[0].units],
        "extent": viewer.layers[0].extent.world.tolist(),
        "levels": len(viewer.layers[0].data),
        "bar": bar_of(viewer),
    }


def bar_of(viewer: Any) -> str:
    """Return what stands beside the scale bar, as it is drawn; napari tells nobody else."""
    canvas = viewer.window._qt_viewer.canvas
    drawn = [visual for visuals in canvas._viewer_overlay_to_visual.values() for visual in visuals]
    (bar,) = (visual for visual in drawn if visual.overlay is viewer.scale_bar)
    return str(bar.node.text.text)


if __name__ == "__main__":
    viewer = napari.Viewer(show=True)
    qt = napari.qt.get_qapp()
    viewer.window.resize(1000, 800)
    for image, picture in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        print(json.dumps(drawn(viewer, image, picture)), flush=True)
    viewer.close()
