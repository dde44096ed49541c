"""What is said of a write that breaks off: what is left, and how to go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from xpyramid.errors import (
    NotWritableError,
    PyramidError,
    ResumeError,
    StorageError,
    TargetBusyError,
    TargetExistsError,
)
from xpyramid.store.path import Place
from xpyramid.store.staging import Staging


@contextmanager
def reached(root: Place) -> Iterator[None]:
    """Turn what the system says of a store that is looked at into an error that names it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PyramidError):
            raise
        raise NotWritableError(
            f"{root} cannot be written to: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def told(images: Iterable[Staging]) -> Iterator[None]:
    """Say of whatever breaks off which images are unfinished now, and what can be done about it.

    Raises
    ------
    StorageError
        For what the system says of a disk.
    """
    images = list(images)
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(*[f"interrupted; {way}" for way in _ways_on(images)]) from None
    except (ResumeError, TargetBusyError, TargetExistsError):
        raise  # refused: all is as it was
    except Exception as error:
        failure = error
        if isinstance(error, OSError) and not isinstance(error, PyramidError):
            places = ", ".join(str(image.target) for image in images)
            failure = StorageError(f"cannot write {places}: {type(error).__name__}: {error}")
        for way in _ways_on(images):
            failure.add_note(way)
        if failure is error:
            raise
        raise failure from error


def _ways_on(images: Sequence[Staging]) -> list[str]:
    """Say what can be done about unfinished images, if there are any."""
    left = [image for image in images if _is_left(image)]
    places = ", ".join(str(staging.target) for staging in left)
    if all(staging.resumable for staging in left):
        way = "call again with resume=True to go on, or with mode='w'"
    else:
        way = "call again with mode='w'"
    return [f"{places} is unfinished; {way}"] if left else []


def _is_left(staging: Staging) -> bool:
    """Whether there is an unfinished image."""
    try:
        return staging.record() is not None
    except Exception:  # the store does not answer
        return True
