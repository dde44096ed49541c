"""Which way a kernel goes: in NumPy while there is little to do, and compiled after that.

To import numba takes a quarter of a second, and to compile a kernel for a dtype up to one more. So
each kernel begins, for each dtype, with its twin in `kernels.plain`, which fills ``out`` with the
same bits. When that has taken a while, a thread compiles the kernel, and NumPy goes on until it is
done. A call that alone would take long in NumPy waits for the kernel instead, and where there is
much to do, the first calls wait for a moment, as most kernels have been compiled before.

How long NumPy takes is computed from the number of samples, and not measured, so that the same work
goes the same way, but for the moment at which the thread is ready.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpyramid.kernels.arrays import Array

#: "auto", or what alone is to be used: "numpy" or "compiled".
way = os.environ.get("XPYRAMID_KERNELS", "auto")
if way not in ("auto", "numpy", "compiled"):
    raise ValueError(f"XPYRAMID_KERNELS={way!r}; accepted: auto, numpy, compiled")


@contextmanager
def only(chosen: str) -> Iterator[None]:
    """Go one way alone for a while."""
    global way  # noqa: PLW0603
    before, way = way, chosen
    try:
        yield
    finally:
        way = before


#: Seconds in NumPy, for a kernel and a dtype, after which it is compiled beside, and those of one
#: call that rather waits for it.
BESIDE, AT_ONCE = 0.25, 0.5

#: Bytes of a job whose kernels are compiled beside from their first call on.
MUCH = 2**26

#: Seconds in which a kernel is loaded that was compiled before.
MOMENT = 0.05

_is_much = False


def expect(nbytes: int) -> None:
    """Say how much there is to do, before the first call: one that sees its own part cannot know.

    Parameters
    ----------
    nbytes : int
        Of all samples.
    """
    global _is_much  # noqa: PLW0603
    _is_much = _is_much or nbytes > MUCH


#: Seconds that NumPy takes for a call, and for a sample, as measured: three to five times as many
#: as the compiled kernel.
CALL, SAMPLE = 2e-5, 2e-9
_SAMPLE = {
    "extremes.window_extreme": 3e-9,
    "labels.count_labels": 50e-9,
    "labels.merge_labels": 500e-9,
    "labels.most_frequent": 100e-9,
    "moments.window_spread": 20e-9,
    "moments.merge_spread": 100e-9,
    "twos.window_mode": 5e-9,
    "sums.divide_limbs": 8e-9,
}

#: What a kernel is compiled for: the dtypes of arrays, the types of all else.
Signature = tuple[object, ...]
#: What a thread compiles: a kernel, for what, arguments like those that it will get, and who waits.
Task = tuple["Kernel", Signature, tuple[object, ...], "Begun"]


class Room:
    """The kernels of a module, which is imported when one of them has to be compiled."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Kernel:
        if name.startswith("_"):
            raise AttributeError(name)
        kernel = Kernel(self._name, name)
        setattr(self, name, kernel)
        return kernel


class Kernel:
    """A kernel and its twin, called as either."""

    def __init__(self, room: str, name: str) -> None:
        self._room, self._name = room, name
        self._sample = _SAMPLE.get(f"{room}.{name}", SAMPLE)
        self._seconds: dict[Signature, float] = {}
        self._compiled: dict[Signature, Callable[..., object]] = {}

    def __call__(self, *args: Any) -> Any:
        """Call the one or the other."""
        signature = tuple(
            [arg.dtype.char if type(arg) is np.ndarray else type(arg) for arg in args]
        )
        compiled = self._compiled.get(signature)
        if way == "numpy":
            compiled = None
        elif compiled is None and way == "compiled":
            compiled = self.compile(signature, args)
        elif compiled is None:
            seconds = CALL + args[0].size * self._sample
            self._seconds[signature] = total = self._seconds.get(signature, 0) + seconds
            if seconds > AT_ONCE:
                compiled = self.compile(signature, args)
            elif _is_much:
                compile_beside(self, signature, args).wait()
                compiled = self._compiled.get(signature)
            elif total > BESIDE:
                compile_beside(self, signature, args)
        if compiled is not None:
            return compiled(*args)
        with np.errstate(all="ignore"):
            return self._find("xpyramid.kernels.plain")(*args)

    def compile(self, signature: Signature, args: tuple[object, ...]) -> Callable[..., object]:
        """Compile the kernel for arguments, or load it from disk."""
        guard_forks()
        with _compiling, _noted(self):
            kernel = self._find("xpyramid.kernels")
            if hasattr(kernel, "compile"):  # not so with NUMBA_DISABLE_JIT=1
                kernel.compile(tuple(map(importlib.import_module("numba").typeof, args)))
        self._compiled[signature] = kernel
        return self._compiled[signature]

    def _find(self, package: str) -> Any:
        return getattr(importlib.import_module(f"{package}.{self._room}"), self._name)


