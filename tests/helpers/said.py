"""Every error and warning that a user can meet: where it is said in the source, and in what words.

``pytest --messages FILE`` notes what is said while tests run, and writes it as a table, to be read
as a user does. Where all tests have run, each place in the source that says something must be in
it, but for those in `NEVER`.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import xpyramid
from xpyramid import errors, warn
from xpyramid.cli import build
from xpyramid.ngff import parser

SOURCE = Path(xpyramid.__file__).parent

#: What nobody meets in tests: the file, the function, and the words that say why.
NEVER = Path(__file__).parents[1] / "never_said.txt"


class Site(NamedTuple):
    """A place in the source that says something, the same when lines move."""

    file: str
    function: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.function}:{self.number}"


def classes() -> dict[str, type]:
    """Return all classes of errors that users meet, by name."""
    _ = build.BrokenOffError  # classes that are defined elsewhere
    found, todo = {}, [errors.PyramidError, argparse.ArgumentTypeError, parser._InvalidError]
    while todo:
        one = todo.pop()
        found[one.__name__] = one
        todo += one.__subclasses__()
    return found


@cache
def sites() -> dict[tuple[str, int], Site]:
    """Return the places that say something, by file and line."""
    names = classes().keys() | {"warn"}
    found: dict[tuple[str, int], Site] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        file = path.relative_to(SOURCE).as_posix()
        counts: Counter[str] = Counter()
        for function, call in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(call.func, "id", "")
            if name in names and file != "warn.py" and (file, call.lineno) not in found:
                counts[function] += 1
                found[file, call.lineno] = Site(file, function, counts[function])
    return found


def _calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Return all calls, in order, with the names of their functions."""
    found: list[tuple[str, ast.Call]] = []
    todo = [(tree, "")]
    while todo:
        node, function = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.append((function, node))
        todo += [(child, function) for child in ast.iter_child_nodes(node)]
    return sorted(found, key=lambda pair: (pair[1].lineno, pair[1].col_offset))


def never_said() -> dict[str, str]:
    """Return the places that no test reaches, with the reason of each."""
    lines = NEVER.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("  ") for line in lines if line and not line.startswith("#"))
    return {site: reason.strip() for site, _, reason in pairs}


class Recorder:
    """Notes what is said, while it is installed.

    Attributes
    ----------
    said : dict
        From file and line to the kind and the words, those of the first time.
    """

    def __init__(self) -> None:
        self.said: dict[tuple[str, int], tuple[str, str]] = {}

    def install(self) -> None:
        """Note each error that is made, and each warning."""
        for base in (errors.PyramidError, argparse.ArgumentTypeError, parser._InvalidError):
            self._watch(base)
        recorder = self

        class Warnings:
            def __getattr__(self, name: str) -> Any:
                return getattr(warnings, name)

            def warn(self, message: str, category: type[Warning], stacklevel: int) -> None:
                recorder.note(sys._getframe(2), category.__name__, str(message))
                warnings.warn(message, category, stacklevel=stacklevel + 1)

        warn.warnings = Warnings()  # type: ignore[assignment]

    def _watch(self, base: Any) -> None:
        original = base.__init__

        def noted(error: Any, *args: Any, **options: Any) -> None:
            original(error, *args, **options)
            frame: Any = sys._getframe(1)
            while frame is not None and frame.f_code.co_name == "__init__":
                frame = frame.f_back
            self.note(frame, type(error).__name__, str(error))

        base.__init__ = noted

    def note(self, frame: Any, kind: str, words: str) -> None:
        """Note what is said in a frame."""
        path = Path(frame.f_code.co_filename)
        if SOURCE in path.parents:
            place = path.relative_to(SOURCE).as_posix(), frame.f_lineno
            self.said.setdefault(place, (kind, words))

    def save(self, path: Path) -> None:
        """Save what was noted, beside what others save."""
        rows = [[*place, *words] for place, words in self.said.items()]
        path.write_text(json.dumps(rows), encoding="utf-8")


def load(paths: Iterator[Path]) -> dict[Site, tuple[str, str]]:
    """Return what was said in which place."""
    known, said = sites(), dict[Site, tuple[str, str]]()
    for path in paths:
        for file, line, kind, words in json.loads(path.read_text(encoding="utf-8")):
            if (file, line) in known:
                said.setdefault(known[file, line], (kind, words))
    return said


def table(said: dict[Site, tuple[str, str]]) -> str:
    """Return what was said as a table in Markdown, by kind."""
    rows = sorted((kind, words, str(site)) for site, (kind, words) in said.items())
    lines = ["| kind | words | where |", "|---|---|---|"]
    for kind, words, site in rows:
        shown = " ".join(words.split()).replace("|", "\\|")
        lines.append(f"| {kind} | {shown[:600]} | `{site}` |")
    return "\n".join(lines) + "\n"


def check(said: Iterable[Site]) -> tuple[list[str], list[str]]:
    """Return what is wrong with the list of what no test reaches, and what may leave it."""
    reached, listed = set(map(str, said)), never_said()
    places = set(map(str, sites().values()))
    wrong = [
        f"{site} is said by no test, and is not in {NEVER.name}"
        for site in places - reached - {*listed}
    ]
    wrong += [f"{site} is nowhere; take it out of {NEVER.name}" for site in {*listed} - places]
    return sorted(wrong), sorted({*listed} & reached)


def main(target: str) -> int:
    """Check what ``pytest --messages FILE`` has noted of all tests."""
    path = Path(target).absolute()
    said = load(iter(sorted(path.parent.glob(f"{path.stem}.*.json"))))
    wrong, reached = check(said)
    said_now = [f"{site} is said by a test; take it out of {NEVER.name}" for site in reached]
    print("\n".join([*wrong, *said_now, f"{len(said)} messages in {path}"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
