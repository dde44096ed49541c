"""Where methods make themselves known."""

from __future__ import annotations

from collections.abc import Callable

from xpyramid.reducers.record import Reducer, Request

Factory = Callable[[Request], Reducer]

#: From a method's name to what makes its record for a request.
METHODS: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Make a method known under a name."""

    def add(factory: Factory) -> Factory:
        METHODS[name] = factory
        return factory

    return add
