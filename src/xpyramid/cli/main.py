"""The command line: ``xpyramid``, or ``python -m xpyramid``.

Exit codes: 0; 2 for bad input, which leaves nothing behind, and for images that ``info`` cannot
read; 1 for a build that broke off, problems that ``verify`` found, or output that nobody reads; 130
for Ctrl-C. An error is one line on stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from xpyramid._version import __version__
from xpyramid.cli.parser import Parser
from xpyramid.cli.terminal import fail, warnings_as_lines
from xpyramid.errors import PyramidError

#: What there is, and what for. Each is a module of this package, which is imported when it is used,
#: with ``add_arguments(parser)``.
COMMANDS = {
    "build": "make a pyramid",
    "info": "say what stored pyramids are",
    "update": "make levels again where level 0 has changed",
    "view": "show an image",
    "verify": "look for what is wrong with stored pyramids, and repair it",
    "warm": "compile beforehand what reduces samples",
    "demo": "make a pyramid of a photograph, and draw its levels",
    "completion": "print what lets a shell complete options",
}

_EXAMPLES = """\
examples:
  xpyramid build scan.npy out.zarr --chunks 64
  xpyramid build em.zarr out.zarr --variable raw --factor z=1,y=2,x=2 --plan
  xpyramid view out.zarr
  xpyramid verify out.zarr --deep
"""


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
    verbose = False
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        arguments, unknown = make_parser(words[:1]).parse_known_args(words)
        if unknown:
            arguments.parser.refuse(unknown)
        verbose = arguments.verbose
        with warnings_as_lines():
            code = arguments.run(arguments) or 0
        sys.stdout.flush()
    except SystemExit as stop:  # --help, --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except BrokenPipeError:  # whoever read our output has enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at exit
        return 1
    except (PyramidError, OSError) as error:
        return fail(error, getattr(error, "exit_code", 2), verbose=verbose)
    return int(code)


def make_parser(commands: Sequence[str] = tuple(COMMANDS)) -> Parser:
    """Return the parser of the command line.

    Parameters
    ----------
    commands : sequence of str
        Those of which the arguments are known; to import all takes a while.
    """
    parser = Parser(
        prog="xpyramid",
        description="Multi-resolution OME-Zarr pyramids whose numbers are exact.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"xpyramid {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = subparsers.add_parser(name, help=text)
        if name not in commands:
            continue
        add = command.add_argument
        importlib.import_module(f"xpyramid.cli.{name}").add_arguments(command)
        add("-q", "--quiet", action="store_true", help="print results, warnings and errors only")
        add(
            "-v", "--verbose", action="store_true", help="say more; of errors, where they come from"
        )
    return parser
