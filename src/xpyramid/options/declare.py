"""How an option is declared, once, and what calls and the command line derive from it.

A group of options is a `TypedDict` whose types are annotated with an `Option`. Type checkers see it
through ``**options: Unpack[Group]``; `takes_options` gives the call its signature and its docstring
at run time; `resolve_options` checks what was passed and adds what was not; the command line makes
its arguments from the same declarations.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from types import MappingProxyType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from xpyramid.errors import PlanError
from xpyramid.options.words import check_names

P = ParamSpec("P")
R = TypeVar("R")
Group = TypeVar("Group")


@dataclass(frozen=True)
class Option:
    """What there is to say of an option beside its name and its type.

    Attributes
    ----------
    default : object
    doc : str
        For docstrings: the type in a line of its own, as numpydoc has it, then what it means.
    types : type or tuple of type
        What a value must be an instance of; None is a value where it is the default, or named.
    accepted : str
        For messages: what may be passed.
    fix : str
        For messages: what else may be done, with ``{value}``.
    help : str
        For the command line; empty where the option is not one there.
    parse : callable, optional
        Turns the text of the command line into a value.
    metavar : str, optional
        For the command line.
    """

    default: object
    doc: str
    types: Any = object
    accepted: str = ""
    fix: str = ""
    help: str = ""
    parse: Callable[[str], object] | None = None
    metavar: str | None = None


@dataclass(frozen=True)
class Declared:
    """An option of a group: its declaration and its type."""

    option: Option
    type: object

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that a ``Literal`` allows; empty for other types."""
        parts = get_args(self.type) if _is_union(self.type) else (self.type,)
        return tuple(
            choice for part in parts if get_origin(part) is Literal for choice in get_args(part)
        )

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not of the option's types, or none of its choices.

        Raises
        ------
        PlanError
        """
        option, choices = self.option, self.choices
        if value is None and option.default is None:
            return
        is_one = isinstance(value, str if choices else option.types)
        if not is_one or (choices and value not in choices):
            accepted = option.accepted or ", ".join(map(repr, choices))
            fix = option.fix.format(value=repr(value)) if isinstance(value, str) else ""
            raise PlanError(option=name, value=value, accepted=accepted, fix=fix)


def _is_union(kind: object) -> bool:
    return get_origin(kind) in (Union, UnionType)


def options_of(*groups: type) -> Mapping[str, Declared]:
    """Return the options of some groups, by name."""
    return _options_of(groups)


@cache
def _options_of(groups: tuple[object, ...]) -> Mapping[str, Declared]:
    declared = {}
    for group in groups:
        for name, hint in get_type_hints(group, include_extras=True).items():
            if get_origin(hint) is Annotated:
                kind, option = get_args(hint)
                declared[name] = Declared(option, kind)
    return declared


def resolve_options(group: type[Group], passed: Mapping[str, object]) -> Group:
    """Return all options of a group: those that were passed, checked, and the others' defaults.

    Raises
    ------
    PlanError
        For a value that is not accepted.
    """
    declared = options_of(group)
    for name, value in passed.items():
        if name in declared:
            declared[name].check(name, value)
    return group(
        **{
            name: passed.get(name, declaration.option.default)
            for name, declaration in declared.items()
        }
    )


def only(group: type[Group], options: Mapping[str, object]) -> Group:
    """Return those of some options that are in a group."""
    declared = options_of(group)
    return group(**{name: value for name, value in options.items() if name in declared})


def takes_options(
    *groups: type, call: str, elsewhere: Mapping[str, Collection[str]] = MappingProxyType({})
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a function that takes the options of some groups as ``**options``.

    The function gets the signature that it has with all of them, and a docstring in which they
    stand in the place of ``**options``. Unknown ones are refused.

    Parameters
    ----------
    *groups : type
    call : str
        What users call, for messages: ``"to_ome_zarr()"``.
    elsewhere : mapping of str to collection of str
        Other calls that are easily taken for this one, with their options.
    """
    declared = options_of(*groups)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        named_parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        accepted = [*(p.name for p in named_parameters if p.name != "self"), *declared]

        @wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            check_names(tuple(kwargs), accepted, call, elsewhere)
            return function(*args, **kwargs)

        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=declaration.option.default
            )
            for name, declaration in declared.items()
        ]
        wrapped.__signature__ = signature.replace(parameters=[*named_parameters, *added])  # type: ignore[attr-defined]
        wrapped.__doc__ = _with_options(function.__doc__ or "", declared)
        return wrapped

    return decorate


def _with_options(doc: str, declared: Mapping[str, Declared]) -> str:
    """Return a docstring with options in the place of ``**options`` and its description."""

    def described(match: re.Match[str]) -> str:
        indent, lines = match[1], list[str]()
        for name, declaration in declared.items():
            kind, *text = inspect.cleandoc(declaration.option.doc).splitlines()
            lines += [
                f"{indent}{name} : {kind}",
                *(f"{indent}    {line}".rstrip() for line in text),
            ]
        return "\n".join(lines) + "\n"

    return re.sub(r"^( *)\*\*options\b.*\n(?:\1 +\S.*\n)*", described, doc, flags=re.MULTILINE)
