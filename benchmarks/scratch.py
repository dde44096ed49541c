"""Directories for what benchmarks write."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_directory(parent: str | None) -> Iterator[Path]:
    """Make a directory, and remove it with all that is in it."""
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def empty(path: Path) -> None:
    """Give the space of all files back, and keep the files.

    ext4 does not use a removed file's inode again for some minutes, and looks at each of these
    in turn where it makes a file: after many files were removed, a new one takes five to ten
    times as long, which hides what is measured.
    """
    for file in path.rglob("*"):
        if file.is_file():
            os.truncate(file, 0)


@contextmanager
def output_directory(parent: Path) -> Iterator[Path]:
    """Make a directory, and empty it afterwards."""
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        empty(path)
