"""Zarr stores: where to write, writing, reading."""

from xpyramid.io.checking.verify import Report, verify
from xpyramid.io.form.labels import check_image_path
from xpyramid.io.form.names import Names
from xpyramid.io.reading.find import find_images
from xpyramid.io.reading.read import Opened, open_levels
from xpyramid.io.store.target import Store
from xpyramid.io.writing.image import Dtype, Image, Layout, Mode, Options
from xpyramid.io.writing.write import write
from xpyramid.ngff import Irregular

__all__ = [
    "Dtype",
    "Image",
    "Irregular",
    "Layout",
    "Mode",
    "Names",
    "Opened",
    "Options",
    "Report",
    "Store",
    "check_image_path",
    "find_images",
    "open_levels",
    "verify",
    "write",
]
