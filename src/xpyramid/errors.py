"""Every error and warning the library raises on purpose.

Each error derives from :class:`PyramidError` and from the builtin that fits, so that both
``except xpyramid.errors.PyramidError`` and ``except ValueError`` work as expected.
"""

from __future__ import annotations

from typing import Any

from xpyramid.messages import UNSET, Message, OptionPart, Part, printable


class PyramidError(Exception):
    """Base class: anything that xpyramid refuses.

    Parameters
    ----------
    *what : str
        What is wrong.
    option : str, optional
        The option that is at fault. The message begins with it and its value, unless ``what``
        names it.
    value : object, optional
        What was given.
    accepted : str, optional
        What may be given.
    fix : str, optional
        What can be done.

    The parameters are also attributes; None or empty if the error does not have them.

    Examples
    --------
    >>> error = PlanError(option="levels", value=0, accepted="1 or more")
    >>> str(error), error.option, error.accepted
    ('levels=0; accepted: 1 or more', 'levels', '1 or more')
    """

    option: str | None = None
    value: object = None
    accepted: str = ""
    fix: str = ""

    def __init__(
        self,
        *what: Any,
        option: str | None = None,
        value: object = UNSET,
        accepted: Part = "",
        fix: Part = "",
    ) -> None:
        if option is not None and not _names(what, option):
            space = " " if what and str(what[0])[:1] not in ":;," else ""
            what = (Message(OptionPart(option, value), space, *what),)
        if accepted or fix:
            parts = [*what, *(("; accepted: ", accepted) if accepted else ())]
            what = (Message(*parts, *(("; ", fix) if fix else ())),)
        super().__init__(*(_printable(part) for part in what))
        if option is not None:
            self.option = option
        if value is not UNSET:
            self.value = value
        if accepted:
            self.accepted = str(accepted)
        if fix:
            self.fix = str(fix)

    @property
    def message(self) -> Message:
        """The message with its parts, which the command line says in its own words."""
        first = self.args[0] if len(self.args) == 1 else str(self)
        return first if isinstance(first, Message) else Message(str(first))


def _printable(part: object) -> object:
    """Return a part of a message without what a terminal obeys; numbers, as of errno, stay."""
    return printable(part) if isinstance(part, str) and not isinstance(part, Message) else part


def _names(what: tuple[object, ...], option: str) -> bool:
    """Whether a message has an option among its parts."""
    parts = what[0].parts if what and isinstance(what[0], Message) else ()
    return any(isinstance(part, OptionPart) and part.name == option for part in parts)


class PlanError(PyramidError, ValueError):
    """Levels, factors, dimensions or chunks from which no pyramid can be built."""


class SelectionError(PyramidError, LookupError):
    """A level, or a region of levels, that is not there."""


class AxisError(PyramidError, ValueError):
    """Dimensions or coordinates that cannot be an axis of a pyramid or of an OME-Zarr image."""


class OptionError(PyramidError, TypeError):
    """An unknown option; the message names the one that was probably meant."""


class UnsupportedArrayError(PyramidError, TypeError):
    """An array of another package that cannot be read without loss."""


class DtypeError(PyramidError, TypeError):
    """A dtype that a method cannot reduce."""


class InvalidNameError(PyramidError, ValueError):
    """A name that cannot be the name of a Zarr node."""


class TargetExistsError(PyramidError, FileExistsError):
    """The place to write to already holds something."""


class TargetBusyError(PyramidError, OSError):
    """Another process or thread is writing to the place."""


class ResumeError(PyramidError, ValueError):
    """An unfinished build that this call cannot resume."""


class StorageError(PyramidError, OSError):
    """Something that could not be written, or a build that broke off."""


class NotAPyramidError(PyramidError, ValueError):
    """What was opened is not a (complete) OME-Zarr multiscale image."""


class AttributeValueError(PyramidError, ValueError):
    """An attribute that JSON cannot hold."""


class SourceError(PyramidError, ValueError):
    """A source that does not exist, or that no reader understands."""


class SourceOverlapError(PyramidError, ValueError):
    """The place to write to is also where the data are read from."""


class NotWritableError(StorageError):
    """A place that cannot be written to: read-only, unreachable, or too small."""


class ReadError(PyramidError, OSError):
    """Stored samples or metadata that cannot be read, though something may be there."""


class ReplacedError(ReadError):
    """An image that was replaced or removed while it was read; open it again."""


class MissingChunkError(PyramidError, ValueError):
    """Chunks of the source are missing, and ``strict=True``."""


class MissingChunkWarning(UserWarning):
    """Chunks of the source are missing, and read as the array's fill value."""


class KindWarning(UserWarning):
    """Samples that may be labels are averaged, because nothing says what they are."""


class CostWarning(UserWarning):
    """More memory is needed than a limit allows, or than a plan can know."""


class ViewerWarning(UserWarning):
    """Something that is stored correctly, but that a common viewer cannot show."""


def check_kind(name: str, value: object, kinds: Any, accepted: str) -> None:
    """Refuse a parameter of the wrong type; None always passes.

    Raises
    ------
    PlanError
    """
    if value is not None and not isinstance(value, kinds):
        raise PlanError(option=name, value=value, accepted=accepted)
