"""What TIFF files of microscopes say: OME-XML, and ImageJ's own words.

The resolution tags of all other TIFF files are for printing (mostly 72 to the inch), and mean
nothing for the samples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from xpyramid.errors import SourceError
from xpyramid.sources.metadata import Channel, FileMetadata, Grid, spacing_of
from xpyramid.types import DType

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

#: What ImageJ says, by its own words.
ImageJ = Mapping[str, Any]

#: ImageJ's words for samples that were not measured.
_UNCALIBRATED = {"", "pixel", "pixels"}

RGB = 2  #: Value of the tag PhotometricInterpretation.
_NO_UNIT = 1  # of ResolutionUnit


def check_description(tiff: TiffFile, path: str) -> None:
    """Refuse XML that defines entities, with which a short text becomes a long one.

    Raises
    ------
    SourceError
        OME-XML has no use for them.
    """
    described = tiff.pages.first.description if len(tiff.pages) else ""
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", described[-10_000_000:], re.IGNORECASE):
        raise SourceError(f"{path!r} has XML with a document type of its own", fix="refused")


def read_metadata(tiff: TiffFile, index: int) -> FileMetadata:
    """Return what a file says of the series of a number."""
    series = tiff.series[index]
    if tiff.is_ome and tiff.ome_metadata:
        metadata = _ome(tiff.ome_metadata, len(tiff.series), index, series)
    elif tiff.is_imagej and tiff.imagej_metadata:
        metadata = _imagej(tiff.imagej_metadata, series)
    else:
        metadata = FileMetadata("TIFF")
    samples = series.shape[series.axes.index("S")] if "S" in series.axes else 1
    if samples in (3, 4) and series.keyframe.photometric == RGB:
        colors: list[Channel] = [{"label": name} for name in ("red", "green", "blue", "alpha")]
        return FileMetadata(metadata.format, metadata.grids, colors[:samples])
    return metadata


def tag_of(series: TiffPageSeries, name: str) -> object:
    """Return the value of a tag of a series' first page, None where it has none."""
    tag = getattr(series.keyframe, "tags", {}).get(name)
    return None if tag is None else tag.value


def no_data(series: TiffPageSeries, dtype: DType) -> object:
    """Return the value that GDAL has for missing data, as the dtype has it, None without one.

    https://gdal.org/en/stable/drivers/raster/gtiff.html, "Nodata value".
    """
    try:
        number = float(str(tag_of(series, "GDAL_NODATA")).strip(" \0"))
    except ValueError:
        return None
    if not np.isfinite(number) or dtype.kind not in "iuf":
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.asarray(number).astype(dtype)
    return value[()] if value == number or (dtype.kind == "f" and np.isfinite(value)) else None


def _ome(xml: str, count: int, index: int, series: TiffPageSeries) -> FileMetadata:
    """Read the OME-XML of an image; its model: https://docs.openmicroscopy.org/ome-model/."""
    images = [node for node in ElementTree.fromstring(xml) if _tag(node) == "Image"]
    named = [image for image in images if image.get("Name") == series.name]
    if len(images) == count:
        image: ElementTree.Element | None = images[index]
    else:  # some images have no series of their own
        image = named[0] if len(named) == 1 else None
    pixels = None if image is None else next((n for n in image if _tag(n) == "Pixels"), None)
    if pixels is None:
        return FileMetadata("OME-TIFF")
    grids = {}
    for dim, name in {"z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX"}.items():
        if (spacing := spacing_of(pixels.get(name))) is not None:
            grids[dim] = Grid(spacing, pixels.get(f"{name}Unit", "µm"))
    if (step := spacing_of(pixels.get("TimeIncrement"))) is not None:
        grids["t"] = Grid(step, pixels.get("TimeIncrementUnit", "s"))
    channels = [_ome_channel(node) for node in pixels if _tag(node) == "Channel"]
    return FileMetadata("OME-TIFF", grids, channels if any(channels) else [])


def _tag(node: ElementTree.Element) -> str:
    """Return the name of an XML element, in whichever version of the model."""
    return str(node.tag).rpartition("}")[2]


