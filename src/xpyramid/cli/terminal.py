"""What goes to the terminal: lines in the words of the command line, in colour where it is one.

These are ``--chunks 64`` where Python says ``chunks=64``.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from xpyramid.errors import PyramidError
from xpyramid.messages import UNSET, CodePart, Message, OptionPart, Part, printable

RED, YELLOW = "31", "33"

#: What is said of parameters that are options of another name, by name and value.
_OTHERS = {("mode", "w"): "--replace"}


def say(message: object) -> None:
    """Print lines for people, with nothing in them that a terminal obeys."""
    print(printable(in_cli_words(message)), flush=True)


def fail(message: object, exit_code: int, *, verbose: bool = False) -> int:
    """Print an error on one line, and with ``verbose`` where it comes from; return the code."""
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


def in_cli_words(message: object) -> str:
    """Return a message that names the command line's options where it named parameters.

    Examples
    --------
    >>> from xpyramid.messages import Message, option
    >>> in_cli_words(Message("pass ", option("mode", "w"), " or ", option("spacing", {"y": 2})))
    'pass --replace or --spacing y=2'
    """
    if isinstance(message, Warning):
        message = message.args[0] if message.args else ""
    return message.rendered(_part) if isinstance(message, Message) else str(message)


def _part(part: Part) -> str:
    if isinstance(part, CodePart):
        return f"{part} in Python"
    return _option(part) if isinstance(part, OptionPart) else part


def _option(part: OptionPart) -> str:
    """Return an option with its value, as a shell takes them."""
    if isinstance(part.value, str) and (part.name, part.value) in _OTHERS:
        return _OTHERS[part.name, part.value]
    name = "source-dims" if part.call == "open_source" and part.name == "dims" else part.name
    name = name.replace("_", "-")
    if part.value is UNSET or part.value is ...:
        return f"--{name}"
    if isinstance(part.value, bool) and part.name != "omero":
        return f"--{name}" if part.value else f"--no-{name}"
    return f"--{name} {_value(part.value)}"


def _value(value: object) -> str:
    """Return a value as a shell takes it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_value(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(_value, value))
    if isinstance(value, slice):
        return ":".join("" if end is None else str(end) for end in (value.start, value.stop))
    words = {True: "yes", False: "no"}
    return words[value] if isinstance(value, bool) else "..." if value is ... else str(value)
