"""OME-NGFF metadata in the specification's words; nothing else in the library knows JSON."""

from xpyramid.ngff.checks import (
    Header,
    check_image,
    check_single,
    count_images,
    dataset_paths,
    image_names,
    images_of,
)
from xpyramid.ngff.collection import GROUP as OME_GROUP
from xpyramid.ngff.collection import (
    collection,
    list_series,
    may_list_images,
    says_collection,
    series_of,
)
from xpyramid.ngff.documents import check_document, check_others, has_others
from xpyramid.ngff.factors import fill_transforms, recover
from xpyramid.ngff.fit import check_label
from xpyramid.ngff.geometry import has_transforms, ratio_of, recorded_factors
from xpyramid.ngff.geozarr import geozarr, is_geozarr, multiscales
from xpyramid.ngff.growth import with_axis
from xpyramid.ngff.json_types import ome_metadata
from xpyramid.ngff.labels import (
    add_to_list,
    image_label,
    label_colors,
    with_image,
    with_levels,
    with_metadata,
)
from xpyramid.ngff.methods import options_of, reducer_of
from xpyramid.ngff.model import Axis, Dataset, Multiscale, describe_image
from xpyramid.ngff.multiples import in_known_units, in_own_units, multiples_of
from xpyramid.ngff.omero import (
    ChannelDocument,
    Channels,
    OmeroDocument,
    StoredOmero,
    Window,
    channel_names,
    channels,
    described_channels,
    ends,
    of_channels,
    omero,
    stored_channels,
)
from xpyramid.ngff.parser import parse, version_of
from xpyramid.ngff.plates import listed_paths
from xpyramid.ngff.problems import Problem
from xpyramid.ngff.stored import as_stored, recover_axes
from xpyramid.ngff.versions import VERSIONS
from xpyramid.options.types import Irregular, Version

__all__ = [
    "OME_GROUP",
    "VERSIONS",
    "Axis",
    "ChannelDocument",
    "Channels",
    "Dataset",
    "Header",
    "Irregular",
    "Multiscale",
    "OmeroDocument",
    "Problem",
    "StoredOmero",
    "Version",
    "Window",
    "add_to_list",
    "as_stored",
    "channel_names",
    "channels",
    "check_document",
    "check_image",
    "check_label",
    "check_others",
    "check_single",
    "collection",
    "count_images",
    "dataset_paths",
    "describe_image",
    "described_channels",
    "ends",
    "fill_transforms",
    "geozarr",
    "has_others",
    "has_transforms",
    "image_label",
    "image_names",
    "images_of",
    "in_known_units",
    "in_own_units",
    "is_geozarr",
    "label_colors",
    "list_series",
    "listed_paths",
    "may_list_images",
    "multiples_of",
    "multiscales",
    "of_channels",
    "ome_metadata",
    "omero",
    "options_of",
    "parse",
    "ratio_of",
    "recorded_factors",
    "recover",
    "recover_axes",
    "reducer_of",
    "says_collection",
    "series_of",
    "stored_channels",
    "version_of",
    "with_axis",
    "with_image",
    "with_levels",
    "with_metadata",
]
