"""How many small faults in the code do the tests notice? ``nox -s mutants -- --sample 40``.

The code is copied, and in a first run each of its functions says when it is called: so it is known
which tests can notice a change in it. Then one place after another is changed (a comparison turned
round, a call left out, ...), and the tests that get there run until one fails.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("writer", "store", "engine", "reader")
HITS: set[str] = set()  # the functions that were called since a test began
SWAPS = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
}  # fmt: skip
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "BaseException": "Exception"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note which functions a test gets to, and how long it takes, if it passes."""
    HITS.clear()
    start, failed = time.monotonic(), item.session.testsfailed
    handled = yield
    if item.session.testsfailed == failed:
        with Path(os.environ["MUTANTS_MAP"], f"{os.getpid()}.jsonl").open("a") as file:
            json.dump([item.nodeid, time.monotonic() - start, sorted(HITS)], file)
            file.write("\n")
    return handled


def functions(tree: ast.Module, name: str) -> Iterator[tuple[str, Any]]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION):
            yield f"{name}:{node.lineno}", node


def instrumented(source: str, name: str) -> str:
    """Return source of which each function says that it is called."""
    tree = ast.parse(source)
    for key, function in functions(tree, name):
        at = int(ast.get_docstring(function) is not None)
        function.body.insert(at, ast.parse(f"__import__('mutants').HITS.add({key!r})").body[0])
    return ast.unparse(ast.fix_missing_locations(tree))


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what can be changed in a function; messages and types cannot."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(
                child, ast.Raise | ast.JoinedStr | FUNCTION
            ):
                yield from places(child)


def change(node: ast.AST) -> bool:
    """Make a place wrong; return whether that is possible."""
    match node:
        case ast.Compare(ops=[op]) | ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in SWAPS:
            swapped = SWAPS[type(op)]()
            if isinstance(node, ast.Compare):
                node.ops = [swapped]
            else:
                node.op = swapped
        case ast.If() | ast.IfExp() | ast.While() if not isinstance(node.test, ast.Compare):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case ast.Expr(value=ast.Call()):
            node.value = ast.Constant(None)
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
        case ast.Name() if node.id in NAMES:
            node.id = NAMES[node.id]
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant(value=int()):
            node.value += 1
        case _:
            return False
    return True


def mutants(source: str, name: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield what can be changed in a module: the function, what changes, and where that is."""
    for i, (key, function) in enumerate(functions(ast.parse(source), name)):
        for j, place in enumerate(places(function)):
            old = "" if isinstance(place, FUNCTION) else ast.unparse(place).split("\n")[0]
            if old and change(place := copy.deepcopy(place)):
                yield (
                    key,
                    f"{name}:{place.lineno} {old} -> {ast.unparse(place).split(chr(10))[0]}",
                    i,
                    j,
                )


def mutated(source: str, name: str, i: int, j: int) -> str:
    """Return a module with one of its `mutants`."""
    tree = ast.parse(source)
    change([*places([*functions(tree, name)][i][1])][j])
    return ast.unparse(ast.fix_missing_locations(tree))


def run_pytest(work: Path, arguments: list[str], limit: float | None = None) -> int:
    """Return the exit code of tests of the copy, 1 where they take too long."""
    environment = os.environ | {
        "PYTHONPATH": f"{work / 'src'}{os.pathsep}{work / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MUTANTS_MAP": str(work.parent / "map"),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    try:
        return subprocess.run(
            command, cwd=work, env=environment, timeout=limit, check=False, capture_output=True
        ).returncode
    except subprocess.TimeoutExpired:
        return 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="how many mutants; all, if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="+", default=ROOMS)
    parser.add_argument("--tests", nargs="+", help="tests/unit/<room> of each, if not given")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="when to stop")
    parser.add_argument("--again", type=Path, help="where to keep the first run, or find it")
    parser.add_argument("--per-mutant", type=float, default=float("inf"), help="seconds of tests")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as directory:
        work = (options.again or Path(directory)).resolve() / "copy"
        known = work.parent / "map"
        shutil.rmtree(work, ignore_errors=True)
        unwanted = shutil.ignore_patterns(".*", "node_modules", "__pycache__", "dist")
        shutil.copytree(REPOSITORY, work, ignore=unwanted)
        modules = {
            f"{room}/{path.name}": path
            for room in options.rooms
            for path in sorted((work / "src/xpyramid" / room).glob("*.py"))
        }
        sources = {name: path.read_text("utf-8") for name, path in modules.items()}
        if not known.exists():
            known.mkdir()
            for name, path in modules.items():
                path.write_text(instrumented(sources[name], name), "utf-8")
            tests = options.tests or [f"tests/unit/{room}" for room in options.rooms]
            run_pytest(work, ["-p", "mutants", *tests])
            for name, path in modules.items():
                path.write_text(sources[name], "utf-8")
        lines = [line for file in known.iterdir() for line in file.open()]
        reached: dict[str, list[tuple[float, str]]] = {}
        for test, seconds, keys in map(json.loads, lines):
            for key in keys:
                reached.setdefault(key, []).append((seconds, test))
        print(f"{len(lines)} tests", flush=True)
        every = [(n, *mutant) for n in modules for mutant in mutants(sources[n], n)]
        random.Random(options.seed).shuffle(every)
        verdicts: list[str] = []
        for name, key, what, i, j in every[: options.sample]:
            if time.monotonic() > end:
                break
            chosen, total = [], 0.0
            for seconds, test in sorted(reached.get(key, [])):
                if total + seconds <= options.per_mutant or not chosen:
                    chosen, total = [*chosen, test], total + seconds
            modules[name].write_text(mutated(sources[name], name, i, j), "utf-8")
            arguments = ["-x", "-n", "0", *chosen]
            failed = bool(chosen) and run_pytest(work, arguments, 60 + 5 * total) not in {0, 4, 5}
            modules[name].write_text(sources[name], "utf-8")
            verdicts.append("killed" if failed else "survived" if chosen else "not reached")
            print(f"{verdicts[-1]}: {what} ({len(chosen)} tests)", flush=True)
        counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
        print(f"{counts}, of {len(every)} mutants that there are")


if __name__ == "__main__":
    main()
