"""Compiled loops: arrays in, ``out`` filled, nothing else known.

The modules are imported at first use, so that ``import xpyramid`` does not load numba.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpyramid.kernels import means as means
    from xpyramid.kernels import sums as sums


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    return importlib.import_module(f"{__name__}.{name}")
