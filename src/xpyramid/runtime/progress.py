"""A bar for long calls, by bytes; drawn by tqdm, in terminals and notebooks."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds after which a bar is worth showing.
DELAY = 1.0

_NAME = "xpyramid"


#: Seconds after which the bar says what is done now, also where nothing is complete.
_AGAIN = 0.25


@contextmanager
def bar(
    total: int, enabled: bool | None, status: Callable[[], str] = str
) -> Iterator[Callable[[int], None] | None]:
    """Show how many bytes of a total are done.

    Parameters
    ----------
    total : int
    enabled : bool or None
        None shows a bar where somebody may look at it.
    status : callable
        Returns what is done now beside the work itself; empty text is nothing.

    Yields
    ------
    callable or None
        To be called with the bytes that have been done meanwhile; None without a bar.
    """
    if not (is_interactive() if enabled is None else enabled):
        yield None
        return
    widgets = _in_notebook() and importlib.util.find_spec("ipywidgets") is not None
    tqdm = importlib.import_module("tqdm.notebook" if widgets else "tqdm.std").tqdm
    with (
        tqdm(total=total, unit="B", unit_scale=True, desc=_NAME, delay=DELAY, leave=False) as shown,
        _status_shown(shown, status),
    ):
        yield shown.update


@contextmanager
def _status_shown(shown: Any, status: Callable[[], str]) -> Iterator[None]:
    """Have a bar say what is done now, from a thread: meanwhile nothing may be complete."""
    ended = threading.Event()

    def say() -> None:
        wait, before = DELAY, ""
        while not ended.wait(wait):
            wait, now = _AGAIN, status()
            if now != before:
                shown.set_description(f"{_NAME} ({now})" if now else _NAME)
                before = now

    thread = threading.Thread(target=say, name="xpyramid-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def is_interactive() -> bool:
    """Whether errors go to a terminal, or this is a notebook."""
    return _in_notebook() or sys.stderr.isatty()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
