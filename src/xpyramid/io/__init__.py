"""Zarr stores: where to write, writing, reading."""

from xpyramid.io.labels import levels_of
from xpyramid.io.read import Opened, open_levels
from xpyramid.io.target import Store
from xpyramid.io.write import Image, Layout, Options, write
from xpyramid.ngff import Irregular

__all__ = [
    "Image",
    "Irregular",
    "Layout",
    "Opened",
    "Options",
    "Store",
    "levels_of",
    "open_levels",
    "write",
]
