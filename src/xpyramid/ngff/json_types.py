"""What a value of somebody's JSON is, before anything is done with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeGuard

from xpyramid.types import Json

Number = int | float


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a number, or a boolean, that all readers of JSON can hold."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def is_map(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a value is a JSON object."""
    return isinstance(value, Mapping)


def ome_metadata(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """Return what holds OME's metadata: "ome" since 0.5, all attributes before."""
    ome = attributes.get("ome")
    return ome if is_map(ome) else attributes


def holder_of_multiscales(attributes: Mapping[str, object]) -> Mapping[str, object]:
    """Return what holds ``multiscales``, where there are any; writers mix the versions' places."""
    ome = attributes.get("ome")
    return ome if is_map(ome) and "multiscales" in ome else attributes


def map_in(holder: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    """Return the JSON object under a key, an empty one where there is none."""
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


def is_count(value: object, least: int | None) -> TypeGuard[Number]:
    """Whether a value is an integer of JSON, where 1.0 is one too, and not too small."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    whole = isinstance(value, int) or value.is_integer()
    return whole and (least is None or value >= least)
