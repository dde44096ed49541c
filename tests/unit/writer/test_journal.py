"""What tasks hand up is kept bit for bit."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore, MemoryStore

import xpyramid
from xpyramid.engine import Distribution, Intermediate
from xpyramid.store.path import NodePath
from xpyramid.writer.journal import Journal

INTERMEDIATES = {
    "nothing": Intermediate((), (), {}),
    "values": Intermediate(
        (np.arange(6, dtype="u1").reshape(2, 3), np.ones((1, 2), ">f4")), (), {}
    ),
    "states": Intermediate((), (np.arange(6.0).reshape(2, 3), np.empty(0, "i8")), {}),
    "all": Intermediate(
        (np.zeros((2, 2), "i2"),),
        (np.ones((1, 1), ">u2"),),
        {
            3: Distribution(0, 2**64 - 1, np.arange(2, dtype="u2"), np.arange(2)),
            5: Distribution(-0.5, 1e300, np.arange(1, dtype="u2"), np.arange(1)),
        },
        {
            "0/field": np.array([(0, 7, 2**32 - 1), (2**40, 2**33, 0)], np.uint64),
            "1/field": np.empty((0, 3), np.uint64),
        },
    ),
}


@pytest.mark.parametrize("intermediate", INTERMEDIATES.values(), ids=list(INTERMEDIATES))
def test_what_is_saved_is_loaded(intermediate: Intermediate, tmp_path: Path) -> None:
    for store in (MemoryStore(), LocalStore(tmp_path)):
        journal = Journal(NodePath(store, "tasks/0"))
        journal.save((2, (0, 13)), intermediate)
        back = Journal.load_from(journal.place)
        assert back.done == {(2, (0, 13))}
        values, state, statistics, written = back.load((2, (0, 13)))
        for got, want in ((values, intermediate.values), (state, intermediate.state)):
            assert [(a.dtype, a.tobytes()) for a in got] == [(a.dtype, a.tobytes()) for a in want]
        assert statistics.keys() == intermediate.statistics.keys()
        for channel, one in intermediate.statistics.items():
            assert (statistics[channel].low, statistics[channel].high) == (one.low, one.high)
            np.testing.assert_array_equal(statistics[channel].keys, one.keys)
            np.testing.assert_array_equal(statistics[channel].counts, one.counts)
        assert written.keys() == intermediate.written.keys()
        for path, records in intermediate.written.items():
            np.testing.assert_array_equal(written[path], records)


def test_windows_of_a_build_that_was_resumed_are_the_same(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 1000, (2, 16, 16), "u2")
    pyramid = xr.DataArray(data, dims=("c", "y", "x"), name="field").pyramid.build(chunks=4)
    save = Journal.save
    saved = []

    def fail(self: Journal, node: object, intermediate: Intermediate) -> None:
        save(self, node, intermediate)  # type: ignore[arg-type]
        saved.append(node)
        if len(saved) == 7:
            raise RuntimeError("enough")

    with dask.config.set(scheduler="sync"):
        pyramid.to_ome_zarr(tmp_path / "whole.zarr")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Journal, "save", fail)
            with pytest.raises(RuntimeError, match="enough"):
                pyramid.to_ome_zarr(tmp_path / "out.zarr")
        pyramid.to_ome_zarr(tmp_path / "out.zarr", resume=True)
    whole, out = (
        zarr.open_group(tmp_path / name / "field", mode="r").attrs["ome"]["omero"]
        for name in ("whole.zarr", "out.zarr")
    )
    assert out == whole
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []
