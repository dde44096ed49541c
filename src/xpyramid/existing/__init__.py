"""What is done for an image whose level 0 is in a store already."""

from xpyramid.existing.add import add_levels, prepare_levels

__all__ = ["add_levels", "prepare_levels"]
