"""The four steps of the writer, each in a place of its own."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.options import WriteOptions, resolve_options
from xpyramid.writer import session as steps

DATA = np.arange(256, dtype="u2").reshape(16, 16)


def sent(thing: Any) -> Any:
    """Return what arrives of something that is sent to another process."""
    return pickle.loads(pickle.dumps(thing))


def prepared(place: Path, **options: Any) -> steps.Session:
    array = xr.DataArray(DATA, dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2)
    source = pyramid._source(None, None, None)
    return steps.prepare([source], place, resolve_options(WriteOptions, options))


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_preparing_touches_nothing(tmp_path: Path) -> None:
    prepared(tmp_path / "out.zarr")
    assert files(tmp_path) == []


def test_begin_here_run_there_publish_elsewhere(tmp_path: Path) -> None:
    session = steps.begin(sent(prepared(tmp_path / "out.zarr")))
    with pytest.raises(errors.NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    with dask.config.set(scheduler="sync"):
        statistics = steps.run(sent(session))
    with pytest.raises(errors.NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    steps.publish(sent(session), sent(statistics))
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    np.testing.assert_array_equal(opened[0], DATA)
    assert opened.metadata["omero"]["channels"][0]["window"]["max"] == 255
    assert not xpyramid.verify(tmp_path / "out.zarr", deep=True)


def test_abandoning_leaves_nothing(tmp_path: Path) -> None:
    session = steps.begin(prepared(tmp_path / "out.zarr"))
    (image,) = session.images
    with image.transaction.lock():
        image.transaction.abandon()
    assert not [name for name in files(tmp_path) if "field" in name]
    steps.write(
        [xpyramid.example_field((8, 8)).pyramid.build(levels=2)._source("field", None, None)],
        tmp_path / "out.zarr",
        {},
    )
    assert len(xpyramid.open_pyramid(tmp_path / "out.zarr/field")) == 2
