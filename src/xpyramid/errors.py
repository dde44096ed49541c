"""Every error and warning the library raises on purpose.

Each error derives from :class:`PyramidError` and from the builtin that fits, so that both
``except xpyramid.errors.PyramidError`` and ``except ValueError`` do what one expects.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class PyramidError(Exception):
    """Base class: anything that xpyramid refuses."""


class PlanError(PyramidError, ValueError):
    """Levels, factors, dimensions or chunks that make no pyramid."""


class AxisError(PyramidError, ValueError):
    """Dimensions or coordinates that cannot be an axis of a pyramid or of an OME-Zarr image."""


class DtypeError(PyramidError, TypeError):
    """A dtype that a method cannot reduce."""


class InvalidNameError(PyramidError, ValueError):
    """A name that cannot be the name of a Zarr node."""


class TargetExistsError(PyramidError, FileExistsError):
    """The place to write to already holds something."""


class TargetBusyError(PyramidError, OSError):
    """Somebody else writes to the place at the moment."""


class ResumeError(PyramidError, ValueError):
    """An unfinished build that this one cannot go on with."""


class StorageError(PyramidError, OSError):
    """A part of an array that could not be written or read."""


class NotAPyramidError(PyramidError, ValueError):
    """What was opened is not a (complete) OME-Zarr multiscale image."""


class AttributeValueError(PyramidError, ValueError):
    """An attribute that JSON cannot hold."""


class SourceError(PyramidError, ValueError):
    """Something to read from that is not there, or that no reader understands."""


class SourceOverlapError(PyramidError, ValueError):
    """The place to write to is where the data are read from."""


class NotWritableError(PyramidError, OSError):
    """A place that cannot be written to: read-only, unreachable, or too small."""


class ReadError(PyramidError, OSError):
    """Stored samples that cannot be read."""


class MissingChunkError(PyramidError, ValueError):
    """Chunks of the source are not there, and ``strict=True``."""


class MissingChunkWarning(UserWarning):
    """Chunks of the source are not there, and read as the array's fill value."""


class ViewerWarning(UserWarning):
    """Something that is stored as it should be, and that a common viewer cannot show."""


def check_kind(name: str, value: object, kinds: Any, accepted: str) -> None:
    """Refuse a parameter that is not of its kind; None is for those that say nothing.

    Raises
    ------
    PlanError
    """
    if value is not None and not isinstance(value, kinds):
        raise PlanError(f"{name}={literal(value)[:80]}; accepted: {accepted}")


def literal(value: object) -> str:
    """Return a value as it is written in Python, with NumPy's numbers as plain ones.

    Examples
    --------
    >>> import numpy as np
    >>> literal({"y": np.int64(0), "x": "auto"})
    "{'y': 0, 'x': 'auto'}"
    """
    with np.printoptions(legacy="1.25"):
        return repr(value)
