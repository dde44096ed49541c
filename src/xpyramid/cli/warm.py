"""``xpyramid warm``: kernels compiled beforehand, for images of containers and clusters."""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from xpyramid.engine.statistics import Observer
from xpyramid.errors import PyramidError
from xpyramid.kernels import choice
from xpyramid.reducers import METHODS, make_reducer, reduce_levels, suggest_method
from xpyramid.types import DType

_DTYPES = ("uint8", "uint16", "float32")
_METHODS = ("mean", "mode")

#: Blocks and steps that take different ways through the reducers: some have two samples along each
#: dimension, and a large block goes through other kernels than one that fits a cache.
_BLOCKS = ((8, 8, 8), (8, 1024, 1025))
_STEPS = (((2, 2, 2),), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3),), ((4, 4, 4), (3, 3, 3)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid warm``."""
    parser.description = (
        "Compile what reduces samples, and keep it on disk, where later processes find it."
    )
    add = parser.add_argument
    add(
        "--dtype", type=_dtypes, metavar=",".join(_DTYPES[:2]), default=_dtypes(",".join(_DTYPES)),
        help=f"of the samples (default: {','.join(_DTYPES)})",
    )  # fmt: skip
    add(
        "--method", type=_methods, metavar=",".join(_METHODS), default=_METHODS,
        help=f"default: {','.join(_METHODS)}",
    )  # fmt: skip
    add("--ignore", action="store_true", help="also where a value is ignored")
    parser.set_defaults(run=run, parser=parser)


def _dtypes(text: str) -> list[DType]:
    """Parse ``uint8,float32``."""
    try:
        dtypes = [np.dtype(name) for name in text.split(",")]
    except TypeError as error:
        accepted = "names of NumPy's, as in uint8,float32"
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: {accepted}") from error
    if any(dtype.kind not in "biuf" for dtype in dtypes):
        raise argparse.ArgumentTypeError(f"{text!r}; accepted: numbers, as in uint8,float32")
    return dtypes


def _methods(text: str) -> Sequence[str]:
    """Parse ``mean,max``; say which method is meant."""
    methods = text.split(",")
    for method in methods:
        if method not in METHODS:
            accepted = ", ".join(sorted(METHODS))
            hint = suggest_method(method)
            raise argparse.ArgumentTypeError(f"{method!r}; accepted: {accepted}{hint}")
    return methods


def run(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid warm``."""
    start = time.perf_counter()
    with choice.only("compiled"):
        for dtype in arguments.dtype:
            for method in arguments.method:
                if not warm(method, dtype, arguments.ignore):
                    print(f"{method} of {dtype}: there is no such reduction")
    directories = cache_directories()
    print(f"compiled in {time.perf_counter() - start:.0f} s, or there before")
    print(f"kept in {', '.join(directories)}" if directories else "not kept: no directory for it")


def warm(method: str, dtype: DType, ignore: bool = False) -> bool:
    """Reduce blocks of a dtype in all ways; return whether there is such a reduction."""
    for shape, steps, ignored in product(_BLOCKS, _STEPS, (None, 0) if ignore else (None,)):
        block = np.zeros(shape, dtype)
        block[..., ::3] = 1
        samples = int(np.prod(steps))
        try:
            reducer = make_reducer(method, block.dtype, samples, ignore=ignored)
        except PyramidError:
            return False
        reduce_levels(block, steps, reducer)
        states = [reducer.chunk(block, steps[0])]
        for step in steps[1:]:
            states.append(reducer.combine(states[-1], step))
        base = block if reducer.base is None else reducer.base(block)
        Observer(None)(tuple(map(slice, shape)), base)
    return True


def cache_directories() -> list[str]:
    """Return where compiled code is kept."""
    directories: set[str] = set()
    for room in ("extremes", "labels", "moments", "sums", "twos", "values"):
        for kernel in vars(importlib.import_module(f"xpyramid.kernels.{room}")).values():
            path = getattr(getattr(kernel, "stats", None), "cache_path", None)
            directories |= {str(Path(path))} if path else set()
    return sorted(directories)
