"""A disk that refuses something, at whatever step: what is said, and what is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count, repeat
from pathlib import Path
from typing import Any

import pytest
from helpers.small_image import NEW, OLD, is_whole, leftovers, pyramid, whole, write

from xpyramid import errors
from xpyramid.runtime import retry
from xpyramid.store import local_files

pytestmark = pytest.mark.once

CHANGES = (
    (Path, "mkdir"), (Path, "open"), (Path, "rename"), (local_files, "FileIO"), (os, "replace"),
)  # fmt: skip


class Disk:
    """Counts what is done to a disk, and refuses one of it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC, end: str = ""
    ) -> None:
        self.left, self.code, self.end = 0, code, end
        for place, name in CHANGES:
            monkeypatch.setattr(place, name, self.watched(getattr(place, name)))

    def watched(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def act_or_fail(path: Any, *given: Any, **options: Any) -> Any:
            reads = act.__name__ == "open" and given[:1] in ((), ("r",), ("rb",))
            if not reads and os.fspath(path).endswith(self.end):
                self.left -= 1
                if self.left == 0:
                    raise OSError(self.code, os.strerror(self.code))
            return act(path, *given, **options)

        return act_or_fail


def refused(
    disk: Disk, build: Callable[[Path], None], directories: Iterable[Path]
) -> Iterator[tuple[Path, errors.StorageError]]:
    """Yield what is said where steps of a build are refused, each in another directory."""
    for tried, directory in enumerate(directories):
        disk.left = 5 * tried + 1
        try:
            build(directory)
        except errors.StorageError as error:
            yield directory, error
        else:
            assert disk.left > 0
            assert tried > 5
            return


def test_what_is_left_is_said_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)  # what is compiled is kept on a disk too, and may be refused
    directories = (tmp_path / str(i) for i in range(1000))
    for directory, error in refused(Disk(monkeypatch), write, directories):
        assert "No space left on device" in str(error)
        assert bool(leftovers(directory)) == hasattr(error, "__notes__")
        write(directory, resume=True)
        assert is_whole(directory)
        assert leftovers(directory) == []


def test_what_is_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid(OLD).to_ome_zarr(tmp_path / "out.zarr")
    replace = partial(write, mode="w")
    for directory, _ in refused(Disk(monkeypatch), replace, repeat(tmp_path)):
        assert whole(directory) in (OLD, NEW)
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []


def test_files_of_all_kinds_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, errno.EIO, ".partial")
    pauses: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", pauses.append)
    for step in count(1, 4):
        disk.left = step
        write(tmp_path / str(step))
        if disk.left > 0:
            break
        assert is_whole(tmp_path / str(step))
    assert len(pauses) == step // 4 > 5
