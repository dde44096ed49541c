"""How an image comes to its place: all of it at once, or nothing.

The writer says what an image consists of; a transaction says where that is put until it is whole,
and how it appears then. There is one kind for each thing that stores can do: rename on a local
disk, a last document elsewhere. Another kind, such as a session whose commit is the publication,
is one more class in `KINDS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from zarr.abc.buffer import Buffer
from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

from xpyramid.store.build_record import BuildRecord
from xpyramid.store.in_place import InPlaceTransaction
from xpyramid.store.listing import children
from xpyramid.store.path import NodePath, Store, name_of_staged, path_named, resolve
from xpyramid.store.rename import RenameTransaction
from xpyramid.store.retrying import bare


class Transaction(Protocol):
    """An image on its way to its place: begin, write to the location, publish or abandon.

    All of it lives in the store, so that one process can begin, others write, and a third publish.
    """

    @property
    def target(self) -> NodePath:
        """Where the image will be."""

    @property
    def location(self) -> NodePath:
        """Where its documents and objects are written until it is published."""

    @property
    def tasks(self) -> NodePath | None:
        """Where tasks note what they have done; None if an unfinished build cannot be resumed."""

    def lock(self) -> AbstractContextManager[None]:
        """Keep others from making the same image, while the context lasts."""

    def recover(self) -> bool:
        """Complete what a process that died has begun at its last step, if it cannot be undone.

        Returned is whether there was something like that.
        """

    def unfinished(self) -> BuildRecord | None:
        """Return what was noted of an unfinished build, None where there is none."""

    def is_original(self, record: BuildRecord) -> bool:
        """Whether what an unfinished build has written is here, and is not a copy of it."""

    def is_published(self, record: BuildRecord) -> bool:
        """Whether the image at its place is that of a build, as far as the store can tell."""

    def begin(self, record: BuildRecord, zarr_format: Literal[2, 3]) -> None:
        """Remove what an earlier build has left, note this one, and make the groups around it."""

    def note(self, record: BuildRecord) -> None:
        """Note how far the build is."""

    def tidy(self) -> None:
        """Remove files that a process that died has left half written."""

    def publish(self, documents: Mapping[str, Buffer], *, durable: bool = False) -> None:
        """Make an image of what is complete now, with the documents of its own group."""

    def change_group(self, group: NodePath, change: Callable[[NodePath], None]) -> None:
        """Change the documents of a group around the image, one process at a time."""

    def flush(self) -> None:
        """Wait until the disk has the documents of the groups around the image."""

    def abandon(self) -> None:
        """Remove all that an unfinished build has left."""

    def close(self) -> None:
        """Remove what is there only while the image is unfinished."""


class TransactionKind(Protocol):
    """A class of transactions."""

    def suits(self, store: ZarrStore) -> bool:
        """Whether images come to their place like this in a store."""

    def __call__(self, target: NodePath) -> Transaction:
        """Return the transaction of an image."""


#: The first that suits a store is taken.
KINDS: list[TransactionKind] = [RenameTransaction, InPlaceTransaction]


def transaction_for(target: NodePath) -> Transaction:
    """Return how an image comes to its place."""
    kind = next(kind for kind in KINDS if kind.suits(bare(target.store)))
    return kind(target)


def find_unfinished(store: Store, group: str | None) -> NodePath | None:
    """Return the place of an unfinished image, None if there is none."""
    if isinstance(store, str | os.PathLike) and "://" not in (named := path_named(store)):
        path = Path(named, group or "").expanduser().absolute()
        place = NodePath(LocalStore(path.parent, read_only=True), path.name)
    else:
        place = resolve(store, read_only=True) / (group or "").strip("/")
    return place if transaction_for(place).unfinished() is not None else None


def unfinished_in(place: NodePath) -> list[str]:
    """Return the names of the images in a group whose builds have not ended."""
    names = [name for child in children(place) if (name := name_of_staged(child)) is not None]
    return [name for name in names if transaction_for(place / name).unfinished() is not None]
