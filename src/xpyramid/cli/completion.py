"""``xpyramid completion``: what lets a shell complete commands and options."""

from __future__ import annotations

import argparse
import importlib

from xpyramid.errors import PyramidError

_SHELLS = ("bash", "zsh", "fish")

_WHERE = """\
where it goes:
  bash  ~/.local/share/bash-completion/completions/xpyramid
  zsh   _xpyramid, in a directory of $fpath
  fish  ~/.config/fish/completions/xpyramid.fish
"""

#: Arguments that are no paths of files, though they are called as those that are.
_INSIDE = ("--group", "--labels-of", "--level0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid completion``."""
    parser.description = "Print a script that lets a shell complete commands, options and paths."
    parser.epilog = _WHERE
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=", ".join(_SHELLS))
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid completion``."""
    try:
        shtab = importlib.import_module("shtab")
    except ModuleNotFoundError as error:
        raise PyramidError(
            "completion needs the package shtab", fix="pip install xpyramid[completion]"
        ) from error
    # What has all commands can be made when this module is there.
    parser = importlib.import_module("xpyramid.cli.main").make_parser()
    for action in _actions(parser):
        is_path = action.metavar in ("PATH", "SRC", "DST", "DIR")
        if is_path and action.option_strings[:1] not in [[name] for name in _INSIDE]:
            setattr(action, "complete", shtab.FILE)  # noqa: B010  where shtab looks
        if arguments.shell == "zsh" and isinstance(action.metavar, str):
            action.metavar = action.metavar.replace(":", r"\:")  # which ends it there
    print(shtab.complete(parser, arguments.shell))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return all arguments of a parser, and of those of its commands."""
    actions: list[argparse.Action] = []
    for action in parser._actions:
        actions.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                actions += _actions(command)
    return actions
