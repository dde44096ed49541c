"""Texts of strangers never reach the terminal as they are: names, units, methods, paths."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import example, given
from hypothesis import strategies as st

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main
from xpyramid.messages import Message, code, printable

BAD = "x\x1b[2J\x9b31m\u202ey\r\x07"


def harmless(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


@given(text=st.text())
@example(text=BAD)
@example(text="\ud800")
def test_what_a_terminal_obeys_is_escaped(text: str) -> None:
    shown = printable(text)
    assert harmless(shown)
    assert printable(shown) == shown
    if harmless(text):
        assert shown == text
    message = Message("a ", code(f".rename({text})"), "; ", text)
    assert harmless(message)
    assert harmless(message.rendered(str))
    assert harmless(str(errors.PlanError(text, accepted=text, fix=text)))
    assert harmless(str(errors.PlanError(option="levels", value=text)))


def stranger(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Return an image whose metadata somebody has changed."""
    array = xr.DataArray(np.arange(64.0).reshape(8, 8), dims=("y", "x"), name="field")
    array.pyramid.to_ome_zarr(path, levels=2)
    place = path / "field/zarr.json"
    document = json.loads(place.read_text())
    change(document["attributes"]["ome"]["multiscales"][0])
    document["attributes"].pop("xpyramid", None)
    place.write_text(json.dumps(document))
    return path


def _name(image: dict[str, Any]) -> None:
    image["name"] = BAD
    image.pop("metadata")


def _type(image: dict[str, Any]) -> None:
    image["type"] = BAD
    image.pop("metadata")


def _axis(image: dict[str, Any]) -> None:
    image["axes"][0]["name"] = BAD
    image.pop("metadata")


def _unit(image: dict[str, Any]) -> None:
    image["axes"][0]["unit"] = BAD
    image.pop("metadata")


def _axis_type(image: dict[str, Any]) -> None:
    image["axes"][0]["type"] = BAD
    image.pop("metadata")


def _path(image: dict[str, Any]) -> None:
    image["datasets"][1]["path"] = BAD


def _version(image: dict[str, Any]) -> None:
    image["version"] = BAD


def _metadata(image: dict[str, Any]) -> None:
    image["metadata"] = {
        **image["metadata"], "method": BAD, "boundary": BAD, "kind": BAD, "variable": BAD,
        "dims": [BAD, "x"],
    }  # fmt: skip


CHANGES = [_name, _type, _axis, _unit, _axis_type, _path, _version, _metadata]


@pytest.mark.parametrize("change", CHANGES)
def test_metadata_of_strangers(
    change: Callable[[dict[str, Any]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stranger(tmp_path / "s.zarr", change)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shown = [str(problem) for problem in xpyramid.verify(path, deep=True)]
        try:
            pyramid = xpyramid.open_pyramid(path / "field")
            shown += [repr(pyramid), str(pyramid), repr(pyramid.plan), repr(pyramid.levels)]
            shown += [one._repr_html_() for one in (pyramid, pyramid.plan, pyramid.levels)]
            assert not re.search("<(script|img|b)[ >]", "".join(shown))
        except errors.PyramidError as error:
            shown.append(str(error))
        for command in (["info"], ["verify"], ["verify", "--deep"]):
            main([*command, str(path)])
    shown += [
        str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)
    ]
    shown += capsys.readouterr()
    assert all(map(harmless, shown)), shown


def test_names_of_groups_arrays_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stranger(tmp_path / "s.zarr", lambda _: None)
    (path / "field").rename(path / BAD)
    zarr.create_array(path / BAD / "more", shape=(2,), dtype="u1", zarr_format=3)
    (path / BAD / "0" / "field" / "c" / BAD).write_bytes(b"")
    (path / BAD / "0" / "field" / "c" / "0" / "0").write_bytes(b"?")
    (path / f"{BAD}.txt").write_bytes(b"")
    for command in (["info"], ["verify"], ["verify", "--deep"]):
        main([*command, str(path)])
        main([*command, str(path / BAD)])
        main([*command, str(path / BAD / BAD)])
    xpyramid.example_field((8, 8)).rename("other").pyramid.to_ome_zarr(path, levels=1)
    main(["info", str(path)])
    assert all(map(harmless, capsys.readouterr()))


def test_arrays_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = xr.DataArray(
        np.ones((4, 4)), dims=("y", "x"), name=BAD, coords={"y": ("y", range(4), {"units": BAD})},
        attrs={BAD: BAD},
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shown = [repr(array.pyramid.build(levels=2))]
        shown.append(repr(xr.Dataset({BAD: array, "z": ("q", ["a"])}).pyramid.build(levels=2)))
        with pytest.raises(errors.PyramidError) as refused:
            array.pyramid.to_ome_zarr(tmp_path / "out.zarr")
    shown += [str(refused.value), *(str(warning.message) for warning in caught)]
    assert all(map(harmless, shown)), shown
    array.rename("a").to_dataset().to_zarr(source := tmp_path / "in.zarr", consolidated=False)
    main(["build", str(source), str(tmp_path / BAD), "--variable", BAD])
    main(["build", str(source), str(tmp_path / BAD)])
    assert all(map(harmless, capsys.readouterr()))
