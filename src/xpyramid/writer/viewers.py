"""What viewers cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpyramid.errors import ViewerWarning
from xpyramid.warn import warn

#: Who refuses a dtype, and the nearest that is shown by all.
_REFUSED = {
    "bool": ("neuroglancer and vizarr", "uint8"),
    "int64": ("neuroglancer", "int32"),
    "float16": ("neuroglancer and vizarr", "float32"),
    "float64": ("neuroglancer", "float32"),
    "uint64": ("vizarr", "uint32"),
}


def warn_of_dtypes(dtypes: Mapping[str, np.dtype[Any]]) -> None:
    """Say once which arrays some viewer refuses, and what to do.

    Parameters
    ----------
    dtypes : mapping
        Of the arrays, by name.
    """
    found = {name: dtype.name for name, dtype in dtypes.items() if dtype.name in _REFUSED}
    if not found:
        return
    said = []
    for dtype in dict.fromkeys(found.values()):
        names = [name for name, other in found.items() if other == dtype]
        who, instead = _REFUSED[dtype]
        said.append(
            f"{who} cannot show dtype {dtype} ({', '.join(map(repr, names))}); to show it there, "
            f"call .astype({instead!r}) before .pyramid"
        )
    warn("; ".join(said), ViewerWarning)
