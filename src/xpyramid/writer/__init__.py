"""From levels to a store: everything is checked first, and an image appears when it is whole."""

from xpyramid.writer.datasets import check_factors
from xpyramid.writer.drop import drop
from xpyramid.writer.request import ImageSource, KeptLevels
from xpyramid.writer.session import Session, prepare, write

__all__ = [
    "ImageSource",
    "KeptLevels",
    "Session",
    "check_factors",
    "drop",
    "prepare",
    "write",
]
