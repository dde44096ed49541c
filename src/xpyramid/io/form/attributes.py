"""Attributes as strict JSON."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from xpyramid import units
from xpyramid.errors import AttributeValueError

#: How deep attributes may nest; readers of JSON have limits of their own.
_DEEPEST = 64


def json_attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as strict JSON values; NumPy's scalars and arrays become numbers and lists.

    Raises
    ------
    AttributeValueError
        For what JSON cannot hold.
    """
    return _mapping(attrs, "", _DEEPEST)


def _mapping(attrs: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    if bad := [key for key in attrs if not isinstance(key, str)]:
        raise AttributeValueError(
            f"attribute {f'{where}{bad[0]}'[:200]!r} has a name that is not text; rename it"
        )
    for key in attrs:
        _json(key, f"{where}{key}", depth)
    return {str(key): _json(value, f"{where}{key}", depth) for key, value in attrs.items()}


def _json(value: Any, where: str, depth: int) -> Any:
    """Return a value as JSON has it; ``depth`` is how deep mappings and lists may still nest."""
    value = units.as_text(value)
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "mM":
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value):
        return str(value)
    if isinstance(value, list | tuple) and depth:
        return [_json(item, where, depth - 1) for item in value]
    if isinstance(value, Mapping) and depth:
        return _mapping(value, f"{where}.", depth - 1)
    shown = reprlib.repr(value)
    raise AttributeValueError(
        f"attribute {where[:200]!r} is {shown}, which JSON cannot hold; accepted: text, finite "
        f"numbers of 64 bits, booleans, None, lists and mappings of those, {_DEEPEST} deep; change "
        f"it, or drop it with del array.attrs[{where.partition('.')[0][:60]!r}]"
    )
