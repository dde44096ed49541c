"""The image that a call is about, where it is in a store."""

from __future__ import annotations

from itertools import islice

import zarr

from xpyramid.errors import NotAPyramidError
from xpyramid.reader import StoredImage, open_base
from xpyramid.reader.explain import explain_node
from xpyramid.reader.find import images_below
from xpyramid.store.path import NodePath, Store, check_group_path, is_image, resolve


def find_image(store: Store, group: str | None) -> tuple[NodePath, zarr.Group, StoredImage]:
    """Return the place of an image, its group, and its level 0.

    Without a group, the image is the store itself, or the only one in it.

    Raises
    ------
    NotAPyramidError
        If there is none, or several in one group, or none that can be understood.
    TargetExistsError
        If the metadata around it are damaged.
    """
    check_group_path(group)
    place = resolve(store, read_only=False) / (group or "").strip("/")
    node = place.sound_node()
    if group is None and isinstance(node, zarr.Group):
        images = list(islice(images_below(place), 2))
        if len(images) == 1 and images[0]:
            place /= images[0]
            node = place.sound_node()
    if not isinstance(node, zarr.Group) or not is_image(node):
        raise NotAPyramidError(f"{place}: " + explain_node(place, node))
    place.check_around()
    return place, node, open_base(place, node)
