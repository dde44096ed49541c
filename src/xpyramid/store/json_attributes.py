"""Attributes as strict JSON, and back."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpyramid.errors import AttributeValueError
from xpyramid.geometry import units
from xpyramid.types import Attrs, Json

#: How deep attributes may nest; readers of JSON have limits of their own.
_DEEPEST = 64

#: What JSON has no number for, in the words of Zarr v3.
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

#: Where a value is in attributes: names, and positions in lists.
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Holder:
    """What has attributes.

    Attributes
    ----------
    name : str
        In a sentence.
    code : str
        In Python.
    """

    name: str
    code: str


ARRAY = Holder("the array", "array")
DATASET = Holder("the Dataset", "dataset")


def coordinate(name: Hashable) -> Holder:
    """Return the coordinate of a name, as a holder of attributes."""
    shown = str(name)[:60]
    return Holder(f"coordinate {shown!r}", f"array.coords[{shown!r}]")


def json_attributes(
    attrs: Attrs, holder: Holder = ARRAY, *, finite: bool = False
) -> dict[str, Json]:
    """Return attributes as strict JSON values.

    NumPy's scalars and arrays become numbers and lists; NaN and infinity become text, and
    `nonfinite` says where they are.

    Parameters
    ----------
    attrs : mapping
    holder : Holder
        What has them, for messages.
    finite : bool
        Whether NaN and infinity are refused.

    Raises
    ------
    AttributeValueError
        For what JSON cannot hold.
    """
    return _Writer(holder, finite).mapping(attrs, "", _DEEPEST)


def nonfinite(attrs: Attrs) -> list[list[str | int]]:
    """Return where NaN and infinity are in attributes."""
    return [list(path) for path in _nonfinite(attrs, ())]


def restore(attrs: Mapping[str, object], paths: object) -> dict[str, object]:
    """Return attributes with NaN and infinity where they were.

    Parameters
    ----------
    attrs : mapping
        As JSON.
    paths : object
        What `nonfinite` returned. What leads nowhere is left out.
    """
    restored: dict[str, object] = dict(attrs)
    for path in paths if isinstance(paths, list) else ():
        if isinstance(path, list) and path:
            restored = _replaced(restored, path)
    return restored


def _nonfinite(value: object, path: Path) -> Iterator[Path]:
    value = _plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    inside: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    for key, item in inside if len(path) <= _DEEPEST else ():
        yield from _nonfinite(item, (*path, key))


def _replaced(value: Any, path: Sequence[object]) -> Any:
    """Return a value in which the word at a path is the number that it stands for."""
    if not path:
        return _WORDS.get(value, value) if isinstance(value, str) else value
    key, *inner_path = path
    if isinstance(value, Mapping) and key in value:
        return {**value, key: _replaced(value[key], inner_path)}
    if isinstance(value, list) and type(key) is int and 0 <= key < len(value):
        return [*value[:key], _replaced(value[key], inner_path), *value[key + 1 :]]
    return value


def _plain(value: object) -> object:
    """Return a value without the types of NumPy and of libraries of units."""
    value = units.as_text(value)
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "mM":
        return value.tolist()
    return value


def _number(value: float) -> float | str:
    """Return a number as JSON has it, or the word for it."""
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@dataclass(frozen=True)
class _Writer:
    """Turns the attributes of a holder into JSON."""

    holder: Holder
    finite: bool

    def mapping(self, attrs: Attrs, where: str, depth: int) -> dict[str, Json]:
        if bad := [key for key in attrs if not isinstance(key, str)]:
            raise AttributeValueError(
                f"attribute {f'{where}{bad[0]}'[:200]!r} of {self.holder.name} has a name "
                "that is not text",
                fix="rename it",
            )
        for key in attrs:
            self.value(key, f"{where}{key}", depth)
        return {str(key): self.value(value, f"{where}{key}", depth) for key, value in attrs.items()}

    def value(self, value: object, where: str, depth: int) -> Json:
        """Return a value as JSON has it; ``depth`` is how deep it may still nest."""
        value = _plain(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and -(2**63) <= value < 2**64:
            return int(value)
        if isinstance(value, float) and (math.isfinite(value) or not self.finite):
            return _number(value)
        if isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value):
            return str(value)
        if isinstance(value, Mapping | list | tuple) and depth:
            return self._nested(value, where, depth - 1)
        raise self._refusal(value, where)

    def _nested(self, value: Attrs | Sequence[object], where: str, depth: int) -> Json:
        if isinstance(value, Mapping):
            return self.mapping(value, f"{where}.", depth)
        return [self.value(item, where, depth) for item in value]

    def _refusal(self, value: object, where: str) -> AttributeValueError:
        numbers = "finite numbers" if self.finite else "numbers"
        top = where.partition(".")[0][:60]
        return AttributeValueError(
            f"attribute {where[:200]!r} of {self.holder.name} is {reprlib.repr(value)}, which JSON "
            f"cannot hold; accepted: text, {numbers} of 64 bits, booleans, None, lists and "
            f"mappings of those, {_DEEPEST} deep; change it, or drop it with "
            f"del {self.holder.code}.attrs[{top!r}]"
        )
