"""From a store back to levels, and to words about what cannot be opened."""

from xpyramid.reader.chunked import DaskChunks
from xpyramid.reader.find import find_images
from xpyramid.reader.open import StoredImage, open_base, open_levels

__all__ = ["DaskChunks", "StoredImage", "find_images", "open_base", "open_levels"]
