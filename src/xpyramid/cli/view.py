"""``xpyramid view``: stored images, and anything that a pyramid can be made of, in a viewer."""

from __future__ import annotations

import argparse
import errno
from pathlib import Path

from xpyramid.build import build
from xpyramid.cli.terminal import say
from xpyramid.display import listed
from xpyramid.errors import NotAPyramidError, PyramidError, SourceError
from xpyramid.opening import open_pyramid
from xpyramid.pyramid import Pyramid
from xpyramid.reader import images_at
from xpyramid.sources import open_source, reading
from xpyramid.store.confined import ARCHIVES
from xpyramid.store.path import expanded, path_named
from xpyramid.viewing import VIEWERS, Cache, view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid view``."""
    parser.description = (
        "Show an image. Of what is no pyramid yet, levels are computed where you look."
    )
    add = parser.add_argument
    add("path", metavar="PATH", help="an OME-Zarr image, or whatever xpyramid build reads")
    add("--group", metavar="PATH", help="path of the image in the store")
    add("--variable", metavar="NAME", help="which variable, series or scene, as for build")
    add(
        "--viewer",
        choices=VIEWERS,
        help="default: the first that is installed; page, in a browser, needs no package",
    )
    add(
        "--no-browser", action="store_true",
        help="print the address of the page, and open no browser",
    )  # fmt: skip
    add("--port", type=_port, default=0, help="of the page, on this machine (default: a free one)")
    parser.set_defaults(run=run, parser=parser)


def _port(text: str) -> int:
    """Return the number of a port."""
    if not (text.isdecimal() and len(text) < 6 and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text}; accepted: 0 to 65535")
    return int(text)


def run(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid view``."""
    pyramid = _opened(path_named(arguments.path), arguments.group, arguments.variable)
    if pyramid._others:
        say(f"the first image of its group; others, with --variable: {listed(pyramid._others)}")
    options = {"browser": not arguments.no_browser, "port": arguments.port}
    try:
        view([pyramid._viewed(Cache())], arguments.viewer, block=True, **options)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PyramidError(
            f"--port {arguments.port} is in use; accepted: one that is free, or 0"
        ) from error
    except ImportError as error:  # of a viewer that is not installed
        raise PyramidError(str(error).replace("viewer=", "--viewer ")) from error


def _opened(path: str, group: str | None, variable: str | None) -> Pyramid:
    """Return the pyramid at a path, or one of the array that is there."""
    is_file = expanded(path).is_file() and Path(path).suffix.lower() not in ARCHIVES
    if not is_file and variable is not None and images_at(path, group or "") > 1:
        with reading(path):
            return open_pyramid(path, group, multiscale=variable)
    if is_file or variable is not None:
        return build(open_source(path, variable=variable))
    try:
        with reading(path):
            return open_pyramid(path, group)
    except NotAPyramidError as error:
        if group is not None:
            raise
        try:
            array = open_source(path)
        except SourceError:
            raise error from None
        return build(array)
