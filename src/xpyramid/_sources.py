"""Which images a store holds, and what goes wrong when something foreign is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import zarr

from xpyramid import ngff
from xpyramid.errors import PyramidError, SourceError
from xpyramid.io.reading.explain import quiet
from xpyramid.io.store.confined import resolve_confined

#: Groups that are looked into for images: a plate of 1536 wells with 9 images each has 15 360.
MAX_GROUPS = 50_000


def find_images(location: str, group: str | None = None) -> list[str]:
    """Return the paths of the OME-Zarr images in a store, "" where ``group`` itself is one.

    Metadata are read, data are not. What is below an image (its levels, its labels) is not listed.

    Parameters
    ----------
    location : str
        Path or URL of a Zarr store.
    group : str, optional
        Where in the store to look. Default: everywhere.

    Raises
    ------
    NotAPyramidError
        If there is no store.
    SourceError
        If its metadata cannot be read.
    """
    with reading(location):
        place = resolve_confined(location) / (group or "").strip("/")
        node = place.node()
        with quiet():
            return sorted(_images(node)) if isinstance(node, zarr.Group) else []


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn whatever a reader raises into a SourceError.

    Readers of foreign files raise what happens to go wrong first: OSError, ValueError, KeyError,
    struct.error, SyntaxError (Pillow), IndexError (tifffile) and more.
    """
    try:
        yield
    except PyramidError:
        raise
    except Exception as error:
        raise SourceError(f"cannot read {source!r}: {type(error).__name__}: {error}") from error


def _images(root: zarr.Group) -> Iterator[str]:
    """Yield the paths of the images in a group; links may make it look endless."""
    todo = [("", root)]
    for _ in range(MAX_GROUPS):
        if not todo:
            return
        path, group = todo.pop()
        if ngff.version_of(dict(group.attrs)) is not None:
            yield path
        elif path.count("/") < 16:
            todo += [(f"{path}/{name}".lstrip("/"), child) for name, child in group.groups()]
    raise SourceError(
        f"more than {MAX_GROUPS} groups; accepted: a part of the store, as in --group {path!r}"
    )
