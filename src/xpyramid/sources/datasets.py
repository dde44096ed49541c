"""Files that xarray's engines read: netCDF, HDF5, GRIB."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import xarray as xr
from xarray.backends import (
    BackendEntrypoint,
    H5netcdfBackendEntrypoint,
    NetCDF4BackendEntrypoint,
    ScipyBackendEntrypoint,
)

from xpyramid.errors import SourceError
from xpyramid.messages import say
from xpyramid.sources.dims import by_rank, name_dims
from xpyramid.sources.readers import is_installed, missing
from xpyramid.warn import warn

#: What a file begins with, what it is, and which of xarray's engines read it, the best first.
_SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": ("netCDF or HDF5", ("h5netcdf", "netcdf4")),
    b"CDF": ("netCDF", ("netcdf4", "scipy")),
    b"GRIB": ("GRIB", ("cfgrib",)),
}

#: The packages that an engine needs.
_PACKAGES = {
    "h5netcdf": ("h5netcdf", "h5py"),
    "netcdf4": ("netCDF4",),
    "scipy": ("scipy",),
    "cfgrib": ("cfgrib",),
}

_SUFFIXES = {
    ".nc", ".nc4", ".cdf", ".netcdf", ".h5", ".hdf5", ".hdf", ".he5", ".grib", ".grib2", ".grb",
    ".grb2",
}  # fmt: skip

_NAMES = {
    ".nc": "netCDF", ".nc4": "netCDF", ".h5": "HDF5", ".hdf5": "HDF5", ".he5": "HDF5"
}  # fmt: skip

#: What netCDF calls dimensions that have no name.
_PHONY = re.compile(r"phony_dim_\d+")


def is_dataset(path: Path) -> bool:
    """Whether a file is for xarray's engines, by its suffix or by how it begins."""
    return path.suffix.lower() in _SUFFIXES or _signature(path) is not None


def open_variable(path: Path, variable: str | None, *, is_named: bool) -> xr.DataArray:
    """Open a variable of a file, as xarray decodes it, and read it when asked for.

    Parameters
    ----------
    path : Path
    variable : str, optional
        A name, or a path as in "group/name". Default: the only variable of two dimensions or more.
    is_named : bool
        Whether the caller names the dimensions.

    Raises
    ------
    SourceError
        If no engine is installed, and for several variables of which none was chosen.
    """
    kind, engine = _engine(path)
    group, _, name = (variable or "").strip("/").rpartition("/")
    variables = _variables(path, engine, group, everywhere=variable is None)
    if not variables:
        raise SourceError(f"{str(path)!r} has no variables")
    array = choose_variable(variables, f"{group}/{name}" if group else name or None, str(path))
    array.encoding["format"] = kind
    return array if is_named else _without_phony_dims(array, str(path))


def choose_variable(
    variables: Mapping[str, xr.DataArray], variable: str | None, source: str
) -> xr.DataArray:
    """Return a variable by its name, or the only one that can be an image.

    Raises
    ------
    SourceError
        If no variable has that name, or several may be meant.
    """
    available = ", ".join(sorted(f"{name} ({_dims(array)})" for name, array in variables.items()))
    if variable is None:
        images = [name for name, array in variables.items() if array.ndim > 1]
        if len(images) != 1:
            raise SourceError(f"{source!r} has several variables, choose one: {available}")
        variable = images[0]
    if variable not in variables:
        raise SourceError(f"{source!r} has no variable {variable!r}", fix=f"it has {available}")
    return variables[variable]


def _dims(array: xr.DataArray) -> str:
    """Return the dimensions of an array, for people; the length of those without a name."""
    sizes = zip(array.dims, array.shape, strict=True)
    return ", ".join(str(n) if _PHONY.fullmatch(str(dim)) else str(dim) for dim, n in sizes)


def _signature(path: Path) -> tuple[str, tuple[str, ...]] | None:
    with path.open("rb") as file:
        start = file.read(8)
    matches = (how for begin, how in _SIGNATURES.items() if start.startswith(begin))
    return next(matches, None)


def _engine(path: Path) -> tuple[str, str | None]:
    """Return what a file is, and the engine to read it with; None leaves it to xarray."""
    signature = _signature(path)
    if signature is None:
        return "", None
    kind, engines = signature
    if kind == "netCDF or HDF5" and path.suffix.lower() in _NAMES:
        kind = _NAMES[path.suffix.lower()]
    for engine in engines:
        if all(map(is_installed, _PACKAGES[engine])):
            return kind, engine
    extra = "grib" if kind == "GRIB" else "netcdf"
    raise missing(str(path), f"a {kind} file", engines[0], f"xpyramid[{extra}]")


def _backend(engine: str) -> type[BackendEntrypoint]:
    """Return what reads files for xarray. By a name, it would import whatever else is installed.

    That takes long, and not all of it goes together: eccodes and rasterio crash in one process.
    """
    if engine == "cfgrib":
        plugin = importlib.import_module("cfgrib.xarray_plugin")
        return cast(type[BackendEntrypoint], plugin.CfGribBackend)
    return {
        "h5netcdf": H5netcdfBackendEntrypoint,
        "netcdf4": NetCDF4BackendEntrypoint,
        "scipy": ScipyBackendEntrypoint,
    }[engine]


def _variables(
    path: Path, engine: str | None, group: str, *, everywhere: bool
) -> dict[str, xr.DataArray]:
    """Return the variables of a group by their paths; of all groups if the first has no image."""
    options: dict[str, Any] = {"cache": False, "chunks": None, "decode_coords": "all"}
    options["engine"] = None if engine is None else _backend(engine)
    if engine == "h5netcdf":
        options["phony_dims"] = "access"
    if engine == "cfgrib":
        options["indexpath"] = ""  # else it writes an index beside the file
    if group:
        options["group"] = group
    dataset = xr.open_dataset(path, **options)
    prefix = f"{group}/" if group else ""
    variables = {f"{prefix}{name}": v for name, v in dataset.data_vars.items()}
    if (
        engine not in ("h5netcdf", "netcdf4")
        or not everywhere
        or any(v.ndim > 1 for v in variables.values())
    ):
        return variables
    for where, other in xr.open_groups(path, **options).items():
        inside = where.strip("/")
        variables |= {f"{inside}/{name}".lstrip("/"): v for name, v in other.data_vars.items()}
    return variables


def _without_phony_dims(array: xr.DataArray, source: str) -> xr.DataArray:
    """Name the dimensions of an HDF5 data set that has none, by rank; and say so."""
    if not any(_PHONY.fullmatch(str(dim)) for dim in array.dims):
        return array
    named = zip(array.dims, by_rank(array.ndim), strict=True)
    dims = [new if _PHONY.fullmatch(str(old)) else str(old) for old, new in named]
    warn(
        f"{source!r} does not name all dimensions of {array.name!r} ({_dims(array)}); they are "
        f"taken for {', '.join(dims)}; " + say("{open_source.dims} says otherwise", dims=...)
    )
    return name_dims(array, dims, source)
