"""What goes wrong when something foreign is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xpyramid.errors import PyramidError, SourceError


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
