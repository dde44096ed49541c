"""``xpyramid verify``: problems of stores and of bare metadata documents, for people or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from xpyramid import ngff, verifier
from xpyramid.cli.files import refuse_files
from xpyramid.cli.terminal import one_line
from xpyramid.errors import SourceError
from xpyramid.existing import repair
from xpyramid.ngff import Problem
from xpyramid.sources import reading
from xpyramid.store.confined import ARCHIVES
from xpyramid.store.documents import parse_document
from xpyramid.store.path import expanded, path_named

#: How much of a file is looked at to see whether it may be a document.
_HEAD = 2**16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid verify``."""
    parser.description = (
        "Look for all that is wrong with stored pyramids. Exit code: 0 if nothing was found, "
        "1 if something was (0 with --json), 2 for bad input."
    )
    add = parser.add_argument
    add(
        "path",
        metavar="PATH",
        help="a Zarr store, an image in one, or a document: zarr.json, .zattrs, or - for stdin",
    )
    add("--group", metavar="PATH", help="an image, or a group of images, in the store")
    add(
        "--checksums", action="store_true",
        help="read everything, and compare checksums with the recorded ones",
    )  # fmt: skip
    add("--deep", action="store_true", help="decode everything, and compute the levels again")
    add(
        "--repair", action="store_true",
        help="make what is wrong with levels above 0 again, from a sound level 0",
    )  # fmt: skip
    add(
        "--record", action="store_true",
        help="with --repair: make the record anew where nothing else is wrong",
    )  # fmt: skip
    add("--json", action="store_true", help='print {"valid": true or false, ...}')
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Run ``xpyramid verify``; return the exit code."""
    path = path_named(arguments.path)
    if arguments.record and not arguments.repair:
        arguments.parser.error("argument --record: not allowed without argument --repair")
    notes: Sequence[str] = ()
    problems: Sequence[Problem]
    is_archive = Path(path).suffix.lower() in ARCHIVES
    if path == "-" or (expanded(path).is_file() and not is_archive):
        if arguments.deep or arguments.checksums or arguments.group or arguments.repair:
            raise SourceError(
                f"{path!r} is a document; --checksums, --deep, --group and --repair are for stores"
            )
        problems, what = _document(path), "the document"
    else:
        with reading(path):
            if arguments.repair:
                report = repair(
                    path, arguments.group, deep=arguments.deep, record=arguments.record,
                    progress=False if arguments.quiet else None,
                )  # fmt: skip
            else:
                report = verifier.verify(
                    path, arguments.group, arguments.deep, checksums=arguments.checksums
                )
        problems, notes = report, report.notes
        what = _counted(report.images, "image")
        if report.arrays:
            what = _counted(report.arrays, "array")
        what += f" and {_counted(report.labels, 'label image')}" if report.labels else ""
    if arguments.json:
        print(_as_json(problems, notes))
        return 0
    for line in [*map(str, problems), *(f"note: {note}" for note in notes)]:
        print(one_line(line))
    if not problems and not arguments.quiet:
        print(f"nothing wrong with {what}")
    return 1 if problems else 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _document(path: str) -> list[Problem]:
    """Check a metadata document by itself."""
    raw = sys.stdin.buffer.read() if path == "-" else expanded(path).read_bytes()
    if path != "-" and b"\0" in raw[:_HEAD]:  # which no text has
        refuse_files(path)
    try:
        document = parse_document(raw)
    except ValueError as error:
        return [Problem("unreadable", "", str(error))]
    return ngff.check_document(document)


def _as_json(problems: Sequence[Problem], notes: Sequence[str]) -> str:
    """Return the answer in the form that the conformance cases of the specification ask for.

    Warnings are no reason not to be valid.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    answer: dict[str, object] = {"valid": not errors}
    if errors:
        answer["message"] = "; ".join(map(str, errors[:10]))
    answer |= {"problems": [asdict(problem) for problem in problems], "notes": list(notes)}
    return json.dumps(answer)
