"""What tasks have finished, and what they hand up: so that a build can be gone on with."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from xpyramid.engine import Distribution, Handed, Node
from xpyramid.errors import ResumeError
from xpyramid.messages import Message, option
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
    def of(cls, place: NodePath) -> Journal:
        """Return the journal that is at a place."""
        found = set()
        for key in list_keys(place):
            level, _, index = key.partition("/")
            parts = index.split(".")
            if level.isdecimal() and all(part.isdecimal() for part in parts):
                found.add((int(level), tuple(map(int, parts))))
        return cls(place, frozenset(found))

    def save(self, node: Node, handed: Handed) -> None:
        """Note that a task is done: all that it writes is written."""
        lengths = np.asarray([len(handed.values), len(handed.state), len(handed.seen)])
        arrays = [lengths, *handed.values, *handed.state]
        for channel, one in handed.seen.items():
            arrays += [np.asarray(v) for v in (channel, one.low, one.high, one.keys, one.counts)]
        file = io.BytesIO()
        for array in arrays:
            np.save(file, array, allow_pickle=False)
        document = as_buffer(file.getvalue())
        put(self.place, {_key(node): document})

    def load(self, node: Node) -> Handed:
        """Return what a task has handed up."""
        try:
            return _handed(get_document(self.place / _key(node)) or b"")
        except (ValueError, IndexError, EOFError, TypeError) as error:
            raise ResumeError(
                f"{self.place / _key(node)}, which tells what a task of an unfinished "
                f"build has done, is damaged: {type(error).__name__}: {error}",
                fix=Message("begin anew with ", option("mode", "w")),
            ) from error


def _handed(document: bytes) -> Handed:
    """Return what a document says was handed up, if it is all there."""
    file = io.BytesIO(document)
    arrays = []
    while file.tell() < len(document):
        arrays.append(np.load(file, allow_pickle=False))
    values, state, channels = map(int, arrays[0])
    first, second = 1 + values, 1 + values + state
    if len(arrays) != second + 5 * channels:
        raise ValueError(f"{len(arrays)} arrays")
    seen = {}
    for i in range(second, len(arrays), 5):
        channel, low, high, *histogram = arrays[i : i + 5]
        seen[channel.item()] = Distribution(low.item(), high.item(), *histogram)
    return Handed(tuple(arrays[1:first]), tuple(arrays[first:second]), seen)


def _key(node: Node) -> str:
    level, index = node
    return f"{level}/{'.'.join(map(str, index))}"
