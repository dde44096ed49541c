"""What is done for an image that is in a store already, or at least its level 0."""

from xpyramid.existing.add import add_levels, prepare_levels
from xpyramid.existing.appender import Appender
from xpyramid.existing.drop import drop_levels
from xpyramid.existing.repair import repair
from xpyramid.existing.update import update, update_image

__all__ = [
    "Appender",
    "add_levels",
    "drop_levels",
    "prepare_levels",
    "repair",
    "update",
    "update_image",
]
