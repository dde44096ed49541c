"""Stored images that get longer: what continues them, and how they grow."""

from xpyramid.growth.image import GrowingImage, open_growing
from xpyramid.growth.pyramids import append_array, append_dataset, write_or_append
from xpyramid.growth.session import Part, append
from xpyramid.growth.stream import Stream

__all__ = [
    "GrowingImage",
    "Part",
    "Stream",
    "append",
    "append_array",
    "append_dataset",
    "open_growing",
    "write_or_append",
]