extremes, labels, moments = Room("extremes"), Room("labels"), Room("moments")
sums, twos, values = Room("sums"), Room("twos"), Room("values")

#: Held by who imports numba or compiles, so that no process forks meanwhile: what is locked then
#: stays so in the child.
_compiling = threading.RLock()

#: What is compiled now.
_now: list[Kernel] = []


@contextmanager
def _noted(kernel: Kernel) -> Iterator[None]:
    _now.append(kernel)
    try:
        yield
    finally:
        _now.remove(kernel)


def compiling() -> str:
    """Say so while something is compiled in this process; else nothing."""
    return "compiling" if _now else ""


class Begun(NamedTuple):
    """A kernel that a thread compiles.

    Attributes
    ----------
    done : threading.Event
        Set when it need not be waited for any more.
    until : float
        When it is no use to wait longer.
    """

    done: threading.Event
    until: float

    def wait(self) -> None:
        """Wait as long as it takes to load what was compiled before."""
        left = self.until - time.monotonic()
        if left > 0:
            self.done.wait(left)


_lock = threading.Lock()
_tasks: deque[Task] = deque()
_begun: dict[tuple[Kernel, Signature], Begun] = {}
_thread: threading.Thread | None = None


def compile_beside(kernel: Kernel, signature: Signature, args: tuple[object, ...]) -> Begun:
    """Have a thread compile a kernel, once."""
    global _thread  # noqa: PLW0603
    guard_forks()
    with _lock:
        if (kernel, signature) in _begun:
            return _begun[kernel, signature]
        begun = Begun(threading.Event(), time.monotonic() + MOMENT)
        _begun[kernel, signature] = begun
        _tasks.append((kernel, signature, tuple(map(_like, args)), begun))
        if _thread is None:
            thread = threading.Thread(target=_work, name="xpyramid-compiler")
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, and begins no more threads
                begun.done.set()
                return begun
            _thread = thread
    return begun


def _like(arg: object) -> object:
    """Return an argument of the same type, without the samples."""
    if not isinstance(arg, np.ndarray):
        return arg
    like: Array = np.empty((0,) * arg.ndim, arg.dtype)
    like.flags.writeable = arg.flags.writeable
    return like


def _work() -> None:
    """Compile what there is to compile, unless the process ends."""
    global _thread  # noqa: PLW0603
    while True:
        with _lock:
            if not _tasks or not threading.main_thread().is_alive():
                _thread = None
                return
            kernel, signature, args, begun = _tasks.popleft()
        with suppress(Exception):  # NumPy goes on, and a call that waits says what is wrong
            kernel.compile(signature, args)
        begun.done.set()


def _before_fork() -> None:
    _compiling.acquire(timeout=60)


def _after_fork_in_parent() -> None:
    with suppress(RuntimeError):  # it was not given
        _compiling.release()


def _after_fork_in_child() -> None:
    """Begin without a thread, which a child does not have."""
    global _compiling, _lock, _thread
    _compiling, _lock, _thread = threading.RLock(), threading.Lock(), None
    _tasks.clear()
    _begun.clear()
    _now.clear()


@cache
def guard_forks() -> None:
    """Have forks wait for who compiles, once.

    What is registered last comes first. filelock lets no lock be taken while a process forks, which
    who compiles does.
    """
    importlib.import_module("filelock")
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=_after_fork_in_parent,
            after_in_child=_after_fork_in_child,
        )
