"""Work that several threads share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import dask
import pytest

from xpyramid.runtime import threads as module
from xpyramid.runtime.threads import share, threads


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_each_item_is_done_once(helpers: int) -> None:
    done: list[int] = []
    share(iter(range(1000)), done.append, helpers)
    assert sorted(done) == [*range(1000)]


def test_others_help() -> None:
    who = set()
    both = threading.Barrier(2, timeout=10)

    def action(_: int) -> None:
        who.add(threading.get_ident())
        both.wait()

    share(iter(range(2)), action, 1)
    assert len(who) == 2


def test_nobody_is_waited_for_who_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where all helpers are busy, nor where they are to help each other."""
    monkeypatch.setattr(module, "CPU_COUNT", 1)
    monkeypatch.setattr(module, "_helpers", None)
    busy, free = threading.Event(), threading.Event()
    module._executor().submit(lambda: (busy.set(), free.wait(10)))
    assert busy.wait(10)
    done: list[int] = []
    share(iter(range(5)), done.append, 3)
    assert done == [*range(5)]
    free.set()
    inner: list[int] = []
    share(iter(range(6)), lambda _: share(iter(range(4)), inner.append, 2), 2)
    assert len(inner) == 24


@pytest.mark.parametrize("helpers", [0, 2])
def test_the_first_error_ends_it(helpers: int) -> None:
    done: list[int] = []

    def action(item: int) -> None:
        if item == 5:
            raise KeyError(item)
        done.append(item)
        time.sleep(0.001)

    with pytest.raises(KeyError, match="5"):
        share(iter(range(10_000)), action, helpers)
    count = len(done)
    assert count < 1000
    time.sleep(0.01)
    assert len(done) == count  # nobody works any more


def test_an_error_of_what_is_to_be_done() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        share(items(), lambda _: None, 2)


def test_as_many_as_dask_takes() -> None:
    with dask.config.set(scheduler="sync"):
        assert threads() == 1
    with dask.config.set(num_workers=7):
        assert threads() == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_has_threads_of_its_own() -> None:
    share(iter(range(4)), lambda _: None, 1)
    assert module._helpers is not None
    child = os.fork()
    if child == 0:
        os._exit(0 if module._helpers is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
