"""The options of ``xpyramid build``, and messages in the words of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from xpyramid.messages import UNSET, CodePart, Message, OptionPart, Part
from xpyramid.options import (
    BuildOptions,
    Declared,
    LevelOptions,
    WriteOptions,
    options_of,
)
from xpyramid.options.text import words
from xpyramid.reducers import METHODS, SETS, suggest_method

#: What is said of parameters that are options of another name, by name and value.
_OTHERS = {("mode", "w"): "--replace"}


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add all options: ``axis_types`` is ``--axis-types``."""
    for name, declared in options_of(LevelOptions, BuildOptions, WriteOptions).items():
        if declared.option.help:
            parser.add_argument(f"--{name.replace('_', '-')}", **_argument(name, declared))


def _argument(name: str, declared: Declared) -> dict[str, Any]:
    """Return what argparse is told of an option."""
    option = declared.option
    argument: dict[str, object] = {"help": option.help, "default": argparse.SUPPRESS}
    if option.accepted == "True, False":
        is_off = option.default is False
        argument["action"] = "store_true" if is_off else argparse.BooleanOptionalAction
        return argument
    if name == "method":
        argument |= {"type": _methods, "metavar": "mean|mean,max|statistics"}
    if declared.choices:
        argument["choices"] = declared.choices
    if option.parse is not None:
        argument["type"] = option.parse
    if option.metavar is not None:
        argument["metavar"] = option.metavar
    return argument


def _methods(text: str) -> str | tuple[str, ...] | dict[str, str]:
    """Parse ``mean``, ``mean,max`` or ``average=mean,peak=max``; say which method is meant."""
    try:
        parsed = words(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}; accepted: one method, several, or several with names: mean,max or "
            "average=mean,peak=max"
        ) from error
    for method in [parsed] if isinstance(parsed, str) else _values(parsed):
        if method not in METHODS and method not in SETS:
            accepted = ", ".join([*sorted(METHODS), *SETS])
            raise argparse.ArgumentTypeError(
                f"{method!r}; accepted: {accepted}, or several: mean,max{suggest_method(method)}"
            )
    return parsed


def _values(parsed: tuple[str, ...] | dict[str, str]) -> Iterable[str]:
    return parsed.values() if isinstance(parsed, dict) else parsed


def from_namespace(arguments: argparse.Namespace, *groups: type) -> dict[str, Any]:
    """Return the options of some groups that were passed."""
    declared = options_of(*groups)
    return {name: value for name, value in vars(arguments).items() if name in declared}


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
    words = {True: "yes", False: "no"}
    return words[value] if isinstance(value, bool) else "..." if value is ... else str(value)
