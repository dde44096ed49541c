"""From xarray dimensions to axes: the only place that guesses.

A dimension becomes an :class:`AxisSpec`: the short name that OME-Zarr viewers know, its type, its
unit, and the affine grid (spacing and origin) that its coordinate lies on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xpyramid.errors import AxisError
from xpyramid.geometry import units
from xpyramid.geometry.ranges import labels_along, range_of, straight_line
from xpyramid.messages import say
from xpyramid.options.types import AxisType
from xpyramid.types import Array, DType

if TYPE_CHECKING:
    import xarray as xr


AXIS_TYPES: Mapping[str, AxisType] = {
    "t": "time", "c": "channel", "z": "space", "y": "space", "x": "space",
}  # fmt: skip

_BY_NAME = {
    "t": "t time times frame frames timepoint timepoints date datetime valid_time time_counter "
    "ocean_time nt step lead lead_time leadtime forecast_period reftime",
    "c": "c ch channel channels band bands wavelength wavelengths color colors colour colours rgb "
    "rgba stain stains marker markers component components",
    "z": "z depth height altitude alt elevation lev level levels nav_lev plev pressure "
    "pressure_level pressure_levels isobaricinhpa hybrid model_level bottom_top plane planes slice "
    "slices section sections nz k",
    "y": "y lat lats latitude nav_lat nlat rlat row rows northing northings south_north ny j",
    "x": "x lon lons longitude nav_lon nlon rlon col cols column columns width easting eastings "
    "west_east nx i",
}
#: Dimensions that are not space, and are stored as the channel axis for want of another kind.
_LIKE_CHANNELS = (
    "ensemble ensembles ens member members realization realizations realisation number spin "
    "polarization polarizations polarisation pol stokes sample samples model models scenario "
    "scenarios round rounds cycle cycles gene genes variable variables feature features class "
    "classes quantile percentile species phase"
)
_KNOWN_NAMES = {alias: name for name, aliases in _BY_NAME.items() for alias in aliases.split()}
_KNOWN_NAMES |= dict.fromkeys(_LIKE_CHANNELS.split(), "c")

#: What attributes of a coordinate say of it, in lower case: CF conventions, sections 4 and 5, and
#: the axis types of the netCDF-Java library.
_KNOWN_ATTRS = {
    "axis": {"t": "t", "z": "z", "y": "y", "x": "x"},
    "standard_name": {
        "time": "t", "forecast_reference_time": "t",
        "radiation_wavelength": "c", "sensor_band_identifier": "c",
        "latitude": "y", "grid_latitude": "y",
        "projection_y_coordinate": "y", "projection_y_angular_coordinate": "y",
        "longitude": "x", "grid_longitude": "x",
        "projection_x_coordinate": "x", "projection_x_angular_coordinate": "x",
        "depth": "z", "height": "z", "altitude": "z", "air_pressure": "z",
        "model_level_number": "z",
    },
    "_coordinateaxistype": {
        "time": "t", "lat": "y", "geoy": "y", "lon": "x", "geox": "x", "geoz": "z",
        "height": "z", "pressure": "z",
    },
    "units": {
        f"degree{plural}{of}": axis
        for plural in ("", "s")
        for of, axis in (("_north", "y"), ("_n", "y"), ("n", "y"), ("_east", "x"), ("_e", "x"),
                         ("e", "x"))
    },
    "positive": {"up": "z", "down": "z"},
}  # fmt: skip


#: Names that say nothing: those that xarray and h5netcdf make up, and plain letters.
_UNNAMED = re.compile(r"(phony_)?dim_\d+")
_LETTER = re.compile(r"[^\W\d_]")

#: Names of the channels of a photograph.
COLORS = ("red", "green", "blue", "alpha")

#: Length of the colours of a photograph: RGB, or RGBA. Names that say no less.
_COLORS = (3, 4)
_COLOR_NAMES = frozenset(("rgb", "rgba", "color", "colors", "colour", "colours"))


@dataclass(frozen=True)
class AxisSpec:
    """One axis of a pyramid.

    Attributes
    ----------
    dim : str
        The xarray dimension.
    name : str
        The axis name in the OME metadata: t, c, z, y or x where the dimension is known to be
        one of them, the dimension's own name otherwise.
    type : {"time", "channel", "space", "other"}
        The NGFF axis type; "other" cannot be written.
    unit : str or None
        An NGFF unit word.
    spacing, origin : float
        The affine grid of level 0: the coordinate of sample ``i`` is ``origin + spacing * i``.
        The spacing is negative where the coordinate descends. In seconds for datetimes, with the
        origin at the first sample.
    uneven : (float, float) or None
        For a numeric coordinate that is not regular: its smallest and its largest step (``spacing``
        is then the mean step).
    known : bool
        Whether something says what the dimension is.
    """

    dim: str
    name: str
    type: AxisType
    unit: str | None = None
    spacing: float = 1.0
    origin: float = 0.0
    uneven: tuple[float, float] | None = None
    known: bool = True


def describe_axes(
    array: xr.DataArray,
    types: Mapping[str, AxisType] | None = None,
    coarsened: Collection[Hashable] = (),
) -> tuple[AxisSpec, ...]:
    """Return the axis of each dimension of ``array``, in order.

    Coordinates of the dimensions are read; the data are not.

    Parameters
    ----------
    array : xarray.DataArray
    types : mapping, optional
        From dimensions to the type that they are known to have.
    coarsened : collection of str
        Dimensions that the caller wants to coarsen, and which therefore are space unless something
        says otherwise.

    Raises
    ------
    AxisError
        For no dimensions, duplicate ones, or names that are not strings.
    """
    dims = array.dims
    if not dims:
        raise AxisError("a 0-dimensional array has no levels", accepted="1 dimension or more")
    if len(set(dims)) < len(dims):
        raise AxisError(
            f"duplicate dimensions in {dims}",
            fix="give each its own name: xr.DataArray(array.data, dims=[...])",
        )
    if bad := [d for d in dims if not isinstance(d, str)]:
        raise AxisError(
            f"dimension names must be strings, got {bad!r}",
            fix=say("use `.rename(...)`"),
        )
    names, unknown = _axis_names(array, types or {}, coarsened)
    return tuple(_axis(array, str(dim), names[dim], dim not in unknown) for dim in dims)


def is_channel_name(dim: str) -> bool:
    """Whether a name is one of channels, rather than of something that is stored like them."""
    return dim.lower() in _BY_NAME["c"].split() or is_unnamed(dim)


def names_colors(array: xr.DataArray, dim: str) -> bool:
    """Whether a dimension holds the colours of a picture, as its name and its length say."""
    is_named = dim.lower() in _COLOR_NAMES and array.sizes[dim] in _COLORS
    return is_named and dim not in array.coords


def is_unnamed(dim: Hashable) -> bool:
    """Whether a dimension has a name that a library made up."""
    return _UNNAMED.fullmatch(str(dim)) is not None


def has_trailing_colors(array: xr.DataArray) -> bool:
    """Whether an array is a photograph as NumPy has it: an unnamed last axis of 3 or 4 colours."""
    if array.ndim < 3 or not is_unnamed(array.dims[-1]):
        return False
    *_, height, width, colors = array.shape
    return colors in _COLORS and min(height, width) > colors and array.dims[-1] not in array.coords


def is_temporal(dtype: DType) -> bool:
    """Whether values are datetimes or durations."""
    return dtype.kind in "mM"


def is_cftime(values: Array) -> bool:
    """Whether values are dates of a calendar, as cftime has them."""
    return values.dtype.kind == "O" and all(hasattr(value, "calendar") for value in values.flat)


def since_first(values: Array) -> NDArray[np.int64]:
    """Return microseconds since the first of some dates of a calendar."""
    microsecond = timedelta(microseconds=1)
    return np.array([(value - values[0]) // microsecond for value in values], "int64")


def _axis_names(
    array: xr.DataArray, types: Mapping[str, AxisType], coarsened: Collection[Hashable]
) -> tuple[dict[Hashable, str], set[Hashable]]:
    """Give each dimension an axis name, each of t, c, z, y, x at most once.

    Also returns the dimensions about which nothing is known.
    """
    guesses = {dim: _guess_name(array, dim) for dim in array.dims}
    if has_trailing_colors(array) and array.dims[-1] in coarsened:
        guesses[array.dims[-1]] = None  # no colours, for those are not coarsened
    for typed_dim, axis_type in types.items():
        candidates = [name for name, of in AXIS_TYPES.items() if of == axis_type]
        if len(candidates) == 1:
            guesses[typed_dim] = candidates[0]
        elif guesses[typed_dim] not in candidates:
            guesses[typed_dim] = None
    # What the caller knows comes first, then an exact name, then a guess.
    exact = [dim for dim in array.dims if dim in AXIS_TYPES and dim not in types]
    names: dict[Hashable, str] = {}
    for dim in [*types, *exact, *array.dims]:
        name = str(dim) if dim in exact else guesses[dim]
        if dim not in names and name is not None and name not in names.values():
            names[dim] = name
    # The other space dimensions go by position, the last one being the fastest: x.
    free = [name for name in ("z", "y", "x") if name not in names.values()]
    left = [dim for dim in array.dims if dim not in names]
    space = [dim for dim in left if _is_space(array, dim, guesses[dim], types, coarsened)]
    for dim in reversed(space):
        names[dim] = free.pop() if free else str(dim)
    # Any other is a channel, if there is none yet: viewers have no further kind of axis.
    for dim in left:
        if dim not in names:
            names[dim] = str(dim) if "c" in names.values() else "c"
    unknown = {dim for dim in left if guesses[dim] is None and dim not in types}
    return names, unknown - set(space)


def _is_space(
    array: xr.DataArray,
    dim: Hashable,
    guess: str | None,
    types: Mapping[str, AxisType],
    coarsened: Collection[Hashable],
) -> bool:
    """Whether a dimension is space, so far as its name, its coordinate and the caller say."""
    if guess is not None or dim in types:
        return AXIS_TYPES.get(guess or "z") == "space"
    name = str(dim)
    if dim in coarsened or is_unnamed(dim) or _LETTER.fullmatch(name):
        return True
    attrs = array.coords[dim].attrs if dim in array.coords else {}
    return units.is_length_or_angle(attrs.get("units", attrs.get("unit")))


def _guess_name(array: xr.DataArray, dim: Hashable) -> str | None:
    """Guess t, c, z, y or x from the coordinate's CF attributes, its dtype, or the name."""
    if dim == array.dims[-1] and has_trailing_colors(array):
        return "c"
    by_coordinate = _guess_by_coordinate(array.coords[dim]) if dim in array.coords else None
    name = str(dim).lower()
    if name == "height" and "width" in map(str.lower, map(str, array.dims)):
        return by_coordinate or "y"  # of a picture
    return by_coordinate or _KNOWN_NAMES.get(name)


