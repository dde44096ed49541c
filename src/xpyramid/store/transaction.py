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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from zarr.abc.buffer import Buffer
from zarr.abc.store import Store as ZarrStore
from zarr.storage import LocalStore

from xpyramid.errors import ResumeError
from xpyramid.store.build_in_group import build_at
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.in_place import InPlaceTransaction
from xpyramid.store.listing import children
from xpyramid.store.path import (
    NodePath,
    Store,
    expanded,
    local_path,
    name_of_staged,
    path_named,
    resolve,
    staging_path,
)
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

    @property
    def excludes_all(self) -> bool:
        """Whether the lock keeps everybody out who can write there, other processes included."""

    @property
    def keeps_notes(self) -> bool:
        """Whether the store has room for notes on unfinished builds."""

    def noted(self) -> BuildRecord | None:
        """Return what is noted of a build, be it unfinished or not; None where nothing is."""

    def unfinished(self) -> BuildRecord | None:
        """Return what was noted of an unfinished build, None where there is none."""

    def is_original(self, record: BuildRecord) -> bool:
        """Whether what an unfinished build has written is here, and is not a copy of it."""

    def left_over(self) -> int | None:
        """Return the bytes that a build has left which is at its place; None where it left nothing.

        A build that was killed right after it came to its place leaves the image that it replaced.
        """

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of levels that are at their place already and stay there; mostly none."""

    def begin(
        self, record: BuildRecord, zarr_format: Literal[2, 3], interim: Mapping[str, Buffer] = ...
    ) -> None:
        """Remove what an earlier build has left, note this one, and make the groups around it.

        ``interim`` are documents for a group whose image loses levels before others are there.
        """

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

    def __call__(self, target: NodePath, kept: tuple[str, ...] = ()) -> Transaction:
        """Return the transaction of an image."""


#: The first that suits a store is taken.
KINDS: list[TransactionKind] = [RenameTransaction, InPlaceTransaction]


def transaction_for(target: NodePath, kept: tuple[str, ...] = ()) -> Transaction:
    """Return how an image comes to its place, or levels to theirs beside those that are kept."""
    kind = next(kind for kind in KINDS if kind.suits(bare(target.store)))
    return kind(target, kept)


@dataclass(frozen=True)
class StillBegun:
    """Whether a build is the one at its place, and not published: what its tasks ask.

    Attributes
    ----------
    transaction : Transaction
    record : BuildRecord
        Of the build.
    """

    transaction: Transaction
    record: BuildRecord

    def __call__(self) -> bool:
        """Return True while the build is unfinished, and False once it has been published.

        Where a store keeps no notes, True also stands for what cannot be known.

        Raises
        ------
        ResumeError
            If another build has taken the place since, or somebody has removed this one.
        """
        transaction, record = self.transaction, self.record
        now = transaction.noted()
        if now is not None and now.build == record.build and transaction.is_original(now):
            return True
        place = transaction.target if transaction.keeps_notes else transaction.location
        build = build_at(place)
        if build == record.build:
            return False
        if (build is None or transaction.kept) and not transaction.keeps_notes:
            return True
        raise ResumeError(
            f"the build of {transaction.target} that was begun is no longer there: another one has "
            "taken its place, or it was removed",
            fix=f"call {'add_levels' if transaction.kept else 'to_ome_zarr'}() again",
        )


def find_unfinished(store: Store, group: str | None) -> NodePath | None:
    """Return the place of an unfinished image, None if there is none."""
    if isinstance(store, str | os.PathLike) and "://" not in (named := path_named(store)):
        path = expanded(Path(named, group or "")).absolute()
        place = NodePath(LocalStore(path.parent, read_only=True), path.name)
    else:
        place = resolve(store, read_only=True) / (group or "").strip("/")
    return place if transaction_for(place).unfinished() is not None else None


def is_unfinished(image: NodePath) -> bool:
    """Whether the build of an image has not ended."""
    return transaction_for(image).unfinished() is not None


def is_growing(image: NodePath) -> bool:
    """Whether an image is being made longer, or was when that was interrupted."""
    path = local_path(image)
    if path is not None:  # which says what lies beside it, also where the store is confined to it
        image = NodePath(LocalStore(path.parent, read_only=True), path.name)
    record = transaction_for(image.as_image()).noted()
    return record is not None and record.is_of_growth


def unfinished_in(place: NodePath) -> list[str]:
    """Return the names of the images in a group whose builds have not ended."""
    names = [name for child in children(place) if (name := name_of_staged(child)) is not None]
    return [name for name in names if is_unfinished(place / name)]


def say_left_over(image: NodePath) -> str | None:
    """Say what a build has left which is at its place; None where it has left nothing."""
    transaction = transaction_for(image.as_image())
    try:
        nbytes = transaction.left_over()
    except Exception:  # whatever a client raises of a store that does not answer
        return None
    if nbytes is None:
        return None
    return (
        f"{staging_path(transaction.target)} holds {nbytes:,} bytes that nobody needs: a build was "
        "killed right after it had come to its place, and has left them, such as the image that it "
        f"replaced; the next write to {transaction.target}, to an image inside of it, or to one "
        "beside it on this disk, removes them"
    )
