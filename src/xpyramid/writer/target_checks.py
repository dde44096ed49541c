"""Whether an image can be put into a place: what is there, what is around it, who may write."""

from __future__ import annotations

import errno
import os
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import accumulate
from os.path import lexists, samefile
from pathlib import Path
from typing import Literal, NoReturn

import zarr
from zarr.storage import FsspecStore, LocalStore, ZipStore

from xpyramid import ngff
from xpyramid._compat import unwrapped
from xpyramid.errors import (
    InvalidNameError,
    NotWritableError,
    ReadError,
    TargetExistsError,
)
from xpyramid.messages import say
from xpyramid.options import WriteOptions
from xpyramid.store.collection import look_around
from xpyramid.store.listing import children
from xpyramid.store.local_files import is_array_directory
from xpyramid.store.path import (
    Node,
    NodePath,
    Store,
    is_image,
    is_name,
    level_names,
    local_path,
    staging_path,
)
from xpyramid.store.retrying import bare
from xpyramid.store.transaction import Transaction

#: No sensible data get smaller than this part by compression.
_COMPRESSION = 1000


def check_target(transaction: Transaction, paths: Sequence[str], options: WriteOptions) -> None:
    """Refuse a place that is taken, unless its image may be replaced or its build resumed."""
    target = transaction.target
    unfinished = transaction.unfinished()
    if unfinished is not None and options["mode"] == "w-" and not options["resume"]:
        raise TargetExistsError(
            f"there is an unfinished build of {target}",
            fix=say(
                "call again with {resume} to finish it, or with {mode} to start over",
                resume=True,
                mode="w",
            ),
        )
    begun_names = set[str]()
    if unfinished is not None and transaction.location == target:
        if begun := sorted({*transaction.kept}.intersection(unfinished.children)):
            raise TargetExistsError(
                f"{target} is unfinished, and {begun} in it are of that build, not level 0 of "
                "another",
                fix=say("finish it with `.pyramid.to_ome_zarr()` and {resume}", resume=True),
            )
        if transaction.kept or not unfinished.kept:
            return  # what is there is the unfinished build itself
        begun_names = {*unfinished.children}
    if transaction.kept:
        _check_levels(transaction, paths, options)
        return
    if options["mode"] == "w-":
        check_free(target)
        return
    node = target.sound_node()
    if isinstance(node, zarr.Group):
        _check_hidden(target, node)
    old = level_names(node) if isinstance(node, zarr.Group) else set()
    check_replaceable(target, sorted({path.split("/")[0] for path in paths}), old | begun_names)


def _check_levels(transaction: Transaction, paths: Sequence[str], options: WriteOptions) -> None:
    """Refuse to add levels where something is that is no level, or that may not be replaced."""
    target, node = transaction.target, transaction.target.sound_node()
    names = list(dict.fromkeys(path.split("/")[0] for path in paths))
    announced = level_names(node) if isinstance(node, zarr.Group) else set()
    taken = [name for name in names if not (target / name).is_empty()]
    for path in filter(None, (local_path(target / name) for name in names)):
        _check_directory(path, path)
    if not announced.issuperset(taken):
        _refuse_taken(target, [name for name in taken if name not in announced])
    if taken and options["mode"] == "w-":
        raise TargetExistsError(
            f"{target} already has the levels {taken}",
            fix=say("replace them with {mode}", mode="w"),
        )


def _check_hidden(target: NodePath, node: zarr.Group) -> None:
    """Refuse to make an image of a group that holds others, which nobody would find any more."""
    if is_image(node):
        return
    is_root = not target.path or target.outside
    names = list(filter(is_name, children(target))) if is_root else look_around(target)[0]
    if names:
        raise TargetExistsError(
            f"{target} holds {[name[:60] for name in names[:10]]}, which an image in "
            "its place would hide",
            fix=say("choose another store, or a {group} in this one"),
        )