def _guess_by_coordinate(coordinate: xr.DataArray) -> str | None:
    """Guess t, c, z, y or x from CF attributes, or the dtype."""
    attrs = {str(key).lower(): str(value).lower() for key, value in coordinate.attrs.items()}
    for attr, names_by_value in _KNOWN_ATTRS.items():
        if (name := names_by_value.get(attrs.get(attr, ""))) is not None:
            return name
    if coordinate.dtype.kind == "M" or " since " in attrs.get("units", ""):
        return "t"
    if coordinate.dtype.kind in "UST":
        return "c"
    if coordinate.dtype.kind == "O" and coordinate.size:
        if is_cftime(coordinate.values):
            return "t"
        if isinstance(coordinate.values[0], str):
            return "c"
    return None


def _axis(array: xr.DataArray, dim: str, name: str, known: bool) -> AxisSpec:
    """Describe one dimension from its coordinate."""
    return replace(_axis_along(array, dim, name), known=known)


def _axis_along(array: xr.DataArray, dim: str, name: str) -> AxisSpec:
    """Return the axis on which the coordinate of a dimension lies."""
    axis_type = AXIS_TYPES.get(name, "other")
    if dim not in array.coords or not array.sizes[dim]:
        return AxisSpec(dim, name, axis_type)
    coordinate = array.coords[dim]
    unit = units.to_ngff(coordinate.attrs.get("units", coordinate.attrs.get("unit")), axis_type)
    if (line := range_of(array, dim)) is not None:
        return AxisSpec(dim, name, axis_type, unit, *line)
    if not isinstance(coordinate.dtype, np.dtype):  # pandas has categories, times with a zone
        return AxisSpec(dim, name, axis_type)
    values, positions = labels_along(array, dim)
    if is_temporal(values.dtype) or is_cftime(values):
        return _axis_in_time(values, positions, AxisSpec(dim, name, axis_type))
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return AxisSpec(dim, name, axis_type)
    spacing, origin, uneven = straight_line(values, positions)
    return AxisSpec(dim, name, axis_type, unit, spacing, origin, uneven)


def _axis_in_time(values: Array, positions: Array | None, axis: AxisSpec) -> AxisSpec:
    """Return an axis with the grid of datetimes, durations, or dates of a calendar, in seconds."""
    if is_cftime(values):
        spacing, _, uneven = straight_line(since_first(values) / 1e6, positions)
        return replace(axis, unit="second", spacing=spacing, uneven=uneven)
    if np.isnat(values).any():
        return axis
    seconds = (values - values[0]) / np.timedelta64(1, "s")
    spacing, _, uneven = straight_line(seconds, positions)
    origin = 0.0 if values.dtype.kind == "M" else float(values[0] / np.timedelta64(1, "s"))
    return replace(axis, unit="second", spacing=spacing, origin=origin, uneven=uneven)
