"""OME-NGFF metadata in the specification's words; nothing else in the library knows JSON."""

from xpyramid.ngff.checks import Header, check_image, images_of, paths_of
from xpyramid.ngff.documents import check_document, check_others
from xpyramid.ngff.factors import place, recover
from xpyramid.ngff.geometry import has_transforms, recorded_factors
from xpyramid.ngff.geozarr import geozarr
from xpyramid.ngff.labels import add_to_list, announce, image_label
from xpyramid.ngff.model import Axis, Dataset, Irregular, Multiscale, describe
from xpyramid.ngff.multiples import in_known_units, in_own_units
from xpyramid.ngff.omero import Channels, Window, channels, omero, stored_channels
from xpyramid.ngff.parser import parse, version_of
from xpyramid.ngff.problems import Problem
from xpyramid.ngff.stored import as_stored, recover_axes
from xpyramid.ngff.versions import VERSIONS, Version

__all__ = [
    "VERSIONS",
    "Axis",
    "Channels",
    "Dataset",
    "Header",
    "Irregular",
    "Multiscale",
    "Problem",
    "Version",
    "Window",
    "add_to_list",
    "announce",
    "as_stored",
    "channels",
    "check_document",
    "check_image",
    "check_others",
    "describe",
    "geozarr",
    "has_transforms",
    "image_label",
    "images_of",
    "in_known_units",
    "in_own_units",
    "omero",
    "parse",
    "paths_of",
    "place",
    "recorded_factors",
    "recover",
    "recover_axes",
    "stored_channels",
    "version_of",
]
