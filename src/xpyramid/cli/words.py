"""Messages in the words of the command line: ``--chunks 64`` where Python says ``chunks=64``."""

from __future__ import annotations

from collections.abc import Mapping

from xpyramid.messages import UNSET, CodePart, Message, OptionPart, Part

#: What is said of parameters that are options of another name, by name and value.
_OTHERS = {("mode", "w"): "--replace"}


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