def _ome_channel(node: ElementTree.Element) -> Channel:
    """Return the name of a channel, and its colour: a signed number of 32 bits, R, G, B, alpha."""
    channel: Channel = {}
    if name := (node.get("Name") or "").strip():
        channel["label"] = name
    color = node.get("Color", "")
    if re.fullmatch(r"-?\d{1,10}", color):
        channel["color"] = f"{(int(color) & 0xFFFFFFFF) >> 8:06X}"
    return channel


def _imagej(imagej: ImageJ, series: TiffPageSeries) -> FileMetadata:
    """Read the description that ImageJ writes."""
    count = series.shape[series.axes.index("C")] if "C" in series.axes else 1
    grids, channels = _imagej_grids(imagej, series), _imagej_channels(imagej, series, count)
    return FileMetadata("ImageJ TIFF", grids, channels)


def _imagej_grids(imagej: ImageJ, series: TiffPageSeries) -> dict[str, Grid]:
    unit = str(imagej.get("unit", "")).replace("\\u00B5", "µ")
    tags = series.keyframe.tags
    resolution_unit = tags.valueof("ResolutionUnit", _NO_UNIT)
    is_measured = unit not in _UNCALIBRATED or (
        "unit" not in imagej and resolution_unit == _NO_UNIT
    )
    grids = {}
    for dim, tag in {"y": "YResolution", "x": "XResolution"}.items():
        samples, length = tags.valueof(tag, (1, 1))
        step = spacing_of(length / samples) if samples else None
        own_unit = str(imagej.get(f"{dim}unit", unit)).replace("\\u00B5", "µ")
        if is_measured and step is not None and (unit or step != 1):
            grids[dim] = _imagej_grid(step, own_unit, imagej.get(f"{dim}origin"))
    if (step := spacing_of(imagej.get("spacing"))) is not None and unit not in {"pixel", "pixels"}:
        own_unit = str(imagej.get("zunit", unit)).replace("\\u00B5", "µ")
        grids["z"] = _imagej_grid(step, own_unit, imagej.get("zorigin"))
    if (step := spacing_of(imagej.get("finterval"))) is not None:
        grids["t"] = Grid(step, str(imagej.get("tunit", "s")))
    return grids


def _imagej_grid(spacing: float, unit: str, origin: object) -> Grid:
    """Return a grid; ImageJ says which sample lies at 0."""
    zero = float(origin) if isinstance(origin, int | float) and np.isfinite(origin) else 0.0
    return Grid(spacing, unit or None, -zero * spacing + 0.0)


def _imagej_channels(imagej: ImageJ, series: TiffPageSeries, count: int) -> list[Channel]:
    """Return names, colours and display ranges of the channels, as far as there are any."""
    channels: list[Channel] = [{} for _ in range(count)]
    for channel, label in zip(channels, _imagej_labels(imagej, series, count), strict=False):
        channel["label"] = label
    luts = imagej.get("LUTs") or []
    if len(luts) == count and imagej.get("mode") != "grayscale":
        for channel, lut in zip(channels, luts, strict=True):
            if np.shape(lut) == (3, 256):  # the colour of the brightest samples
                channel["color"] = "".join(f"{int(part):02X}" for part in np.asarray(lut)[:, -1])
    for channel, (start, end) in zip(channels, _imagej_ranges(imagej, count), strict=False):
        if start < end:
            channel["window"] = {"min": start, "start": start, "end": end, "max": end}
    return channels if any(channels) else []


def _imagej_labels(imagej: ImageJ, series: TiffPageSeries, count: int) -> list[str]:
    """Return labels of planes that are names of channels: the same in each slice and frame."""
    labels = [str(label).strip() for label in imagej.get("Labels") or []]
    first = labels[:count]
    if count == 1 or len(set(first)) < count or not all(first):
        return []
    planes = series.size // (series.shape[-1] * series.shape[-2])
    repeated = labels == first * (len(labels) // count)
    return first if repeated and len(labels) in (count, planes) else []


def _imagej_ranges(imagej: ImageJ, count: int) -> list[tuple[float, float]]:
    ranges = [float(end) for end in imagej.get("Ranges") or ()]
    if len(ranges) == 2 * count:
        return list(zip(ranges[::2], ranges[1::2], strict=True))
    if count == 1 and {"min", "max"} <= imagej.keys():
        return [(float(imagej["min"]), float(imagej["max"]))]
    return []
