"""The options of ``to_ome_zarr()``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Annotated, TypedDict

import numpy as np

from xpyramid.options import text
from xpyramid.options.declare import Option
from xpyramid.options.types import (
    Chunks,
    Convention,
    Dtype,
    Irregular,
    Layout,
    Mode,
    Names,
    Version,
)

_BOOL: dict[str, object] = {"types": (bool, np.bool_), "accepted": "True, False"}


class CostOptions(TypedDict, total=False):
    """What every write may take, and what it may approximate."""

    irregular: Annotated[
        Irregular,
        Option(
            "error",
            """{"error", "approximate"}
            What to do about space coordinates that are coarsened and not evenly spaced, which
            OME-NGFF cannot say: refuse, or write the mean spacing (the coordinate arrays hold the
            truth). Samples along others that are uneven are counted, with a warning.""",
            help="refuse uneven coordinates, or write their mean spacing (default: error)",
        ),
    ]
    memory: Annotated[
        int | str | None,
        Option(
            None,
            """int or str, optional
            What all workers together may hold, in bytes or as in "500 MB". Default: some tens of
            MB per worker; see :meth:`Plan.cost`. Where the smallest tiles need more, a
            `CostWarning` says how much, or a `PlanError` if it does not even do for them.""",
            help="what all workers together may hold",
            metavar="500MB",
        ),
    ]
    durable: Annotated[
        bool,
        Option(
            False,
            """bool
            Whether to wait until everything is on disk, before the image appears and after.""",
            **_BOOL,
            help="wait until everything is on disk",
        ),
    ]


class RunOptions(CostOptions, total=False):
    """What all calls that write samples have in common."""

    resume: Annotated[
        bool,
        Option(
            False,
            """bool
            Whether to finish an unfinished build of the same image. What is already stored is
            neither computed nor written again.""",
            **_BOOL,
            help="finish an unfinished build",
        ),
    ]
    progress: Annotated[
        bool | None,
        Option(
            None,
            """bool, optional
            Whether to show a bar; default: in terminals and notebooks.""",
            **_BOOL,
            help="show a bar (default: in terminals)",
        ),
    ]
    strict: Annotated[
        bool,
        Option(
            False,
            """bool
            Whether chunks that are missing from the source arrays are an error.
            Default: a warning; they read as the fill value.""",
            **_BOOL,
            help="treat missing chunks of SRC as an error",
        ),
    ]


class ShownOptions(TypedDict, total=False):
    """What is said to viewers."""

    omero: Annotated[
        bool | Mapping[str, object] | None,
        Option(
            None,
            """bool or mapping, optional
            How viewers are to show channels: names, colours, and windows from the extremes and
            the 0.1 and 99.9 percentiles of the data, computed while writing. Default: written for
            all images except labels; the settings in the store of an opened pyramid, or else in
            ``attrs["omero"]`` of the array, are kept. A mapping may have "labels", "colors" (names
            as in CSS, or six digits: "FF8800"), "windows" or "contrast_limits" (start, end), and
            "percentiles" (low, high): each with one entry per channel, or a mapping from the
            labels of some channels; a single pair of numbers is for all channels.""",
            types=(bool, Mapping),
            accepted="None, True, False, or a mapping",
            help="how viewers show channels (default: yes for images, no for labels); JSON may "
            "have labels, colors (names as in CSS, or FF8800), windows or contrast_limits, "
            "percentiles: one for each channel, or a mapping by label",
            parse=text.omero,
            metavar="yes|no|JSON",
        ),
    ]
    conventions: Annotated[
        Sequence[Convention] | None,
        Option(
            (),
            """sequence of str, optional
            Further metadata beside ``ome``: "geozarr" writes the zarr-conventions ``multiscales``,
            ``spatial`` and, where there is a CF grid mapping (rioxarray's ``spatial_ref``),
            ``proj``, which geospatial tools read.""",
            types=(list, tuple, set, frozenset, NoneType),
            accepted="['geozarr']",
            help="further metadata beside OME's",
            parse=text.names,
            metavar="geozarr",
        ),
    ]


class FormOptions(TypedDict, total=False):
    """In which form an image is stored."""

    version: Annotated[
        Version,
        Option(
            "0.5",
            """{"0.5", "0.4", "0.6"}
            OME-NGFF version: 0.5 and 0.6 are stored as Zarr v3, 0.4 as Zarr v2. Few viewers read
            0.6 yet.""",
            accepted="'0.5', '0.4', '0.6', as text",
            help="OME-NGFF version: 0.5 and 0.6 are Zarr v3, 0.4 is Zarr v2 (default: 0.5)",
        ),
    ]
    layout: Annotated[
        Layout,
        Option(
            "groups",
            """{"groups", "arrays", "datasets"}
            Whether each level is a group with the array and its coordinates, which
            xarray opens, or an array, ``<group>/<k>``, for tools that expect that. With arrays,
            `open_pyramid` restores only evenly spaced numbers, datetimes and text along
            dimensions; other coordinates are not written. With "datasets", ``<group>/<k>`` holds
            level k of all variables of a Dataset, as ndpyramid and topozarr lay them out.""",
            help="each level a group, with coordinates; or an array; or one group for all "
            "variables (default: groups)",
        ),
    ]
    names: Annotated[
        Names | None,
        Option(
            None,
            """{"ome", "source"}, optional
            Names of the dimensions in the store: t, c, z, y and x, which viewers know, or those of
            the array, by which plain xarray can select (``.sel(lat=...)``) but which some viewers
            do not draw. `open_pyramid` restores the array's names either way. Default: "source"
            with ``conventions=["geozarr"]`` and ``layout="datasets"``, else "ome".""",
            accepted="'ome' (t, c, z, y, x), 'source' (the dimensions' own)",
            help="dimension names that viewers know (t, c, z, y, x), or those of SRC (default: "
            "ome; source with --conventions geozarr)",
        ),
    ]
    dtype: Annotated[
        Dtype | None,
        Option(
            None,
            """{"source"}, optional
            Whether numbers that were packed as integers in their file (xarray
            has ``dtype``, ``scale_factor``, ``add_offset`` and ``_FillValue`` in their
            ``encoding``) are packed again, as integers with these attributes, so that
            xarray and others unpack each level. Level 0 then equals the file, bit for bit, and the
            levels are made from the integers. Default: the dtype of the array, with a warning.""",
            accepted="'source' (packed, as in the file)",
            fix="for another, call .astype({value}) before .pyramid",
            help="packed as integers as in SRC, where it is (default: unpacked)",
        ),
    ]
    shards: Annotated[
        Chunks | None,
        Option(
            None,
            """int, {dim: int} or sequence of int, optional
            Shape of the shards: files that hold several chunks, in Zarr v3. Multiples of the
            chunks; an integer is for the space dimensions, -1 all of a dimension. Default:
            none.""",
            help="shape of the shards (default: none)",
            parse=text.lengths,
            metavar="256|y=2048",
        ),
    ]
    compressor: Annotated[
        object,
        Option(
            "source",
            """codec, sequence of codecs, "source", "default" or None
            How chunks are compressed: a codec of `zarr.codecs`, with ``version="0.4"`` one of
            `numcodecs`; None means uncompressed. "default" is Zstandard, level 1, with checksums,
            which other codecs may lack. "source" is as the Zarr array is that level 0 is read from,
            if that has Zstandard (which gets checksums) or Blosc, of level 5 or less, else as
            "default". Chunks of it
            that are stored already as they would be written are passed through, and not encoded.
            """,
        ),
    ]


class CommonWriteOptions(RunOptions, ShownOptions, total=False):
    """What writing an image and adding levels to one have in common."""

    compute: Annotated[
        bool,
        Option(
            True,
            """bool
            False returns a dask Delayed that writes data and metadata when computed.""",
            **_BOOL,
        ),
    ]


class WriteOptions(CommonWriteOptions, FormOptions, total=False):
    """How to write; see :meth:`xpyramid.Pyramid.to_ome_zarr`."""

    mode: Annotated[
        Mode,
        Option(
            "w-",
            """{"w-", "w"}
            Whether an existing group is an error, or its image is replaced. On a local disk
            the old image stays readable until the new one is complete. Anything that is not part of
            the old image (labels, other arrays, files) stays.""",
            accepted="'w-' (new), 'w' (replace)",
        ),
    ]
    append_dim: Annotated[
        str | None,
        Option(
            None,
            """str, optional
            Dimension along which the samples are appended to the image that is there, as for
            :meth:`xarray.Dataset.to_zarr`; see :meth:`xpyramid.accessor.ArrayAccessor.append`. An
            image that is not there is written, and the options that say how an image is stored
            (`layout`, `shards`, `compressor`, ...) are for that one alone.""",
            types=str,
            accepted="a dimension, as in 't'",
            help="append SRC along a dimension to the image that is there, if it is",
            metavar="DIM",
        ),
    ]
    labels_of: Annotated[
        str | None,
        Option(
            None,
            """str, optional
            Path of the image that these are labels of; they are written to
            ``<labels_of>/labels/<group>``, and listed there. They need integers, and as many
            levels as the image. Colours and properties are taken from ``attrs["image-label"]``,
            names from the CF attributes ``flag_values`` and ``flag_meanings``.""",
            types=str,
            accepted="text, as in 'lab/field'",
            help="image in DST that these are labels of; they go to PATH/labels",
            metavar="PATH",
        ),
    ]


class AddOptions(CommonWriteOptions, total=False):
    """How to write levels beside level 0; see :func:`xpyramid.add_levels`."""

    version: Annotated[
        Version | None,
        Option(
            None,
            """{"0.5", "0.4", "0.6"}, optional
            OME-NGFF version: 0.5 or 0.6 where level 0 is in Zarr v3, 0.4 where it is in Zarr v2.
            Default: that of the image, if the group is one, or else 0.5 or 0.4.""",
            accepted="'0.5', '0.4', '0.6', as text",
        ),
    ]
    mode: Annotated[
        Mode,
        Option(
            "w-",
            """{"w-", "w"}
            Whether levels that are there, and were made in another way, are an error or are
            replaced. Level 0 stays in any case.""",
            accepted="'w-' (add), 'w' (replace)",
        ),
    ]
    shards: Annotated[
        Chunks | None,
        Option(
            None,
            """int, {dim: int} or sequence of int, optional
            Shape of the shards, as for :meth:`xpyramid.Pyramid.to_ome_zarr`. Default: those of
            level 0, if it has any.""",
        ),
    ]
    compressor: Annotated[
        object,
        Option(
            "source",
            """codec, sequence of codecs, "default" or None
            How chunks are compressed: "source" is as level 0 is, and "default" is Zstandard,
            level 1, with checksums.""",
        ),
    ]
