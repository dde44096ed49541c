"""Shards: whole files of several chunks, each written once; readable by others. And budgets."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
import xarray as xr
import zarr
from helpers.counting_store import CountingStore, is_chunk

import xpyramid
from xpyramid import errors

SHAPE = (53, 70)


def field(shape: tuple[int, int] = SHAPE) -> xr.DataArray:
    data = np.random.default_rng(0).integers(1, 2**16, shape, "u2")
    return xr.DataArray(data, dims=("y", "x"), name="field")


#: What is asked for with chunks of 8, and the shards of levels of 53 x 70, 27 x 35 and 9 x 12.
SHARDS: list[tuple[Any, list[tuple[int, int]]]] = [
    (8, [(8, 8), (8, 8), (8, 8)]),
    (16, [(16, 16), (16, 16), (16, 16)]),
    (32, [(32, 32), (32, 32), (16, 16)]),
    ({"x": 24}, [(8, 24), (8, 24), (8, 16)]),
    ((24, 16), [(24, 16), (24, 16), (16, 16)]),
    (-1, [(56, 72), (32, 40), (16, 16)]),
    ({"y": -1}, [(56, 8), (32, 8), (16, 8)]),
]


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
@pytest.mark.parametrize(("shards", "expected"), SHARDS)
@pytest.mark.parametrize("blocks", [None, 10], ids=["numpy", "dask"])
def test_each_shard_is_written_once(
    shards: Any, expected: list[tuple[int, int]], blocks: int | None
) -> None:
    target = CountingStore()
    array = field() if blocks is None else field().chunk(blocks)
    pyramid = array.pyramid.build(factor=[2, 3], chunks=8)
    assert list(pyramid.plan.objects(shards)) == expected
    pyramid.to_ome_zarr(target, shards=shards, memory="20 kB" if shards == 16 else None)

    written = Counter(target.chunks("set"))
    assert set(written.values()) == {1}
    for k, (level, shard) in enumerate(zip(pyramid.plan.levels, expected, strict=True)):
        grid = [math.ceil(n / s) for n, s in zip(level.shape, shard, strict=True)]
        own = {key for key in written if key.startswith(f"field/{k}/field/")}
        assert own == {f"field/{k}/field/c/{i}/{j}" for i, j in np.ndindex(*grid)}
        stored = zarr.open_array(target, path=f"field/{k}/field", mode="r")
        assert stored.chunks == level.chunks
        assert stored.shards == (shard if shard != level.chunks else None)
        np.testing.assert_array_equal(stored[:], pyramid[k].values)
    assert target.chunks("delete") == []


def test_nothing_is_read_back() -> None:
    """A shard that is made of several writes would be read before the second."""
    target = CountingStore()
    field().chunk(10).pyramid.build(factor=[2, 3], chunks=8).to_ome_zarr(target, shards=16)
    written = set()
    for what, key, _ in target.log:
        if what == "set" and is_chunk(key):
            written.add(key)
        assert not (what == "get" and key in written)  # zarr may ask whether it is there yet
    assert written


@pytest.mark.parametrize("shards", [16, -1, {"x": 24}])
def test_tensorstore_reads_shards(shards: Any, tmp_path: Path) -> None:
    pyramid = field().pyramid.build(factor=[2, 3], chunks=8)
    pyramid.to_ome_zarr(tmp_path, shards=shards)
    for k, level in enumerate(pyramid):
        path = str(tmp_path / f"field/{k}/field")
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
        stored = ts.open(spec, read=True, open=True).result()
        assert stored.chunk_layout.write_chunk.shape == pyramid.plan.objects(shards)[k]
        np.testing.assert_array_equal(stored.read().result(), level.values)


def test_time_is_not_sharded_by_an_integer(tmp_path: Path) -> None:
    data = np.arange(3 * 40 * 40, dtype="u2").reshape(3, 40, 40)
    array = xr.DataArray(data, dims=("t", "y", "x"), name="field")
    array.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8, shards=16)
    stored = zarr.open_array(tmp_path / "field/0/field", mode="r")
    assert stored.shards == (1, 16, 16)
    np.testing.assert_array_equal(stored[:], data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shards": 20},
            "20 along 'y' is not a multiple of the chunk length 8; accepted: 16 or 24",
        ),
        ({"shards": {"q": 8}}, r"no dimension \['q'\]"),
        ({"shards": 16, "version": "0.4"}, "which is Zarr v2; accepted: version='0.5'"),
        ({"memory": "abc"}, "memory='abc'; accepted: bytes, or text as '500 MB'"),
        ({"memory": 100}, r"memory of 100 bytes .* shape \(8, 8\) needs about \d+; accepted: more"),
        ({"memory": "20 kB", "shards": -1}, r"shape .* needs about \d+"),
    ],
)
def test_refused_before_anything_is_there(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pyramid = field().pyramid.build(factor=[2, 3], chunks=8)
    with pytest.raises(errors.PlanError, match=message):
        pyramid.to_ome_zarr(tmp_path / "out.zarr", **options)
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
def test_a_budget_changes_the_tiles_and_nothing_else(tmp_path: Path) -> None:
    pyramid = field((300, 500)).pyramid.build(factor=[2, 2], chunks=16)
    usual, small = pyramid.plan.cost(), pyramid.plan.cost(memory="40 kB")
    assert small.tasks > usual.tasks
    pyramid.to_ome_zarr(tmp_path / "usual.zarr")
    pyramid.to_ome_zarr(tmp_path / "small.zarr", memory="40 kB")
    assert files(tmp_path / "usual.zarr") == files(tmp_path / "small.zarr")
    stored = xpyramid.open_pyramid(tmp_path / "small.zarr/field")
    for k, level in enumerate(pyramid):
        np.testing.assert_array_equal(stored[k].values, level.values)


def files(root: Path) -> dict[str, bytes]:
    """Return the content of all files below a directory."""
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}
