"""Every error and warning the library raises on purpose.

Each error derives from :class:`PyramidError` and from the builtin that fits, so that both
``except xpyramid.errors.PyramidError`` and ``except ValueError`` do what one expects.
"""

from __future__ import annotations


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


class NotAPyramidError(PyramidError, ValueError):
    """What was opened is not a (complete) OME-Zarr multiscale image."""


class AttributeValueError(PyramidError, ValueError):
    """An attribute that JSON cannot hold."""


class SourceError(PyramidError, ValueError):
    """Something to read from that is not there, or that no reader understands."""


class ViewerWarning(UserWarning):
    """Something that is stored as it should be, and that a common viewer cannot show."""
