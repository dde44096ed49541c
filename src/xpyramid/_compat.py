"""What is used of zarr, xarray, dask and fsspec that they do not promise to keep, in one place.

Each part says with which versions it was checked: the oldest that pyproject.toml allows and the
newest at the time. `tests/unit/test_compat.py` holds what is expected of each, so that a release
that changes it is noticed by name. numba's, which is imported only when samples are reduced, is
`xpyramid.kernels._jit`.
"""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import xarray as xr
import zarr
from dask._task_spec import Alias, GraphNode, Task, TaskRef
from dask.base import get_scheduler, named_schedulers
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray
from xarray.backends import BackendArray, CachingFileManager
from xarray.backends.file_manager import FileManager
from xarray.backends.zarr import FillValueCoder, ZarrArrayWrapper
from xarray.coding.common import _ElementwiseFunctionArray as DecodedArray
from xarray.core import formatting_html, indexing
from zarr.abc.buffer import Buffer
from zarr.abc.codec import CodecPipeline
from zarr.abc.store import Store as ZarrStore
from zarr.core.array_spec import ArrayConfig, ArrayConfigParams
from zarr.core.common import JSON
from zarr.core.dtype import get_data_type_from_json
from zarr.core.group import AsyncGroup, GroupMetadata
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
from zarr.core.sync import sync
from zarr.storage import FsspecStore, MemoryStore, StorePath, WrapperStore, ZipStore
from zarr.types import AnyArray

__all__ = [
    "Alias",
    "ArrayConfig",
    "ArrayConfigParams",
    "ArrayV2Metadata",
    "ArrayV3Metadata",
    "BackendArray",
    "CachingFileManager",
    "DecodedArray",
    "FileManager",
    "FillValueCoder",
    "GraphNode",
    "GroupMetadata",
    "Task",
    "TaskRef",
    "ZarrArrayWrapper",
    "da",
    "fsspec_path",
    "fsspec_sizes",
    "get_data_type_from_json",
    "get_scheduler",
    "html_page",
    "html_section",
    "html_sections_of",
    "indexing",
    "is_dask_array",
    "is_in_memory",
    "lazily_indexed",
    "lazy_data",
    "lazy_variable",
    "map_blocks",
    "memory_of",
    "meta_of",
    "named_schedulers",
    "node_of",
    "open_zip",
    "optimize_graph",
    "package_of",
    "source_of_blocks",
    "store_path_of",
    "sync",
    "unwrapped",
    "with_lazy_data",
    "with_zarr_array",
    "wrap_pipeline",
    "zip_sizes",
]


def package_of(thing: object) -> str:
    """Return the name of the package that the type of something is defined in."""
    return str(type(thing).__module__).partition(".")[0]


# zarr: 3.1.6 to 3.2. Public are `zarr.abc`, `zarr.storage`, `zarr.codecs`, `zarr.buffer`; not the
# metadata classes, the synchronous call of a coroutine, and what a store wraps.


def unwrapped(store: ZarrStore) -> ZarrStore:
    """Return the store inside of wrappers."""
    while isinstance(store, WrapperStore):
        store = store._store
    return store


def memory_of(store: MemoryStore) -> MutableMapping[str, Buffer]:
    """Return the dict that a store in memory keeps its documents in."""
    return store._store_dict


def open_zip(store: ZipStore) -> bool:
    """Open an archive for what reads it, if that changes nothing; return whether it is open."""
    if not store._is_open and store._zmode == "r" and store.path.is_file():
        sync(store._open())
        # Of garbage in a cycle, Python may find the file first, and warn that it is open.
        weakref.finalize(store, store._zf.close)
    return store._is_open


def zip_sizes(store: ZipStore) -> dict[str, int]:
    """Return the size of each member of an archive, by its name."""
    if not open_zip(store):
        sync(store._open())
    return {member.filename: member.file_size for member in store._zf.infolist()}


def wrap_pipeline(array: AnyArray, wrap: Callable[[CodecPipeline], object]) -> None:
    """Have an array decode its chunks by something around what decodes them now."""
    inner = array.async_array
    object.__setattr__(inner, "codec_pipeline", wrap(inner.codec_pipeline))


def node_of(store: ZarrStore, path: str, document: dict[str, JSON]) -> zarr.Group | AnyArray:
    """Return the node that a document of Zarr v3 describes, without asking the store for it."""
    where = StorePath(store, path)
    if document.get("node_type") == "array":
        return zarr.Array.from_dict(where, document)
    return zarr.Group(AsyncGroup.from_dict(where, document))


def store_path_of(array: AnyArray) -> StorePath:
    """Return where an array is."""
    return array._async_array.store_path


# xarray: 2025.7 to 2026.9. Its wrappers around what it has opened are not public, nor is a way to
# ask for what a variable holds without reading it.


def lazy_data(array: xr.DataArray | xr.Variable) -> Any:
    """Return what an array is made of, without reading it."""
    variable = array.variable if isinstance(array, xr.DataArray) else array
    return variable._data


def with_lazy_data(variable: xr.Variable, data: Any) -> xr.Variable:
    """Return a variable that is made of something else."""
    other = variable.copy(deep=False)
    other._data = data
    return other


