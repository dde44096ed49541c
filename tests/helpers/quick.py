"""Which of many cases the tests that newcomers run take; ``pytest -m slow`` runs the others."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import pytest


def quick_if(chosen: Callable[..., bool], cases: Iterable[Any]) -> list[Any]:
    """Return parameters of a test, of which those that are not chosen are slow.

    A case that is a tuple stands for several parameters.
    """
    parameters = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marks = () if chosen(*values) else pytest.mark.slow
        parameters.append(pytest.param(*values, marks=marks))
    return parameters


def spread(every: int, *lists: Sequence[Any]) -> list[Any]:
    """Return the product of lists as parameters: one in ``every`` is quick, the others are slow.

    Those that are quick lie on diagonals, so that each element of each list is among them.
    """
    parameters, quick = [], set()
    for places in product(*(range(len(one)) for one in lists)):
        values = [one[place] for one, place in zip(lists, places, strict=True)]
        is_quick = sum(places) % every == 0
        quick.update(enumerate(places) if is_quick else ())
        marks = () if is_quick else pytest.mark.slow
        parameters.append(pytest.param(*values, marks=marks, id="-".join(map(_name, values))))
    if len(quick) < sum(map(len, lists)):
        raise ValueError(f"one in {every} is too few for each element to have a quick case")
    return parameters


def _name(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_name, value))
    return getattr(value, "__name__", None) or str(value)
