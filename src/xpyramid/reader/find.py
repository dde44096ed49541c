"""Which images a store holds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError, PyramidError, SourceError
from xpyramid.messages import Message, option
from xpyramid.store.confined import ConfinedStore, resolve_confined
from xpyramid.store.faults import find_fault
from xpyramid.store.listing import peek
from xpyramid.store.path import NodePath, Store, check_group_path, local_path
from xpyramid.store.tree import Tree, listed_in

#: Groups that are looked into for images: a plate of 1536 wells with 9 images each has 15 360.
MAX_GROUPS = 50_000

#: How far above a place its image is looked for: ``image/0/field`` lies two below ``image``.
_HIGHEST = 3


def find_images(store: Store, group: str | None = None) -> list[str]:
    """Return the paths of the OME-Zarr images in a store, "" where ``group`` itself is one.

    Metadata are read, data are not. What is below an image (its levels, its labels) is not listed.
    What cannot be read is listed too, and what a plate lists where nothing is there: opening it
    says what is wrong.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
    group : str, optional
        Where in the store to look. Default: everywhere.

    Raises
    ------
    NotAPyramidError
        If there is no store, or its own metadata are damaged.
    SourceError
        If there are too many groups.
    """
    check_group_path(group)
    place = resolve_confined(store) / (group or "").strip("/")
    kind = peek(place).kind
    if kind == "damaged":
        raise NotAPyramidError(find_fault(place) or f"{place}: the metadata cannot be read")
    return sorted(images_below(place)) if kind == "group" else []


def images_at(store: Store, group: str = "") -> int:
    """Return how many images a group announces; 1 where that cannot be read, as opening it says."""
    try:
        attributes = peek(resolve_confined(store) / group).attributes
    except (PyramidError, OSError):
        return 1
    return max(1, ngff.count_images(attributes))


def image_above(place: NodePath) -> NodePath | None:
    """Return the image that a place belongs to, such as one of its levels, or None."""
    for above, name in islice(_above(place), _HIGHEST):
        attributes = peek(above).attributes
        if ngff.version_of(attributes) is not None:
            levels = {path.split("/")[0] for path in ngff.dataset_paths(attributes)}
            return above if name in levels else None
    return None


def _above(place: NodePath) -> Iterator[tuple[NodePath, str]]:
    """Yield places above one, from the nearest up, each with the name of what lies below it.

    Those above the directory of a store are among them.
    """
    for above in reversed(list(place.parents())):
        yield above, place.path.removeprefix(above.path).strip("/").split("/")[0]
    root = local_path(NodePath(place.store, ""))
    if root is not None:
        path = root.absolute()
        for below in [path, *path.parents][:-1]:
            yield NodePath(ConfinedStore(below.parent), ""), below.name


def images_below(root: NodePath) -> Iterator[str]:
    """Yield the paths of the images in a group; links may make it look endless.

    Of what a plate lists and is not there, the path is yielded too, as is that of what is damaged.
    """
    tree, queued, visited = Tree(root), {""}, 0
    todo = [("", False)]  # paths, and whether a plate or a well lists them
    while todo:
        path, is_listed = todo.pop()
        kind, attributes = tree.look(path)
        if kind == "nothing" and not is_listed:
            continue
        visited += 1
        if visited > MAX_GROUPS:
            raise SourceError(
                f"more than {MAX_GROUPS} groups",
                accepted=Message("a part of the store, as in ", option("group", path)),
            )
        if kind == "damaged" or ngff.version_of(attributes) is not None:
            yield path
        elif path.count("/") < 16:
            listed = listed_in(attributes)
            names = tree.names(path) if kind != "array" else []
            if is_listed and kind != "group" and not names:
                yield path
            members = {f"{path}/{name}".lstrip("/"): name in listed for name in (*listed, *names)}
            todo += [(member, mark) for member, mark in members.items() if member not in queued]
            queued.update(members)
