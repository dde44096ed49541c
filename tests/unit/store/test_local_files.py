"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from xpyramid.store import local_files
from xpyramid.store.local_files import write_file

STOPS = [OSError, KeyboardInterrupt, SystemExit, GeneratorExit]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("old", [None, b"old"])
def test_what_stops_in_the_middle_leaves_no_torn_file(
    stop: type[BaseException], old: bytes | None, tmp_path: Path
) -> None:
    """Whoever presses Ctrl-C finds what was there before, and nothing beside it."""
    path = tmp_path / "c/0"
    if old is not None:
        write_file(path, [old])

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise stop

    with pytest.raises(stop):
        write_file(path, parts())
    there = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert there == ({} if old is None else {"0": old})


@pytest.mark.parametrize("stop", STOPS)
def test_what_stops_before_the_file_is_in_its_place_leaves_no_torn_file(
    stop: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise stop

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(stop):
        write_file(tmp_path / "0", [b"whole"])
    assert not list(tmp_path.iterdir())


def test_small_parts_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call lets other threads have the interpreter; a shard may have thousands of parts."""
    written = []

    class Counted(FileIO):
        def write(self, data: Any) -> int:
            written.append(len(data))
            return super().write(data)

    monkeypatch.setattr(local_files, "FileIO", Counted)
    parts = [bytes([i % 256]) * 100 for i in range(1000)]
    write_file(tmp_path / "0", parts)
    assert (tmp_path / "0").read_bytes() == b"".join(parts)
    assert len(written) < 50
