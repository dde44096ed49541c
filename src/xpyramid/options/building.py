"""The options of ``.pyramid.build()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Number
from typing import Annotated, TypedDict

import numpy as np

from xpyramid.options import text
from xpyramid.options.declare import Option
from xpyramid.options.types import (
    AxisType,
    Boundary,
    Chunks,
    Factor,
    Kind,
    Method,
    Methods,
    PerDim,
    Units,
)

_NUMBER = (Number, np.generic)
_METHODS = "count, max, mean, median, min, mode, nearest, std, sum, or a callable"


class LevelOptions(TypedDict, total=False):
    """How many levels there are."""

    levels: Annotated[
        int | None,
        Option(
            None,
            """int, optional
            Number of levels, the base included. Default: until every coarsened dimension fits into
            one chunk.""",
            help="number of levels, the base included (default: until the top fits into one chunk)",
            parse=int,
            metavar="N",
        ),
    ]


class AxisOptions(TypedDict, total=False):
    """What the axes are, overriding the coordinates."""

    spacing: Annotated[
        PerDim | None,
        Option(
            None,
            """float, {dim: float} or sequence of float, optional
            Distance between samples, which overrides the coordinate or replaces a missing one:
            level 0 then has the coordinate ``origin + spacing * i``. A number is for the space
            dimensions; a sequence has an entry for each dimension of the array (None leaves one
            out). Default: that of the coordinates.""",
            help="distance of samples in space",
            parse=text.numbers,
            metavar="0.5|2,0.5,0.5|z=2",
        ),
    ]
    origin: Annotated[
        PerDim | None,
        Option(
            None,
            """float, {dim: float} or sequence of float, optional
            Coordinate of the first sample, as for ``spacing``.""",
            help="coordinate of the first sample",
            parse=text.numbers,
            metavar="0|y=12.5",
        ),
    ]
    units: Annotated[
        Units | None,
        Option(
            None,
            """str, {dim: str} or sequence of str, optional
            Units of the coordinates, in any spelling; a unit that OME-NGFF does not know is kept as
            an attribute. A single unit is for the space dimensions. Default: their attributes.""",
            help="units of the coordinates",
            parse=text.words,
            metavar="um|t=s,y=um",
        ),
    ]
    axis_types: Annotated[
        Mapping[str, AxisType] | None,
        Option(
            None,
            """{dim: {"time", "channel", "space"}}, optional
            Types of dimensions whose names and coordinates do not tell.""",
            types=Mapping,
            accepted="a mapping, as in {'w': 'channel'}",
            help="what dimensions are",
            parse=text.types,
            metavar="q=channel",
        ),
    ]


class _FactorOptions(TypedDict, total=False):
    factor: Annotated[
        Factor | None,
        Option(
            None,
            """int, {dim: int}, tuple of int, or a list of those, optional
            Step from one level to the next: for all coarsened dimensions, for some, or a tuple
            with one entry for each dimension of the array; a list has one entry per step. Default:
            2 along space dimensions; where their spacings differ, only along the finest ones
            until samples are about as deep as wide. A dimension that has shrunk to one sample stays
            as it is, unless a list says otherwise.""",
            help="step from level to level (default: 2 in space, less along dimensions that are "
            "already coarse)",
            parse=text.lengths,
            metavar="2|1,2,2|z=1,y=2",
        ),
    ]


class _WindowOptions(TypedDict, total=False):
    dims: Annotated[
        str | Sequence[str] | None,
        Option(
            None,
            """str or sequence of str, optional
            Dimensions to coarsen. Default: those that ``factor`` names, or else the space
            dimensions, which are known by their names, a unit of length or angle, or a CF axis. Any
            other, such as ``ensemble``, is only coarsened if it is named here or in ``factor``.""",
            types=Iterable,
            accepted="a dimension, or several",
            help="what to coarsen (default: space)",
            parse=text.names,
            metavar="y,x",
        ),
    ]
    boundary: Annotated[
        Boundary,
        Option(
            "pad",
            """{"pad", "trim", "exact"}
            Whether a last, partial window is reduced over the samples that exist, dropped, or an
            error, as in :meth:`xarray.DataArray.coarsen`.""",
            help="reduce a last, partial window over what it holds, drop it, or refuse it "
            "(default: pad)",
        ),
    ]
    skipna: Annotated[
        bool | None,
        Option(
            None,
            """bool, optional
            Whether to leave out NaN samples. Default: yes; a window without any others is NaN.""",
            types=(bool, np.bool_),
            accepted="True, False",
            help="leave out NaN samples (default: yes)",
        ),
    ]
    ignore: Annotated[
        float | None,
        Option(
            None,
            """number, optional
            A background value that does not count; a window with nothing else is that value.
            Default: ``_FillValue`` or ``missing_value`` of the attributes, or of the encoding of
            integers.""",
            types=_NUMBER,
            accepted="a number",
            help="a background value that does not count",
            parse=text.number,
            metavar="0",
        ),
    ]
    min_valid: Annotated[
        float | None,
        Option(
            None,
            """float, optional
            Smallest fraction of samples, from 0 to 1, that must count for a valid cell.""",
            types=_NUMBER,
            accepted="a number",
            help="smallest fraction of samples that must count for a valid cell",
            parse=float,
            metavar="0.5",
        ),
    ]
    chunks: Annotated[
        Chunks | None,
        Option(
            None,
            """int, {dim: int} or sequence of int, optional
            Shape of the stored chunks; an integer is for the space dimensions. Default: the chunks
            that the array has on disk or in dask, if they suit viewers; else 512 x 512 or
            64 x 64 x 64 in space and 1 elsewhere.""",
            help="shape of the stored chunks",
            parse=text.lengths,
            metavar="64|1,64,64|z=1",
        ),
    ]


_WHICH_METHOD = """\
"mean", "mode", "median", "min", "max", "sum", "nearest", "std", "count", or your own
function: a NumPy function, called as ``method(windows, axis=-1)``, or a function compiled
by numba, called with the samples of one window. Windows at the ends of the array may have
fewer samples, down to one. Default: "mode" for labels, else "mean".\
"""
_METHOD = Option(
    None,
    f"str or callable, optional\n{_WHICH_METHOD}",
    types=(str, Callable),
    accepted=_METHODS,
    help="how to reduce: count, max, mean, median, min, mode, nearest, std, sum (default: mean; "
    "mode for labels); several, or statistics (mean, std, min, max, count), make an image each",
)
_KIND = Option(
    None,
    """{"labels", "image"}, optional
    What the samples are. Labels are never averaged, and are marked as labels for viewers.
    Default: booleans, arrays with CF flags or ``image-label`` among their attributes,
    integers with a name such as "segmentation", "mask" or "cell_ids", and arrays reduced
    by ``method="mode"`` are labels. Other 32- and 64-bit integers without metadata count as
    an image, with a warning that ``method`` or ``kind`` silences.""",
    help="what the samples are (default: labels where their name, dtype or attributes say so)",
)


class _MethodOptions(TypedDict, total=False):
    method: Annotated[Method | None, _METHOD]
    kind: Annotated[Kind | None, _KIND]


class _SeveralMethodsOptions(TypedDict, total=False):
    method: Annotated[
        Method | Methods | None,
        Option(
            None,
            "str, callable, list of those, or {name: str or callable}, optional\n"
            f"{_WHICH_METHOD} Each of\nseveral methods makes an image, and level 0 is read once. "
            '"statistics" are the mean, std,\nmin, max and count.',
            types=(str, Callable, list, tuple, Mapping),
            accepted=f"{_METHODS}; a list of those, or a mapping from names to those; 'statistics'",
        ),
    ]
    kind: Annotated[Kind | None, _KIND]


class _MethodsOptions(TypedDict, total=False):
    method: Annotated[
        Method | Sequence[Method] | Mapping[str, Method | Methods | None] | None,
        Option(
            None,
            """str, callable, list, or {variable: str, callable or list}, optional
            As for a DataArray; variables that a mapping leaves out get their default. A mapping is
            always by variable: ``{"a": {"average": "mean"}}`` gives names to methods.""",
            types=(str, Callable, list, tuple, Mapping),
            accepted=f"{_METHODS}; a list of those; or a mapping from variables to those",
        ),
    ]
    kind: Annotated[
        str | Mapping[str, Kind | None] | None,
        Option(
            None,
            """{"labels", "image"}, or {variable: {"labels", "image"}}, optional
            As for a DataArray.""",
            types=(str, Mapping),
            accepted="'labels', 'image', or a mapping from variables to those",
        ),
    ]


class CommonBuildOptions(_FactorOptions, _WindowOptions, AxisOptions, total=False):
    """What one array and all arrays of a Dataset have in common."""


class BuildOptions(_FactorOptions, _MethodOptions, _WindowOptions, AxisOptions, total=False):
    """Those of making one image."""


class ArrayBuildOptions(
    _FactorOptions, _SeveralMethodsOptions, _WindowOptions, AxisOptions, total=False
):
    """Those of ``DataArray.pyramid.build()``, which may make several images."""


class DatasetBuildOptions(
    _FactorOptions, _MethodsOptions, _WindowOptions, AxisOptions, total=False
):
    """Those of ``Dataset.pyramid.build()``."""
