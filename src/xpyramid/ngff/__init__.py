"""OME-NGFF metadata in the specification's words; nothing else in the library knows JSON."""

from xpyramid.ngff.model import Axis, Dataset, Irregular, Multiscale, describe
from xpyramid.ngff.recover import recover_axes, recover_grids
from xpyramid.ngff.versions import VERSIONS, Version, parse, version_of

__all__ = [
    "VERSIONS",
    "Axis",
    "Dataset",
    "Irregular",
    "Multiscale",
    "Version",
    "describe",
    "parse",
    "recover_axes",
    "recover_grids",
    "version_of",
]
