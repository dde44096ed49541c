"""The parser of the command line: a help that fits a screen, and hints for what is mistyped."""

from __future__ import annotations

import argparse
import copy
import difflib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from xpyramid.errors import PyramidError
from xpyramid.messages import Message, joined, option
from xpyramid.options import suggest


class UsageError(PyramidError):
    """Arguments that the parser refuses."""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with the options in a narrow column, as wide as the terminal, up to 100 columns."""

    def __init__(self, prog: str, **options: Any) -> None:
        width = min(100, shutil.get_terminal_size().columns) - 2
        super().__init__(prog, **{"max_help_position": 26, "width": width, **options})

    def add_argument(self, action: argparse.Action) -> None:
        """Add what is said of an argument; argparse forgets that names of commands are indented."""
        super().add_argument(action)
        if action.nargs == argparse.PARSER:
            self._action_max_length += self._indent_increment

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap a paragraph, and leave lines as they are."""
        fill = argparse.RawDescriptionHelpFormatter if "\n" in text else argparse.HelpFormatter
        return str(fill._fill_text(self, text, width, indent))


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, so that they print as all others do.

    Attributes
    ----------
    short : mapping
        What the help says of the options that most people need, by their names with an example
        of a value; empty where it lists all of them. Where it does not, ``--help-all`` does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": Formatter, "allow_abbrev": False, **kwargs})
        self.short: Mapping[str, str] = {}

    def error(self, message: str) -> NoReturn:
        """Refuse arguments.

        Raises
        ------
        UsageError
        """
        raise UsageError(message + Message(f"; see {self.prog} --help"))

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Refuse arguments that there are not, and name those that are meant."""
        options = self._option_string_actions
        accepted = [n[2:].replace("-", "_") for n in options if n.startswith("--")]
        accepted += ["mode"] if "--replace" in options else []  # which stands for mode='w'
        tried = [text[2:].partition("=")[0] for text in arguments if text.startswith("--")]
        hints = [suggest(name.replace("-", "_"), accepted) for name in tried]
        hints = [hint for hint in hints if hint and option("mode") not in hint.parts]
        self.error(joined("; ", [f"unrecognized arguments: {' '.join(arguments)}", *hints]))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Refuse what is none of the choices, and say which is meant."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        meant = difflib.get_close_matches(str(value).lower(), choices, 1, 0.6)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        raise argparse.ArgumentError(
            action, f"invalid choice: {value!r}; accepted: {', '.join(choices)}{hint}"
        )

    def shorten(self, short: Mapping[str, str]) -> None:
        """Have the help list some options alone, and another option list all of them."""
        self.add_argument("--help-all", action=_HelpAll, help="list all options")
        self.short = {**short, "--help-all": "list all options"}
        self.usage = f"{self.prog} [OPTIONS] {' '.join(self._names_of_positionals())}"

    def _names_of_positionals(self) -> list[str]:
        return [
            f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
            for action in self._actions
            if not action.option_strings
        ]

    def format_help(self) -> str:
        """Return the help, of some options where there are many."""
        return self._help(self.short) if self.short else super().format_help()

    def format_all(self) -> str:
        """Return the help of all options."""
        return super().format_help()

    def _help(self, short: Mapping[str, str]) -> str:
        """Return the help of some arguments, in the order of what is said of them."""
        by_name = {name: a for a in self._actions for name in [*a.option_strings, a.metavar]}
        shown = []
        for names, text in short.items():
            name, _, example = names.partition(" ")
            action = copy.copy(by_name[name])
            action.help, action.choices = text, None
            action.metavar = example or action.metavar
            shown.append(action)
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [], [])
        formatter.add_text(self.description)
        formatter.start_section("options")
        formatter.add_arguments(shown)
        formatter.end_section()
        return formatter.format_help()


class _HelpAll(argparse.Action):
    """Prints the help of all options, and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(parser.format_all() if isinstance(parser, Parser) else "", end="")
        parser.exit()
