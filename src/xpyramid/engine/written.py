"""What is known of stored objects by whoever wrote them: how many bytes, and their checksum.

Only the task that writes an object has its bytes in hand. It notes them, and the notes travel up
the tree of nodes with all else that tasks hand up: 24 bytes for each object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

#: A row for each object: its place in the C order of its array's objects, its size, its checksum.
Records = NDArray[np.uint64]

#: Records of the objects that were written, by the path of their array in the image.
Written = Mapping[str, Records]


def join(parts: Iterable[Written]) -> Written:
    """Put the records of several tasks together."""
    records: dict[str, list[Records]] = {}
    for part in parts:
        for path, own in part.items():
            records.setdefault(path, []).append(own)
    return {path: own[0] if len(own) == 1 else np.concatenate(own) for path, own in records.items()}
