"""Builds that are broken off when an image is at its place: the others, and what lists it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.small_image import leftovers
from zarr.storage import LocalStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.store.in_place import InPlaceTransaction
from xpyramid.store.label_groups import LabelsGroup
from xpyramid.store.path import NodePath
from xpyramid.store.rename import RenameTransaction
from xpyramid.store.transaction import transaction_for
from xpyramid.writer.template import consolidate

DATA = np.arange(32, dtype="u2").reshape(4, 8)
TRANSACTIONS = {"disk": RenameTransaction, "in place": InPlaceTransaction}
STORES: dict[str, Callable[[Path], Any]] = {
    "disk": lambda path: path,
    "in place": lambda path: WrapperStore(LocalStore(path)),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run tasks where they are called; what is set in threads would stay for other tests."""
    with dask.config.set(scheduler="sync"):
        yield


def dataset(shift: int = 0) -> xr.Dataset:
    return xr.Dataset({"a": (("y", "x"), DATA + np.uint16(shift)), "b": (("y", "x"), DATA * 2)})


def build(store: Any, shift: int = 0, **options: Any) -> None:
    pyramids = dataset(shift).pyramid.build(levels=2, chunks=2, factor=2)
    pyramids.to_ome_zarr(store, **options)


def label(store: Any, name: str = "cells", **options: Any) -> None:
    array = xr.DataArray(DATA, dims=("y", "x"), name=name)
    pyramid = array.pyramid.build(levels=2, chunks=2, factor=2, method="mode")
    pyramid.to_ome_zarr(store, labels_of="a", **options)


def breaking(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, call: int) -> None:
    """Have a call of something fail."""
    calls = []
    act = getattr(where, name)

    def act_or_fail(*given: Any, **options: Any) -> Any:
        calls.append(given)
        if len(calls) == call:
            raise RuntimeError("enough")
        return act(*given, **options)

    monkeypatch.setattr(where, name, act_or_fail)


def is_right(directory: Path, names: list[str]) -> bool:
    assert not xpyramid.verify(directory / "out.zarr", deep=True)
    assert leftovers(directory) == []
    want = {"a": DATA, "b": DATA * 2, "a/labels/cells": DATA}
    read = {name: xpyramid.open_pyramid(directory / "out.zarr", name)[0] for name in names}
    return all(np.array_equal(read[name], want[name]) for name in names)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("options", [{}, {"mode": "w"}, {"version": "0.4"}])
def test_variables_that_are_finished_stay(
    options: dict[str, Any], store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = STORES[store](tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        breaking(patch, TRANSACTIONS[store], "publish", 2)
        with pytest.raises(RuntimeError, match="enough") as caught:
            build(place, **options)
    assert "out.zarr/b is unfinished" in str(caught.value.__notes__)
    chunk = next((tmp_path / "out.zarr/a/0/a").rglob("*1*"))
    before = chunk.stat()
    build(place, resume=True, **options)
    assert is_right(tmp_path, ["a", "b"])
    if "mode" not in options:
        assert chunk.stat() == before
        with pytest.raises(errors.TargetExistsError, match="already holds a group"):
            build(place, resume=True, **options)


def test_a_finished_variable_of_another_input_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        breaking(patch, RenameTransaction, "publish", 2)
        with pytest.raises(RuntimeError, match="enough"):
            build(tmp_path / "out.zarr")
    with pytest.raises(errors.ResumeError, match=r"out\.zarr/a is finished, and had another input"):
        build(tmp_path / "out.zarr", shift=1, resume=True)
    with pytest.raises(errors.TargetExistsError, match="already holds a group"):
        build(tmp_path / "out.zarr", resume=True, layout="arrays")  # another image
    build(tmp_path / "out.zarr", resume=True)
    assert is_right(tmp_path, ["a", "b"])


@pytest.mark.parametrize("document", [".zgroup", ".zattrs", ".zmetadata", "0/a/.zarray"])
@pytest.mark.parametrize("text", [None, "{"])
@pytest.mark.parametrize("options", [{}, {"resume": True}])
def test_what_is_damaged_is_in_the_way(
    document: str, text: str | None, options: dict[str, Any], tmp_path: Path
) -> None:
    build(tmp_path / "out.zarr", version="0.4")
    damaged = tmp_path / "out.zarr/a" / document
    damaged.unlink() if text is None else damaged.write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.TargetExistsError, match=r"damaged|already holds"):
        build(tmp_path / "out.zarr", version="0.4", **options)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("call", [1, 2])
def test_labels_and_copies_of_metadata_are_listed(
    call: int, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "out.zarr")
    consolidate(NodePath(LocalStore(tmp_path / "out.zarr"), ""))
    place = STORES[store](tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        breaking(patch, TRANSACTIONS[store], "change_group", call)
        with pytest.raises(RuntimeError, match="enough"):
            label(place)
    label(place, resume=True)
    assert is_right(tmp_path, ["a", "b", "a/labels/cells"])
    root = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert root.metadata.consolidated_metadata is not None
    assert root["a/labels"].attrs["ome"] == {"version": "0.5", "labels": ["cells"]}
    with pytest.raises(errors.TargetExistsError, match="already holds a group"):
        label(place, resume=True)


def test_labels_that_are_listed_at_the_same_time(tmp_path: Path) -> None:
    build(tmp_path / "out.zarr")
    label(tmp_path / "out.zarr")
    place = NodePath(LocalStore(tmp_path / "out.zarr"), "a/labels")
    names = [f"more{i}" for i in range(12)]

    def listed(name: str) -> None:
        transaction = transaction_for(place / name)
        with transaction.lock():
            transaction.change_group(place, LabelsGroup(place, name, "0.5").add)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(listed, names))
    assert sorted(zarr.open_group(tmp_path / "out.zarr/a/labels").attrs["ome"]["labels"]) == (
        sorted(["cells", *names])
    )
    assert leftovers(tmp_path) == []


def test_groups_that_are_consolidated_at_the_same_time(tmp_path: Path) -> None:
    root = NodePath(LocalStore(tmp_path / "out.zarr"), "")
    begun, overtaken = Event(), Event()

    def slowly(place: NodePath) -> None:
        consolidate(place)
        begun.set()
        overtaken.wait(0.3)

    def made(name: str, change: Callable[[NodePath], None]) -> None:
        transaction = transaction_for(root / name)
        with transaction.lock():
            zarr.create_group(root.store, path=name)
            transaction.change_group(root, change)

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore")  # threads change filters for each other
        slow = pool.submit(made, "slow", slowly)
        assert begun.wait(30)
        made("fast", consolidate)
        overtaken.set()
        slow.result()
        assert sorted(zarr.open_consolidated(root.store).group_keys()) == ["fast", "slow"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("mode", ["w", "w-"])
@pytest.mark.parametrize("damaged", ["zarr.json", "a/zarr.json"])
def test_damaged_metadata_above_or_there_are_named(damaged: str, mode: str, tmp_path: Path) -> None:
    build(tmp_path / "out.zarr")
    (tmp_path / "out.zarr" / damaged).write_text("{")
    with pytest.raises(errors.TargetExistsError, match="metadata that are damaged: JSONDecodeErr"):
        build(tmp_path / "out.zarr", mode=mode)
