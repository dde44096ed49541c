"""How the levels of a stored image were made, by what its metadata say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from xpyramid.errors import PlanError
from xpyramid.geometry.plan import METHOD_OPTIONS, MethodOptions
from xpyramid.ngff.model import Multiscale
from xpyramid.reducers import METHODS, Reducer, make_reducer, recount
from xpyramid.types import DType


def reducer_of(
    image: Multiscale, dtype: DType, shape: Sequence[int], factors: Sequence[int]
) -> Reducer:
    """Return the reducer that has made the levels of an image of ours.

    Parameters
    ----------
    image : Multiscale
    dtype, shape
        Of level 0.
    factors : sequence of int
        Of the top, against level 0.

    Raises
    ------
    PlanError
        For a method that is not known here, such as a function.
    PyramidError, TypeError, ValueError
        For options that the method refuses.
    """
    method = image.metadata.get("method")
    if not isinstance(method, str) or method not in METHODS:
        raise PlanError(f"method {method!r} is not known here")
    if method == "count":
        return recount(dtype)
    if method == "std":
        raise PlanError(
            f"the levels of method {method!r} are made from samples, which its image does not hold"
        )
    largest = math.prod(max(1, min(n, f)) for n, f in zip(shape, factors, strict=True))
    return make_reducer(method, dtype, largest, **options_of(image))


def options_of(image: Multiscale) -> MethodOptions:
    """Return the options of the method that are recorded."""
    options = {key: image.metadata[key] for key in METHOD_OPTIONS if key in image.metadata}
    if isinstance(text := options.get("ignore"), str):  # JSON has no NaN
        with suppress(ValueError):
            options["ignore"] = float(text)
    return cast("MethodOptions", options)  # what else they are, the method refuses
