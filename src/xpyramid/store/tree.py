"""The nodes below a place, looked at one by one: damaged ones are nodes too."""

from __future__ import annotations

from collections.abc import Mapping

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError
from xpyramid.store.confined import check_path
from xpyramid.store.documents import attributes_of
from xpyramid.store.listing import children, peek
from xpyramid.store.path import NodePath


class Tree:
    """What is below a place, from the consolidated metadata there if there are any."""

    def __init__(self, place: NodePath) -> None:
        self.place = place
        self._copies = _copies(peek(place).documents)
        self._names: dict[str, set[str]] = {}
        for key in self._copies:
            path = key.rpartition("/")[0]
            while path:
                above, _, name = path.rpartition("/")
                self._names.setdefault(above, set()).add(name)
                path = above

    def look(self, path: str) -> tuple[str, dict[str, object]]:
        """Return what is at a path ("group", "array", "nothing", "damaged"), and its attributes."""
        if self._copies and path:
            prefix = f"{path}/"
            node = self._copies.get(f"{prefix}zarr.json")
            is_array = f"{prefix}.zarray" in self._copies
            if node or is_array or f"{prefix}.zgroup" in self._copies:
                kind = node.get("node_type") if isinstance(node, Mapping) else None
                kind = kind or ("array" if is_array else "group")
                return str(kind), attributes_of(self._copies, path)
        try:
            stored_node = peek(self.place / path)
        except NotAPyramidError:  # a link that leads out of the store
            return "damaged", {}
        return stored_node.kind, stored_node.attributes

    def names(self, path: str) -> list[str]:
        """Return the names of what lies directly below a path."""
        if self._copies:
            return sorted(self._names.get(path, ()))
        return [name for name in children(self.place / path) if not name.startswith(".")]


def listed_in(attributes: Mapping[str, object]) -> list[str]:
    """Return the paths that a plate or a well lists, those that stay inside its group."""
    content, paths = ngff.ome_metadata(attributes), []
    for key, lists in (("plate", "wells"), ("well", "images")):
        for path in ngff.listed_paths(content.get(key), lists):
            try:
                paths.append(check_path(path))
            except NotAPyramidError:
                continue
    return list(dict.fromkeys(paths))


def _copies(documents: Mapping[str, object]) -> dict[str, object]:
    """Return the documents that a group's consolidated metadata are copies of."""
    node = documents.get("zarr.json")
    inline = node.get("consolidated_metadata") if isinstance(node, Mapping) else None
    if isinstance(inline, Mapping) and isinstance(inline.get("metadata"), Mapping):
        return {f"{path}/zarr.json": copy for path, copy in inline["metadata"].items()}
    old = documents.get(".zmetadata")
    copies = old.get("metadata") if isinstance(old, Mapping) else None
    return dict(copies) if isinstance(copies, Mapping) else {}
