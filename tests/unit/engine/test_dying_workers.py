"""Workers that die: which samples are named, whatever task dask blames."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xpyramid import errors

DATA = np.arange(32 * 32, dtype="u2").reshape(32, 32)
INSIDE, BELOW = "level 0 of 'field', block (0, 1)", "level 0 of 'field', block (1, 0)"
CORNER = "level 0 of 'field', block (1, 1): y=24:32, x=24:32"


class KilledWorker(Exception):  # noqa: N818
    def __init__(self, task: Any) -> None:
        super().__init__("killed")
        self.task = task
        self.last_worker = SimpleNamespace(address="tcp://there")


class Client:
    """A client of a cluster that knows what its dead worker had in hand."""

    def __init__(self, keys: list[Any] | None) -> None:
        self.keys = keys

    def ncores(self) -> dict[str, int]:
        return {"tcp://there": 2}

    def get_events(self, topic: str) -> Any:
        assert topic == "all"
        if self.keys is None:
            raise OSError("the cluster has gone")
        died = {"action": "remove-worker", "expected": False, "worker": "tcp://there"}
        before = {**died, "worker": "tcp://elsewhere", "processing-tasks": self.keys[-1:]}
        retired = {**died, "expected": True, "processing-tasks": self.keys[:1] * 9}
        last = {**died, "processing-tasks": self.keys}
        return tuple(enumerate([{"action": "add-worker"}, before, retired, last]))


def ours(graph: Any, *node: int) -> Any:
    return next(key for key in graph if key[0].startswith("pyramid-") and key[1:] == node)


def lone(graph: Any, end: str) -> Any:
    return next(key for key in graph if isinstance(key, str) and key.endswith(end))


def block(graph: Any, row: int, column: int) -> Any:
    return next(key for key in graph if key[0].startswith("lazy") and key[1:] == (row, column))


def input_of_block(graph: Any, row: int, column: int) -> Any:
    name = block(graph, row, column)[0]  # as it is, or with a token, depending on dask
    return (f"array-{name}", row, column)


Said = Callable[..., str]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    return partial(error, monkeypatch, tmp_path)


def error(
    monkeypatch: pytest.MonkeyPatch, out: Path, blamed: Any, *in_hand: Any, gone: bool = False
) -> str:
    """Return the error where dask blames a task, and the dead worker had others in hand, too."""
    run: Any = importlib.import_module("xpyramid.engine.run")

    def get(graph: dict[Any, Any], _: Any) -> None:
        hand = [graph_key(graph) for graph_key in in_hand]
        client.keys = None if gone else hand
        raise KilledWorker(blamed(graph))

    client = Client(None)
    monkeypatch.setattr(run, "_scheduler", lambda **_: get)
    monkeypatch.setattr(run, "client", lambda: client)
    lazy = da.map_blocks(np.negative, da.from_array(DATA, chunks=16), name="lazy")
    array = xr.DataArray(lazy, dims=("y", "x"), name="field")
    with pytest.raises(errors.StorageError) as caught:
        array.pyramid.to_ome_zarr(
            out / "out.zarr", levels=3, chunks=8, factor=2, mode="w", progress=False
        )
    return str(caught.value)


KEYS = {
    "tile": (lambda graph: ours(graph, 0, 1, 2), f"{INSIDE}: y=8:16, x=16:24"),
    "join": (lambda graph: ours(graph, 1, 1, 0), f"{BELOW}: y=16:32, x=0:16"),
    "block": (lambda graph: block(graph, 1, 0), f"{BELOW}: y=16:32, x=0:16"),
    "what a block is made of": (
        lambda graph: input_of_block(graph, 1, 0),
        f"{BELOW}: y=16:32, x=0:16",
    ),
}
NOTHING = {
    "work": lambda graph: lone(graph, "-work"),
    "source": lambda graph: lone(graph, "-source"),
    "unknown": lambda _: ("elsewhere", 0),
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_samples_of_the_task_that_is_blamed(kind: str, said: Said) -> None:
    blamed, what = KEYS[kind]
    assert f"of one of these: {what}; the last" in said(blamed)
    assert f"of one of these: {what}; the last" in said(blamed, blamed, gone=True)


@pytest.mark.parametrize("innocent", NOTHING)
@pytest.mark.parametrize("kind", KEYS)
def test_the_samples_of_all_that_the_dead_worker_had_in_hand(
    innocent: str, kind: str, said: Said
) -> None:
    guilty, what = KEYS[kind]
    hand = [lambda graph: ours(graph, 0, 3, 3), guilty]
    message = said(NOTHING[innocent], *hand)
    assert f"of one of these: {what}; {CORNER}; the last one was working on them: killed" in message


@pytest.mark.parametrize("kind", NOTHING)
def test_where_no_task_is_about_samples_it_is_named(kind: str, said: Said) -> None:
    assert "of one of these: the task " in said(NOTHING[kind])


def test_not_too_many_are_named(said: Said) -> None:
    hand = [lambda graph, at=at: ours(graph, 0, *divmod(at, 4)) for at in range(16)]
    message = said(NOTHING["work"], *hand, KEYS["join"][0])
    assert message.count("level 0 of 'field'") == 16
    assert "; and 1 more; the last one" in message
