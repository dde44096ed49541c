"""The options of ``xpyramid build`` that are parameters of ours: tables, and what parses them."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from typing import Any, get_args

from xpyramid.geometry.plan import Boundary, Kind
from xpyramid.ngff import VERSIONS, Irregular
from xpyramid.reducers import METHODS, suggest_method
from xpyramid.store.names import Names
from xpyramid.writer import Dtype, Layout

_Table = Mapping[str, Mapping[str, Any]]


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options of all tables: ``axis_types`` is ``--axis-types``."""
    for name, how in {**BUILDING, **AXES, **WRITING}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **how)


def given(arguments: argparse.Namespace, table: _Table) -> dict[str, Any]:
    """Return the parameters of a table."""
    return {name: getattr(arguments, name) for name in table}


def names(text: str) -> tuple[str, ...]:
    """Parse ``y,x``."""
    return tuple(name.strip() for name in text.split(","))


def _lengths(text: str) -> int | tuple[int, ...] | dict[str, int]:
    """Parse ``2``, ``1,2,2`` or ``z=1,y=2,x=2``."""
    try:
        if "=" not in text:
            listed = tuple(int(length) for length in text.split(","))
            return listed if "," in text else listed[0]
        pairs = [part.split("=") for part in text.split(",")]
        lengths = {name.strip(): int(length) for name, length in pairs}
    except ValueError:
        lengths, pairs = {}, []
    if not lengths or len(lengths) < len(pairs):
        raise argparse.ArgumentTypeError(
            f"{text!r}; accepted: an integer, one for each dimension: 1,2,2, or one for each of "
            "some dimensions: z=1,y=2,x=2"
        )
    return lengths


def _method(text: str) -> str:
    """Take the name of a method, or say which one is meant."""
    if text not in METHODS:
        accepted = ", ".join(sorted(METHODS))
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: {accepted}{suggest_method(text)}")
    return text


