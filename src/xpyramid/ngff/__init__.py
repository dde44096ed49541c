"""OME-NGFF metadata in the specification's words; nothing else in the library knows JSON."""

from xpyramid.ngff.model import Axis, Dataset, Irregular, Multiscale, describe
from xpyramid.ngff.recover import as_stored, recover_axes
from xpyramid.ngff.versions import VERSIONS, Version, dataset_paths, parse, version_of

__all__ = [
    "VERSIONS",
    "Axis",
    "Dataset",
    "Irregular",
    "Multiscale",
    "Version",
    "as_stored",
    "dataset_paths",
    "describe",
    "parse",
    "recover_axes",
    "version_of",
]
