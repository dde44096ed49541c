"""``xpyramid build``: a pyramid of a source, or levels beside one that is in a store."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xarray as xr

from xpyramid.build import build_all
from xpyramid.cli import options
from xpyramid.errors import PyramidError
from xpyramid.existing import prepare_levels
from xpyramid.messages import HOW_TO_FINISH, printable
from xpyramid.options import AddOptions, BuildOptions, LevelOptions, WriteOptions
from xpyramid.options.text import names
from xpyramid.pyramid import Pyramid, image_of_labels
from xpyramid.pyramids import Pyramids
from xpyramid.sources import NO_SPACING, describe_source, open_source


class BrokenOffError(PyramidError):
    """A build that had begun to write when something went wrong."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid build``."""
    parser.description = "Make a pyramid of SRC, and write it to DST as an OME-Zarr image."
    add = parser.add_argument
    add(
        "source",
        metavar="SRC",
        help="an OME-Zarr image or a level of one, a Zarr array or group, a TIFF (OME-TIFF, "
        "ImageJ, GeoTIFF), netCDF, HDF5, GRIB, .npy, a picture (PNG, JPEG, ...), or CZI, ND2, LIF; "
        "what does not name its dimensions is t,c,z,y,x by rank",
    )
    add(
        "target",
        metavar="DST",
        nargs="?",
        help="Zarr store to write to; other images in it are left alone",
    )
    add(
        "--in-place",
        action="store_true",
        help="add levels beside SRC, a Zarr array in a store of yours, which stays as it is",
    )
    add(
        "--level0",
        metavar="PATH",
        help="with --in-place: path of the array in its group (default: 0)",
    )
    add(
        "--variable",
        metavar="NAME",
        help="which variable of a group or file, series of a TIFF, or scene of a microscope's file "
        "(default: the only one; of series and scenes the first)",
    )
    add(
        "--source-dims",
        type=names,
        metavar="t,y,x",
        help="what the dimensions of SRC are, where it does not say so",
    )
    add("--group", metavar="PATH", help="path of the image in DST (default: the array's name)")
    options.add_to(parser)
    add("--replace", action="store_true", help="replace the image that is there")
    parser.set_defaults(run=_build, parser=parser)


def _build(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid build``."""
    if arguments.in_place:
        _add_levels(arguments)
        return
    if arguments.level0 is not None:
        arguments.parser.error("argument --level0: not allowed without argument --in-place")
    if arguments.target is None:
        arguments.parser.error(
            "the following arguments are required: DST; or --in-place, to add levels beside SRC"
        )
    group, of = arguments.group, getattr(arguments, "labels_of", None)
    array = open_source(
        arguments.source,
        variable=arguments.variable,
        dims=arguments.source_dims,
        name=group.rpartition("/")[2] if group else None,
    )
    print(printable(_source_line(array, arguments)), flush=True)
    above = f"{of.strip('/')}/labels/" if of else ""
    pyramid = build_all(
        array,
        image=image_of_labels(arguments.target, of),
        **options.from_namespace(arguments, LevelOptions, BuildOptions),
    )
    print(options.in_cli_words(repr(pyramid)), flush=True)
    name = pyramid.name if group is None else group.strip("/")
    target = f"{arguments.target.rstrip('/')}/{above}{name}".rstrip("/")
    write_image(
        pyramid,
        target,
        arguments.target,
        group=group,
        mode="w" if arguments.replace else "w-",
        **options.from_namespace(arguments, WriteOptions),
    )
    print(printable(f"written to {target}: {_what(pyramid)}"))


def _what(pyramid: Pyramid | Pyramids) -> str:
    """Say what was written."""
    if isinstance(pyramid, Pyramids):
        count = len(next(iter(pyramid.values())))
        return f"{', '.join(pyramid)}, {count} level{'s' if count > 1 else ''} each"
    what = f"{len(pyramid)} levels of {pyramid.method}" if len(pyramid) > 1 else "1 level"
    return what + (", labels" if pyramid.kind == "labels" else "")


def _add_levels(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid build --in-place``."""
    others = ("variable", "source_dims", "layout", "names", "dtype", "labels_of")
    refused = [name for name in others if getattr(arguments, name, None) is not None]
    if refused or arguments.target is not None:
        what = "DST" if arguments.target is not None else f"--{refused[0].replace('_', '-')}"
        arguments.parser.error(f"argument {what}: not allowed with argument --in-place")
    options_passed = options.from_namespace(arguments, LevelOptions, BuildOptions, AddOptions)
    addition = prepare_levels(
        arguments.source,
        arguments.group,
        arguments.level0,
        mode="w" if arguments.replace else "w-",
        **options_passed,
    )
    pyramid = addition.pyramid
    print(options.in_cli_words(repr(pyramid)), flush=True)
    if addition.image is None:
        addition.write()
        print(printable(f"nothing to add to {addition.base.place}: all levels are there"))
        return
    with broken_off(str(addition.base.place)):
        addition.write()
    first = len(addition.image.kept.paths) if addition.image.kept is not None else 0
    count = len(pyramid) - first
    what = f"{count} level{'s' if count != 1 else ''} of {pyramid.method}"
    print(printable(f"added to {addition.base.place}: {what}"))


def _source_line(array: xr.DataArray, arguments: argparse.Namespace) -> str:
    """Say what SRC knows of itself, and how to say what it does not."""
    spacing = getattr(arguments, "spacing", None)
    is_for_all = hasattr(arguments, "labels_of") or isinstance(spacing, float | tuple)
    description = describe_source(array, array.dims if is_for_all else spacing or ())
    hint = "; give it with --spacing" if NO_SPACING in description else ""
    return f"{arguments.source}: {description}{hint}"


def write_image(pyramid: Pyramid | Pyramids, where: str, *arguments: Any, **options: Any) -> None:
    """Write a pyramid."""
    with broken_off(where):
        pyramid.to_ome_zarr(*arguments, **options)


@contextmanager
def broken_off(where: str) -> Iterator[None]:
    """Say so if writing is interrupted halfway."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        begun = bool(error.args) if interrupted else hasattr(error, "__notes__")
        if not begun:  # refused, before anything was touched
            raise
        if isinstance(error, PyramidError):
            what: str = error.message
        else:
            what = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
        raise BrokenOffError(
            what + f"; {where} is unfinished: " + HOW_TO_FINISH, 130 if interrupted else 1
        ) from error