def lazy_variable(array: AnyArray, dims: Sequence[str], attrs: Mapping[str, object]) -> xr.Variable:
    """Return a variable that reads an array when it is asked to, as xarray's Zarr backend does."""
    chunks = dict(zip(dims, array.chunks, strict=True))
    encoding = {"chunks": array.chunks, "preferred_chunks": chunks}
    data = indexing.LazilyIndexedArray(ZarrArrayWrapper(array))
    return xr.Variable(dims, data, dict(attrs), encoding)


def html_section(header: str, details: str, items: int, *, collapsed: bool = False) -> str:
    """Return a part of a page in a notebook that can be collapsed."""
    return formatting_html.collapsible_section(
        header, details=details, n_items=items, collapsed=collapsed
    )


def html_sections_of(
    base: xr.DataArray | xr.Dataset, attrs: Mapping[Hashable, object]
) -> list[str]:
    """Return what xarray shows of coordinates and of attributes."""
    return [formatting_html.coord_section(base.coords), formatting_html.attr_section(attrs)]


def html_page(shown: object, header: Sequence[str], sections: Sequence[str]) -> str:
    """Return a page for notebooks in xarray's style."""
    page: str = formatting_html._obj_repr(shown, list(header), list(sections))
    return page


def lazily_indexed(array: BackendArray) -> indexing.CopyOnWriteArray:
    """Return what xarray makes variables of, of which what is read is not kept."""
    indexed: Any = indexing.LazilyIndexedArray(array)
    return indexing.CopyOnWriteArray(indexed)


def is_in_memory(variable: xr.Variable) -> bool:
    """Whether the samples of a variable need not be read."""
    return bool(variable._in_memory)


def with_zarr_array(wrapper: ZarrArrayWrapper, array: object) -> ZarrArrayWrapper:
    """Have a wrapper read another array."""
    wrapper._array = array
    return wrapper


# dask: 2025.1 to 2026.8. To import `dask.array` takes longer than xarray and zarr together, so it
# waits until something of it is asked for. Tasks are `dask._task_spec`, which has no public name;
# what an array's blocks are like is its ``_meta``.


class _LateModule:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> object:
        return getattr(importlib.import_module(self._name), name)


if TYPE_CHECKING:
    import dask.array as da
else:
    da = _LateModule("dask.array")


def is_dask_array(data: object) -> TypeGuard[da.Array]:
    """Return whether data are an array of dask. Where nobody has imported those, there are none."""
    return "dask.array" in sys.modules and isinstance(data, da.Array)


def optimize_graph(graph: HighLevelGraph, keys: Sequence[Hashable]) -> Mapping[Hashable, object]:
    """Return the graph of arrays with only what the keys need, and with reads and slices fused."""
    optimized: Mapping[Hashable, object] = da.optimization.optimize(graph, list(keys))
    return optimized


def map_blocks(
    array: da.Array,
    function: Callable[..., object],
    *args: object,
    dtype: np.dtype[Any],
    **options: object,
) -> da.Array:
    """Return what a function makes of each block, which are NumPy's, of a dtype.

    dask knows them by an empty one, and mypy knows nothing of what dask decorates.
    """
    blocks: Any = array
    meta: NDArray[Any] = np.empty((0,) * array.ndim, dtype)
    mapped: da.Array = blocks.map_blocks(function, *args, dtype=dtype, meta=meta, **options)
    return mapped


def meta_of(array: da.Array) -> Any:
    """Return an empty array of the type of a dask array's blocks."""
    return array._meta


def source_of_blocks(array: da.Array) -> Any:
    """Return what `dask.array.from_array` has made an array of, None where anything is done to it.

    That may be what xarray wraps for dask; then it is what xarray indexes lazily.
    """
    layers = array.dask.layers
    layer = layers.get(array.name)
    if not isinstance(layer, Blockwise) or any(each.annotations for each in layers.values()):
        return None
    task, indices = layer.task, [*layer.indices]
    getters = (da.core.getter, da.core.getter_inline, da.core.getter_nofancy)
    if getattr(task, "func", None) not in getters:
        return None
    if len(task.args) != 2 or task.kwargs.get("lock") or len(indices) != 2:
        return None
    (first, whole), (slices, _) = indices
    parts = layer.io_deps.get(str(slices))
    if whole is not None or getattr(parts, "chunks", None) != array.chunks:
        return None
    origin: Any = first
    if isinstance(origin, TaskRef | Alias):
        name = origin.key
        own = layers.get(name, {})
        origin = own.get(name) if len(own) == 1 else None
    wrapped = type(origin) is indexing.ImplicitToExplicitIndexingAdapter
    return origin.array if wrapped else origin


# fsspec: 2023.10 to 2026.4.


def fsspec_path(filesystem: Any, path: str) -> str:
    """Return a path as a filesystem has it, without a protocol."""
    return str(filesystem._strip_protocol(path))


def fsspec_sizes(store: FsspecStore, prefix: str) -> dict[str, int] | None:
    """Return the size of each object below a prefix, by its key, as a listing tells it.

    None where a file system does not tell.
    """
    root = store.path.rstrip("/")
    entries = sync(store.fs._find(f"{root}/{prefix}" if root else prefix, detail=True))
    if any(about.get("size") is None for about in entries.values()):
        return None
    start = f"{root}/" if root else "/"
    return {path.removeprefix(start): int(about["size"]) for path, about in entries.items()}