def check_above(place: NodePath, zarr_format: Literal[2, 3], *, is_label: bool = False) -> None:
    """Refuse a place under which, or in whose store, nothing can be put.

    Parameters
    ----------
    place : NodePath
    zarr_format : {2, 3}
    is_label : bool
        Whether it is a label image, which lies in the ``labels`` of an image.

    Raises
    ------
    TargetExistsError
        If an array or a level of an image lies on the way there, or the store is of the other Zarr
        format.
    InvalidNameError
        If it is, or lies in, the place for label images of an image.
    """
    if place.path.split("/")[0] == ngff.OME_GROUP:
        raise InvalidNameError(
            f"{place.path!r}: the group {ngff.OME_GROUP!r} is where a store lists its images",
            fix=say("choose another {group}"),
        )
    for above in place.parents():
        node = above.sound_node()
        if isinstance(node, zarr.Array):
            raise TargetExistsError(f"{above} is an array, and cannot hold {place.path!r}")
        if node is not None and is_image(node):
            _check_inside(place, above, dict(node.attrs), is_label=is_label)
        if node is not None and node.metadata.zarr_format != zarr_format:
            raise TargetExistsError(
                f"{above} is in Zarr format {node.metadata.zarr_format} and this OME-NGFF "
                f"version needs {zarr_format}",
                fix=say("write to another store, or choose the other {version}"),
            )


def _check_inside(
    place: NodePath, image: NodePath, attrs: Mapping[str, object], *, is_label: bool
) -> None:
    """Refuse a place in an image that is one of its levels, or the place for its labels."""
    first = place.path[len(image.path) :].strip("/").split("/")[0]
    if first == "labels" and not is_label:
        raise InvalidNameError(
            f"'labels' in {image}, which is an image, is for groups of label images",
            fix=say("choose another {group}, or pass {labels_of}", labels_of=image.path),
        )
    if first in {path.split("/")[0] for path in ngff.dataset_paths(attrs)}:
        raise TargetExistsError(
            f"{image / first} is a level of an image, and cannot hold {place.path!r}",
            fix=say("choose another {group}"),
        )
    if not is_label:
        raise TargetExistsError(
            f"{image} is an image, and cannot hold {place.path!r}, which would not be listed there",
            fix=say("choose another {group} or store, or pass {labels_of} for its labels"),
        )


def check_free(place: NodePath) -> None:
    """Refuse a place where a group, an array or any other file is.

    Raises
    ------
    TargetExistsError
    """
    if not place.is_empty():
        node = place.sound_node()
        if not (isinstance(node, zarr.Group) and ngff.version_of(dict(node.attrs))):
            _refuse_base(place)
        raise TargetExistsError(
            f"{place} already holds {_describe_node(node)}",
            fix=say(
                "choose another {group} or store, replace the image with {mode}, or "
                "remove it first",
                mode="w",
            ),
        )


def _refuse_base(place: NodePath) -> None:
    """Refuse a place where level 0 is, and nothing announces it: that gets its levels elsewise."""
    if (place / "0").sound_node() is not None:
        store = NodePath(place.store, "")
        raise TargetExistsError(
            f"{place} holds '0', which may be level 0 of an image without others",
            fix=f"add levels to it: xpyramid.add_levels({str(store)!r}, {place.path!r}); or "
            + say("choose another {group} or store"),
        )


def check_replaceable(place: NodePath, names: Sequence[str], announced: Set[str]) -> None:
    """Refuse a place whose content could not make way for an image.

    Parameters
    ----------
    place : NodePath
    names : sequence of str
        Of the image's levels.
    announced : set of str
        Children that are levels of the image to replace.

    Raises
    ------
    TargetExistsError
        If there is an array, or something else has the name of a level.
    """
    node = place.sound_node()
    if isinstance(node, zarr.Array) or (node is None and not place.is_empty()):
        raise TargetExistsError(
            f"{place} holds {_describe_node(node)}, and " + say("{mode} replaces images", mode="w"),
            fix=say("choose another {group} or store, or remove it first"),
        )
    taken = [name for name in names if name not in announced and not (place / name).is_empty()]
    if taken:
        _refuse_taken(place, taken)


def _refuse_taken(place: NodePath, names: Sequence[str]) -> NoReturn:
    raise TargetExistsError(
        f"{place} holds {names}, which no image there announces and a level would replace",
        fix=say("move it, or choose another {group}"),
    )


def _describe_node(node: Node | None) -> str:
    return {type(None): "files", zarr.Group: "a group"}.get(type(node), "an array")


def check_writable(place: NodePath) -> None:
    """Refuse a place that nothing can be written to.

    Raises
    ------
    NotWritableError
        If the store is read-only, cannot be reached, or its directory may not be written to; also
        where a file or a symbolic link is in the way.
    TargetExistsError
        If it lies inside an array on disk.
    """
    store = unwrapped(place.store)
    if isinstance(store, ZipStore) or (
        isinstance(store, LocalStore)
        and store.root.suffix.lower() in (".zip", ".ozx")
        and not store.root.is_dir()
    ):
        raise NotWritableError(
            f"{place} is in an archive, which can be read and not written to",
            fix="write to a directory, and pack that",
        )
    if place.store.read_only:
        raise NotWritableError(
            f"{place} is in a store that is read-only",
            fix="open it with read_only=False or mode='a'",
        )
    path = local_path(place)
    if path is not None:
        _check_directory(path, local_path(staging_path(place)) or path)
    elif isinstance(bare(place.store), FsspecStore):
        _check_reachable(place)


