"""Local files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_file(path: Path, parts: Iterable[Any]) -> None:
    """Put a file in its place at once, with its directories.

    A process that is killed meanwhile may leave a torn file beside it, named as zarr-python names
    them.
    """
    torn = path.with_suffix(f".{uuid4().hex}.partial")
    try:
        _write(torn, parts)
        torn.replace(path)
    except BaseException:
        torn.unlink(missing_ok=True)
        raise


def _write(path: Path, parts: Iterable[Any]) -> None:
    try:
        file = path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    with file:
        file.writelines(parts)
