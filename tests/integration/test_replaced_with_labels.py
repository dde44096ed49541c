"""An image that is replaced while others write inside of it; what lies in it is seen afterwards."""

from __future__ import annotations

import json
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Event
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from filelock import FileLock
from helpers.quick import spread
from helpers.small_image import broken_off, leftovers
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main
from xpyramid.store import rename
from xpyramid.store.in_place import InPlaceTransaction
from xpyramid.store.path import NodePath, resolve
from xpyramid.store.rename import RenameTransaction
from xpyramid.writer import session

DATA = np.arange(256, dtype="u2").reshape(16, 16)
LABELS = DATA // 16 + 1

#: What a process says that found another one at work.
BUSY = "TargetBusyError"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run tasks where they are called; what is set in threads would stay for other tests."""
    with dask.config.set(scheduler="sync"):
        yield


def image(store: Any, start: int = 0, name: str = "field", **options: Any) -> Any:
    array = xr.DataArray(DATA + np.uint16(start), dims=("y", "x"), name=name)
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2)
    return pyramid.to_ome_zarr(store, **options)


def label(store: Any, name: str = "cells", data: Any = LABELS, **options: Any) -> Any:
    array = xr.DataArray(data, dims=("y", "x"), name=name)
    pyramid = array.pyramid.build(levels=3, chunks=4, factor=2, method="mode")
    return pyramid.to_ome_zarr(store, labels_of="field", **options)


def check(store: Any, start: int, *labels: str) -> None:
    """Check what readers see: the image, its labels, and nothing that is wrong."""
    assert xpyramid.verify(store, deep=True) == []
    opened = xpyramid.open_pyramid(store, "field")
    np.testing.assert_array_equal(opened[0], DATA + start)
    assert sorted(opened.labels) == sorted(labels)
    for name in labels:
        read = xpyramid.open_pyramid(store, f"field/labels/{name}")[0]
        np.testing.assert_array_equal(read, LABELS)


def waiting(begun: Event, go_on: Event) -> da.Array:
    """Return labels that are not computed before somebody says so."""

    def wait(block: np.ndarray) -> np.ndarray:
        begun.set()
        assert go_on.wait(60)
        return block

    blocks = da.from_array(LABELS, chunks=16)
    return blocks.map_blocks(wait, dtype="u2", meta=LABELS[:0, :0])


# Labels that are written while their image is replaced

PLACES: dict[str, Callable[[Path], Any]] = {
    "disk": lambda path: path,
    "in place": lambda path: WrapperStore(LocalStore(path)),
    "memory": lambda _: MemoryStore(),
}


@pytest.mark.parametrize("place", PLACES)
def test_labels_in_the_making_keep_their_image(place: str, tmp_path: Path) -> None:
    store, begun, go_on = PLACES[place](tmp_path / "out.zarr"), Event(), Event()
    image(store)
    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore")  # threads change filters for each other
        making = pool.submit(label, store, data=waiting(begun, go_on))
        assert begun.wait(60)
        with pytest.raises(errors.TargetBusyError, match=r"cells is being made by another"):
            image(store, 5, mode="w")
        go_on.set()
        making.result()
    check(store, 0, "cells")
    image(store, 5, mode="w")
    check(store, 5, "cells")


@pytest.mark.parametrize("place", PLACES)
def test_an_image_that_is_replaced_takes_no_labels(place: str, tmp_path: Path) -> None:
    store, begun, go_on = PLACES[place](tmp_path / "out.zarr"), Event(), Event()
    image(store)

    def replace() -> None:
        array = xr.DataArray(waiting(begun, go_on), dims=("y", "x"), name="field")
        array.pyramid.build(levels=3, chunks=4, factor=2).to_ome_zarr(store, mode="w")

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore")
        making = pool.submit(replace)
        assert begun.wait(60)
        refused = (errors.TargetBusyError, errors.NotAPyramidError)  # it is withdrawn in place
        with pytest.raises(refused, match=r"field.* is being made by another|where no OME-Zarr"):
            label(store)
        go_on.set()
        making.result()
    label(store)
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], LABELS)
    assert xpyramid.open_pyramid(store, "field").labels == ("cells",)
    assert xpyramid.verify(store, deep=True) == []


def test_labels_that_begin_when_a_replacement_has_looked_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "out.zarr")
    look, refused = RenameTransaction._check_below, []

    def and_then(self: RenameTransaction) -> None:
        look(self)
        if self.target.path == "field" and not refused:
            refused.append(True)
            with pytest.raises(errors.TargetBusyError, match="field is being made by another"):
                label(tmp_path / "out.zarr")

    monkeypatch.setattr(RenameTransaction, "_check_below", and_then)
    image(tmp_path / "out.zarr", 5, mode="w")
    assert refused
    assert not (tmp_path / "out.zarr/field/labels").exists()
    check(tmp_path / "out.zarr", 5)


def test_a_replacement_that_begins_when_labels_have_looked_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "out.zarr")
    look, refused = RenameTransaction._check_below, []

    def replaced(self: RenameTransaction) -> None:
        if self.target.path != "field" and not refused:
            refused.append(True)
            with pytest.raises(errors.TargetBusyError, match="cells is being made by another"):
                image(tmp_path / "out.zarr", 5, mode="w")
        look(self)

    monkeypatch.setattr(RenameTransaction, "_check_below", replaced)
    label(tmp_path / "out.zarr")
    assert refused
    check(tmp_path / "out.zarr", 0, "cells")


def test_labels_of_an_image_that_was_replaced_by_another_kind_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After they were prepared, and before they begin."""
    image(tmp_path / "out.zarr")
    begin = session.begin

    def late(prepared: Any) -> Any:
        monkeypatch.setattr(session, "begin", begin)
        array = xr.DataArray(DATA, dims=("y", "x"), name="field")
        array.pyramid.build(levels=2, chunks=4).to_ome_zarr(tmp_path / "out.zarr", mode="w")
        return begin(prepared)

    monkeypatch.setattr(session, "begin", late)
    monkeypatch.setattr(RenameTransaction, "_check_above", lambda _: None)
    monkeypatch.setattr(RenameTransaction, "_check_below", lambda _: None)
    with pytest.raises(errors.PlanError, match=r"3 levels of labels, and .* has 2"):
        label(tmp_path / "out.zarr")


