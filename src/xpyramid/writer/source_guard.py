"""What reading arrays reads, so that nothing is written there."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import dask.base
import numpy as np
import xarray as xr
import zarr
from dask.blockwise import Blockwise, BlockwiseDep
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from zarr.abc.store import Store as ZarrStore
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore

from xpyramid._compat import (
    Alias,
    FileManager,
    GraphNode,
    TaskRef,
    fsspec_path,
    lazy_data,
    memory_of,
    package_of,
    unwrapped,
)
from xpyramid.errors import InvalidNameError, SourceOverlapError
from xpyramid.lazy.coarse_array import CoarseArray
from xpyramid.messages import say
from xpyramid.store.level_array import LevelArray
from xpyramid.store.path import NodePath, ZarrArray, path_named
from xpyramid.types import Array

#: How far to look into unknown objects.
_DEPTH = 4

#: Types that name nothing and hold nothing; a large graph is mostly made of them.
_ATOMIC_TYPES = frozenset(
    {int, float, complex, bool, bytes, type(None), slice, type, range, type(Ellipsis),
     np.dtype, Alias, TaskRef, BuiltinFunctionType, ModuleType}
)  # fmt: skip


#: Packages whose objects stand for files.
_FILES = frozenset({"adlfs", "fsspec", "gcsfs", "h5py", "netCDF4", "s3fs", "tensorstore"})

#: Packages whose objects hold nothing that is read, apart from those that are known below.
_OPAQUE_PACKAGES = frozenset(
    {"dask", "distributed", "logging", "numba", "numpy", "pandas", "threading"}
)


@dataclass(frozen=True)
class Location:
    """Where something is read or written, however that was spelled.

    Attributes
    ----------
    filesystem : tuple
        What the path is a path in: the local disk, a memory, a bucket.
    parts : tuple of str
        Of the path.
    name : str
        For messages.
    is_uncertain : bool
        Whether it is only a name that something may be read from, such as a path that a function
        is called with.
    """

    filesystem: tuple[object, ...]
    parts: tuple[str, ...]
    name: str = field(compare=False)
    is_uncertain: bool = field(default=False, compare=False)

    def overlaps(self, target: Location) -> bool:
        """Whether writing the target touches what is read here."""
        if self.filesystem != target.filesystem:
            return False
        if _below(self.parts, target.parts) or _is_on_the_way(target, self):
            return True
        return not self.is_uncertain and (
            _below(target.parts, self.parts) or _is_on_the_way(self, target)
        )


def check_source(read: Iterable[Location], targets: Iterable[NodePath]) -> None:
    """Refuse to write where something is read from.

    Parameters
    ----------
    read : iterable of Location
        From :func:`what_is_read`.
    targets : iterable of NodePath
        Groups and arrays that will be made or replaced. Their siblings do not matter.

    Raises
    ------
    SourceOverlapError
        If something is read from a target, from inside it, or from an array around it.
    """
    read = list(read)
    for target in targets:
        goal = location_of(target.store, target.path)
        for source in read:
            if source.overlaps(goal):
                raise SourceOverlapError(
                    f"cannot write to {target}: the data are read from {source.name}, which "
                    "that would destroy",
                    fix=say(
                        "choose another store or {group}, or read the data into memory first "
                        "with `.load()`"
                    ),
                )


@dataclass(frozen=True)
class Reads:
    """What is read when levels are computed.

    Attributes
    ----------
    locations : list of Location
        Of samples and coordinates.
    arrays : list of zarr.Array
        That samples are read from.
    """

    locations: list[Location]
    arrays: list[ZarrArray]


def what_is_read(samples: Iterable[object], others: Iterable[object] = ()) -> Reads:
    """Return what is read when some objects are computed; nothing is read for it.

    Graphs are walked once, layer by layer, and task by task only where dask has written the tasks
    out. What a function opens by a name of its own making cannot be known.

    Parameters
    ----------
    samples, others : iterable
        Arrays are looked for in the former, locations in both.
    """
    _real_parts.cache_clear()  # links may have changed since the last time
    _identity.cache_clear()
    walk = _Walk()
    locations: dict[Location, None] = {}
    arrays: dict[Location, ZarrArray] = {}
    for objects, holds_samples in ((samples, True), (others, False)):
        for thing in walk.things_in(objects):
            location = _location(thing)
            if location is not None:
                locations.setdefault(location)
                if holds_samples and isinstance(thing, zarr.Array):
                    arrays.setdefault(location, thing)
    return Reads(list(locations), list(arrays.values()))


def location_of(store: ZarrStore, path: str = "") -> Location:
    """Return the place of a node of a store."""
    name = str(NodePath(store, path.strip("/")))
    store = unwrapped(store)
    inside = tuple(part for part in path.split("/") if part)
    if isinstance(store, LocalStore):
        return _local(Path(store.root, *inside), name)
    if isinstance(store, ZipStore):
        return _local(Path(store.path), name)
    if isinstance(store, MemoryStore):
        return Location(("memory", id(memory_of(store))), inside, name)
    if isinstance(store, FsspecStore):
        return _on_filesystem(store.fs, "/".join([store.path, *inside]), name)
    prefix = getattr(getattr(store, "store", None), "prefix", None)
    if prefix is not None and type(store.store).__name__ == "LocalStore":  # type: ignore[attr-defined]
        return _local(Path(prefix, *inside), name)  # of obstore
    return Location((str(store),), inside, name)


def _local(path: Path, name: str) -> Location:
    return Location(("file",), _real_parts(str(path)), name)


@lru_cache(1024)
def _real_parts(path: str) -> tuple[str, ...]:
    return Path(os.path.realpath(path)).parts


def _on_filesystem(fs: Any, path: str, name: str) -> Location:
    """Return a place on a filesystem of fsspec."""
    while inner := getattr(fs, "sync_fs", None) or getattr(fs, "fs", None):
        if isinstance(getattr(fs, "path", None), str):  # a directory taken for a filesystem
            path = f"{fs.path}/{path}"
        fs = inner
    stripped = str(fsspec_path(fs, path))
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if protocol in ("file", "local"):
        return _local(Path(stripped), name)
    options = fs.storage_options
    endpoint = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
    parts = tuple(part for part in stripped.split("/") if part not in ("", "."))
    return Location((protocol, endpoint), parts, name)


def _below(inner: Sequence[str], outer: Sequence[str]) -> bool:
    return tuple(inner[: len(outer)]) == tuple(outer)


def _is_on_the_way(outer: Location, inner: Location) -> bool:
    """Whether a directory is one of those above a path, under a different spelling of its name.

    Disks may ignore case, and one directory may be mounted twice.
    """
    if outer.filesystem != ("file",):
        return False
    place = _identity(outer.parts)
    steps = range(len(inner.parts), 1, -1)
    return place is not None and any(_identity(inner.parts[:n]) == place for n in steps)


@lru_cache(4096)
def _identity(parts: tuple[str, ...]) -> tuple[int, int] | None:
    try:
        status = os.stat(Path(*parts))
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _location(thing: object) -> Location | None:
    """Return the place that a thing stands for; None where it stands for none."""
    if isinstance(thing, zarr.Array):
        return location_of(thing.store, thing.path)
    if isinstance(thing, zarr.Group):  # which of its children are read, nobody knows
        return replace(location_of(thing.store, thing.path), is_uncertain=True)
    if isinstance(thing, ZarrStore):
        return replace(location_of(thing), is_uncertain=True)
    if isinstance(thing, str | os.PathLike):
        return _location_in_text(os.fspath(thing))
    return _file(thing)


def _file(thing: object) -> Location | None:
    """Return the place of a file that another package has opened."""
    kind, fs = package_of(thing), getattr(thing, "fs", None)
    if kind == "tensorstore":
        return _location_in_text(str(getattr(getattr(thing, "kvstore", None), "url", "")))
    if hasattr(fs, "_strip_protocol"):  # a file, or a mapping, of fsspec
        path = str(getattr(thing, "path", getattr(thing, "root", "")))
        return _on_filesystem(fs, path, path)
    name = None
    if isinstance(thing, np.memmap):
        name = thing.filename
    elif kind == "h5py":
        name = getattr(getattr(thing, "file", None), "filename", None)
    elif kind == "netCDF4" and hasattr(thing, "group"):
        name = thing.group().filepath()
    return _local(Path(name), str(name)) if name else None


def _location_in_text(text: str | bytes) -> Location | None:
    """Return the place of a file or directory with a name, if there is one."""
    if not isinstance(text, str) or not 1 < len(text) < 4096 or "\0" in text:
        return None
    path = _path_of(text).rstrip("/")
    if "://" in path or not path or path.isdigit() or not os.path.lexists(path):
        return None
    if os.path.islink(path):
        path = os.path.realpath(path)
    folder, _, name = path.rpartition("/")
    parts = (
        *_real_parts(folder or ("/" if path[0] == "/" else ".")),
        name,
    )  # files share their folders
    return Location(("file",), parts, text, is_uncertain=True)


def _path_of(text: str) -> str:
    """Return the path that a text names, also as zarr spells it: a URL in which all is literal."""
    literal = text.removeprefix("file://")
    if literal != text and os.path.lexists(literal):
        return literal
    try:
        return path_named(text)
    except InvalidNameError:  # of another machine
        return text


class _Walk:
    """A walk through objects that sees each of them once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._texts: set[str] = set()
        self._alive: list[object] = []  # an id is good as long as its object lives

    def things_in(self, objects: Iterable[object]) -> Iterator[object]:
        """Yield everything in some objects that may stand for a location."""
        stack: list[tuple[Any, int]] = [(thing, 0) for thing in objects]
        while stack:
            thing, depth = stack.pop()
            kind = type(thing)
            if kind in _ATOMIC_TYPES:
                continue
            if kind is str:
                if thing not in self._texts:
                    self._texts.add(thing)
                    yield thing
                continue
            if id(thing) in self._seen or isinstance(thing, np.generic | type | ModuleType):
                continue
            self._seen.add(id(thing))
            self._alive.append(thing)
            if _is_leaf(thing):
                yield thing
                continue
            inside, is_known = _inside(thing)
            if is_known or depth < _DEPTH:
                deeper = depth if is_known else depth + 1
                stack.extend((part, deeper) for part in inside if type(part) not in _ATOMIC_TYPES)


