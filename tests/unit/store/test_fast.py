"""The zarrs codec pipeline: where the library reads, and nowhere else."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import TransposeCodec
from zarr.storage import LocalStore, MemoryStore

import xpyramid
from xpyramid.store import fast
from xpyramid.store.fast import accelerate, accelerate_reads
from xpyramid.store.local_chunks import ObjectArray
from xpyramid.store.object_reader import ObjectReader

zarrs = pytest.importorskip("zarrs")


def field() -> xr.DataArray:
    data = np.random.default_rng(0).integers(1, 2**16, (50, 40), "u2")
    return xr.DataArray(data, dims=("y", "x"), name="field")


def pipeline(array: Any) -> str:
    """Return the name of the package that encodes and decodes."""
    return type(array._async_array.codec_pipeline).__module__.split(".")[0]


def create(store: Any, **options: Any) -> Any:
    """Return an array that does not go object by object."""
    turned = TransposeCodec(order=(1, 0))
    return zarr.create_array(
        store, shape=(50, 40), chunks=(16, 16), dtype="u2", filters=(turned, turned), **options
    )


def test_what_is_read_lazily_goes_through_zarrs(tmp_path: Path) -> None:
    zarr.create_group(tmp_path)
    array = create(tmp_path / "field", dimension_names=("y", "x"))
    array[:] = field().values
    configured = zarr.config.get("codec_pipeline.path")
    base = xr.open_zarr(tmp_path, chunks=None, consolidated=False)["field"]
    before = innermost(base.variable)
    variable = accelerate_reads(base.variable)
    assert pipeline(innermost(variable)) == "zarrs"
    assert innermost(base.variable) is before  # the user's is as it was
    assert pipeline(before) == "zarr"
    assert zarr.config.get("codec_pipeline.path") == configured
    np.testing.assert_array_equal(variable[3:20, ::2].values, field()[3:20, ::2])
    base.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, chunks=16)
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "out.zarr/field")[0], field())


@pytest.mark.parametrize("shards", [None, 32])
def test_simple_arrays_go_object_by_object(tmp_path: Path, shards: int | None) -> None:
    field().pyramid.to_ome_zarr(tmp_path, levels=1, chunks=16, shards=shards)
    base = xr.open_zarr(tmp_path / "field/0", chunks=None)["field"]
    node: Any = accelerate_reads(base.variable)._data
    while not isinstance(node, ObjectArray):
        node = node.array if hasattr(node, "array") else node._array
    np.testing.assert_array_equal(accelerate_reads(base.variable)[3:20, ::2], field()[3:20, ::2])


@pytest.mark.parametrize("opened", ["xarray", "dask"])
def test_graphs_read_fast(opened: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field().pyramid.to_ome_zarr(tmp_path / "in", levels=1, chunks=16)
    path = tmp_path / "in/field/0"
    base = xr.open_zarr(path, chunks={})["field"]
    if opened == "dask":
        base = field().copy(data=da.from_zarr(path / "field"))
    read = []
    stored = ObjectReader.read

    def spy(reader: ObjectReader, selection: Any, *args: Any, **options: Any) -> Any:
        read.append(selection)
        return stored(reader, selection, *args, **options)

    monkeypatch.setattr(ObjectReader, "read", spy)
    (base + 1).rename("field").pyramid.to_ome_zarr(tmp_path / "out", levels=3, chunks=16)
    assert len(read) == 12
    base.compute()
    assert len(read) == 12  # the user's graph is as it was
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "out/field")[0], field() + 1)


def innermost(variable: xr.Variable) -> Any:
    """Return the Zarr array inside xarray's wrappers."""
    node: Any = variable._data
    while not isinstance(node, zarr.Array):
        node = node.array if hasattr(node, "array") else node._array
    return node


def test_what_is_not_zarr_is_left_alone() -> None:
    variable = field().variable
    assert accelerate_reads(variable)._data is variable._data
    assert accelerate_reads(field().chunk(10).variable)._data is not None


def test_quietly_without() -> None:
    assert pipeline(accelerate(create(MemoryStore()))) == "zarr"
    pyramid = field().pyramid.build(levels=2)
    pyramid.to_ome_zarr(store := {})
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[1], pyramid[1])


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = create(tmp_path)
    monkeypatch.setattr(fast, "available", lambda: False)
    assert accelerate(array) is array


def test_read_only_stores(tmp_path: Path) -> None:
    create(tmp_path)[:] = field().values
    array = zarr.open_array(LocalStore(tmp_path, read_only=True), mode="r")
    quick = accelerate(array)
    assert pipeline(quick) == "zarrs"
    assert quick.read_only
    np.testing.assert_array_equal(quick[:], field())


def test_what_zarrs_cannot_read_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Zarr v3 has no final word on text either
        array = zarr.create_array(tmp_path, shape=4, chunks=4, dtype="<U4")
    with pytest.warns(UserWarning, match="is read without zarrs"):
        assert accelerate(array) is array
    assert accelerate(array) is array


@pytest.mark.parametrize(("version", "shards"), [("0.5", None), ("0.5", 32), ("0.4", None)])
def test_checksums_notice_a_flipped_byte(tmp_path: Path, version: str, shards: int | None) -> None:
    noise = field().copy(data=np.arange(2000, dtype="u2").reshape(50, 40) % 7)
    noise.pyramid.to_ome_zarr(tmp_path, levels=1, chunks=16, version=version, shards=shards)
    array = zarr.open_array(tmp_path / "field/0/field", mode="r")
    assert array[:].any()
    file = tmp_path / "field/0/field" / ("c/0/0" if version == "0.5" else "0/0")
    intact = file.read_bytes()
    unnoticed = 0
    for at in range(len(intact)):
        broken = bytearray(intact)
        broken[at] ^= 0x10
        file.write_bytes(broken)
        try:
            values = array[:32, :32]
        except Exception:
            continue
        unnoticed += not np.array_equal(values, noise[:32, :32])
    assert unnoticed == 0


CODE = """
import sys
import xpyramid
import xpyramid.store.fast
assert "zarrs" not in sys.modules
assert "distributed" not in sys.modules
"""


def test_importing_is_light() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)