def test_an_image_in_which_an_image_was_made_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = session.begin

    def late(prepared: Any) -> Any:
        monkeypatch.setattr(session, "begin", begin)
        with monkeypatch.context() as patch:
            patch.setattr(RenameTransaction, "_check_above", lambda _: None)
            image(tmp_path / "out.zarr", name="a", group="a/b")
        return begin(prepared)

    monkeypatch.setattr(session, "begin", late)
    with pytest.raises(errors.TargetExistsError, match="already holds"):
        image(tmp_path / "out.zarr", name="a")


def test_a_lock_of_another_user_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "out.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(session, "publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            image(tmp_path / "out.zarr", 5, mode="w")
    acquire = FileLock.acquire

    def refused(self: FileLock, *given: Any, **options: Any) -> Any:
        if "/field/" not in self.lock_file:
            raise PermissionError(13, "Permission denied", self.lock_file)
        return acquire(self, *given, **options)

    monkeypatch.setattr(FileLock, "acquire", refused)
    with pytest.raises(errors.TargetBusyError, match=r"may be being made by another user, and"):
        label(tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr/field/labels").exists()


# Builds below that were interrupted, or that are still to come


@pytest.mark.parametrize("exchange", [True, False])
def test_interrupted_labels_are_carried_over(
    exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(rename, "_exchange_at_once", lambda *_: False)
    image(tmp_path / "out.zarr")
    label(tmp_path / "out.zarr")
    broken_off(lambda: label(tmp_path / "out.zarr", "more"))
    image(tmp_path / "out.zarr", 5, mode="w")
    (problem,) = xpyramid.verify(tmp_path / "out.zarr", deep=True)
    assert (problem.kind, problem.where) == ("unfinished", "field/labels/more")
    with pytest.raises(errors.TargetExistsError, match="there is an unfinished build"):
        label(tmp_path / "out.zarr", "more")
    label(tmp_path / "out.zarr", "more", resume=True)
    check(tmp_path / "out.zarr", 5, "cells", "more")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("again", ["labels", "image"])
def test_interrupted_labels_survive_an_interrupted_replacement(
    again: str, exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(old: Path, _: Path) -> None:
        if old.is_dir():
            raise RuntimeError("enough")

    image(tmp_path / "out.zarr")
    broken_off(lambda: label(tmp_path / "out.zarr"))
    with monkeypatch.context() as patch:
        if not exchange:
            patch.setattr(rename, "_exchange_at_once", lambda *_: False)
        patch.setattr(rename, "_carry_over", fail)
        with pytest.raises(RuntimeError, match="enough"):
            image(tmp_path / "out.zarr", 5, mode="w")
    if again == "image":
        image(tmp_path / "out.zarr", 7, mode="w")
    label(tmp_path / "out.zarr", resume=True)
    check(tmp_path / "out.zarr", 7 if again == "image" else 5, "cells")
    assert leftovers(tmp_path) == []


def test_a_delayed_below_is_not_replaced(tmp_path: Path) -> None:
    image(tmp_path / "out.zarr")
    task = label(tmp_path / "out.zarr", compute=False)
    match = "labels/cells, which lies in .*field, is the build of a Delayed.*compute that first"
    with pytest.raises(errors.TargetBusyError, match=match):
        image(tmp_path / "out.zarr", 5, mode="w")
    task.compute(scheduler="sync")
    image(tmp_path / "out.zarr", 5, mode="w")
    task.compute(scheduler="sync")
    check(tmp_path / "out.zarr", 5, "cells")
    assert leftovers(tmp_path) == []


def test_a_delayed_that_resumes_is_not_replaced(tmp_path: Path) -> None:
    image(tmp_path / "out.zarr")
    broken_off(lambda: label(tmp_path / "out.zarr"))
    task = label(tmp_path / "out.zarr", compute=False, resume=True)
    with pytest.raises(errors.TargetBusyError, match="is the build of a Delayed"):
        image(tmp_path / "out.zarr", 5, mode="w")
    task.compute(scheduler="sync")
    image(tmp_path / "out.zarr", 5, mode="w")
    check(tmp_path / "out.zarr", 5, "cells")


def test_a_delayed_image_takes_over_labels_that_came_later(tmp_path: Path) -> None:
    image(tmp_path / "out.zarr")
    task = image(tmp_path / "out.zarr", 5, mode="w", compute=False)
    label(tmp_path / "out.zarr")
    pending = label(tmp_path / "out.zarr", "more", compute=False)
    with pytest.raises(errors.TargetBusyError, match="is the build of a Delayed"):
        task.compute(scheduler="sync")
    pending.compute(scheduler="sync")
    task.compute(scheduler="sync")
    check(tmp_path / "out.zarr", 5, "cells", "more")
    assert leftovers(tmp_path) == []


def test_in_place_a_delayed_below_stays(tmp_path: Path) -> None:
    store = WrapperStore(LocalStore(tmp_path / "out.zarr"))
    image(store)
    task = label(store, compute=False)
    image(store, 5, mode="w")
    task.compute(scheduler="sync")
    check(store, 5, "cells")


# Two processes


def attempt(make: Callable[..., Any], *given: Any, **options: Any) -> str:
    try:
        make(*given, **options)
    except errors.PyramidError as error:
        return type(error).__name__
    return "made"


def take_turns(path: str, first: bool, rounds: int, barrier: Any, outcomes: Any) -> None:
    """Replace the image, or write its labels, at the same moment as the other process."""
    for i in range(rounds):
        barrier.wait(60)
        if first:
            outcomes.put(attempt(image, path, i + 1, mode="w"))
        else:
            outcomes.put(attempt(label, path, f"cells{i}"))
        barrier.wait(60)


def make_both(path: str, first: bool, rounds: int, barrier: Any, outcomes: Any) -> None:
    """Make an image, or one in its group, at the same moment as the other process."""
    for i in range(rounds):
        barrier.wait(60)
        outcomes.put(attempt(image, path, name="a", group=f"{i}" if first else f"{i}/b"))
        barrier.wait(60)


def come_and_go(path: str, first: bool, rounds: int, barrier: Any, outcomes: Any) -> None:
    """Take locks beside each other, whose directories are made and removed all the time."""
    place = RenameTransaction(NodePath(LocalStore(path), "a" if first else "a/b"))
    barrier.wait(60)
    for _ in range(rounds):
        try:
            with place.lock():
                outcomes.put("made")
        except errors.PyramidError as error:
            outcomes.put(type(error).__name__)
        except Exception as error:
            outcomes.put(f"{type(error).__name__}: {error}")


def run_two(work: Callable[..., None], path: Path, rounds: int) -> list[str]:
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(2), context.Queue()
    given = [(str(path), first, rounds, barrier, outcomes) for first in (True, False)]
    processes = [context.Process(target=work, args=arguments) for arguments in given]
    for process in processes:
        process.start()
    said = [outcomes.get(timeout=120) for _ in range(2 * rounds)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    return said


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.once
def test_two_processes_replace_an_image_and_write_its_labels(tmp_path: Path) -> None:
    image(tmp_path / "out.zarr")
    said = run_two(take_turns, tmp_path / "out.zarr", 8)
    assert set(said) <= {"made", BUSY}
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    check(tmp_path / "out.zarr", int(opened[0][0, 0]), *opened.labels)
    assert said.count("made") >= len(opened.labels)
    assert leftovers(tmp_path) == []


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.once
def test_two_processes_make_an_image_and_one_in_its_group(tmp_path: Path) -> None:
    said = run_two(make_both, tmp_path / "out.zarr", 8)
    assert set(said) <= {"made", BUSY, "TargetExistsError"}
    assert "made" in said
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []
    assert leftovers(tmp_path) == []


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.once
def test_directories_of_locks_that_come_and_go(tmp_path: Path) -> None:
    said = run_two(come_and_go, tmp_path / "out.zarr", 60)
    assert set(said) <= {"made", BUSY}
    assert said.count("made") >= 60
    assert leftovers(tmp_path) == []


# What lies in an image's group is seen after it was replaced


def directly(store: Any, **options: Any) -> None:
    image(store, 5, mode="w", **options)


def as_a_delayed(store: Any, **options: Any) -> None:
    task = image(store, 5, mode="w", compute=False, **options)
    for _ in range(2):
        task.compute(scheduler="sync")


def resumed(store: Any, **options: Any) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "publish", fail)
        with pytest.raises(RuntimeError, match="enough"):
            image(store, 5, mode="w", **options)
    image(store, 5, mode="w", resume=True, **options)


def killed_when_published(store: Any, **options: Any) -> None:
    """Break off before anything is done to the groups around it."""

    def fail(*_: object) -> None:
        raise RuntimeError("enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_changes_around", fail)
        with pytest.raises(RuntimeError, match="enough"):
            image(store, 5, mode="w", **options)


@pytest.mark.parametrize(
    ("version", "layout", "place_and_way"),
    spread(
        3,
        ["0.4", "0.5", "0.6"],
        ["groups", "arrays"],
        [
            *product(
                ["disk", "in place"], [directly, as_a_delayed, resumed, killed_when_published]
            ),
            ("memory", directly),
        ],
    ),
)
def test_labels_are_seen(
    version: str, layout: str, place_and_way: tuple[str, Callable[..., None]], tmp_path: Path
) -> None:
    place, way = place_and_way
    store = PLACES[place](tmp_path / "out.zarr")
    options = {"version": version, "layout": layout}
    image(store, **options)
    label(store, **options)
    way(store, **options)
    check(store, 5, "cells")
    if layout == "groups":
        if place == "disk":  # by the copies of all metadata in the group
            tree = xr.open_datatree(store / "field", engine="zarr")
        else:
            tree = xr.open_datatree(store, group="field", engine="zarr", consolidated=False)
        assert "/labels/cells/0" in tree.groups
        np.testing.assert_array_equal(tree["labels/cells/0/cells"], LABELS)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_arrays_and_groups_of_others_are_seen(version: str, place: str, tmp_path: Path) -> None:
    store = PLACES[place](tmp_path / "out.zarr")
    image(store, version=version)
    zarr_format: Any = 2 if version == "0.4" else 3
    for path in ("field/extra", "field/tables/cells"):
        zarr.create_array(store, name=path, data=np.arange(3), zarr_format=zarr_format)
    image(store, 5, mode="w", version=version)
    opened = resolve(store, read_only=True).store
    group = zarr.open_group(opened, path="field", mode="r", use_consolidated=True)
    assert group["extra"][:].tolist() == [0, 1, 2]
    assert group["tables/cells"][:].tolist() == [0, 1, 2]
    assert [problem for problem in xpyramid.verify(store) if problem.severity == "error"] == []


def test_an_image_inside_an_image_is_no_error(tmp_path: Path) -> None:
    """This library makes none, and others do."""
    image(tmp_path / "out.zarr")
    image(tmp_path / "out.zarr", group="other")
    (tmp_path / "out.zarr/other").rename(tmp_path / "out.zarr/field/other")
    image(tmp_path / "out.zarr", 5, mode="w")
    problems = xpyramid.verify(tmp_path / "out.zarr", deep=True)
    assert {problem.severity for problem in problems} <= {"warning"}
    np.testing.assert_array_equal(
        xpyramid.open_pyramid(tmp_path / "out.zarr", "field/other")[0], DATA
    )
    tree = xr.open_datatree(tmp_path / "out.zarr/field", engine="zarr")
    assert "/other/0" in tree.groups


def test_labels_that_copies_of_metadata_leave_out_are_named(tmp_path: Path) -> None:
    """As where an image was replaced by an earlier version of this library."""
    image(tmp_path / "out.zarr")
    document = tmp_path / "out.zarr/field/zarr.json"
    label(tmp_path / "out.zarr")
    node = json.loads(document.read_text())
    copies = node["consolidated_metadata"]["metadata"]
    for path in [path for path in copies if path.startswith("labels")]:
        del copies[path]
    document.write_text(json.dumps(node))
    problems = xpyramid.verify(tmp_path / "out.zarr")
    assert {problem.kind for problem in problems} == {"consolidated"}
    assert {problem.where for problem in problems} >= {"field/labels/cells/0/cells"}


# What a build leaves that is killed right after it has come to its place


def killed_after_the_swap(write: Callable[[], Any]) -> None:
    swap = RenameTransaction._swap
    with pytest.MonkeyPatch.context() as patch:

        def fail(*where: Any) -> None:
            swap(*where)
            patch.setattr(RenameTransaction, "_settle", lambda _: None)
            raise RuntimeError("enough")

        patch.setattr(RenameTransaction, "_swap", fail)
        with pytest.raises(RuntimeError, match="enough"):
            write()


def replace_it(path: Path) -> None:
    image(path, 7, mode="w")


def write_labels(path: Path) -> None:
    label(path)


def write_beside(path: Path) -> None:
    image(path, name="beside")


@pytest.mark.parametrize("write", [replace_it, write_labels, write_beside])
def test_what_is_left_over_is_named_and_removed(
    write: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "out.zarr"
    image(store)
    killed_after_the_swap(lambda: image(store, 5, mode="w"))
    assert (store / ".field.unfinished/image/zarr.json").exists()
    hidden = sum(p.stat().st_size for p in store.rglob("*") if "image" in p.parts and p.is_file())
    what = f".field.unfinished holds {hidden:,} bytes that nobody needs"
    for report in (
        xpyramid.verify(store),
        xpyramid.verify(store, "field"),
        xpyramid.verify(store / "field"),
    ):
        assert report == []
        (note,) = report.notes
        assert what in note
    for arguments in (["info", str(store)], ["info", str(store / "field")], ["verify", str(store)]):
        assert main(arguments) == 0
        assert what in capsys.readouterr().out
    write(store)
    assert leftovers(tmp_path) == []
    assert xpyramid.verify(store, deep=True) == []
    assert "unfinished" not in str(xpyramid.verify(store).notes)
    opened = xpyramid.open_pyramid(store, "field")
    np.testing.assert_array_equal(opened[0], DATA + (7 if write is replace_it else 5))


def test_what_is_left_over_of_labels_is_named_and_removed(tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    image(store)
    label(store)
    killed_after_the_swap(lambda: label(store, mode="w"))
    report = xpyramid.verify(store, deep=True)
    assert report == []
    assert report.labels == 1
    assert "field/labels/.cells.unfinished holds" in str(report.notes)
    image(store, 5, mode="w")
    check(store, 5, "cells")
    assert leftovers(tmp_path) == []


def test_builds_of_others_are_not_removed(tmp_path: Path) -> None:
    """Neither one that was interrupted, nor one that is to come, nor one that runs."""
    store, begun, go_on = tmp_path / "out.zarr", Event(), Event()
    for name in ("field", "runs"):
        image(store, name=name)
    killed_after_the_swap(lambda: image(store, 5, name="runs", mode="w"))
    broken_off(lambda: image(store, name="interrupted"))
    task = image(store, name="to_come", compute=False)
    (store / ".mine.unfinished/image").mkdir(parents=True)
    (store / ".mine.unfinished/image/notes.txt").write_text("mine")

    def run() -> None:
        array = xr.DataArray(waiting(begun, go_on), dims=("y", "x"), name="runs")
        array.pyramid.build(levels=3, chunks=4).to_ome_zarr(store, mode="w")

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore")
        running = pool.submit(run)
        assert begun.wait(60)
        image(store, 5, mode="w")
        go_on.set()
        running.result()
    image(store, name="interrupted", resume=True)
    task.compute(scheduler="sync")
    assert (store / ".mine.unfinished/image/notes.txt").read_text() == "mine"
    for name, want in {
        "field": DATA + 5,
        "interrupted": DATA,
        "to_come": DATA,
        "runs": LABELS,
    }.items():
        np.testing.assert_array_equal(xpyramid.open_pyramid(store, name)[0], want)


def test_in_place_notes_that_are_left_over_are_named(tmp_path: Path) -> None:
    store = WrapperStore(LocalStore(tmp_path / "out.zarr"))

    publish = InPlaceTransaction.publish
    with pytest.MonkeyPatch.context() as patch:

        def killed(self: InPlaceTransaction, *given: Any, **options: Any) -> None:
            patch.setattr(InPlaceTransaction, "close", lambda _: 1 / 0)
            publish(self, *given, **options)

        patch.setattr(InPlaceTransaction, "publish", killed)
        with pytest.raises(ZeroDivisionError):
            image(store)
    report = xpyramid.verify(store, deep=True)
    assert report == []
    assert ".field.unfinished holds" in str(report.notes)
    image(store, 5, mode="w")
    check(store, 5)
    assert "unfinished" not in str(xpyramid.verify(store).notes)


# Icechunk


def test_icechunk_says_to_discard_the_session() -> None:
    icechunk = pytest.importorskip("icechunk")
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    opened = repository.writable_session("main")
    image(opened.store)
    label(opened.store)
    opened.commit("an image")

    def fail(*_: object) -> None:
        raise RuntimeError("enough")

    opened = repository.writable_session("main")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "publish", fail)
        with pytest.raises(RuntimeError, match="enough") as caught:
            image(opened.store, 5, mode="w")
    assert "session.discard_changes()" in str(caught.value.__notes__)
    (problem,) = xpyramid.verify(opened.store, "field")
    assert problem.kind == "unfinished"
    image(opened.store, 5, mode="w", resume=True)
    check(opened.store, 5, "cells")
    opened.discard_changes()
    check(opened.store, 0, "cells")
    image(opened.store, 5, mode="w")
    check(opened.store, 5, "cells")
