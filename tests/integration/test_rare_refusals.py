"""What is rarely refused: the value, what is accepted, or a way out, in each message."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.ngff import parser

ARRAY = xr.DataArray(np.ones((16, 16), "u1"), dims=("y", "x"), name="field")
FILM = ARRAY.expand_dims(t=2).copy()
TEXT = xr.DataArray(np.full((4, 4), "a"), dims=("y", "x"), name="field")


def image(array: xr.DataArray = ARRAY, **options: Any) -> zarr.storage.MemoryStore:
    """Return a store with an image."""
    store = zarr.storage.MemoryStore()
    array.pyramid.to_ome_zarr(store, **{"levels": 2} | options)
    return store


def metadata(version: str = "0.5", **changes: Any) -> zarr.storage.MemoryStore:
    """Return the store of an image of which the metadata were changed."""
    store = image(version=version, layout="arrays")
    group = zarr.open_group(store, path="field", mode="r+", use_consolidated=False)
    ome: Any = group.attrs["ome"] if version != "0.4" else dict(group.attrs)
    del ome["multiscales"][0]["metadata"]
    ome["multiscales"][0].update(changes)
    group.attrs.update({"ome": ome} if version != "0.4" else ome)
    return store


def opened(store: Any) -> Any:
    return xpyramid.open_pyramid(store, "field")


THREE = {"type": "scale", "scale": [1, 1, 1]}
NEAR_0 = [{"type": "scale", "scale": [1e-200, 1]}]

#: From words of a message to a call that it refuses.
REFUSED: dict[str, Callable[[], Any]] = {
    "an array without a dimension; accepted: rank 1": lambda: xpyramid.downsample(np.float64(1), 2),
    "num_mips=3, but factor lists 2 levels": lambda: xpyramid.downsample(
        np.ones((8, 8)), [(2, 2), (2, 2)], num_mips=3
    ),
    "factor=(2,); accepted: one integer for each of 2": lambda: xpyramid.downsample(
        np.ones((8, 8)), [(2,), (2, 2)]
    ),
    "axis_types=3; accepted: a mapping": lambda: ARRAY.pyramid.build(axis_types=3),
    "kind='cells'; accepted: 'labels', 'image'": lambda: ARRAY.pyramid.build(kind="cells"),
    "irregular='no'; accepted: 'error', 'approximate'": lambda: image(irregular="no"),
    "omero=3; accepted: None, True, False, or a mapping": lambda: image(omero=3),
    "has percentiles, and windows of all channels; give one": lambda: image(
        omero={"percentiles": (1, 99), "windows": (0, 1)}
    ),
    "names 'q', which is no dimension; accepted: y, x": lambda: ARRAY.pyramid.build(2).at(
        resolution={"q": 1}
    ),
    "method 'peak' gets all samples; skipna and ignore": lambda: ARRAY.pyramid.build(
        2, method=peak, ignore=0
    ),
    "takes each window's first sample as it is": lambda: ARRAY.pyramid.build(
        2, method="nearest", ignore=0
    ),
    "ignore=0 with dtype complex64": lambda: ARRAY.astype("c8").pyramid.build(2, ignore=0),
    "ignore=0 with dtype datetime64[s]": lambda: ARRAY.astype("M8[s]").pyramid.build(2, ignore=0),
    "max of dtype <U1; accepted: bool, integers": lambda: TEXT.pyramid.build(2, method="max"),
    "sum of dtype datetime64[s]; accepted: bool, numbers": lambda: ARRAY.astype(
        "M8[s]"
    ).pyramid.build(2, method="sum"),
    "every sample counts": lambda: ARRAY.pyramid.build(2, min_valid=0.5),
    "several images would be 'a/max'; rename a variable": lambda: xr.Dataset(
        {"a": ARRAY, "a/max": ARRAY}
    ).pyramid.build(2, method={"a": ["mean", "max"], "a/max": "mean"}),
    "level0='labels/0'; accepted: the path of an array": lambda: xpyramid.add_levels(
        image(), "field", level0="labels/0"
    ),
    "is an image whose level 0 is '0/field'": lambda: xpyramid.add_levels(
        image(), "field", level0="1/field"
    ),
    "along 'y', which has no coordinate; accepted: indexes": lambda: xpyramid.update(
        image(), "field", {"y": 2.5}
    ),
    "append_dim='q' names no dimension; accepted: 't', 'y', 'x'": lambda: FILM.pyramid.to_ome_zarr(
        image(FILM, dims=("y", "x")), levels=2, append_dim="q"
    ),
    "multiscale='b'; the group announces 1": lambda: xpyramid.open_pyramid(
        image(), "field", multiscale="b"
    ),
    "'0' has 2 dimensions and the metadata 3 axes": lambda: opened(
        metadata(
            axes=[{"name": name, "type": "space"} for name in "zyx"],
            datasets=[{"path": "0", "coordinateTransformations": [THREE]}],
        )
    ),
    "there are no coordinate systems": lambda: opened(metadata("0.6", coordinateSystems=[])),
}


def peak(samples: Any, axis: Any) -> Any:
    return np.max(samples, axis=axis)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", REFUSED)
def test_refused(words: str) -> None:
    with pytest.raises(errors.PyramidError) as caught:
        REFUSED[words]()
    assert words in str(caught.value)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpyramid.store.confined.MAX_MEMBER", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", "{" + " " * 10_000 + "}")
    with pytest.raises(errors.NotAPyramidError, match="unpacks to 10002 bytes; accepted: at most"):
        xpyramid.open_pyramid(tmp_path / "a.zip")


def test_scales_that_vanish_together() -> None:
    above = {"coordinateTransformations": NEAR_0}
    below = [{"path": "0", "coordinateTransformations": NEAR_0}]
    with pytest.raises(errors.NotAPyramidError, match=r"scale \(0.0, 1.0\) and translation"):
        parser.parse(dict(zarr.open_group(metadata(datasets=below, **above), path="field").attrs))


def test_completion_needs_a_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from xpyramid.cli.main import main

    monkeypatch.setitem(sys.modules, "shtab", None)  # type: ignore[arg-type]
    assert main(["completion", "bash"]) == 2
    assert "pip install xpyramid[completion]" in capsys.readouterr().err
