"""Disks that take names that differ in case only for one, as most do on macOS and Windows."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate
from os.path import lexists, samefile
from pathlib import Path

from xpyramid.errors import InvalidNameError, TargetExistsError
from xpyramid.store.path import Place, local_path


def check_case(documents: Iterable[tuple[Place, Sequence[str]]]) -> None:
    """Refuse images that would be mixed up on such a disk, with each other or with what is there.

    Parameters
    ----------
    documents : iterable of (Place, sequence of str)
        Places of images, and the keys of their documents.

    Raises
    ------
    InvalidNameError
        For two names of one call.
    TargetExistsError
        For a name that is there in another spelling.
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
                        f"{spelled!r} and {other!r} are one name on this disk, which ignores case; "
                        "rename one of them, or write to another store"
                    )
        _check_spelling(path, place)


def _check_spelling(path: Path, place: Place) -> None:
    """Refuse a place of which a part is there in another spelling."""
    for above in (path, *path.parents[: place.path.count("/")]):
        if lexists(above) and above.name not in os.listdir(above.parent):
            raise TargetExistsError(
                f"{str(above)!r} is there in another spelling, and this disk ignores case; choose "
                "another group=, or spell it as it is there"
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
