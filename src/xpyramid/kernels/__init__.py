"""Compiled loops: arrays in, ``out`` filled, nothing else known.

Kernels work on C-contiguous arrays ``(b, z, y, x)``, some of them flattened, and reduce windows of
``fz * fy * fx`` samples; the last window along a dimension may hold fewer. Buffers come from the
caller, who thereby chooses their dtype. The modules are imported at first use: ``import xpyramid``
does not load numba.

A kernel and all that is inlined in it are in one module: compiled code is kept on disk until the
text of its own module changes, and numba looks at no other.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpyramid.kernels import extremes as extremes
    from xpyramid.kernels import labels as labels
    from xpyramid.kernels import moments as moments
    from xpyramid.kernels import sums as sums
    from xpyramid.kernels import twos as twos
    from xpyramid.kernels import user as user
    from xpyramid.kernels import values as values


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    return importlib.import_module(f"{__name__}.{name}")
