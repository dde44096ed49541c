"""Zarr stores: where to write, writing, reading."""

from xpyramid.io.read import Opened, open_levels
from xpyramid.io.target import Store
from xpyramid.io.verify import Report, verify
from xpyramid.io.write import Image, Options, write
from xpyramid.ngff import Irregular

__all__ = [
    "Image",
    "Irregular",
    "Opened",
    "Options",
    "Report",
    "Store",
    "open_levels",
    "verify",
    "write",
]
