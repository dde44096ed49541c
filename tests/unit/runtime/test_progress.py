"""The bar: who sees it, and what it is told."""

import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.kernels import choice
from xpyramid.runtime import progress

run_module = importlib.import_module("xpyramid.engine.run")  # beside it there is a function run
graph_module = importlib.import_module("xpyramid.engine.graph")


def field() -> xr.DataArray:
    data = np.arange(100 * 90, dtype="u2").reshape(100, 90)
    return xr.DataArray(data, dims=("y", "x"), name="field")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets what a bar is told: the total, and then each advance."""
    numbers: list[int] = []

    @contextmanager
    def bar(total: int, *_: object) -> Iterator[Callable[[int], None]]:
        numbers.append(total)
        yield numbers.append

    monkeypatch.setattr(run_module, "bar", bar)
    return numbers


@pytest.mark.parametrize("method", ["mean", "mode", "median"])
def test_advances_add_up(told: list[int], method: str) -> None:
    p = field().pyramid.build(factor=[2, 3], method=method, chunks=8)
    with dask.config.set(scheduler="sync"):
        p.to_ome_zarr({})
    total, *advances = told
    assert total == sum(advances) == p.nbytes


def test_advances_of_waves_add_up(told: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "WAVE", 5)
    p = field().pyramid.build(factor=[2, 3], chunks=8)
    with dask.config.set(scheduler="sync"):
        p.to_ome_zarr({})
    assert told[0] == sum(told[1:]) == p.nbytes


def test_advances_of_a_dataset_add_up(told: list[int]) -> None:
    ds = xr.Dataset({"a": field(), "b": field().astype("f4").chunk(20)})
    pyramids = ds.pyramid.build(factor=[2, 3], chunks=8)
    pyramids.to_ome_zarr({})
    assert told[0] == sum(told[1:]) == sum(p.nbytes for p in pyramids.values())


@pytest.mark.filterwarnings("ignore:memory=:xpyramid.errors.CostWarning")  # for small tiles
def test_the_tasks_are_those_of_the_plan(told: list[int]) -> None:
    p = field().pyramid.build(factor=[2, 2], chunks=8)
    cost = p.plan.cost(workers=1, memory="10 kB")
    with dask.config.set(scheduler="sync"):
        p.to_ome_zarr({}, memory="10 kB")
    assert len(told) - 1 == cost.tasks > 10
    assert cost.bytes_written == told[0]


def shown(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """Return what is printed while a pyramid is written."""
    store: dict[str, Any] = {}
    field().pyramid.build(factor=[2, 3]).to_ome_zarr(store, **options)
    assert len(xpyramid.open_pyramid(store, "field")) == 3
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show bars however short the call is."""
    monkeypatch.setattr(progress, "DELAY", 0)


@pytest.mark.usefixtures("at_once")
def test_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert "xpyramid" in shown(capsys, progress=True)


@pytest.mark.usefixtures("at_once")
def test_unwanted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(capsys) == ""  # nobody looks at it
    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    assert "xpyramid" in shown(capsys)
    assert shown(capsys, progress=False) == ""


def test_short_calls_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "%" not in shown(capsys, progress=True)


def test_a_terminal_is_interactive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not progress.is_interactive()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert progress.is_interactive()


def test_a_notebook_is_interactive(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:
        pass

    class Notebook:
        get_ipython = ZMQInteractiveShell

    monkeypatch.setitem(sys.modules, "IPython", Notebook)  # type: ignore[arg-type]
    assert progress.is_interactive()


@pytest.mark.usefixtures("at_once")
def test_the_bar_goes_when_the_work_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("no data today")

    meta = np.empty((0, 0), "u2")
    base = da.zeros((32, 32), "u2", chunks=8).map_blocks(fail, dtype="u2", meta=meta)
    array = xr.DataArray(base, dims=("y", "x"), name="field")
    for _ in range(2):  # nothing keeps listening
        with pytest.raises(errors.ReadError, match="no data today"):
            array.pyramid.to_ome_zarr({}, levels=2, progress=True)
    assert "100%" not in capsys.readouterr().err
    assert not dask.callbacks.Callback.active


@pytest.mark.usefixtures("at_once")
def test_the_bar_says_what_is_done_now(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_AGAIN", 0.01)
    now, said = "compiling", ""
    with progress.bar(100, True, lambda: now):
        for wanted in ("xpyramid (compiling): ", "xpyramid: "):
            said = ""
            for _ in range(500):
                said += capsys.readouterr().err
                if wanted in said:
                    break
                time.sleep(0.01)
            assert wanted in said
            now = ""
    assert "xpyramid-progress" not in {thread.name for thread in threading.enumerate()}


def test_it_is_known_whether_something_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    kernel = choice.Kernel("sums", "any")

    def find(*_: object) -> object:
        seen.append(choice.compiling())
        return print

    monkeypatch.setattr(choice.Kernel, "_find", find)
    assert choice.compiling() == ""
    kernel.compile((), ())
    assert (seen, choice.compiling()) == (["compiling"], "")

    def broken(*_: object) -> object:
        raise OSError("no compiler")

    monkeypatch.setattr(choice.Kernel, "_find", broken)
    with pytest.raises(OSError, match="no compiler"):
        kernel.compile((), ())
    assert choice.compiling() == ""
