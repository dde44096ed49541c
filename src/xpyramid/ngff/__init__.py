"""OME-NGFF metadata in the specification's words; nothing else in the library knows JSON."""

from xpyramid.ngff.geometry import place, recover
from xpyramid.ngff.model import Axis, Dataset, Irregular, Multiscale, describe
from xpyramid.ngff.parser import parse, version_of
from xpyramid.ngff.versions import VERSIONS, Version

__all__ = [
    "VERSIONS",
    "Axis",
    "Dataset",
    "Irregular",
    "Multiscale",
    "Version",
    "describe",
    "parse",
    "place",
    "recover",
    "version_of",
]
