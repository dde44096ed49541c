"""Files that are no stores, where only a store will do."""

from __future__ import annotations

import shlex
from pathlib import Path

from xpyramid.errors import SourceError
from xpyramid.store.confined import ARCHIVES
from xpyramid.store.path import expanded, path_named


def refuse_files(location: str) -> None:
    """Refuse a file of another format, and say which commands read it.

    Raises
    ------
    SourceError
    """
    path = path_named(location)
    if "://" in path or Path(path).suffix.lower() in ARCHIVES or not expanded(path).is_file():
        return
    quoted = shlex.quote(path)
    raise SourceError(
        f"{path!r} is a file",
        accepted="a Zarr store, which is a directory",
        fix=f"xpyramid view {quoted} shows it, and xpyramid build {quoted} DST makes a pyramid "
        "of it",
    )
