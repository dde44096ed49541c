"""What is noted of an unfinished build, by which another call can resume it.

Anybody may have written it: what cannot be understood stands for a build that cannot be resumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from xpyramid.store.documents import parse_document
from xpyramid.store.path import is_name

#: What a record is about where no image is built, but one that is there gets longer.
APPEND = "append"


@dataclass(frozen=True)
class BuildRecord:
    """An unfinished build.

    Attributes
    ----------
    format : int
        Of the record and of what tasks note; 0 for a record that cannot be understood.
    workers : int
        How many tasks ran at a time, which decides how the work was divided.
    children : tuple of str
        Names of the nodes below the image that the build may have written, or began to replace.
    created : bool
        Whether all documents of the image are there, and only samples are missing.
    about : mapping
        What must be the same where the build is resumed, as JSON.
    inode : int or None
        Of the directory that it is made in, which no copy has; None where there is no directory.
    build : str
        What no other build has, so that a late task or publication knows its own. The published
        image keeps it where its tasks run later.
    delayed : bool
        Whether its tasks run later, when nobody holds its lock.
    kept : tuple of str
        Names of the nodes below the image that are its levels and stay as they are.
    """

    format: int = 0
    workers: int = 1
    children: tuple[str, ...] = ()
    created: bool = False
    about: Mapping[str, object] = field(default_factory=dict)
    inode: int | None = None
    build: str = ""
    delayed: bool = False
    kept: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether the published image keeps the name of the build, for somebody may ask for it.

        Somebody does where tasks run later, and where an image is there before and after.
        """
        return self.delayed or bool(self.kept)

    @property
    def is_of_growth(self) -> bool:
        """Whether it is of an image that gets longer."""
        return APPEND in self.about

    def to_json(self) -> bytes:
        """Return the record as it is stored."""
        content = {**vars(self), "children": sorted(self.children)}
        return json.dumps(content, indent=1, allow_nan=False).encode()

    @classmethod
    def parse(cls, raw: bytes) -> BuildRecord:
        """Return the record that a document holds, as far as it is one of ours.

        Names of children, which are removed where a build begins anew, are no paths to elsewhere.
        """
        try:
            content = parse_document(raw)
        except ValueError:
            return cls()
        types = {"format": int, "workers": int, "children": list, "created": bool, "about": dict}
        if not isinstance(content, dict) or not all(
            isinstance(content.get(key), kind) for key, kind in types.items()
        ):
            return cls()
        inode = content.get("inode")
        if not isinstance(inode, int | None):
            return cls()
        build = content.get("build")
        kept = _names(content.get("kept"))
        children = [name for name in _names(content["children"]) if name not in kept]
        return cls(
            content["format"], max(1, content["workers"]), tuple(children), content["created"],
            content["about"], inode, build if isinstance(build, str) else "",
            content.get("delayed") is True, kept,
        )  # fmt: skip

    def with_children(self, names: set[str]) -> BuildRecord:
        """Return the record of a build that also replaces what has these names."""
        replaced = names.union(self.children).difference(self.kept)
        return replace(self, children=tuple(sorted(replaced)))


def _names(listed: object) -> tuple[str, ...]:
    names = listed if isinstance(listed, list) else []
    return tuple(name for name in names if isinstance(name, str) and is_name(name))
