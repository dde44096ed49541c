"""URLs of files: what they name, for all that reads or writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread
from hypothesis import given
from hypothesis import strategies as st

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main
from xpyramid.store.path import path_named
from xpyramid.store.transaction import find_unfinished

posix = pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
ARRAY = xr.DataArray(np.ones((8, 8), "u1"), dims=("y", "x"), name="field")
NAMES = ["my data", "50%", "a%20b", "ü", "a#b?c", "plain"]

SPELLINGS: dict[str, Callable[[Path], str]] = {
    "as_uri": Path.as_uri,
    "localhost": lambda path: path.as_uri().replace("file://", "file://localhost"),
    "LOCALHOST": lambda path: path.as_uri().replace("file://", "FILE://LocalHost"),
    "one slash": lambda path: path.as_uri().replace("file://", "file:"),
}


@posix
@pytest.mark.parametrize(("spelled", "name"), spread(2, list(SPELLINGS), NAMES))
def test_all_spellings_are_one_place(
    name: str, spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = tmp_path / name / "a.zarr"
    url = SPELLINGS[spelled](store)
    ARRAY.pyramid.to_ome_zarr(url, levels=2)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert store.is_dir()
    for place in (url, store):
        assert len(xpyramid.open_pyramid(place, "field")) == 2
        assert not xpyramid.verify(place)
        assert xpyramid.open_pyramids(place).keys() == {"field"}
        assert xpyramid.open_source(f"{place}/field").shape == (8, 8)
    assert main(["verify", url]) == 0
    assert main(["info", f"{url}/field"]) == 0
    assert main(["build", f"{url}/field", f"{url}2", "--levels", "2"]) == 0
    assert len(xpyramid.open_pyramid(f"{store}2/field")) == 2
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["a.zarr", "a.zarr2"]


@posix
@pytest.mark.parametrize("spelled", SPELLINGS)
def test_unfinished_ones_are_found(spelled: str, tmp_path: Path) -> None:
    store = tmp_path / "my data" / "a.zarr"
    ARRAY.pyramid.to_ome_zarr(store, levels=2, compute=False)
    url = SPELLINGS[spelled](store)
    unfinished = find_unfinished(url, "field")
    assert unfinished is not None
    assert str(unfinished) == f"{store}/field"
    with pytest.raises(errors.NotAPyramidError, match="is unfinished"):
        xpyramid.open_pyramid(f"{url}/field")
    assert "unfinished" in str(xpyramid.verify(f"{url}/field"))


@posix
@pytest.mark.parametrize("spelled", SPELLINGS)
def test_archives_and_files_are_opened(spelled: str, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    np.save(folder / "a.npy", np.ones((4, 4)))
    assert xpyramid.open_source(SPELLINGS[spelled](folder / "a.npy")).shape == (4, 4)
    memory = zarr.storage.ZipStore(folder / "a.zip", mode="w")
    zarr.create_array(memory, data=np.ones((4, 4)))
    memory.close()
    assert xpyramid.open_source(SPELLINGS[spelled](folder / "a.zip")).shape == (4, 4)


@posix
@pytest.mark.parametrize("spelled", SPELLINGS)
def test_nothing_is_written_over_what_is_read(spelled: str, tmp_path: Path) -> None:
    source = tmp_path / "my data" / "in.zarr"
    zarr.create_array(source, name="field", data=np.ones((8, 8)), dimension_names=("y", "x"))
    array = xr.open_zarr(source, consolidated=False).field
    with pytest.raises(errors.SourceOverlapError):
        array.pyramid.to_ome_zarr(SPELLINGS[spelled](source), mode="w")


@posix
@given(
    st.text(
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1
    ).filter(lambda name: name not in (".", ".."))
)
def test_any_name_comes_back(name: str) -> None:
    path = Path("/data", name)
    for spell in SPELLINGS.values():
        assert path_named(spell(path)) == str(path)
    assert path_named(str(path)) == str(path)
    assert path_named(path) == str(path)


@posix
@pytest.mark.parametrize(
    "path", ["file:a", "file", "C:/data/a.zarr", "C:\\data", "./file:/a", "a:b/c", "my%20data"]
)
def test_paths_stay_paths(path: str) -> None:
    assert path_named(path) == path


@pytest.mark.parametrize("url", ["s3://bucket/a%20b", "memory://a", "zip::file:///a.zip"])
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert path_named(url) == url


@posix
@pytest.mark.parametrize(
    "use",
    [ARRAY.pyramid.to_ome_zarr, xpyramid.open_pyramid, xpyramid.verify, xpyramid.open_source],
    ids=lambda f: f.__name__,
)
def test_files_of_other_machines_are_refused(
    use: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.InvalidNameError, match="machine 'out'; accepted: 'file:///out/a'"):
        use("file://out/a")
    assert not list(tmp_path.iterdir())


def test_the_home_of_nobody_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = xr.DataArray(np.ones((4, 4)), dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr("~nobody-of-that-name", levels=2)
    assert len(xpyramid.open_pyramid("~nobody-of-that-name")) == 2
    assert xpyramid.verify("~nobody-of-that-name") == []
    assert [path.name for path in tmp_path.iterdir()] == ["~nobody-of-that-name"]
