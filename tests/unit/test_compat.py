"""What `xpyramid._compat` expects of others: a release that changes it is named here."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dask.array as da
import fsspec
import numba
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.highlevelgraph import HighLevelGraph
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import xpyramid
from xpyramid import _compat

SOURCE = Path(xpyramid.__file__).parent


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    data = np.arange(16, dtype="i2").reshape(4, 4)
    packing = {"a": {"scale_factor": 0.5, "_FillValue": -1, "dtype": "i2"}}
    xr.Dataset({"a": (("y", "x"), data * 0.5)}).to_zarr(
        tmp_path / "in.zarr", encoding=packing, consolidated=False
    )
    return tmp_path / "in.zarr"


def test_nothing_private_is_used_elsewhere() -> None:
    """But for numba's, which is imported only when samples are reduced."""
    private = re.compile(
        r"zarr\.core|dask\._|xarray\.core|xarray\.coding|\._data\b|\._meta\b|\._async_array|"
        r"\._store_dict|\._in_memory|_strip_protocol\("
    )
    found = {
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        if path.name != "_compat.py"
        for line in path.read_text().splitlines()
        if private.search(line)
    }
    assert not found


def test_zarr() -> None:
    documents: dict[str, Any] = {}
    store = MemoryStore(documents)
    assert _compat.unwrapped(WrapperStore(WrapperStore(store))) is store
    assert _compat.memory_of(store) is documents
    array = zarr.create_array(store, name="a/b", shape=(4,), chunks=(2,), dtype="i2")
    where = _compat.store_path_of(array)
    assert (where.store, where.path) == (store, "a/b")
    assert isinstance(array.metadata, _compat.ArrayV3Metadata)
    again = _compat.ArrayV3Metadata.from_dict(array.metadata.to_dict())
    assert again == array.metadata
    assert _compat.sync(store.exists("a/b/zarr.json"))
    document = json.loads(documents["a/b/zarr.json"].to_bytes())
    assert _compat.node_of(store, "a/b", document) == array
    document = json.loads(documents["a/zarr.json"].to_bytes())
    group = _compat.node_of(store, "a", document)
    assert isinstance(group, zarr.Group)
    assert (group.path, group.attrs.asdict()) == ("a", {})
    wrapped: list[Any] = []
    _compat.wrap_pipeline(array, lambda inner: wrapped.append(inner) or inner)  # type: ignore[func-returns-value]
    assert callable(wrapped[0].read)
    assert array.async_array.codec_pipeline is wrapped[0]
    assert _compat.get_data_type_from_json("int16", zarr_format=3).to_native_dtype() == "i2"


def test_what_xarray_reads_lazily(stored: Path) -> None:
    opened = xr.open_zarr(stored, chunks=None, consolidated=False).a
    assert not _compat.is_in_memory(opened.variable)
    kinds = []
    data = _compat.lazy_data(opened)
    while not isinstance(data, _compat.ZarrArrayWrapper):
        kinds.append(type(data))
        data = data.array
    assert _compat.DecodedArray in kinds
    assert _compat.indexing.LazilyIndexedArray in kinds
    assert isinstance(data._array, zarr.Array)
    other = _compat.with_lazy_data(opened.variable, np.ones((4, 4)))
    assert (other == 1).all()
    assert not _compat.is_in_memory(opened.variable)  # is as it was
    assert _compat.with_zarr_array(data, "another")._array == "another"
    assert _compat.is_in_memory(xr.Variable("x", [1]))


def test_fill_values_of_xarray() -> None:
    encoded = _compat.FillValueCoder.encode(1.5, np.dtype("f8"))
    assert _compat.FillValueCoder.decode(encoded, np.dtype("f8")) == 1.5


def test_tasks_of_dask() -> None:
    array = da.ones((4, 4), chunks=2, dtype="i2") + 1
    assert _compat.meta_of(array).dtype == "i2"
    keys = [(array.name, 0, 0)]
    graph = _compat.optimize_graph(HighLevelGraph.merge(array.dask), keys)
    (task,) = [node for key, node in graph.items() if key == keys[0]]
    assert isinstance(task, _compat.GraphNode)
    own = _compat.Task("double", lambda value: 2 * value, _compat.TaskRef("a"))
    assert own({"a": 3}) == 6
    assert set(own.dependencies) == {"a"}
    assert isinstance(_compat.Alias("a", "b"), _compat.GraphNode)


def test_paths_of_fsspec(tmp_path: Path) -> None:
    assert _compat.fsspec_path(fsspec.filesystem("memory"), "memory://a/b") == "/a/b"
    local = fsspec.filesystem("file")
    assert _compat.fsspec_path(local, f"file://{tmp_path}") == str(LocalStore(tmp_path).root)


def test_schedulers_by_name() -> None:
    """What `get_scheduler` answers, without a look for a cluster."""
    for name, get in _compat.named_schedulers.items():
        assert _compat.get_scheduler(scheduler=name) is get
    assert {"threads", "sync", "processes"} <= set(_compat.named_schedulers)


def test_the_cache_of_numba() -> None:
    """What is locked while kernels are compiled, see `xpyramid.kernels._jit`."""
    kernel: Any = numba.njit(lambda a: a)
    kernel.enable_caching()
    assert callable(kernel._cache.load_overload)
    assert callable(kernel._cache.save_overload)
    assert Path(kernel._cache.cache_path).is_dir()
