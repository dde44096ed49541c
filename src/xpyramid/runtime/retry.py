"""Faults of disks and networks that pass."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How often something is tried, and the first pause, in seconds; each pause is twice the last.
TIMES, PAUSE = 5, 0.1

_PASSING = {
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN",
        "EHOSTUNREACH", "EINTR", "EIO", "ENETDOWN", "ENETRESET", "ENETUNREACH", "EPIPE", "ESTALE",
        "ETIMEDOUT", "EWOULDBLOCK",
    )
    if hasattr(errno, name)
}  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Whether an error may go away by itself, unlike a full disk or a missing permission."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def retried(action: Callable[[], T]) -> T:
    """Return the result of an action, retrying it after faults that may pass."""
    for attempt in range(TIMES - 1):
        try:
            return action()
        except OSError as error:
            if not is_transient(error):
                raise
        time.sleep(PAUSE * 2**attempt)
    return action()