def _is_leaf(thing: object) -> bool:
    if isinstance(thing, zarr.Array | zarr.Group | ZarrStore | os.PathLike | np.memmap):
        return True
    return package_of(thing) in _FILES


def _inside(thing: Any) -> tuple[Iterable[object], bool]:
    """Return what an object is made of, and whether that is known to be all and finite."""
    for kinds, look in _CONTENTS:
        if isinstance(thing, kinds):
            return look(thing), True
    if dask.base.is_dask_collection(thing):
        return [thing.__dask_graph__()], True
    return _of_object(thing)


def _of_array(array: Array) -> Iterable[object]:
    return array.ravel().tolist() if array.dtype == object else [array.base]


def _of_layer(layer: Layer) -> Iterable[object]:
    """Return what the tasks of a layer are made from, without making them."""
    if isinstance(layer, Blockwise):
        return [layer.task, *(array for array, _ in layer.indices), *layer.io_deps.values()]
    if isinstance(layer, MaterializedLayer):
        return layer.mapping.values()
    return [value for value in vars(layer).values() if not isinstance(value, str)]


def _of_object(thing: object) -> tuple[Iterable[object], bool]:
    if isinstance(thing, FunctionType):
        return _of_function(thing), False
    package = package_of(thing)
    if package in _OPAQUE_PACKAGES:
        return [getattr(thing, "py_func", None)], False  # of what numba compiled
    return _slots(thing), package == "xarray"  # wrappers around what is opened


