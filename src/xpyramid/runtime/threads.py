"""A few threads that help whoever has work that frees the interpreter, such as decoding.

Whoever asks for help works too, and waits for nobody who has not begun: where all helpers are busy,
it does all by itself. So calls may come from any thread, also from many of dask's at the same time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import dask
from dask.system import CPU_COUNT

T = TypeVar("T")

_DONE = object()
_lock = threading.Lock()
_helpers: ThreadPoolExecutor | None = None


def threads() -> int:
    """Return how many threads one call may use: as many as dask's, one if dask is to use none."""
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        return 1
    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def share(items: Iterator[T], action: Callable[[T], None], helpers: int) -> None:
    """Do something with each item, in this thread and in up to so many others.

    The first error ends it, and is raised when nobody works any more.
    """
    if helpers < 1:
        for item in items:
            action(item)
        return
    failures: list[BaseException] = []
    taking = threading.Lock()

    def work() -> None:
        try:
            while not failures:
                with taking:
                    item = next(items, _DONE)
                if item is _DONE:
                    return
                action(item)  # type: ignore[arg-type]
        except BaseException as error:
            failures.append(error)

    futures = _begin(work, helpers)
    try:
        work()
        for future in futures:
            if not future.cancel():
                future.result()
    except BaseException as error:  # an interrupt of this thread
        failures.append(error)
        raise
    if failures:
        raise failures[0]


def _begin(work: Callable[[], None], helpers: int) -> list[Future[None]]:
    try:
        return [_executor().submit(work) for _ in range(helpers)]
    except RuntimeError:  # the interpreter ends, and begins no more threads
        return []


def _executor() -> ThreadPoolExecutor:
    global _helpers  # noqa: PLW0603
    with _lock:
        if _helpers is None:
            _helpers = ThreadPoolExecutor(max(1, CPU_COUNT), thread_name_prefix="xpyramid")
        return _helpers


def _forget() -> None:
    """Have a child of this process make threads of its own."""
    global _helpers, _lock
    _helpers, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
