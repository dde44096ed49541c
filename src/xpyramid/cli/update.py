"""``xpyramid update``: the levels of an image whose level 0 has changed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Literal

from xpyramid.cli.files import refuse_files
from xpyramid.cli.options import add_declared
from xpyramid.cli.terminal import say
from xpyramid.existing import update_image
from xpyramid.options import RunOptions, options_of

#: Those of writing that an update takes, too.
_OPTIONS = ("memory", "progress")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid update``."""
    parser.description = "Make the levels of an image again where its level 0 has changed."
    add = parser.add_argument
    add("path", metavar="PATH", help="a Zarr store, or an OME-Zarr image in one")
    add("--group", metavar="PATH", help="path of the image in the store")
    add(
        "--region",
        type=region,
        metavar="y=10:20,x=2.5:4.0",
        help="what has changed: integers are indexes, other numbers coordinates (default: found "
        "out by sizes, times and checksums)",
    )
    add("--deep", action="store_true", help="compare all checksums, which reads level 0 once")
    run_options = {name: options_of(RunOptions)[name] for name in _OPTIONS}
    add_declared(parser, run_options)
    parser.set_defaults(run=run, parser=parser)


def region(text: str) -> dict[str, slice | int | float]:
    """Return a region as the command line has it.

    Examples
    --------
    >>> region("y=10:20,x=2.5")
    {'y': slice(10, 20, None), 'x': 2.5}
    """
    parsed: dict[str, slice | int | float] = {}
    for part in text.split(","):
        dim, equals, ends = part.partition("=")
        try:
            numbers = [_number(end) if end else None for end in ends.split(":")]
        except ValueError:
            numbers = []
        if not equals or len(numbers) not in (1, 2) or (len(numbers) == 1 and numbers[0] is None):
            raise argparse.ArgumentTypeError(f"{text!r}; accepted: as in y=10:20,x=2.5:4.0")
        first, *last = numbers
        parsed[dim] = slice(first, last[0]) if last else first  # type: ignore[assignment]
    return parsed


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def run(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid update``."""
    changed: Mapping[str, slice | float] | Literal["changed"] = arguments.region or "changed"
    passed = {name: getattr(arguments, name) for name in _OPTIONS if hasattr(arguments, name)}
    progress = {"progress": False} if arguments.quiet else {}
    refuse_files(arguments.path)
    defaults = {"memory": None, "progress": None}
    place, number = update_image(
        arguments.path, arguments.group, changed, deep=arguments.deep,
        **(defaults | progress | passed),
    )  # fmt: skip
    if arguments.quiet:
        return
    path = "/".join(filter(None, [arguments.path.rstrip("/"), place.path]))
    objects = "1 stored object" if number == 1 else f"{number} stored objects"
    were = "was" if number == 1 else "were"
    done = f"{objects} of levels above 0 {were} made again" if number else "nothing had changed"
    say(f"{path} is up to date: {done}")
