"""What is said of a write that breaks off: what is left, and how it can be resumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from xpyramid.errors import (
    NotWritableError,
    PyramidError,
    ResumeError,
    StorageError,
    TargetBusyError,
    TargetExistsError,
)
from xpyramid.messages import HOW_TO_FINISH, say
from xpyramid.store.path import NodePath, takes_nodes_only
from xpyramid.store.transaction import Transaction


@contextmanager
def storage_errors(root: NodePath) -> Iterator[None]:
    """Turn what the system says of a store that is looked at into an error that names it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, PyramidError):
            raise
        raise NotWritableError(
            f"{root} cannot be written to: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def resume_hint(transactions: Iterable[Transaction]) -> Iterator[None]:
    """Say of whatever breaks off which images are unfinished now, and what can be done about it.

    Raises
    ------
    StorageError
        For what the system says of a disk.
    """
    transactions = list(transactions)
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            *[f"interrupted; {hint}" for hint in _hints(transactions)]
        ) from None
    except (ResumeError, TargetBusyError, TargetExistsError):
        raise  # refused: all is as it was
    except Exception as error:
        failure = error
        if isinstance(error, OSError) and not isinstance(error, PyramidError):
            places = ", ".join(str(transaction.target) for transaction in transactions)
            failure = StorageError(f"cannot write {places}: {type(error).__name__}: {error}")
        for hint in _hints(transactions):
            failure.add_note(hint)
        if failure is error:
            raise
        raise failure from error


def _hints(transactions: Sequence[Transaction]) -> list[str]:
    """Say what can be done about unfinished images, if there are any."""
    if any(takes_nodes_only(transaction.target.store) for transaction in transactions):
        return [
            "the session of the store holds a part of it, and may lack the image that was to be "
            "replaced: discard it, with session.discard_changes(), and commit nothing"
        ]
    left = [transaction for transaction in transactions if _is_left(transaction)]
    places = ", ".join(str(transaction.target) for transaction in left)
    if all(transaction.tasks is not None for transaction in left):
        way = HOW_TO_FINISH
    else:
        way = say("call again with {mode}", mode="w")
    return [f"{places} is unfinished; {way}"] if left else []


def _is_left(transaction: Transaction) -> bool:
    """Whether there is an unfinished image."""
    try:
        return transaction.unfinished() is not None
    except Exception:  # the store does not answer
        return True
