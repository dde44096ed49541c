"""Local files that are there whole or not at all, and are changed by one at a time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO
from pathlib import Path
from uuid import uuid4

from xpyramid.store.locks import locked

#: What zarr-python, and `write_file`, call a file until it is written.
_TORN = re.compile(r".*\.[0-9a-f]{32}\.partial")

#: How long others may take to change the metadata of a group, in seconds.
_PATIENCE = 60


def write_file(
    path: Path,
    parts: Iterable[bytes | bytearray | memoryview],
    inside: Path | None = None,
    same_as: Path | None = None,
) -> None:
    """Put a file in its place at once, with its directories.

    A process that is killed meanwhile may leave a torn file beside it, named as zarr-python names
    them.

    Parameters
    ----------
    path : pathlib.Path
    parts : iterable of bytes
    inside : pathlib.Path, optional
        A directory that is not made anew where it has gone.
    same_as : pathlib.Path, optional
        A file that holds these bytes. It gets another name, where the file system has such (hard
        links); whoever replaces either file, as this function and zarr-python do, leaves the other
        as it is.
    """
    if same_as is not None and _link(same_as, path, inside):
        return
    torn = f"{os.path.splitext(path)[0]}.{uuid4().hex}.partial"
    try:
        _write(torn, parts, inside)
        os.replace(torn, path)
    except BaseException:
        Path(torn).unlink(missing_ok=True)
        raise


def is_array_directory(directory: Path) -> bool:
    """Whether a directory is a Zarr array of either format."""
    if (directory / ".zarray").is_file():
        return True
    try:
        node = json.loads((directory / "zarr.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(node, dict) and node.get("node_type") == "array"


def remove_torn_files(
    directory: Path | None, *, below: bool = True, of: Collection[str] = ()
) -> None:
    """Remove files in a directory, and below it, that a dead process has left half written.

    Parameters
    ----------
    directory : Path or None
    below : bool
        Whether those below it are removed, too.
    of : collection of str
        Names of the files that they were to become; default: any.
    """
    pattern, stems = "**/*.partial" if below else "*.partial", {Path(name).stem for name in of}
    for torn in directory.glob(pattern) if directory is not None else ():
        if _TORN.fullmatch(torn.name) and (not stems or torn.name.split(".")[0] in stems):
            torn.unlink()


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Wait for others who change the metadata in a directory; what the dead hold is free.

    Raises
    ------
    TargetBusyError
        If that takes too long.
    """
    what = f"others have been changing the metadata in {str(directory)!r} for {_PATIENCE} seconds"
    with locked(directory / ".zarr.lock", _PATIENCE, what):
        yield


def _write(path: str, parts: Iterable[bytes | bytearray | memoryview], inside: Path | None) -> None:
    """Write a file by as few calls as it takes: each lets other threads have the interpreter."""
    try:
        file = FileIO(path, "w")
    except FileNotFoundError:
        _make_directories(Path(path), inside)
        file = FileIO(path, "w")
    with BufferedWriter(file) as buffered:  # for the many small parts of a shard
        buffered.writelines(parts)


def _link(source: Path, path: Path, inside: Path | None) -> bool:
    """Give a file another name; return whether that could be done.

    It cannot where there is a file of that name, which an earlier run of a task has left, or where
    there are no hard links.
    """
    for attempt in range(2):
        try:
            os.link(source, path)
        except FileNotFoundError:
            if attempt == 0:
                _make_directories(path, inside)
        except OSError:
            return False
        else:
            return True
    return False


def _make_directories(path: Path, inside: Path | None) -> None:
    """Make the directories that a file is to lie in."""
    if inside is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    missing = path.parent.relative_to(inside).parts
    for n in range(1, 1 + len(missing)):
        inside.joinpath(*missing[:n]).mkdir(exist_ok=True)
