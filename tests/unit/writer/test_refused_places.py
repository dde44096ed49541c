"""Objects and paths that are refused as places to write to, or to read from."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import ZipStore

import xpyramid
from xpyramid import errors

ARRAY = xr.DataArray(np.ones((8, 8), "u1"), dims=("y", "x"), name="field")

NO_PLACES: dict[str, Any] = {
    "a number": 3,
    "nothing": None,
    "an empty path": "",
    "an array": zarr.create_array({}, shape=(2,), dtype="u1"),
    "a protocol that nobody knows": "foo://lab/out.zarr",
}


@pytest.mark.parametrize("what", NO_PLACES)
@pytest.mark.parametrize(
    "use",
    [ARRAY.pyramid.to_ome_zarr, xpyramid.open_pyramid, xpyramid.verify],
    ids=lambda f: f.__name__,
)
def test_what_is_no_place(
    what: str, use: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.PyramidError, match=r"is not a store; accepted: |cannot be opened: "):
        use(NO_PLACES[what])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("group", [3, b"field"])
def test_a_group_that_is_no_text(group: Any) -> None:
    with pytest.raises(errors.InvalidNameError, match=r"group=.*; accepted: text"):
        ARRAY.pyramid.to_ome_zarr({}, group=group)


def test_a_path_may_be_bytes(tmp_path: Path) -> None:
    ARRAY.pyramid.to_ome_zarr(os.fsencode(tmp_path / "out.zarr"))  # type: ignore[arg-type]
    assert xpyramid.open_pyramid(tmp_path / "out.zarr/field").name == "field"


@pytest.mark.parametrize("name", ["out.zip", "out.ozx", "OUT.ZIP"])
@pytest.mark.parametrize("there", [False, True])
def test_archives_are_not_written_to(name: str, there: bool, tmp_path: Path) -> None:
    if there:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a", "mine")
    before = [path.read_bytes() for path in tmp_path.iterdir()]
    with pytest.raises(errors.PyramidError, match=r"an archive, which can be read|is a file"):
        ARRAY.pyramid.to_ome_zarr(tmp_path / name)
    store = ZipStore(tmp_path / name, mode="a")
    with pytest.raises(errors.NotWritableError, match="an archive, which can be read"):
        ARRAY.pyramid.to_ome_zarr(store)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == before


def test_a_server_that_does_not_answer() -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(errors.NotWritableError, match=r"127\.0\.0\.1:9/x\.zarr/field cannot be"):
        ARRAY.pyramid.to_ome_zarr("http://127.0.0.1:9/x.zarr")
