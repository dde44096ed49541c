"""``xpyramid info``: what stored images are, for people or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from xpyramid import ngff
from xpyramid.cli.files import refuse_files
from xpyramid.cli.terminal import fail, say
from xpyramid.display import in_bytes, listed, times
from xpyramid.errors import NotAPyramidError, PyramidError
from xpyramid.geometry.plan import without_none
from xpyramid.messages import one_line
from xpyramid.opening import open_pyramid
from xpyramid.pyramid import Pyramid
from xpyramid.reader import StoredForm, find_images, images_at, stored_form
from xpyramid.sources import reading
from xpyramid.store.path import resolve
from xpyramid.store.transaction import say_left_over


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid info``."""
    parser.description = (
        "Say what the images of a store are: levels, axes, types, units, channels, labels, "
        "version, codec, shards, stored objects and method. No samples are read."
    )
    add = parser.add_argument
    add("path", metavar="PATH", help="a Zarr store, or an OME-Zarr image in one")
    add("--group", metavar="PATH", help="an image, or a group of images, in the store")
    add("--json", action="store_true", help="print a list with an object for each image")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Run ``xpyramid info``; return the exit code."""
    location = arguments.path
    refuse_files(location)
    images = _images(location, arguments.group)
    documents: list[dict[str, object]] = []
    codes: list[int] = []
    for path, position in images:
        try:
            with reading(location):
                pyramid = open_pyramid(location, path or None, multiscale=position)
                form = stored_form(location, path or None, position)
        except PyramidError as error:
            sys.stdout.flush()
            codes.append(fail(error, 2, verbose=arguments.verbose))
            continue
        note = _left_over(location, path)
        if arguments.json:
            documents.append(as_json(path, pyramid, form) | ({"note": note} if note else {}))
            codes.append(0)
            continue
        if 0 in codes:  # a table below another is set apart
            print()
        if len(images) > 1:
            say(f"{location.rstrip('/')}/{path}")
        say("\n".join([str(pyramid), *lines(pyramid, form), *([f"note: {note}"] if note else [])]))
        codes.append(0)
    if arguments.json:
        print(json.dumps(documents, allow_nan=False))
    return max(codes)


def _images(location: str, group: str | None) -> list[tuple[str, int]]:
    """Return the groups of all images, with the position of each among those of its group."""
    above = f"{group.strip('/')}/" if group else ""
    paths: list[str] = []
    # Where none is found, opening says why.
    with suppress(NotAPyramidError), reading(location):
        paths = [(above + path).strip("/") for path in find_images(location, group)]
    paths = paths or [(group or "").strip("/")]
    return [(path, i) for path in paths for i in range(images_at(location, path))]


def lines(pyramid: Pyramid, form: StoredForm) -> list[str]:
    """Return what is said of an image below the table of its levels."""
    axes = [
        " ".join(filter(None, [one_line(axis.dim), axis.type, pyramid.units[axis.dim]]))
        for axis in pyramid.plan.axes
    ]
    has_channels = any(axis.type == "channel" for axis in pyramid.plan.axes)
    texts = {"axes": ", ".join(axes)}
    texts["channels"] = listed(_channels(pyramid)) if has_channels else ""
    texts["method"] = ", ".join([pyramid.method, *_method_options(pyramid)])
    texts["stored as"] = (
        f"OME-Zarr {form.version}, Zarr v{form.zarr_format}, levels as {form.layout}, "
        f"{form.codec or 'uncompressed'}"
    )
    shards = form.levels[0].shards
    texts["shards"] = times(shards) if shards else "none"
    noun = "shards" if shards else "chunks"
    counts = ", ".join(str(level.objects) for level in form.levels)
    texts["objects"] = f"{counts} {noun}"
    stored = [level.stored_objects for level in form.levels]
    if None not in stored and stored != [level.objects for level in form.levels]:
        texts["objects"] += f", of which {', '.join(map(str, stored))} are not empty"
    if form.stored_bytes is not None:
        texts["objects"] += f"; {in_bytes(form.stored_bytes)} in all"
    width = max(map(len, texts)) + 2
    return [f"{name + ':':{width}}{text}" for name, text in texts.items() if text]


def as_json(path: str, pyramid: Pyramid, form: StoredForm) -> dict[str, object]:
    """Return what there is to say of an image, for programs."""
    plan = pyramid.plan
    levels = [
        {
            **asdict(stored),
            "shape": level.shape,
            "factors": level.factors,
            "scale": _finite(plan.scale(k)),
            "translation": _finite(plan.translation(k)),
            "nbytes": level.nbytes,
        }
        for k, (level, stored) in enumerate(zip(plan.levels, form.levels, strict=True))
    ]
    axes = [
        {
            "name": axis.name, "dim": axis.dim, "type": axis.type,
            "unit": pyramid.units[axis.dim], "is_coarsened": axis.dim in plan.coarsened,
        }
        for axis in plan.axes
    ]  # fmt: skip
    return {
        "path": path,
        "name": pyramid.name,
        "dtype": str(plan.dtype),
        "kind": plan.kind,
        "method": plan.method,
        "boundary": plan.boundary,
        "options": {name: _plain(value) for name, value in without_none(plan.options).items()},
        "version": form.version,
        "zarr_format": form.zarr_format,
        "layout": form.layout,
        "codec": form.codec or None,
        "axes": axes,
        "channels": _channels(pyramid),
        "labels": list(pyramid.labels),
        "nbytes": plan.nbytes,
        "stored_bytes": form.stored_bytes,
        "levels": levels,
    }


def _channels(pyramid: Pyramid) -> list[str]:
    """Return the names of channels."""
    channels = ngff.stored_channels(pyramid.metadata, None).get("channels", [])
    return [str(channel.get("label", "")) for channel in channels]


def _method_options(pyramid: Pyramid) -> list[str]:
    plan = pyramid.plan
    options = [f"{name} {value}" for name, value in without_none(plan.options).items()]
    return [*([] if plan.boundary == "pad" else [f"boundary {plan.boundary}"]), *options]


def _finite(numbers: tuple[float, ...]) -> list[float | None]:
    """Return numbers that JSON has, None for the others."""
    return [float(n) if abs(n) < float("inf") else None for n in numbers]


def _plain(value: Any) -> bool | str | float:
    """Return a value that JSON has."""
    if isinstance(value, bool | str):
        return value
    number = float(value)
    return number if abs(number) < float("inf") else str(number)


def _left_over(location: str, path: str | None) -> str | None:
    """Return what a build has left beside an image that is at its place."""
    with suppress(PyramidError):  # archives have no room for it
        return say_left_over(resolve(location, read_only=True) / (path or "").strip("/"))
    return None
