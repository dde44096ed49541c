"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numba
from filelock import FileLock

Kernel = Callable[..., Any]


def _one_at_a_time(cache: Any) -> None:
    """Let one process at a time read or write compiled code on disk.

    numba writes an index and then what it names. Two processes that do so at once can leave the
    code for one dtype under the name of another, and later ones would compute with it. What cannot
    be locked, read or written is compiled anew.

    A lock is made when it is needed: one that is made here, where modules are imported, belongs to
    this process, and not to those that fork from it.
    """
    path = Path(cache.cache_path) / "kernels.lock"

    def alone(method: Kernel) -> Kernel:
        def call(*args: object) -> object:
            lock = FileLock(path, timeout=60)
            try:
                lock.acquire()
            except (OSError, NotImplementedError):  # no rights, or a file system without locks
                return None
            try:
                return method(*args)
            except OSError:  # a full disk, or a file that cannot be read
                return None
            finally:
                lock.release()

        return call

    cache.load_overload = alone(cache.load_overload)
    cache.save_overload = alone(cache.save_overload)


def jit(function: Kernel) -> Kernel:
    """Compile without the GIL, with NumPy's division, cached on disk where one can be written."""
    kernel: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if not hasattr(kernel, "enable_caching"):  # NUMBA_DISABLE_JIT=1
        return function
    with suppress(RuntimeError):  # no place for a cache: a read-only installation without a home
        kernel.enable_caching()
        _one_at_a_time(kernel._cache)
    return cast("Kernel", kernel)


def inline(function: Kernel) -> Kernel:
    """Compile as a part of the kernels that call it: a call costs as much as a row."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


def inline_once(function: Kernel) -> Kernel:
    """Compile by itself and then as a part of kernels: quicker where one calls it many times."""
    return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
