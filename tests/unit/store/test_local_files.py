"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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
