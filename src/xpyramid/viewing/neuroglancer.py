"""Images in neuroglancer: its state, with names, colours, windows and the place all set by us.

What it would make of the metadata by itself differs: it takes colours of 0.5 for others
(https://github.com/google/neuroglancer/issues/959).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import xarray as xr

from xpyramid import ngff
from xpyramid.geometry import units
from xpyramid.geometry.selection import as_given
from xpyramid.lazy.selection import mapped, with_sources
from xpyramid.store.documents import parse_document
from xpyramid.types import DType
from xpyramid.viewing.image import ViewedImage
from xpyramid.viewing.objects import Objects, StoredObjects
from xpyramid.viewing.virtual import VirtualImage

#: How many pixels an image is to fill at first, along x and along y.
_PIXELS = (800, 500)

_SHADER = """#uicontrol invlerp normalized
#uicontrol vec3 color color
void main() {
  emitRGB(color * normalized());
}
"""

#: The same for floating-point numbers: where one is NaN, the background shows.
_FLOAT_SHADER = """#uicontrol invlerp normalized
#uicontrol vec3 color color
void main() {
  float value = toRaw(getDataValue());
  if (isnan(value)) {
    emitTransparent();
  } else {
    emitRGB(color * normalized());
  }
}
"""

_DTYPES = {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "f4"}


def served(image: ViewedImage) -> Objects:
    """Return the objects of an image in a form that neuroglancer reads.

    Images of ours are served as they are in their store. Others are brought into OME-NGFF 0.5, and
    into a dtype that it knows, chunk by chunk.
    """
    document = image.source.document
    place = image.place
    if place is not None and _is_understood(image, document):
        return StoredObjects(place)
    dtype = _shown_as(image.plan.dtype, is_labels=image.is_labels)
    return VirtualImage(_with_dtype(image, dtype), {"irregular": "approximate", "omero": False})


def _is_understood(image: ViewedImage, document: Mapping[str, object]) -> bool:
    parsed = ngff.parse(dict(document))
    names = [axis.name for axis in parsed.axes]
    return (
        parsed.metadata.get("library") == "xpyramid"
        and ngff.version_of(document) in ("0.4", "0.5")
        and names == [axis.name for axis in image.plan.axes]
        and _shown_as(image.plan.dtype, is_labels=image.is_labels) == image.plan.dtype
    )


def _shown_as(dtype: DType, *, is_labels: bool) -> DType:
    """Return the dtype that samples of another are shown as."""
    if dtype.str[1:] in _DTYPES:
        return dtype
    if dtype.kind == "b":
        return np.dtype("u1")
    return np.dtype("u8" if is_labels else "f4")


def _with_dtype(image: ViewedImage, dtype: DType) -> ViewedImage:
    """Return an image with samples of another dtype, made when they are asked for."""
    source = image.source
    if dtype == image.plan.dtype:
        return image

    def cast(level: xr.DataArray) -> xr.DataArray:
        return level.astype(dtype)

    levels = mapped(source.levels, source.plan, cast)
    plan = replace(source.plan.made_of(dtype, dtype), samples=None)
    plan = with_sources(as_given(plan, f"{plan.method}, as {dtype}"), levels, None, None)
    source = replace(source, levels=levels, plan=plan, reducer=None, samples=None)
    return replace(image, source=source)


def client() -> Path:
    """Return where the files of its client are; the package, which takes time, is not imported."""
    spec = importlib.util.find_spec("neuroglancer")
    if spec is None or spec.origin is None:
        raise ImportError("neuroglancer is not installed: pip install 'xpyramid[view]'")
    return Path(spec.origin).parent / "static/client"


def geometry_of(objects: Objects) -> ngff.Multiscale:
    """Return the axes and the levels of an image that is served."""
    document = objects.read("zarr.json")
    v2 = (objects.read(".zattrs") or b"{}") if document is None else b""
    attributes: Any = parse_document(v2 if document is None else document)
    return ngff.parse(attributes if document is None else attributes["attributes"])


def url_of(state: dict[str, object], client_url: str) -> str:
    """Return the address of a page that shows a state.

    Parameters
    ----------
    state : dict
    client_url : str
        Address of the client.
    """
    return f"{client_url}/index.html#!{quote(json.dumps(state, separators=(',', ':')))}"


def state_of(
    images: Sequence[ViewedImage], geometry: ngff.Multiscale, sources: Sequence[str]
) -> dict[str, object]:
    """Return neuroglancer's state: all of the first image fits into the window.

    Parameters
    ----------
    images : sequence of ViewedImage
    geometry : Multiscale
        Of the first one, as it is served.
    sources : sequence of str
        Addresses of the images.
    """
    axes, base = geometry.axes, geometry.datasets[0]
    places = [i for i, axis in enumerate(axes) if axis.type != "channel"]
    dimensions: dict[str, list[object]] = {}
    position, lengths, voxels = [], [], []
    for i in sorted(places, key=lambda i: (axes[i].type != "space", -i)):  # x, y, z, t
        size, unit = _si(axes[i])
        n, scale = images[0].plan.levels[0].shape[i], base.scale[i]
        dimensions[axes[i].name] = [scale * size, unit]
        voxels.append(scale * size)
        position.append(base.translation[i] / scale + (n // 2 if axes[i].type == "space" else 0))
        lengths.append(scale * size * n)
    is_flat = sum(axes[i].type == "space" for i in places) < 3
    is_upward = images[0].is_upward
    voxel = voxels[0]
    fitted = max(n / voxel / pixels for n, pixels in zip(lengths, _PIXELS, strict=False))
    pairs = zip(images, sources, strict=True)
    return {
        "dimensions": dimensions,
        "position": position,
        "crossSectionOrientation": [1, 0, 0, 0] if is_upward else [0, 0, 0, 1],
        "crossSectionScale": fitted if is_flat else 2 * fitted,
        "projectionScale": 1.2 * max(lengths[: 2 if is_flat else 3]) / voxel,
        "layers": [layer for image, source in pairs for layer in _layers(image, source)],
        "layout": "xy" if is_flat else "4panel",
    }


def _si(axis: ngff.Axis) -> tuple[float, str]:
    """Return the unit of an axis, and its size in that."""
    if axis.unit is None:
        return 1, ""
    return units.size(axis.unit), "s" if axis.type == "time" else "m"


def _layers(image: ViewedImage, url: str) -> list[dict[str, object]]:
    """Return the layers of an image: one for each channel."""
    source = f"zarr://{url}"
    if image.is_labels:
        colors = {
            str(value): f"#{r:02x}{g:02x}{b:02x}"
            for value, (r, g, b, _) in image.label_colors.items()
        }
        labels: dict[str, object] = {"type": "segmentation", "name": image.name, "source": source}
        return [{**labels, "segmentColors": colors} if colors else labels]
    axis, channels = image.channel_axis, image.channels
    is_float = _shown_as(image.plan.dtype, is_labels=False).kind == "f"
    shader = _FLOAT_SHADER if is_float else _SHADER
    layers: list[dict[str, object]] = []
    for i, channel in enumerate(channels):
        window = channel["window"]
        layer: dict[str, object] = {
            "type": "image",
            "name": image.name if axis is None else f"{image.name}: {channel['label']}",
            "source": source,
            "shader": shader,
            "shaderControls": {
                "normalized": {
                    "range": [window["start"], window["end"]],
                    "window": [window["min"], window["max"]],
                },
                "color": f"#{channel['color']}",
            },
            "opacity": 1,
            "blend": "additive",
            "visible": bool(channel["active"]),
        }
        if axis is not None:
            layer["localDimensions"] = {f"{image.plan.axes[axis].name}'": [1, ""]}
            layer["localPosition"] = [i]
        layers.append(layer)
    return layers
