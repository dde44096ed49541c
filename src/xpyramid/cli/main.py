"""The command line: ``xpyramid``, or ``python -m xpyramid``.

Exit codes: 0; 2 for bad input, which leaves nothing behind, and for images that ``info`` cannot
read; 1 for a build that broke off, problems that ``verify`` found, or output that nobody reads; 130
for Ctrl-C. An error is one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from xpyramid._version import __version__
from xpyramid.cli import build, demo, options, update, verify, view, warm
from xpyramid.errors import NotAPyramidError, PyramidError
from xpyramid.messages import Message, joined, option, printable
from xpyramid.opening import open_pyramid
from xpyramid.options import suggest
from xpyramid.reader import find_images
from xpyramid.sources import reading
from xpyramid.store.path import resolve
from xpyramid.store.transaction import say_left_over

_EXAMPLES = """\
examples:
  xpyramid build scan.npy out.zarr --chunks 64
  xpyramid build photo.png out.zarr
  xpyramid build em.zarr out.zarr --variable raw --factor z=1,y=2,x=2 --levels 4
  xpyramid build scan.zarr --in-place --group field --levels 4
  xpyramid update scan.zarr --group field --region y=10:20
  xpyramid info out.zarr
  xpyramid view out.zarr
  xpyramid verify out.zarr --deep
  xpyramid warm --dtype uint16 --method mean,max
"""


class _UsageError(PyramidError):
    """Arguments that the parser refuses."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, so that they print as all others do."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message + Message(f"; see {self.prog} --help"))

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Refuse arguments that there are not, and name those that are meant."""
        options = self._option_string_actions
        accepted = [n[2:].replace("-", "_") for n in options if n.startswith("--")]
        accepted += ["mode"] if "--replace" in options else []  # which stands for mode='w'
        tried = [text[2:].partition("=")[0] for text in arguments if text.startswith("--")]
        hints = [suggest(name.replace("-", "_"), accepted) for name in tried]
        hints = [hint for hint in hints if hint and option("mode") not in hint.parts]
        self.error(joined("; ", [f"unrecognized arguments: {' '.join(arguments)}", *hints]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit code.
    """
    try:
        arguments, unknown = _parser().parse_known_args(argv)
        if unknown:
            arguments.parser.refuse(unknown)
        with _warnings_as_lines():
            code = arguments.run(arguments) or 0
        sys.stdout.flush()
    except SystemExit as stop:  # --help, --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except build.BrokenOffError as error:
        return _fail(error, error.exit_code)
    except BrokenPipeError:  # whoever read our output has enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        return 1
    except (PyramidError, OSError) as error:
        return _fail(error, 2)
    return int(code)


def _fail(message: object, exit_code: int) -> int:
    """Print an error on one line, in the words of the command line."""
    print("xpyramid:", _line(message), file=sys.stderr)
    return exit_code


def _line(message: object) -> str:
    if isinstance(message, PyramidError):
        message = message.message
    return printable(" ".join(options.in_cli_words(message).split()))


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Have warnings say what they say, and not where they come from."""
    original = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"xpyramid: warning: {_line(message)}\n"
    try:
        yield
    finally:
        warnings.formatwarning = original


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xpyramid",
        description="Multi-resolution OME-Zarr pyramids whose numbers are exact.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"xpyramid {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build.add_arguments(commands.add_parser("build", help="make a pyramid", allow_abbrev=False))

    info = commands.add_parser("info", help="list the levels of stored pyramids")
    info.add_argument("path", metavar="PATH", help="a Zarr store, or an OME-Zarr image in one")
    info.add_argument(
        "--group", metavar="PATH", help="an image, or a group of images, in the store"
    )
    info.set_defaults(run=_info, parser=info)

    view.add_arguments(commands.add_parser("view", help="show an image", allow_abbrev=False))
    update.add_arguments(
        commands.add_parser("update", help="make levels again where level 0 has changed")
    )
    verify.add_arguments(
        commands.add_parser("verify", help="look for what is wrong with stored pyramids")
    )

    warm.add_arguments(commands.add_parser("warm", help="compile beforehand what reduces samples"))

    demo = commands.add_parser("demo", help="make a pyramid of a photograph, and draw its levels")
    demo.add_argument(
        "--out",
        metavar="DIR",
        help="directory to write to (default: xpyramid-demo, or the first free xpyramid-demo-2, "
        "-3, ... beside it)",
    )
    demo.set_defaults(run=_run_demo, parser=demo)
    return parser


def _info(arguments: argparse.Namespace) -> int:
    """Run ``xpyramid info``; return the exit code."""
    location, group = arguments.path, arguments.group
    above = f"{group.strip('/')}/" if group else ""
    images: list[str] = []
    # Where none is found, opening says why.
    with suppress(NotAPyramidError), reading(location):
        images = [(above + path).strip("/") for path in find_images(location, group)]
    if len(images) < 2:
        path = (images or [group])[0] or None
        with reading(location):
            print(open_pyramid(location, path))
        _print_left_over(location, path)
        return 0
    codes: list[int] = []
    for path in images:
        codes.append(_print_image(location, path, below=0 in codes))
    return max(codes)


def _print_image(location: str, path: str, *, below: bool) -> int:
    """Print the table of one image of several, or what is wrong with it; return the exit code.

    A table below another is set apart by an empty line.
    """
    try:
        with reading(location):
            pyramid = open_pyramid(location, path or None)
    except PyramidError as error:
        sys.stdout.flush()
        return _fail(error, 2)
    if below:
        print()
    print(printable(f"{location.rstrip('/')}/{path}\n{pyramid}"), flush=True)
    _print_left_over(location, path)
    return 0


def _print_left_over(location: str, path: str | None) -> None:
    """Print what a build has left beside an image that is at its place."""
    with suppress(PyramidError):  # archives have no room for it
        note = say_left_over(resolve(location, read_only=True) / (path or "").strip("/"))
        if note is not None:
            print(f"note: {note}", flush=True)


def _run_demo(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid demo``."""
    directory = demo.choose_directory(arguments.out)
    store, picture = directory / "retina.zarr", directory / "levels.png"
    build.write_image(demo.retina(), f"{store}/retina", store)
    pyramid = open_pyramid(store, "retina")
    print(pyramid, flush=True)
    demo.draw(pyramid).save(picture, optimize=True)
    print(f"\npyramid: {store}/retina\npicture: {picture}")
