"""Groups that are not images: plates, collections, labels, and how to open an image in them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import islice

import zarr
from zarr.errors import ZarrUserWarning

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError
from xpyramid.messages import HOW_TO_FINISH, say
from xpyramid.reader.find import images_below
from xpyramid.store.confined import check_path
from xpyramid.store.faults import find_fault
from xpyramid.store.listing import children, peek
from xpyramid.store.path import NodePath, ZarrArray, members_of
from xpyramid.store.transaction import unfinished_in

#: So many names are listed, and so many groups looked into.
_LISTED, _LOOKED_INTO = 10, 1000


def labels_of(group: zarr.Group) -> tuple[str, ...]:
    """Return the names of an image's labels, as its ``labels`` group lists them."""
    node = members_of(group)("labels")
    listed = ngff.ome_metadata(dict(node.attrs)).get("labels") if node is not None else None
    return tuple(_paths(listed)) if isinstance(listed, list) else ()


def explain(place: NodePath, group: zarr.Group) -> str:
    """Say why a group is not an image, and how to open the images that it holds."""
    attrs = dict(group.attrs)
    ome = ngff.ome_metadata(attrs)
    plate, well, labels = ome.get("plate"), ome.get("well"), ome.get("labels")
    if isinstance(plate, Mapping):
        return _plate(place, group, plate)
    if isinstance(well, Mapping):
        images = _paths(_field(well.get("images"), "path"))
        what = "a well of a plate, with the fields of view"
        return f"this is {what} {_list(images)}" + _open(place, images)
    if "bioformats2raw.layout" in attrs or "bioformats2raw.layout" in ome:
        images = _series(group)
        what = "a bioformats2raw container, with the images"
        return f"this is {what} {_list(images)}" + _open(place, images)
    if isinstance(labels, list):
        images = _paths(labels)
        return f"this group lists the labels {_list(images)}" + _open(place, images)
    return _describe_group(place)


def explain_node(place: NodePath, node: zarr.Group | ZarrArray | None) -> str:
    """Say why what is at a place is not an image; None is nothing."""
    if isinstance(node, zarr.Group):
        return explain(place, node)
    return missing(place) if node is None else "this is an array, not an OME-Zarr image"


def _describe_group(place: NodePath) -> str:
    """Say which images a group holds, finished or not."""
    if images := sorted(islice(images_below(place), _LOOKED_INTO)):
        return f"this group is not an image itself, but holds {_list(images)}" + _open(
            place, images
        )
    if unfinished := unfinished_in(place):
        return f"this group holds {_list(unfinished)}, unfinished: the build was interrupted; " + (
            HOW_TO_FINISH
        )
    return (
        "this group has no multiscales metadata: it is not an OME-Zarr image, or an unfinished one"
    )


def fault(place: NodePath) -> str | None:
    """Return which document of an image cannot be read, and why; None if that is not known.

    Looked at are the group, the arrays that it announces, and what lies beside them.
    """
    if reason := find_fault(place):
        return reason
    announced = _paths(ngff.dataset_paths(peek(place).attributes))[:_LOOKED_INTO]
    for path in announced:
        above, _, name = path.rpartition("/")
        siblings = children(place / above)[:_LOOKED_INTO] if above else ()
        for other in (name, *(sibling for sibling in siblings if sibling != name)):
            if reason := find_fault(place / above / other):
                return reason
    return None


def ignore_zarr_warnings() -> warnings.catch_warnings[None]:
    """Have zarr not warn of files that are no nodes, such as those of unfinished builds."""
    return warnings.catch_warnings(action="ignore", category=ZarrUserWarning)


def missing(place: NodePath) -> str:
    """Say what is at the nearest place above one where nothing is."""
    for above in reversed(list(place.parents())):
        node = above.node()
        if isinstance(node, zarr.Group):
            with ignore_zarr_warnings():
                members = islice(node.members(), _LOOKED_INTO)
                names = sorted(
                    name
                    for name, member in members
                    if name != ngff.OME_GROUP or isinstance(member, zarr.Array)
                )
            labels = labels_of(node)
            also = f", and has the labels {_list(labels)}" if labels else ""
            held = _list(names) if names else "neither groups nor arrays"
            return f"there is nothing; {above} holds {held}{also}"
    return "there is nothing; accepted: the group of an OME-Zarr image"


def _plate(place: NodePath, group: zarr.Group, plate: Mapping[str, object]) -> str:
    """List the wells of a plate, and look for the first that has fields of view."""
    wells = _paths(_field(plate.get("wells"), "path"))
    text = f"this is a plate, with the wells {_list(wells)}"
    for well in wells[:_LOOKED_INTO]:
        node = _child(group, well)
        attrs = ngff.ome_metadata(dict(node.attrs)).get("well") if node is not None else None
        images = _paths(_field(attrs.get("images"), "path")) if isinstance(attrs, Mapping) else []
        if images:
            fields = [f"{well}/{image}" for image in images]
            return f"{text}; open a field of view of one" + _open(place, fields)
    return text


def _series(group: zarr.Group) -> list[str]:
    """Return the images of a bioformats2raw container: those it lists, else those there are."""
    node = _child(group, ngff.OME_GROUP)
    listed = ngff.series_of(dict(node.attrs)) if node is not None else None
    if listed is not None:
        return _paths(listed)
    names = (name for name, _ in islice(group.groups(), _LOOKED_INTO))
    return sorted((name for name in names if name.isdecimal()), key=int)


def _child(group: zarr.Group, path: str) -> zarr.Group | None:
    node = group.get(path)
    return node if isinstance(node, zarr.Group) else None


def _field(items: object, name: str) -> list[object]:
    entries = items if isinstance(items, list) else []
    return [item.get(name) for item in entries if isinstance(item, Mapping)]


def _paths(values: Iterable[object] | None) -> list[str]:
    """Return those of some values that are paths inside a group."""
    paths = []
    for value in values or ():
        try:
            paths.append(check_path(value))
        except NotAPyramidError:
            continue
    return paths


def _list(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "(none)"
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return f"{[name[:80] for name in listed[:_LISTED]]}{more}"


def _open(place: NodePath, images: list[str]) -> str:
    """Say how to open the first of some images."""
    return say("; pass {group}", group=(place / images[0]).path) if images else ""