def _check_directory(path: Path, staging: Path) -> None:
    for here in (path, staging):
        if here.is_symlink():
            raise NotWritableError(
                f"{str(here)!r} is a symbolic link to {os.readlink(here)!r}, which is "
                "neither replaced nor written through",
                fix="remove it, or write to where it points",
            )
    here = _existing(path)
    if not here.is_dir():
        raise NotWritableError(
            f"{str(here)!r} is a file or a broken link", fix=f"{str(path)!r} cannot lie inside it"
        )
    if not os.access(here, os.W_OK | os.X_OK):
        raise NotWritableError(
            f"no permission to write in {str(here)!r}", fix="change it, or write to another store"
        )
    for above in path.resolve().parents:
        if is_array_directory(above):
            raise TargetExistsError(
                f"{str(above)!r} is an array, and cannot hold {str(path)!r}",
                fix=say("choose another {group} or store"),
            )


def _existing(path: Path) -> Path:
    """Return the last part of a path that is there."""
    try:
        return next(p for p in (path.absolute(), *path.absolute().parents) if os.path.lexists(p))
    except (OSError, ValueError) as error:
        raise InvalidNameError(f"{str(path)[:60]!r} cannot be a path: {error}") from error


def _check_reachable(place: NodePath) -> None:
    """Ask a remote store for something, to find out whether it answers."""
    try:
        place.is_empty()
    except ReadError as error:
        raise NotWritableError(
            f"{place} cannot be reached: {error}",
            fix="check the address, the network, and the credentials",
        ) from error


def check_space(store: Store, places: Sequence[NodePath], nbytes: int) -> None:
    """Refuse a disk that is obviously too small: even data compressed a thousandfold do not fit.

    A store object, instead of a path, says that the user knows better.

    Raises
    ------
    NotWritableError
        If there is less.
    """
    path = local_path(places[0]) if places and isinstance(store, str | os.PathLike) else None
    if path is None:
        return
    here = _existing(path)
    free = shutil.disk_usage(here).free
    if nbytes > _COMPRESSION * free:
        raise NotWritableError(
            errno.ENOSPC,
            f"{nbytes / 1e9:,.0f} GB of samples and {free / 1e9:,.3f} GB free: they would have to "
            f"be compressed more than {_COMPRESSION}-fold; make room, write elsewhere, or, if "
            "nearly all chunks are empty, pass zarr.storage.LocalStore(path) as the store",
            str(here),
        )


def check_case(documents: Iterable[tuple[NodePath, Sequence[str]]]) -> None:
    """Refuse images that would be mixed up on such a disk, with each other or with what is there.

    Parameters
    ----------
    documents : iterable of (NodePath, sequence of str)
        Places of images, and the keys of their documents.

    Raises
    ------
    InvalidNameError
        For two names of one call.
    TargetExistsError
        For a name that exists in another spelling.
    """
    seen: dict[str, str] = {}
    for place, keys in documents:
        path = local_path(place)
        if path is None or not ignores_case(path):
            continue
        for key in sorted(keys):
            *names, _ = (place / key).path.split("/")
            for spelled in accumulate(names, "{}/{}".format):
                other = seen.setdefault(_folded(spelled), spelled)
                if other != spelled:
                    raise InvalidNameError(
                        f"{spelled!r} and {other!r} are one name on this disk, which ignores case",
                        fix="rename one of them, or write to another store",
                    )
        _check_spelling(path, place)


def _check_spelling(path: Path, place: NodePath) -> None:
    """Refuse a place of which a part exists in another spelling."""
    for above in (path, *path.parents[: place.path.count("/")]):
        if lexists(above) and above.name not in os.listdir(above.parent):
            raise TargetExistsError(
                f"{str(above)!r} exists in another spelling, and this disk ignores case",
                fix=say("choose another {group}, or use the existing spelling"),
            )


def ignores_case(path: Path) -> bool:
    """Whether the disk that a path is on, or will be, ignores case."""
    for here in (path.absolute(), *path.absolute().parents):
        other = here.with_name(here.name.swapcase()) if here.name else here
        if other != here and lexists(here):
            return lexists(other) and samefile(here, other)
    return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
