"""``xpyramid build``: a pyramid of a source, or levels beside one that is in a store."""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import xarray as xr

from xpyramid.build import build_all
from xpyramid.cli import options
from xpyramid.cli.parser import Parser
from xpyramid.cli.terminal import say
from xpyramid.display import cost_in_words, in_bytes
from xpyramid.errors import PyramidError
from xpyramid.existing import prepare_levels
from xpyramid.growth import append_array
from xpyramid.messages import HOW_TO_FINISH
from xpyramid.opening import open_pyramid
from xpyramid.options import (
    AddOptions,
    BuildOptions,
    LevelOptions,
    RunOptions,
    WriteOptions,
    only,
    resolve_options,
)
from xpyramid.options.text import names
from xpyramid.pyramid import Pyramid
from xpyramid.pyramids import Pyramids
from xpyramid.reader import StoredLevel, codec_words, image_of_labels, stored_form
from xpyramid.sources import NO_SPACING, describe_source, open_source
from xpyramid.store.path import is_image, resolve
from xpyramid.writer import ImageSource, prepare


class BrokenOffError(PyramidError):
    """A build that had begun to write when something went wrong."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


#: What the help says of the options that most people need.
_SHORT = {
    "SRC": "Zarr, OME-Zarr, TIFF, netCDF, .npy, PNG, CZI and others",
    "DST": "Zarr store to write to; other images in it stay",
    "--group PATH": "path of the image in DST (default: the array's name)",
    "--variable NAME": "which variable, series or scene of SRC",
    "--levels 4": "number of levels, the base included",
    "--factor 1,2,2": "step from level to level (default: 2 in space)",
    "--method mean": "mean, mode, max, ...; several: mean,max",
    "--kind labels": "what the samples are; labels are not averaged",
    "--chunks 64": "shape of the stored chunks",
    "--shards 256": "shape of the shards (default: none)",
    "--spacing 0.5": "distance of samples in space",
    "--units um": "units of the coordinates",
    "--version 0.4": "OME-NGFF version (default: 0.5)",
    "--in-place": "add levels beside SRC, a Zarr array, which stays",
    "--plan": "say what would be done; write nothing",
    "--replace": "replace the image that is there",
    "--resume": "finish an unfinished build",
}


def add_arguments(parser: Parser) -> None:
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
    add(
        "--plan",
        action="store_true",
        help="say what would be read and written, in how many tasks and with how much memory; "
        "check all that can be checked before, and write nothing",
    )
    parser.shorten(_SHORT)
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
    append_dim = getattr(arguments, "append_dim", None)
    if arguments.plan and append_dim is not None:
        arguments.parser.error("argument --plan: not allowed with argument --append-dim")
    group, of = arguments.group, getattr(arguments, "labels_of", None)
    array = open_source(
        arguments.source,
        variable=arguments.variable,
        dims=arguments.source_dims,
        name=group.rpartition("/")[2] if group else None,
    )
    tell = _silence if arguments.quiet else say
    tell(_source_line(array, arguments))
    passed = options.from_namespace(arguments, LevelOptions, BuildOptions)
    if append_dim is not None and not passed and _append(array, append_dim, arguments, tell):
        return  # with levels as those that are there
    above = f"{of.strip('/')}/labels/" if of else ""
    pyramid = build_all(array, image=image_of_labels(arguments.target, of), **passed)
    tell(repr(pyramid))
    if arguments.verbose and not arguments.plan:
        _say_cost(pyramid, arguments)
    name = pyramid.name if group is None else group.strip("/")
    target = f"{arguments.target.rstrip('/')}/{above}{name}".rstrip("/")
    writing = _write_options(arguments, WriteOptions)
    if arguments.plan:
        _plan(pyramid._sources(arguments.target, group, None, writing), arguments, writing)
        return
    start = time.perf_counter()
    write_image(pyramid, target, arguments.target, group=group, **writing)
    seconds = time.perf_counter() - start
    tell(f"written to {target}: {_what(pyramid)}, {_how(pyramid, target)}, {_time(seconds)}")


def _append(
    array: xr.DataArray, dim: str, arguments: argparse.Namespace, tell: Callable[[object], None]
) -> bool:
    """Append samples to an image, with levels as those that it has; return whether it is there."""
    group = array.name if arguments.group is None else arguments.group.strip("/")
    running = options.from_namespace(arguments, RunOptions)
    others = options.from_namespace(arguments, WriteOptions).keys() - running.keys()
    if others != {"append_dim"} or arguments.replace or not group:
        return False
    place = resolve(arguments.target, read_only=False) / str(group)
    if not is_image(place.sound_node()):
        return False
    start = time.perf_counter()
    if arguments.quiet:
        running = {"progress": False, **running}
    with broken_off(str(place)):
        append_array(
            array, arguments.target, str(group), dim, xr.Dataset(), only(RunOptions, running)
        )
    length = open_pyramid(arguments.target, str(group)).sizes.get(dim)
    more = f"{array.sizes.get(dim, 1)} more, {length} in all, along {dim!r}"
    tell(f"appended to {place}: {more}, {_time(time.perf_counter() - start)}")
    return True


def _say_cost(pyramid: Pyramid | Pyramids, arguments: argparse.Namespace) -> None:
    """Say what it takes to write."""
    chosen = {name: getattr(arguments, name, None) for name in ("shards", "memory")}
    for member in pyramid.values() if isinstance(pyramid, Pyramids) else [pyramid]:
        with warnings.catch_warnings(action="ignore"), suppress(PyramidError):  # said later
            say(cost_in_words(member.plan.cost(**chosen)))


def _silence(message: object) -> None:
    """Say nothing."""


def _write_options(arguments: argparse.Namespace, group: type) -> Any:
    """Return the options of writing that were passed."""
    passed = options.from_namespace(arguments, group)
    passed |= {"mode": "w" if arguments.replace else "w-"}
    return passed | ({"progress": False} if arguments.quiet and "progress" not in passed else {})


def _plan(
    sources: Sequence[ImageSource], arguments: argparse.Namespace, writing: WriteOptions
) -> None:
    """Say what would be written, as `prepare` finds it, which checks all and writes nothing."""
    store = arguments.target or arguments.source
    session = prepare(sources, store, resolve_options(WriteOptions, writing))
    shared = "; what images have in common is read once" if len(session.images) > 1 else ""
    say(f"plan: {cost_in_words(session.cost)}{shared}")
    for image in session.images:
        array, plan = session.array(image), image.plan
        noun = "shards" if array.shards else "chunks"
        shapes = zip(plan.levels[image.kept :], image.objects[image.kept :], strict=True)
        counts = ", ".join(str(_number(level.shape, stored)) for level, stored in shapes)
        codec = codec_words(array) or "uncompressed"
        say(f"{image.transaction.target}: {counts} {noun}, {codec}")
    say("nothing was written; leave out --plan to write it")


def _number(shape: Sequence[int], objects: Sequence[int]) -> int:
    """Return how many stored objects a level has."""
    return math.prod(-(-n // max(1, length)) for n, length in zip(shape, objects, strict=True))


def _how(pyramid: Pyramid | Pyramids, target: str) -> str:
    """Say how many bytes were written, and how they are compressed."""
    members = pyramid if isinstance(pyramid, Pyramids) else {"": pyramid}
    samples = in_bytes(sum(member.nbytes for member in members.values()))
    forms = []
    with suppress(PyramidError):  # what was written is there, whoever can read it
        forms = [stored_form(f"{target}/{path}".rstrip("/")) for path in members]
    if not forms:
        return samples
    return f"{samples} ({_stored([level for form in forms for level in form.levels])})"


def _stored(levels: Sequence[StoredLevel]) -> str:
    """Say how many bytes some levels have in the store, and how they are compressed."""
    codecs = "; ".join(dict.fromkeys(level.codec or "uncompressed" for level in levels))
    sizes = [level.stored_bytes for level in levels]
    stored = "" if None in sizes else f"{in_bytes(sum(filter(None, sizes)))} with "
    return f"{stored}{codecs}"


def _time(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _what(pyramid: Pyramid | Pyramids) -> str:
    """Say what was written."""
    if isinstance(pyramid, Pyramids):
        count = len(next(iter(pyramid.values())))
        return f"{', '.join(pyramid)}, {count} level{'s' if count > 1 else ''} each"
    what = f"{len(pyramid)} levels of {pyramid.method}" if len(pyramid) > 1 else "1 level"
    return what + (", labels" if pyramid.kind == "labels" else "")


def _add_levels(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid build --in-place``."""
    others = ("variable", "source_dims", "layout", "names", "dtype", "labels_of", "append_dim")
    refused = [name for name in others if getattr(arguments, name, None) is not None]
    if refused or arguments.target is not None:
        what = "DST" if arguments.target is not None else f"--{refused[0].replace('_', '-')}"
        arguments.parser.error(f"argument {what}: not allowed with argument --in-place")
    options_passed = options.from_namespace(arguments, LevelOptions, BuildOptions)
    writing = _write_options(arguments, AddOptions)
    addition = prepare_levels(
        arguments.source, arguments.group, arguments.level0, **(options_passed | writing)
    )
    pyramid, tell = addition.pyramid, _silence if arguments.quiet else say
    tell(repr(pyramid))
    place = str(addition.base.place)
    if addition.image is None:
        if not arguments.plan:
            addition.write()
        tell(f"nothing to add to {place}: all levels are there")
        return
    if arguments.plan:
        _plan([addition.image], arguments, addition.options)
        return
    start = time.perf_counter()
    with broken_off(place):
        addition.write()
    seconds = time.perf_counter() - start
    first = len(addition.image.kept.paths) if addition.image.kept is not None else 0
    count = len(pyramid) - first
    what = f"{count} level{'s' if count != 1 else ''} of {pyramid.method}"
    written = in_bytes(sum(level.nbytes for level in pyramid.plan.levels[first:]))
    with suppress(PyramidError):  # what was written is there, whoever can read it
        written += f" ({_stored(stored_form(place).levels[first:])})"
    tell(f"added to {place}: {what}, {written}, {_time(seconds)}")


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
