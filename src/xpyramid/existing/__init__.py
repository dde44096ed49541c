"""What is done for an image whose level 0 is in a store already."""

from xpyramid.existing.add import add_levels, prepare_levels
from xpyramid.existing.drop import drop_levels
from xpyramid.existing.repair import repair
from xpyramid.existing.update import update

__all__ = ["add_levels", "drop_levels", "prepare_levels", "repair", "update"]
