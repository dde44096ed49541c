"""Who makes which image on a local disk: a lock in the hidden directory beside its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from xpyramid.errors import TargetBusyError
from xpyramid.store.local_files import is_array_directory
from xpyramid.store.locks import locked
from xpyramid.store.path import name_of_staged

#: How long those may take who only look whether a lock is free, in seconds.
_PATIENCE = 1.0

#: How often the directory of a lock is made that others remove at the same moment.
_ATTEMPTS = 20

_LOCK = "lock"


@contextmanager
def held(staged: Path, image: str, why: str = "") -> Iterator[None]:
    """Hold the lock of an image in its hidden directory, which is removed if nothing else is in it.

    Parameters
    ----------
    staged : pathlib.Path
        The hidden directory.
    image : str
        What the image is called in errors.
    why : str
        More of it, for an image that is not the one to make.

    Raises
    ------
    TargetBusyError
        If somebody else holds it, or may do so.
    """
    with ExitStack() as lock:
        try:
            directories = _acquired(lock, staged, f"{image} is being made by another process{why}")
        except PermissionError as error:
            if not why:
                raise
            raise TargetBusyError(
                f"{image} may be being made by another user{why}: {error}",
                fix=f"wait for that, or have {str(staged)!r} removed",
            ) from error
        try:
            yield
        finally:
            lock.close()
            _remove_empty([staged, *directories])


def is_made_here(staged: Path) -> bool:
    """Whether a directory with the name of a hidden one is ours: a lock or a note is left."""
    return any((staged / name).exists() for name in (_LOCK, "build.json"))


def staged_in(directory: Path) -> list[Path]:
    """Return the hidden directories of images in a group."""
    with suppress(FileNotFoundError, NotADirectoryError):
        names = [name for name in os.listdir(directory) if name_of_staged(name) is not None]
        return [directory / name for name in sorted(names)]
    return []


def staged_below(directory: Path) -> Iterator[Path]:
    """Yield the hidden directories of images anywhere in the groups below a place."""
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(here) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    continue
                path = Path(entry.path)
                if name_of_staged(entry.name) is not None:
                    yield path
                elif not is_array_directory(path):
                    waiting.append(path)


def _acquired(lock: ExitStack, staged: Path, what: str) -> list[Path]:
    """Make the hidden directory and acquire its lock; return what was made, the innermost first.

    Others, who are just done, may remove what was there a moment ago.
    """
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError, FileExistsError):
            return _acquired_at_once(lock, staged, what)
    return _acquired_at_once(lock, staged, what)


def _acquired_at_once(lock: ExitStack, staged: Path, what: str) -> list[Path]:
    directories = _make(staged)
    try:
        lock.enter_context(locked(staged / _LOCK, _PATIENCE, what))
    except BaseException:
        _remove_empty(directories)
        raise
    return directories


def _make(directory: Path) -> list[Path]:
    """Make a directory; return what was not there, the innermost first."""
    missing = []
    for here in (directory, *directory.parents):
        if here.exists():
            break
        missing.append(here)
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(directories: Iterable[Path]) -> None:
    """Remove directories, the innermost first, as long as they are empty."""
    with suppress(OSError):
        for directory in dict.fromkeys(directories):
            directory.rmdir()
