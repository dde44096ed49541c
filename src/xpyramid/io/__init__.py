"""Zarr stores: where to write, writing, reading."""

from xpyramid.io.image import Image, Mode, Options
from xpyramid.io.read import Opened, open_levels
from xpyramid.io.target import Store
from xpyramid.io.verify import Report, verify
from xpyramid.io.write import write
from xpyramid.ngff import Irregular

__all__ = [
    "Image",
    "Irregular",
    "Mode",
    "Opened",
    "Options",
    "Report",
    "Store",
    "open_levels",
    "verify",
    "write",
]
