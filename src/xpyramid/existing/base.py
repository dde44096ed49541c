"""Level 0 where it is in a store: found, and opened as an array that levels are made from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import xarray as xr
import zarr
from zarr.storage import LocalStore

from xpyramid import ngff
from xpyramid._compat import lazy_variable
from xpyramid.errors import AxisError, NotAPyramidError, PlanError, SourceError, check_kind
from xpyramid.geometry.bounds import BOUNDS, bounds_in
from xpyramid.geometry.coordinates import REFERENCES
from xpyramid.messages import say
from xpyramid.reader import open_base
from xpyramid.sources.dims import by_rank
from xpyramid.store.encoding import attributes_back, decode, dims_of, open_raw
from xpyramid.store.level_array import level_of
from xpyramid.store.listing import children
from xpyramid.store.path import (
    Node,
    NodePath,
    Store,
    ZarrArray,
    check_name,
    expanded,
    is_image,
    is_name,
    is_root,
    path_named,
    resolve,
)
from xpyramid.types import Attrs

#: So many arrays are named that may be meant.
_LISTED = 10

#: What a directory has that is a group.
_GROUPS = ("zarr.json", ".zgroup")


@dataclass(frozen=True)
class StoredBase:
    """Level 0 in a store.

    Attributes
    ----------
    store : str, path, URL, zarr store or zarr.Group
        That which was named, or what that lies in.
    place : NodePath
        The group of the image.
    group : str
        Path of that group in the store; "" is the store itself.
    path : str
        Of the array in the group.
    node : zarr.Array
    array : xarray.DataArray
        The samples as they are stored, read when they are asked for, with their coordinates.
    stored_dims : tuple of str
        Names of the dimensions in the store; empty where there are none.
    attributes : mapping
        Of the group.
    document : mapping
        OME-NGFF metadata of the group; empty where it announces no image.
    dataset_attrs : mapping
        Of the group that holds the array and its coordinates, where there is one.
    bounds : xarray.Dataset
        Of the cells of its coordinates.
    """

    store: Store
    place: NodePath
    group: str
    path: str
    node: ZarrArray
    array: xr.DataArray
    stored_dims: tuple[str, ...]
    attributes: Mapping[str, object]
    document: Mapping[str, object] = field(default_factory=dict)
    dataset_attrs: Attrs = field(default_factory=dict)
    bounds: xr.Dataset = field(default_factory=xr.Dataset)

    @property
    def has_group(self) -> bool:
        """Whether each level is a group, with coordinates beside its array."""
        return "/" in self.path

    @property
    def chunk_keys(self) -> dict[str, object]:
        """How chunks are named, as zarr takes it."""
        metadata = self.node.metadata
        if metadata.zarr_format == 2:
            return {"name": "v2", "separator": metadata.dimension_separator}
        encoding: Any = metadata.chunk_key_encoding
        return {"name": encoding.name, "separator": encoding.separator}

    @property
    def separator(self) -> str:
        """What stands between the numbers in the names of chunks."""
        return str(self.chunk_keys["separator"])


def find_base(store: Store, group: str | None, level0: str | None) -> StoredBase:
    """Find level 0 of an image in a store, and open it lazily.

    Raises
    ------
    NotAPyramidError
        If it is not there.
    SourceError
        If there is a file of another format, or several arrays.
    """
    check_kind("group", group, str, "text, as in 'lab/field'")
    check_kind("level0", level0, str, "text, as in 'raw'")
    _refuse_files(store)
    root = resolve(store, read_only=True)
    path = "" if is_root(group) or group is None else check_name(group.strip("/"))
    if group is None and level0 is None:
        path = _only_group(root)
    store, path = _from_the_top(store, path)
    place = resolve(store, read_only=True) / path
    node = place.sound_node()
    if isinstance(node, zarr.Array):
        raise _no_room(place)
    attributes = {} if node is None else dict(node.attrs)
    array, inside = _find_array(place, attributes, level0)
    _check_format(place, node, inside, array)
    stored_dims = dims_of(array)
    if isinstance(node, zarr.Group) and is_image(node):
        opened = _open_announced(place, node, inside, array)
    else:
        _check_dims(stored_dims, array.ndim)
        is_named = "/" in inside and bool(stored_dims)
        if not is_named:
            _check_alone(place, inside, stored_dims)
        opened = _open_in_group(place, inside) if is_named else _open_alone(place, inside, array)
    return StoredBase(
        store, place, path, inside, array, _lazily(array, opened.level), stored_dims, attributes,
        opened.document, opened.dataset_attrs, opened.bounds,
    )  # fmt: skip


def _no_room(place: NodePath) -> SourceError:
    """Return the error for an array that was named instead of the group around it."""
    group, _, name = str(place).rpartition("/")
    other = "" if name == "0" else say(" with {level0}", level0=name)
    way = f"name the group that it is in, {group!r}" + other
    if not place.path:  # the directory around it is no group, and not to become one
        way = "move it into a group, to 'new.zarr/0', and name 'new.zarr'"
    copy = f"`xpyramid.open_source({str(place)!r}).pyramid.to_ome_zarr(...)`"
    return SourceError(
        f"{place} is an array, and there is no room for other levels in it",
        fix=way + say(f"; or copy it: {copy}"),
    )


class _OpenedBase(NamedTuple):
    """Level 0 with what is known of it; see `StoredBase`."""

    level: xr.DataArray
    dataset_attrs: Attrs = MappingProxyType({})
    bounds: xr.Dataset = xr.Dataset()  # not changed
    document: Mapping[str, object] = MappingProxyType({})


def _open_announced(place: NodePath, node: zarr.Group, path: str, array: ZarrArray) -> _OpenedBase:
    """Open level 0 of an image."""
    opened = open_base(place, node)
    level, (group, _, name) = opened.levels[0], path.rpartition("/")
    if not is_name(str(level.name)):  # that of the image is for people to read
        level = level.rename(_name_of_place(place))
    if ngff.parse(node.attrs).metadata.get("library") != "xpyramid":
        return _OpenedBase(_renamed(level, dims_of(array)), document=opened.metadata)
    holder = node[group] if group else None
    if not isinstance(holder, zarr.Group):
        return _OpenedBase(level, document=opened.metadata)
    arrays = dict(holder.arrays())
    others = arrays.keys() - {name, *_beside(arrays, name, holder.attrs)}
    attrs = {key: value for key, value in holder.attrs.items() if key != "coordinates"}
    level = level.drop_vars([other for other in others if other in level.coords])
    bounds = opened.bounds[0] if opened.bounds else xr.Dataset()
    return _OpenedBase(level, attrs, bounds, opened.metadata)


def _name_of_place(place: NodePath) -> str:
    """Return what an array is called where nothing else says it."""
    name = (place.path or str(place)).rpartition("/")[2]
    return name if is_name(name) else "image"


def _from_the_top(store: Store, path: str) -> tuple[Store, str]:
    """Return the outermost group that a local directory lies in, and the path from there.

    Groups above may have copies of all metadata below them, and lists of images and of labels.
    """
    if isinstance(store, str | os.PathLike) and "://" not in (named := path_named(store)):
        directory = Path(os.path.abspath(expanded(named)))
    elif type(store) is LocalStore:
        directory = Path(os.path.abspath(store.root))
    else:
        return store, path
    top = directory
    document = next((name for name in _GROUPS if (directory / name).is_file()), None)
    while (
        document is not None
        and (top.parent / document).is_file()
        and os.access(top.parent, os.W_OK)
        and is_name(top.name)
        and not top.is_symlink()
    ):
        top = top.parent
    if top == directory:
        return store, path
    inner = f"{directory.relative_to(top).as_posix()}/{path}".strip("/")
    if isinstance(store, LocalStore):
        return LocalStore(top, read_only=store.read_only), inner
    return str(top), inner


def _refuse_files(store: object) -> None:
    """Refuse what is a file of another format, with the call that copies it."""
    if not isinstance(store, str | os.PathLike) or "://" in (named := path_named(store)):
        return
    if expanded(named).is_file():
        raise SourceError(
            f"{named!r} is a file, to which no levels can be added",
            fix=f"copy it: xpyramid.open_source({named!r}).pyramid.to_ome_zarr('out.zarr')",
        )


def _only_group(root: NodePath) -> str:
    """Return the path of the only group of a store that holds a level 0; "" is the store itself."""
    node = root.sound_node()
    if isinstance(node, zarr.Array) or _has_base(root, node):
        return ""
    names = [] if node is None else sorted(name for name, _ in node.groups() if is_name(name))
    holders = [name for name in names if _has_base(root / name, (root / name).sound_node())]
    if len(holders) > 1:
        raise SourceError(
            f"{root} holds several images", fix=say("choose one with {group}", group=holders[0])
        )
    return holders[0] if holders else ""


def _has_base(place: NodePath, node: Node | None) -> bool:
    """Whether a group is an image, or may become one; a list of images is called "0", too."""
    attributes = {} if node is None else dict(node.attrs)
    if ngff.version_of(attributes) is not None:
        return True
    first = (place / "0").sound_node()
    return (
        first is not None
        and not ngff.says_collection(attributes)
        and not (isinstance(first, zarr.Group) and is_image(first))
    )


def _find_array(
    place: NodePath, attributes: Mapping[str, object], level0: str | None
) -> tuple[ZarrArray, str]:
    """Return the array of level 0 and its path in the group."""
    announced = ngff.dataset_paths(attributes)
    path = level0.strip("/") if level0 else (announced or ["0"])[0]
    if not (path.split("/")[0] != "labels" and check_name(path)):
        raise PlanError(option="level0", value=level0, accepted="the path of an array in the group")
    if announced and announced[0].split("/")[: path.count("/") + 1] != path.split("/"):
        raise PlanError(
            f"and {place} is an image whose level 0 is {announced[0]!r}",
            option="level0", value=level0, accepted=repr(announced[0]),
        )  # fmt: skip
    node = (place / path).sound_node()
    if isinstance(node, zarr.Group) and is_image(node):
        raise SourceError(
            f"{place / path} is an image, and no level of one",
            fix=say("name it with {group}", group=(place / path).path),
        )
    if isinstance(node, zarr.Group):
        name = _data_array(node, place / path)
        path, node = f"{path}/{name}", node[name]
    if not isinstance(node, zarr.Array):
        raise _no_level_0(place, path)
    return node, path


def _no_level_0(place: NodePath, path: str) -> NotAPyramidError:
    """Return the error for a group without level 0, which names what may be meant."""
    message = f"{place} has no array at {path!r}, which is to be level 0"
    names = [name for name in children(place) if is_name(name)]
    arrays = [name for name in names if isinstance((place / name).node(), zarr.Array)]
    if arrays:
        message += f", but the arrays {sorted(arrays)[:_LISTED]}"
        return NotAPyramidError(message, fix=say("say which it is with {level0}", level0=...))
    if not names:
        message += "; there is nothing at all"
    return NotAPyramidError(
        message, fix=say("say where it is with {level0}, or name another {group}", level0=...)
    )


def _data_array(group: zarr.Group, place: NodePath) -> str:
    """Return the name of the array of a level group that is no coordinate of another."""
    arrays = dict(group.arrays())
    beside = {other for name in arrays for other in _beside(arrays, name, group.attrs)}
    names = [name for name in arrays if name not in beside]
    most = max((arrays[name].ndim for name in names), default=0)
    largest = sorted(name for name in names if arrays[name].ndim == most)
    if len(largest) != 1:
        raise SourceError(
            f"{place} holds {largest or 'no arrays'}, of which one is to be level 0",
            fix=say("say which with {level0}", level0=f"{place.path.rpartition('/')[2]}/..."),
        )
    return largest[0]


def _check_format(place: NodePath, node: Node | None, path: str, array: ZarrArray) -> None:
    """Refuse a group of the other Zarr format, which readers would take for all there is."""
    if node is not None and node.metadata.zarr_format != array.metadata.zarr_format:
        raise SourceError(
            f"{place} is a group in Zarr v{node.metadata.zarr_format}, and {path!r} in it is an "
            f"array in Zarr v{array.metadata.zarr_format}",
            fix="remove the metadata of one of them",
        )


def _check_dims(dims: Sequence[str], ndim: int) -> None:
    """Refuse dimensions that xarray cannot tell apart, and too few."""
    if len(set(dims)) < len(dims):
        raise AxisError(
            f"level 0 has the dimensions {', '.join(dims)}, some of the same name",
            fix="copy it under other names: xpyramid.open_source(path, dims=[...])",
        )
    if ndim < 2:
        raise AxisError(
            f"OME-NGFF needs 2 or 3 space dimensions, and level 0 has {ndim} in all",
            fix="copy it with another one: "
            + say("`xpyramid.open_source(...).expand_dims('y').pyramid.to_ome_zarr(...)`"),
        )


def _check_alone(place: NodePath, path: str, dims: Sequence[str]) -> None:
    """Refuse an array that has its coordinates beside it, in the group that levels would come to.

    That is a Dataset, which xarray could not open any more, and levels would have no coordinates.
    """
    holder, _, name = path.rpartition("/")
    beside = sorted(({*children(place / holder)} & {*dims}) - {name})
    if beside:
        raise SourceError(
            f"{place / path} lies in a Dataset, with its coordinates {beside}; with levels beside "
            "them, of other sizes, xarray could not open it any more",
            fix="move all of it into a group, to 'new.zarr/0', and name 'new.zarr' with "
            + say("{level0}", level0=f"0/{name}")
            + say("; or copy it: `xpyramid.open_source(...).pyramid.to_ome_zarr(...)`"),
        )


def _open_alone(place: NodePath, path: str, array: ZarrArray) -> _OpenedBase:
    """Open an array that has no coordinates beside it."""
    dims, name = dims_of(array) or by_rank(array.ndim), path.rpartition("/")[2]
    # A fill value, which is mostly 0, says nothing of missing samples here.
    attrs = attributes_back(array, is_flat=True)
    level = xr.Dataset({"level": lazy_variable(array, dims, attrs)})["level"]
    return _OpenedBase(level.rename(name if name != "0" else _name_of_place(place)))


def _open_in_group(place: NodePath, path: str) -> _OpenedBase:
    """Open an array with the coordinates beside it.

    What else is in the group is no part of it.
    """
    group, _, name = path.rpartition("/")
    level = place / group
    node: Any = level.sound_node()
    arrays = dict(node.arrays())
    others = arrays.keys() - {name, *_beside(arrays, name, node.attrs)}
    samples, coords, attrs = decode(open_raw(arrays, others), name, {}, [], dict(node.attrs))
    array = level_of(samples, coords, name)
    for key in REFERENCES:
        if key in array.attrs:
            array.encoding[key] = array.attrs.pop(key)
    dataset = xr.Dataset(coords=xr.Coordinates(coords, indexes={}))
    return _OpenedBase(array, attrs, bounds_in(dataset, array))


def _beside(
    arrays: Mapping[str, ZarrArray], name: str, group_attrs: Mapping[str, object]
) -> set[str]:
    """Return what stands beside an array in its group, and belongs to it: coordinates, bounds."""
    named = [group_attrs.get("coordinates"), *map(arrays[name].attrs.get, REFERENCES)]
    words = {word.rstrip(":") for text in named if isinstance(text, str) for word in text.split()}
    coordinates = arrays.keys() & {*dims_of(arrays[name]), *words}
    bounds = {arrays[other].attrs.get(key) for other in coordinates for key in BOUNDS}
    return (coordinates | (arrays.keys() & bounds)) - {name}


def _renamed(level: xr.DataArray, stored: tuple[str, ...]) -> xr.DataArray:
    """Return a level whose dimensions are called as its array says, where others announced it."""
    if len({*stored}) < level.ndim:
        return level
    pairs = zip(map(str, level.dims), stored, strict=True)
    return level.rename({old: new for old, new in pairs if old != new})


def _lazily(array: ZarrArray, level: xr.DataArray) -> xr.DataArray:
    """Return a level whose samples are read from its array, as they are, without a graph."""
    variable = lazy_variable(array, list(map(str, level.dims)), level.attrs)
    variable.encoding = {**level.encoding, **variable.encoding}
    free = "_".join(["level", *map(str, level.coords)])
    return xr.Dataset({free: variable}, level.coords)[free].rename(level.name)
