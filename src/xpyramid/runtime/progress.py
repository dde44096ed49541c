"""A bar for long calls, by bytes; drawn by tqdm, in terminals and notebooks."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds after which a bar is worth showing.
DELAY = 1.0


@contextmanager
def bar(total: int, enabled: bool | None) -> Iterator[Callable[[int], None] | None]:
    """Show how many bytes of a total are done.

    Parameters
    ----------
    total : int
    enabled : bool or None
        None shows a bar where somebody may look at it.

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
    with tqdm(
        total=total, unit="B", unit_scale=True, desc="xpyramid", delay=DELAY, leave=False
    ) as shown:
        yield shown.update


def is_interactive() -> bool:
    """Whether errors go to a terminal, or this is a notebook."""
    return _in_notebook() or sys.stderr.isatty()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
