"""Packages that read files for us: whether they are there, and what goes wrong when they read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from xpyramid.errors import PyramidError, SourceError


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


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn whatever a reader raises into a SourceError.

    Readers of foreign files raise what happens to go wrong first: OSError, ValueError, KeyError,
    struct.error, SyntaxError (Pillow), IndexError (tifffile) and more.
    """
    try:
        yield
    except PyramidError:
        raise
    except Exception as error:
        raise SourceError(f"cannot read {source!r}: {type(error).__name__}: {error}") from error
