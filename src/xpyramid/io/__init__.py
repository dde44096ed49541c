"""Zarr stores: where to write, writing, reading."""

from xpyramid.io.image import Image, Layout, Mode, Options
from xpyramid.io.labels import levels_of
from xpyramid.io.read import Opened, open_levels
from xpyramid.io.target import Store
from xpyramid.io.verify import Report, verify
from xpyramid.io.write import write
from xpyramid.ngff import Irregular

__all__ = [
    "Image",
    "Irregular",
    "Layout",
    "Mode",
    "Opened",
    "Options",
    "Report",
    "Store",
    "levels_of",
    "open_levels",
    "verify",
    "write",
]
