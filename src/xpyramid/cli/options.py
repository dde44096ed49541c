"""The options of ``xpyramid build``, from what declares those of the calls."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from xpyramid.options import (
    BuildOptions,
    Declared,
    LevelOptions,
    WriteOptions,
    options_of,
)
from xpyramid.options.text import words
from xpyramid.reducers import METHODS, SETS, suggest_method


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add all options: ``axis_types`` is ``--axis-types``."""
    add_declared(parser, options_of(LevelOptions, BuildOptions, WriteOptions))


def add_declared(parser: argparse.ArgumentParser, options: Mapping[str, Declared]) -> None:
    """Add those of some options that the command line has."""
    for name, declared in options.items():
        if declared.option.help:
            parser.add_argument(f"--{name.replace('_', '-')}", **_argument(name, declared))


def _argument(name: str, declared: Declared) -> dict[str, Any]:
    """Return what `argparse.ArgumentParser.add_argument` takes for an option."""
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
