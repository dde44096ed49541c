"""What is noted of an unfinished image; anybody may have written it."""

from __future__ import annotations

from typing import Any

from xpyramid.store.contents import parse_document
from xpyramid.store.path import is_name

#: What stands for a note that cannot be understood: there is something, and no way on.
_UNKNOWN: dict[str, Any] = {
    "format": 0, "workers": 1, "children": [], "created": False, "inode": None, "about": {}
}  # fmt: skip


def parse_record(raw: bytes) -> dict[str, Any]:
    """Return what a note says, as far as it is one of ours.

    Names of children, which are removed where a build begins anew, are no paths to elsewhere.
    """
    try:
        found = parse_document(raw)
    except ValueError:
        return dict(_UNKNOWN)
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key), (type(value), int) if value is None else type(value))
        for key, value in _UNKNOWN.items()
    ):
        return dict(_UNKNOWN)
    children = [name for name in found["children"] if isinstance(name, str) and is_name(name)]
    return {**found, "children": children, "workers": max(1, found["workers"])}
