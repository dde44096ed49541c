"""Several methods at once: the names of their images, and sets of methods that have a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from xpyramid.errors import PlanError
from xpyramid.messages import say
from xpyramid.options.types import Method
from xpyramid.reducers.holistic import method_name

#: Sets of methods, by their names.
SETS: Mapping[str, Sequence[str]] = MappingProxyType(
    {"statistics": ("mean", "std", "min", "max", "count")}
)


def named_methods(methods: object) -> dict[str, Method] | None:
    """Return several methods by the names of their images; None where there is only one, or none.

    Parameters
    ----------
    methods : object
        A list of methods, a mapping from names to methods, or the name of a set.

    Raises
    ------
    PlanError
        For names that are no text or occur twice, and for what is no method.

    Examples
    --------
    >>> named_methods(["mean", "max"])
    {'mean': 'mean', 'max': 'max'}
    >>> list(named_methods("statistics"))
    ['mean', 'std', 'min', 'max', 'count']
    """
    if isinstance(methods, str) and methods in SETS:
        methods = [methods]
    if isinstance(methods, Mapping):
        named = dict(methods)
    elif isinstance(methods, list | tuple):
        named = _by_their_own_names(methods)
    else:
        return None
    accepted = "methods, as in ['mean', 'max'] or {'average': 'mean', 'peak': 'max'}"
    if not named or not all(isinstance(name, str) and name for name in named):
        raise PlanError(option="method", value=methods, accepted=accepted)
    for name, method in named.items():
        if not (isinstance(method, str) or callable(method)) or method in SETS:
            raise PlanError(
                f"with {method!r} for {name!r}", option="method", value=methods, accepted=accepted
            )
    return named


def _by_their_own_names(methods: Sequence[object]) -> dict[object, Method]:
    """Return methods by their names, with those of sets in the place of these."""
    single: list[Method] = []
    for method in methods:
        is_set = isinstance(method, str) and method in SETS
        single += SETS[str(method)] if is_set else [method]  # type: ignore[list-item]
    names = [method_name(method) for method in single]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise PlanError(
            f"has {twice[0]!r} twice",
            option="method",
            value=methods,
            fix=say("name them: {method}", method={f"{twice[0]} 1": ..., f"{twice[0]} 2": ...}),
        )
    return dict(zip(names, single, strict=True))
