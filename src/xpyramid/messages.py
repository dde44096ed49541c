"""Messages that know which of their words are options, so that each door says them in its own.

A message is text: that of the Python calls. It is made of parts, and the command line says
``--chunks 64`` where Python says ``chunks=64``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import singledispatch
from html import escape

import numpy as np


class _Unset(Enum):
    """What stands for a value that is not given; one object in all processes."""

    UNSET = "unset"


UNSET = _Unset.UNSET


@dataclass(frozen=True)
class OptionPart:
    """An option that a message is about, with a value or without one.

    Attributes
    ----------
    name : str
    value : object
        As Python has it; an ellipsis stands for what the user knows, as in ``{'y': ...}``.
    call : str
        What takes the option, where that is worth saying: ``"build"``.
    """

    name: str
    value: object = UNSET
    call: str = ""

    def __str__(self) -> str:
        value = "" if self.value is UNSET else literal(self.value)[:80]
        argument = f"{self.name}={value}"
        return f"{self.call}({argument})" if self.call else argument


@dataclass(frozen=True)
class CodePart:
    """What only Python has: a call, an attribute."""

    text: str

    def __str__(self) -> str:
        return self.text


Part = str | OptionPart | CodePart


def one_line(text: str) -> str:
    """Return a text as `printable` does, with its ends of lines escaped too."""
    return printable(text).replace("\n", r"\n")


def printable(text: str) -> str:
    r"""Return a text in which what a terminal might obey is escaped; lines stay lines.

    Names, units and methods may be those of strangers: control characters move the cursor, and
    characters that change the direction of writing hide what follows.

    Examples
    --------
    >>> printable("a\x1b[2Jb") == r"a\x1b[2Jb"
    True
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


class Message(str):
    """A text that knows its parts, and holds nothing that a terminal obeys."""

    parts: tuple[Part, ...]

    def __new__(cls, *parts: Part) -> Message:
        """Join parts; those of a message among them are its own."""
        flat = tuple(_flat(parts))
        message = super().__new__(cls, "".join(map(str, flat)))
        message.parts = flat
        return message

    def __reduce__(self) -> tuple[type[Message], tuple[Part, ...]]:
        return type(self), self.parts

    def __add__(self, other: str) -> Message:
        return Message(self, other)

    def __radd__(self, other: str) -> Message:
        return Message(other, self)

    def rendered(self, render: Callable[[Part], str]) -> str:
        """Return the text with each part as a door says it."""
        return "".join(map(render, self.parts))


_FIELD = re.compile(r"\{(?:(?P<call>[a-z_.]+)\.)?(?P<name>[a-z_][a-z0-9_]*)\}|`(?P<code>[^`]+)`")


def say(template: str, **values: object) -> Message:
    """Return a message in which ``{group}`` is an option, and what is in backticks is Python's.

    Parameters
    ----------
    template : str
        ``{build.spacing}`` is an option of a call that is worth saying.
    **values : object
        Of the options that have one.

    Examples
    --------
    >>> say("pass another {group}, replace it with {mode}, or call `.load()`", mode="w")
    "pass another group=, replace it with mode='w', or call .load()"
    """
    parts: list[Part] = []
    start = 0
    for field in _FIELD.finditer(template):
        parts.append(template[start : field.start()])
        start = field.end()
        if field["code"]:
            parts.append(CodePart(field["code"]))
        else:
            value = values.get(field["name"], UNSET)
            parts.append(OptionPart(field["name"], value, field["call"] or ""))
    return Message(*parts, template[start:])


def and_others(number: int) -> str:
    """Return what stands behind the first of several; nothing where it is the only one.

    Examples
    --------
    >>> and_others(0), and_others(1), and_others(7)
    ('', ' and 1 other', ' and 7 others')
    """
    return f" and {number} other{'s' if number > 1 else ''}" if number else ""


@singledispatch
def as_html(shown: object) -> str:
    """Return how a notebook shows something; `xpyramid.display_html` says it of our own classes."""
    return f"<pre>{escape(printable(repr(shown)))}</pre>"


def joined(separator: str, texts: Iterable[str]) -> Message:
    """Return texts with a separator between them; those that are messages keep their parts."""
    parts: list[Part] = []
    for text in texts:
        parts += [separator, text] if parts else [text]
    return Message(*parts)


def _flat(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, Message):
            yield from part.parts
        elif isinstance(part, str):
            if part:
                yield printable(part)
        else:
            yield CodePart(printable(part.text)) if isinstance(part, CodePart) else part


def option(name: str, value: object = UNSET, *, call: str = "") -> OptionPart:
    """Return an option as a part of a message: ``group=``, or ``mode='w'`` with a value."""
    return OptionPart(name, value, call)


def code(text: str) -> CodePart:
    """Return something that only Python has as a part of a message: ``.rename('x')``."""
    return CodePart(text)


def literal(value: object) -> str:
    """Return a value as it is written in Python, with NumPy's numbers as plain ones.

    Examples
    --------
    >>> import numpy as np
    >>> literal({"y": np.int64(0), "x": "auto"})
    "{'y': 0, 'x': 'auto'}"
    """
    with np.printoptions(legacy="1.25"):
        return repr(value).replace("Ellipsis", "...")


#: What can be done about an unfinished build.
HOW_TO_FINISH = Message(
    "call again with ", option("resume", True), " to finish it, or with ", option("mode", "w"),
    " to start over",
)  # fmt: skip
