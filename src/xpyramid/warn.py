"""Warnings that point at the line of the user, whichever door it came through."""

from __future__ import annotations

import sys
import warnings

from xpyramid.messages import printable

_PACKAGE = __name__.partition(".")[0]


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line of the call stack that is not in this package."""
    warnings.warn(printable(message), category, stacklevel=_levels_up())


def _levels_up() -> int:
    """Return the ``stacklevel`` of `warnings.warn` that leads from `warn` out of the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        if frame.f_back is None:
            break
        level, frame = level + 1, frame.f_back
    return level
