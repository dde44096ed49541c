"""What tasks have finished, and what they hand up, so that a build can be resumed.

Each output of a pass has a journal of its own: a document for each node of the tiling, which holds
NumPy arrays one after the other: first how many there are of each kind, then the values, the state,
five arrays for the statistics of each channel, and two for the objects written of each array: its
path, and their records.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from xpyramid.engine import Distribution, Intermediate, Node
from xpyramid.errors import ResumeError
from xpyramid.messages import say
from xpyramid.store.documents import as_buffer, get_document, put
from xpyramid.store.listing import list_keys
from xpyramid.store.path import NodePath


@dataclass(frozen=True)
class Journal:
    """A document for each task that is done, with the arrays of what it hands up.

    Attributes
    ----------
    place : NodePath
    done : frozenset of Node
        Those of an earlier run.
    """

    place: NodePath
    done: frozenset[Node] = frozenset()

    @classmethod
    def load_from(cls, place: NodePath) -> Journal:
        """Return the journal that is at a place."""
        nodes = set[Node]()
        for key in list_keys(place):
            level, _, index = key.partition("/")
            parts = index.split(".")
            if level.isdecimal() and all(part.isdecimal() for part in parts):
                nodes.add((int(level), tuple(map(int, parts))))
        return cls(place, frozenset(nodes))

    def save(self, node: Node, intermediate: Intermediate) -> None:
        """Note that a task is done: all that it writes is written."""
        values, state, statistics, written = intermediate
        arrays = [np.asarray([*map(len, intermediate)]), *values, *state]
        for channel, d in statistics.items():
            arrays += [np.asarray(v) for v in (channel, d.low, d.high, d.keys, d.counts)]
        for path, records in written.items():
            arrays += [np.asarray(path), records]
        file = io.BytesIO()
        for array in arrays:
            np.save(file, array, allow_pickle=False)
        document = as_buffer(file.getvalue())
        put(self.place, {_key(node): document})

    def load(self, node: Node) -> Intermediate:
        """Return what a task has handed up."""
        try:
            return _parse(get_document(self.place / _key(node)) or b"")
        except (ValueError, IndexError, EOFError, TypeError) as error:
            raise ResumeError(
                f"{self.place / _key(node)}, which tells what a task of an unfinished "
                f"build has done, is damaged: {type(error).__name__}: {error}",
                fix=say("start over with {mode}", mode="w"),
            ) from error


def _parse(document: bytes) -> Intermediate:
    """Return what a document says was handed up, if it is all there."""
    file = io.BytesIO(document)
    arrays = []
    while file.tell() < len(document):
        arrays.append(np.load(file, allow_pickle=False))
    values, state, channels, paths = map(int, arrays[0])
    first, second = 1 + values, 1 + values + state
    third = second + 5 * channels
    if len(arrays) != third + 2 * paths:
        raise ValueError(f"{len(arrays)} arrays")
    statistics = {}
    for i in range(second, third, 5):
        channel, low, high, *histogram = arrays[i : i + 5]
        statistics[channel.item()] = Distribution(low.item(), high.item(), *histogram)
    written = {
        path.item(): records
        for path, records in zip(arrays[third::2], arrays[third + 1 :: 2], strict=True)
    }
    if any(rows.dtype != np.uint64 or rows.shape[1:] != (3,) for rows in written.values()):
        raise ValueError("records of objects of another kind")
    return Intermediate(tuple(arrays[1:first]), tuple(arrays[first:second]), statistics, written)


def _key(node: Node) -> str:
    level, index = node
    return f"{level}/{'.'.join(map(str, index))}"
