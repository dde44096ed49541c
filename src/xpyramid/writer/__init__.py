"""From levels to a store: everything is checked first, and an image appears when it is whole."""

from xpyramid.writer.image import Dtype, Image, Layout, Mode, Options
from xpyramid.writer.write import write

__all__ = ["Dtype", "Image", "Layout", "Mode", "Options", "write"]
