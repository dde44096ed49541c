"""Values of options from the text of a command line."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError


def names(text: str) -> tuple[str, ...]:
    """Parse ``y,x``."""
    return tuple(name.strip() for name in text.split(","))


def lengths(text: str) -> int | tuple[int, ...] | dict[str, int]:
    """Parse ``2``, ``1,2,2`` or ``z=1,y=2,x=2``."""
    try:
        if "=" not in text:
            entries = tuple(int(length) for length in text.split(","))
            return entries if "," in text else entries[0]
        pairs = [part.split("=") for part in text.split(",")]
        by_dim = {name.strip(): int(length) for name, length in pairs}
    except ValueError:
        by_dim, pairs = {}, []
    if not by_dim or len(by_dim) < len(pairs):
        raise ArgumentTypeError(
            f"{text!r}; accepted: an integer, one for each dimension: 1,2,2, or one for each of "
            "some dimensions: z=1,y=2,x=2"
        )
    return by_dim


def number(text: str) -> float:
    """Parse ``0``, which stays an integer, or ``-9999.5``."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def numbers(text: str) -> float | tuple[float, ...] | dict[str, float]:
    """Parse ``0.5``, ``2,0.5,0.5`` or ``z=2,y=0.5``."""
    try:
        parsed = words(text)
        if isinstance(parsed, tuple):
            return tuple(float(word) for word in parsed)
        if isinstance(parsed, str):
            return float(parsed)
        return {name: float(word) for name, word in parsed.items()}
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r}; accepted: a number, one for each dimension: 2,0.5,0.5, or one for each of "
            "some dimensions: z=2,y=0.5"
        ) from None


def types(text: str) -> dict[str, str]:
    """Parse ``q=channel``."""
    parsed = words(text)
    if not isinstance(parsed, dict):
        raise ArgumentTypeError(f"{text!r}; accepted: types of dimensions: q=channel")
    return parsed


def words(text: str) -> str | tuple[str, ...] | dict[str, str]:
    """Parse ``um``, ``um,um,um`` or ``t=s,y=um``."""
    if "=" not in text:
        return tuple(map(str.strip, text.split(","))) if "," in text else text
    pairs = [part.partition("=") for part in text.split(",")]
    by_dim = {name.strip(): word.strip() for name, _, word in pairs}
    if len(by_dim) < len(pairs) or not all({*by_dim, *by_dim.values()}):
        raise ArgumentTypeError(
            f"{text!r}; accepted: one for all, or one for each of some dimensions: t=s,y=um"
        )
    return by_dim


def omero(text: str) -> object:
    """Parse ``yes``, ``no``, or a mapping as JSON."""
    if text in ("yes", "no"):
        return text == "yes"
    try:
        mapping = json.loads(text)
    except ValueError:
        mapping = None
    if not isinstance(mapping, dict):
        raise ArgumentTypeError(
            f'{text!r}; accepted: yes, no, or JSON: \'{{"colors": ["FF0000", "00FF00"]}}\''
        )
    return mapping
