"""What goes to the terminal: lines in the words of the command line, in colour where it is one."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from xpyramid.cli.words import in_cli_words
from xpyramid.errors import PyramidError
from xpyramid.messages import printable

RED, YELLOW = "31", "33"


def say(message: object) -> None:
    """Print lines for people, with nothing in them that a terminal obeys."""
    print(printable(in_cli_words(message)), flush=True)


def fail(message: object, exit_code: int, *, verbose: bool = False) -> int:
    """Print an error on one line, and where it comes from if that is wanted; return the code."""
    if verbose and isinstance(message, BaseException):
        print(printable("".join(traceback.format_exception(message))), file=sys.stderr)
    print(colored("xpyramid:", RED, sys.stderr), one_line(message), file=sys.stderr)
    return exit_code


def one_line(message: object) -> str:
    """Return a message in the words of the command line, on one line."""
    if isinstance(message, PyramidError):
        message = message.message
    return printable(" ".join(in_cli_words(message).split()))


def colored(text: str, color: str, stream: TextIO) -> str:
    """Return a text in colour if it goes to a terminal that has any; see https://no-color.org."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if is_plain or not stream.isatty() else f"\x1b[{color}m{text}\x1b[0m"


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Have warnings say what they say, and not where they come from."""
    original = warnings.formatwarning

    def formatted(message: Warning | str, *_: object, **__: object) -> str:
        prefix = colored("xpyramid: warning:", YELLOW, sys.stderr)
        return f"{prefix} {one_line(message)}\n"

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = original