def _of_function(function: FunctionType) -> Iterable[object]:
    """Return what a user's function knows from outside of it: a lambda may read an array."""
    if str(function.__module__).partition(".")[0] in _OPAQUE_PACKAGES | {
        "xarray",
        "zarr",
        "xpyramid",
    }:
        return []
    try:
        closure = inspect.getclosurevars(function)
    except ValueError:  # it is not complete yet
        return []
    around = [value for value in closure.globals.values() if not callable(value)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*closure.nonlocals.values(), *around, *defaults]


def _variables(thing: xr.Dataset | xr.DataArray) -> list[object]:
    if isinstance(thing, xr.Dataset):
        return list(thing.variables.values())
    return [thing.variable, *(coordinate.variable for coordinate in thing.coords.values())]


@lru_cache(1024)
def _slot_names(kind: type) -> tuple[str, ...]:
    names: list[str] = []
    for base in kind.__mro__:
        own = base.__dict__.get("__slots__", ())
        names += [own] if isinstance(own, str) else own
    return tuple(name for name in dict.fromkeys(names) if name not in _NO_CONTENT)


#: Attributes of dask's nodes that say how, not what.
_NO_CONTENT = {"key", "_dependencies", "_token", "_repr", "__weakref__", "__dict__"}


def _slots(thing: object) -> list[object]:
    """Return the values of an object's own attributes."""
    values = list(getattr(thing, "__dict__", {}).values())
    for name in _slot_names(type(thing)):  # type: ignore[arg-type]
        value = getattr(thing, name, None)
        if value is not None:
            values.append(value)
    return values


#: What objects are made of, the most frequent in large graphs first.
_CONTENTS: tuple[tuple[Any, Callable[[Any], Iterable[object]]], ...] = (
    (GraphNode, _slots),
    ((list, tuple, set, frozenset), iter),
    (dict, dict.values),
    (np.ndarray, _of_array),
    (HighLevelGraph, lambda graph: graph.layers.values()),
    (Layer, _of_layer),
    (xr.DataTree, lambda tree: [node.to_dataset() for node in tree.subtree]),
    ((xr.Dataset, xr.DataArray), _variables),
    (xr.Variable, lambda variable: [lazy_data(variable)]),
    (LevelArray, lambda level: [level.zarr_array]),
    (CoarseArray, lambda level: [level.base]),
    (partial, lambda call: [call.func, *call.args, *call.keywords.values()]),
    (BlockwiseDep, _slots),
    (FileManager, lambda files: [getattr(files, "_args", None), getattr(files, "_value", None)]),
)
