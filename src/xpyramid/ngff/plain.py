"""What a value of somebody's JSON is, before anything is done with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

Number = int | float


def is_number(value: object) -> TypeGuard[Number]:
    """Whether a value is a number, or a boolean, that all readers of JSON can hold."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def is_map(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value is a JSON object."""
    return isinstance(value, Mapping)
