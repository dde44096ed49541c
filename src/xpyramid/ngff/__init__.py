"""OME-NGFF metadata in the specification's words; nothing else in the library knows JSON."""

from xpyramid.ngff.geozarr import geozarr
from xpyramid.ngff.labels import add_to_list, announce, image_label
from xpyramid.ngff.model import Axis, Dataset, Irregular, Multiscale, describe
from xpyramid.ngff.omero import Channels, Window, channels, omero
from xpyramid.ngff.versions import VERSIONS, Version, parse, version_of

__all__ = [
    "VERSIONS",
    "Axis",
    "Channels",
    "Dataset",
    "Irregular",
    "Multiscale",
    "Version",
    "Window",
    "add_to_list",
    "announce",
    "channels",
    "describe",
    "geozarr",
    "image_label",
    "omero",
    "parse",
    "version_of",
]
