"""Packages that read files for us, and what to install where one is missing."""

from __future__ import annotations

import importlib.util

from xpyramid.errors import SourceError


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    return importlib.util.find_spec(package) is not None


def missing(source: str, what: str, package: str, install: str) -> SourceError:
    """Return the error for a file that needs a package which is not there.

    Examples
    --------
    >>> print(missing("dem.grib", "a GRIB file", "cfgrib", "xpyramid[grib]"))
    'dem.grib' is a GRIB file, which needs cfgrib; pip install 'xpyramid[grib]'
    """
    quoted = f"'{install}'" if "[" in install else install
    return SourceError(f"{source!r} is {what}, which needs {package}; pip install {quoted}")