def _number(text: str) -> float:
    """Parse ``0``, which stays an integer, or ``-9999.5``."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _numbers(text: str) -> float | tuple[float, ...] | dict[str, float]:
    """Parse ``0.5``, ``2,0.5,0.5`` or ``z=2,y=0.5``."""
    try:
        words = _words(text)
        if isinstance(words, tuple):
            return tuple(float(word) for word in words)
        if isinstance(words, str):
            return float(words)
        return {name: float(word) for name, word in words.items()}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}; accepted: a number, one for each dimension: 2,0.5,0.5, or one for each of "
            "some dimensions: z=2,y=0.5"
        ) from None


def _types(text: str) -> dict[str, str]:
    """Parse ``q=channel``."""
    words = _words(text)
    if not isinstance(words, dict):
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: types of dimensions: q=channel")
    return words


def _words(text: str) -> str | tuple[str, ...] | dict[str, str]:
    """Parse ``um``, ``um,um,um`` or ``t=s,y=um``."""
    if "=" not in text:
        return tuple(map(str.strip, text.split(","))) if "," in text else text
    pairs = [part.partition("=") for part in text.split(",")]
    words = {name.strip(): word.strip() for name, _, word in pairs}
    if len(words) < len(pairs) or not all({*words, *words.values()}):
        raise argparse.ArgumentTypeError(
            f"{text!r}; accepted: one for all, or one for each of some dimensions: t=s,y=um"
        )
    return words


def _omero(text: str) -> Any:
    """Parse ``yes``, ``no``, or a mapping as JSON."""
    try:
        return {"yes": True, "no": False}[text] if text in ("yes", "no") else _mapping(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r}; accepted: yes, no, or JSON: \'{{"colors": ["FF0000", "00FF00"]}}\''
        ) from None


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(text)
    return found


#: Parameters of `xpyramid.build.build`.
BUILDING: _Table = {
    "levels": {
        "type": int,
        "metavar": "N",
        "help": "number of levels, the base included (default: until the top fits into one chunk)",
    },
    "factor": {
        "type": _lengths,
        "metavar": "2|1,2,2|z=1,y=2",
        "help": "step from level to level (default: 2 in space, less along what is coarse already)",
    },
    "method": {
        "type": _method,
        "choices": tuple(METHODS),
        "help": "how to reduce (default: mean; mode for labels)",
    },
    "kind": {
        "choices": get_args(Kind),
        "help": "what the samples are (default: labels where their name, dtype or attributes say "
        "so)",
    },
    "dims": {"type": names, "metavar": "y,x", "help": "what to coarsen (default: space)"},
    "boundary": {
        "choices": get_args(Boundary),
        "default": "pad",
        "help": "reduce a last, partial window over what it holds, drop it, or refuse it "
        "(default: pad)",
    },
    "skipna": {
        "action": argparse.BooleanOptionalAction,
        "help": "whether NaN samples do not count (default: they do not)",
    },
    "ignore": {"type": _number, "metavar": "0", "help": "a background value that does not count"},
    "min_valid": {
        "type": float,
        "metavar": "0.5",
        "help": "least fraction of samples that count, for a cell to be valid",
    },
    "chunks": {
        "type": _lengths,
        "metavar": "64|1,64,64|z=1",
        "help": "shape of the stored chunks",
    },
}

#: Parameters of `xpyramid.geometry.overrides.Overrides`.
AXES: _Table = {
    "spacing": {
        "type": _numbers,
        "metavar": "0.5|2,0.5,0.5|z=2",
        "help": "distance of samples in space",
    },
    "origin": {
        "type": _numbers,
        "metavar": "0|y=12.5",
        "help": "coordinate of the first sample",
    },
    "units": {"type": _words, "metavar": "um|t=s,y=um", "help": "units of the coordinates"},
    "axis_types": {"type": _types, "metavar": "q=channel", "help": "what dimensions are"},
}

#: Parameters of `xpyramid.Pyramid.to_ome_zarr`, but for objects of zarr.
WRITING: _Table = {
    "version": {
        "choices": tuple(VERSIONS),
        "default": "0.5",
        "help": "OME-NGFF version: 0.5 and 0.6 are Zarr v3, 0.4 is Zarr v2 (default: 0.5)",
    },
    "layout": {
        "choices": get_args(Layout),
        "default": "groups",
        "help": "each level a group, with coordinates; or an array (default: groups)",
    },
    "names": {
        "choices": get_args(Names),
        "help": "dimension names that viewers know (t, c, z, y, x), or those of SRC (default: ome; "
        "source with --conventions geozarr)",
    },
    "dtype": {
        "choices": get_args(Dtype),
        "help": "packed as integers as in SRC, where it is (default: unpacked)",
    },
    "omero": {
        "type": _omero,
        "metavar": "yes|no|JSON",
        "help": "how viewers show channels (default: yes for images, no for labels); JSON may have "
        "labels, colors (names as in CSS, or FF8800), windows or contrast_limits, percentiles: "
        "one for each channel, or a mapping by label",
    },
    "labels_of": {
        "metavar": "PATH",
        "help": "image in DST that these are labels of; they go to PATH/labels",
    },
    "conventions": {
        "type": names,
        "default": (),
        "metavar": "geozarr",
        "help": "further metadata beside OME's",
    },
    "irregular": {
        "choices": get_args(Irregular),
        "default": "error",
        "help": "refuse uneven coordinates, or write their mean spacing (default: error)",
    },
    "shards": {
        "type": _lengths,
        "metavar": "256|y=2048",
        "help": "shape of the shards (default: none)",
    },
    "memory": {"metavar": "500MB", "help": "what all workers together may hold"},
    "progress": {
        "action": argparse.BooleanOptionalAction,
        "help": "show a bar (default: in terminals)",
    },
    "durable": {"action": "store_true", "help": "wait until the disk has all of it"},
    "strict": {"action": "store_true", "help": "missing chunks of SRC are an error"},
    "resume": {"action": "store_true", "help": "go on with an unfinished build"},
}

#: What messages say of parameters, and what to say of options.
_PHRASES = {
    "mode='w'": "--replace",
    "pass strict=False": "leave out --strict",
    "axis_types: ": "--axis-types: ",
    "pass zarr.storage": "in Python pass zarr.storage",
    "open_source(dims=...)": "--source-dims",
    "open one by its path": "give the path of one as SRC",
}

#: ``name=``, or ``name=value``, or a call with that; not what only looks like it, as in a path.
_PARAMETER = re.compile(
    r"(?<![\w/.\-])(?P<call>(?:\.pyramid)?\.?(?:build|to_ome_zarr)\()?"
    rf"(?P<name>{'|'.join([*BUILDING, *AXES, *WRITING, 'group', 'variable'])})="
    r"(?:(?P<value>'[^']*'|\{[^{}]*\}|\[[^][]*\]|\([^()]*\)|-?[\w.]+)(?![\w/])|(?=[\s,;:)]|$))"
    r"(?(call)\))"
)

#: A call that only Python has.
_CALL = re.compile(r"(?<!\w)\.[a-z_]+\((?:[^()]|\([^()]*\))*\)")


def spoken(message: str) -> str:
    """Return a message that names the command line's options where it named parameters.

    Examples
    --------
    >>> spoken("replace it with mode='w', or pass build(spacing={'y': ...}); axis_types= is for z")
    'replace it with --replace, or pass --spacing y=...; --axis-types is for z'
    """
    for parameter, option in _PHRASES.items():
        message = message.replace(parameter, option)
    message = _PARAMETER.sub(_as_option, message)
    return _CALL.sub(lambda call: f"{call[0]} in Python", message)


def _as_option(found: re.Match[str]) -> str:
    """Return an option with its value, as a shell takes them."""
    name, value = found["name"].replace("_", "-"), found["value"]
    if value is None:
        return f"--{name}"
    how = {**BUILDING, **AXES, **WRITING}.get(found["name"], {})
    if value in ("True", "False") and "action" in how:
        return f"--{name}" if value == "True" else f"--no-{name}"
    value = {"True": "yes", "False": "no"}.get(value, value)
    words = re.sub(r"'([^']*)'(: )?", lambda word: word[1] + ("=" if word[2] else ""), value)
    return f"--{name} {words.strip('{}[](),').replace(', ', ',')}"
