"""Stores over time: builds, deaths, late builds, labels, levels, updates, growth, damage, repair.

A model says what readers must find after each step: it has level 0 itself, and a slow oracle makes
the other levels of it. Processes die in the middle of a build: from
some step on, nothing changes the disk any more, whatever the code that is left behind tries. More
of it: ``XPYRAMID_EXAMPLES=2000 pytest -m slow tests/property/test_stores_over_time.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from dask.delayed import Delayed
from helpers import oracle
from helpers.killed_process import changes_disk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import xpyramid
from xpyramid import errors

NAMES = ("a", "b")
LABELS = ("cells", "nuclei")
EXAMPLES = int(os.environ.get("XPYRAMID_EXAMPLES", "0"))


class Death:
    """Ends this process, as far as disks can tell, at the n-th step that changes one."""

    left: int | None = None

    @classmethod
    def hook(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if cls.left is None or not changes_disk(event, arguments):
            return
        cls.left = max(0, cls.left - 1)
        if cls.left == 0:
            raise DeathError


class DeathError(BaseException):
    """The process is dead."""


sys.addaudithook(Death.hook)


@contextmanager
def dying(step: int) -> Iterator[list[bool]]:
    """Die at a step, if there are so many; say whether that was so."""
    died = [False]
    Death.left = step
    try:
        yield died
    except BaseException:
        if Death.left:
            raise
        died[0] = True
    finally:
        died[0] = died[0] or Death.left == 0
        Death.left = None


@cache
def pyramid(name: str, seed: int, *, labels: bool = False) -> xpyramid.Pyramid:
    array = xr.DataArray(samples(seed).copy(), dims=("y", "x"), name=name)
    method = "mode" if labels else "mean"
    return array.pyramid.build(levels=3, chunks=2, factor=2, method=method)


@cache
def values(name: str, seed: int, *, labels: bool = False) -> list[np.ndarray[Any, Any]]:
    return [level.to_numpy() for level in pyramid(name, seed, labels=labels)]


@cache
def samples(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(1, 200, (8, 6), dtype="u2")


@dataclass
class Image:
    """What readers find at a place.

    Attributes
    ----------
    base : ndarray
        Its level 0.
    levels : int
    damaged : set of int
        Levels that have a damaged object.
    """

    base: np.ndarray[Any, Any]
    levels: int = 3
    damaged: set[int] = field(default_factory=set)

    @property
    def is_damaged(self) -> bool:
        return bool(self.damaged)

    @property
    def expected(self) -> list[np.ndarray[Any, Any]]:
        """All of its levels."""
        return [oracle.mean(self.base, (2**k, 2**k)) for k in range(self.levels)]


@dataclass
class Late:
    """A build that was begun, and is computed later.

    Attributes
    ----------
    build : str
        What its record says that it is.
    is_current : bool
        Whether nothing has taken its place since.
    is_published : bool
    """

    name: str
    seed: int
    task: Delayed
    build: str
    is_current: bool = True
    is_published: bool = False


class StoreOverTime(RuleBasedStateMachine):
    """A store on a local disk, and what must be in it."""

    replaces_at_once = True

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.path = self.directory / "s.zarr"
        self.images: dict[str, Image] = {}
        self.labels: dict[str, dict[str, int]] = defaultdict(
            dict
        )  # from their names to their seeds
        self.unfinished: dict[str, int] = {}
        self.late: list[Late] = []
        self.builds: dict[str, int] = {}
        self.config = dask.config.set(scheduler="sync")
        self.config.__enter__()

    def teardown(self) -> None:
        self.config.__exit__(None, None, None)
        shutil.rmtree(self.directory)

    def store(self) -> Any:
        return self.path

    def record_of(self, name: str) -> str | None:
        """Return which build of an image is unfinished."""
        path = self.path / f".{name}.unfinished/build.json"
        return json.loads(path.read_text())["build"] if path.exists() else None

    def overtake(self, name: str, resumed: str | None = None, *, is_begun: bool = False) -> None:
        """Know which builds, of those that were begun before, are no longer those of a place.

        One that has been ``resumed`` is published now. Where another one ``is_begun`` only, the
        image that it is to replace stays, if the store can do that.
        """
        for late in self.late:
            if late.name != name or not late.is_current:
                continue
            if late.is_published:
                late.is_current = is_begun and self.replaces_at_once
            else:
                late.is_published = late.is_current = late.build == resumed

    def published(self, name: str, seed: int) -> None:
        self.images[name] = Image(samples(seed))
        if not self.is_unfinished(name):
            self.unfinished.pop(name, None)

    def attempt(self, name: str, seed: int, **options: Any) -> Any:
        return pyramid(name, seed).to_ome_zarr(self.store(), progress=False, **options)

    @rule(name=st.sampled_from(NAMES), seed=st.integers(0, 5))
    def build(self, name: str, seed: int) -> None:
        is_noted = name in self.unfinished and self.record_of(name) is not None
        if name in self.images or is_noted:  # what is left without a note is in nobody's way
            with pytest.raises(errors.TargetExistsError):
                self.attempt(name, seed)
            return
        self.attempt(name, seed)
        self.overtake(name)
        self.published(name, seed)

    @rule(name=st.sampled_from(NAMES), seed=st.integers(0, 5))
    def replace(self, name: str, seed: int) -> None:
        self.attempt(name, seed, mode="w")
        self.overtake(name)
        self.published(name, seed)

    @rule(
        name=st.sampled_from(NAMES),
        seed=st.integers(0, 5),
        step=st.integers(1, 90),
        how=st.sampled_from([{"mode": "w"}, {"resume": True}, {"mode": "w", "resume": True}]),
    )
    def die(self, name: str, seed: int, step: int, how: dict[str, Any]) -> None:
        if how.get("resume"):
            seed = self.unfinished.get(name, seed)
        before = self.record_of(name) if how.get("resume") else None
        try:
            with dying(step) as died:
                self.attempt(name, seed, **how)
        except (errors.TargetExistsError, errors.ResumeError):
            assert name in self.images
            assert "mode" not in how
            return
        if not died[0]:
            self.overtake(name, before)
            self.published(name, seed)
            return
        self.find_out(name, seed, before)

    def find_out(self, name: str, seed: int, resumed: str | None) -> None:
        """Learn from the store what a death has left: the old image, the new one, or none."""
        was = self.images.get(name)
        left, unfinished = self.record_of(name), self.is_unfinished(name)
        if unfinished:
            self.unfinished[name] = seed if left is None else self.builds.setdefault(left, seed)
        else:
            self.unfinished.pop(name, None)
        is_new = self.is_new(name, seed, was)
        if is_new:
            self.published(name, seed)
        if not any(late.build == left and not late.is_published for late in self.late):
            self.overtake(name, resumed if is_new else None, is_begun=not is_new)

    def is_new(self, name: str, seed: int, was: Image | None) -> bool:
        """Whether an image is the new one; it must be that, or the old one."""
        try:
            now = xpyramid.open_pyramid(self.store(), name)[0].to_numpy()
        except errors.NotAPyramidError:
            assert was is None or not self.replaces_at_once
            self.images.pop(name, None)
            return False
        except Exception:  # decoders have errors of their own
            assert was is not None
            assert was.is_damaged
            return False
        if was is not None and np.array_equal(was.base, samples(seed)) and was.levels == 3:
            # Nothing but damage tells them apart.
            problems = [p for p in self.verify(deep=True) if p.where.split("/")[0] == name]
            return not problems
        if np.array_equal(now, samples(seed)):
            levels = len(xpyramid.open_pyramid(self.store(), name))
            return was is None or not np.array_equal(was.base, now) or levels == 3
        assert was is not None
        assert np.array_equal(now, was.base)
        return False

    def is_unfinished(self, name: str) -> bool:
        return any(p.kind == "unfinished" and p.where == name for p in self.verify())

    def verify(self, **options: Any) -> Any:
        try:
            problems = xpyramid.verify(self.store(), **options)
        except errors.NotAPyramidError:
            return []
        if not self.images:  # then it says that there is none
            problems = [p for p in problems if p.where or p.kind != "metadata"]
        return problems

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.unfinished)))
        seed = self.unfinished[name]
        mode, resumed = "w" if name in self.images else "w-", self.record_of(name)
        self.attempt(name, seed, resume=True, mode=mode)
        self.published(name, seed)
        self.overtake(name, resumed)

    @precondition(lambda self: self.unfinished)
    @rule(data=st.data(), seed=st.integers(6, 9))
    def resume_with_another_input(self, data: st.DataObject, seed: int) -> None:
        """What was written may show it; an unfinished build of which nothing is done cannot."""
        name = data.draw(st.sampled_from(sorted(self.unfinished)))
        mode = "w" if name in self.images else "w-"
        if any(late.name == name and late.is_current for late in self.late):
            return  # it would be that build, with other samples
        try:
            self.attempt(name, seed, resume=True, mode=mode)
        except errors.ResumeError:
            return
        self.published(name, seed)
        self.overtake(name)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), label=st.sampled_from(LABELS), seed=st.integers(0, 5))
    def write_labels(self, data: st.DataObject, label: str, seed: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.images)))
        if len(self.images[name].base) != 8:
            return  # which is longer than the labels that there are
        if self.images[name].levels != 3:
            with pytest.raises(errors.PlanError, match="levels of labels"):
                self.write_to(name, label, seed)
            return
        self.write_to(name, label, seed)
        self.labels[name][label] = seed

    def write_to(self, name: str, label: str, seed: int) -> None:
        pyramid(label, seed, labels=True).to_ome_zarr(
            self.store(), labels_of=name, mode="w", progress=False
        )

    def draw_sound(self, data: st.DataObject) -> str | None:
        """Return the name of an image that nothing is wrong with, and that no build is to replace.

        Others are refused, which leaves them as they are.
        """
        name = data.draw(st.sampled_from(sorted(self.images)))
        if self.images[name].is_damaged:
            return None
        if name not in self.unfinished:
            return str(name)
        if self.record_of(name) is not None:
            with pytest.raises(errors.PyramidError, match="unfinished"):
                xpyramid.update(self.store(), name, {"y": 0})
        return None

    def changed(self, name: str) -> None:
        """Know that an image is no longer the one that any build has published."""
        for late in self.late:
            late.is_current = late.is_current and not (late.name == name and late.is_published)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), levels=st.integers(1, 4))
    def add_or_drop_levels(self, data: st.DataObject, levels: int) -> None:
        name = self.draw_sound(data)
        if name is None or (self.labels[name] and levels != self.images[name].levels):
            return
        image = self.images[name]
        if levels > image.levels:
            xpyramid.add_levels(self.store(), name, levels=levels, factor=2, progress=False)
        else:
            xpyramid.drop_levels(self.store(), name, levels)
        if levels != image.levels:
            self.changed(name)
        image.levels = levels

    def write_region(self, name: str, data: st.DataObject) -> dict[str, slice]:
        """Write samples into level 0 of an image, as other programs do."""
        y, x = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 5))
        region = {"y": slice(y, y + data.draw(st.integers(1, 3))), "x": slice(x, x + 1)}
        region = {dim: slice(part.start, min(part.stop, 8)) for dim, part in region.items()}
        image = self.images[name]
        image.base = image.base.copy()
        image.base[tuple(region.values())] = data.draw(st.integers(0, 300))
        array = zarr.open_array(self.path / f"{name}/0/{name}", mode="r+")
        array[tuple(region.values())] = image.base[tuple(region.values())]
        return region

    @precondition(lambda self: self.images)
    @rule(data=st.data(), how=st.sampled_from(["region", "changed", "deep"]))
    def update(self, data: st.DataObject, how: str) -> None:
        if (name := self.draw_sound(data)) is None:
            return
        region: Any = self.write_region(name, data)
        xpyramid.update(
            self.store(), name, region if how == "region" else "changed", deep=how == "deep",
            progress=False,
        )  # fmt: skip
        self.changed(name)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), step=st.integers(1, 40))
    def die_in_an_update(self, data: st.DataObject, step: int) -> None:
        """The next update finishes it."""
        if (name := self.draw_sound(data)) is None:
            return
        region = self.write_region(name, data)
        with dying(step) as died:
            xpyramid.update(self.store(), name, region, progress=False)
        if died[0]:
            was_begun = self.is_unfinished(name)
            again: Any = {"y": 7} if was_begun else region
            xpyramid.update(self.store(), name, again, progress=False)
        self.changed(name)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), rows=st.integers(1, 3), step=st.integers(1, 90))
    def grow(self, data: st.DataObject, rows: int, step: int) -> None:
        """Rows are appended, by a process that may die; the next one finishes that."""
        name = self.draw_sound(data)
        if name is None or self.labels[name] or len(self.images[name].base) > 12:
            return
        image, random = self.images[name], np.random.default_rng(rows)
        more = random.integers(1, 200, (rows, 6), dtype="u2")
        part = xr.DataArray(more, dims=("y", "x"), name=name)
        with dying(step) as died:
            part.pyramid.append(self.store(), name, dim="y", progress=False)
        if died[0]:
            is_old = self.is_unfinished(name)
            if not is_old:
                is_old = len(xpyramid.open_pyramid(self.store(), name)[0]) == len(image.base)
            if is_old:
                part.pyramid.append(self.store(), name, dim="y", progress=False, resume=True)
        image.base = np.concatenate([image.base, more])
        self.changed(name)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), deep=st.booleans())
    def repair(self, data: st.DataObject, deep: bool) -> None:
        """Objects of coarser levels are made again, unless level 0 is damaged."""
        name = data.draw(st.sampled_from(sorted(self.images)))
        image = self.images[name]
        try:
            left = xpyramid.repair(self.store(), name, deep=deep, progress=False)
        except errors.ResumeError:
            assert name in self.unfinished
            return
        if 0 in image.damaged:
            assert any(problem.where.startswith("0/") for problem in left)
        else:
            assert left == []
            image.damaged.clear()

    @rule(name=st.sampled_from(NAMES), seed=st.integers(0, 5), mode=st.sampled_from(["w", "w-"]))
    def begin_a_late_one(self, name: str, seed: int, mode: str) -> None:
        if mode == "w-" and (name in self.images or name in self.unfinished):
            with pytest.raises(errors.TargetExistsError):
                self.attempt(name, seed, compute=False, mode=mode)
            return
        task = self.attempt(name, seed, compute=False, mode=mode)
        self.overtake(name, is_begun=True)
        build = self.record_of(name) or ""
        self.late.append(Late(name, seed, task, build))
        self.builds[build] = seed
        self.unfinished[name] = seed
        if not self.replaces_at_once:
            self.images.pop(name, None)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def compute_a_late_one(self, data: st.DataObject) -> None:
        late = data.draw(st.sampled_from(self.late))
        if late.is_published and late.is_current:
            late.task.compute()  # again, and nothing changes
            return
        if not late.is_current:
            with pytest.raises(errors.ResumeError):
                late.task.compute()
            return
        late.task.compute()
        self.overtake(late.name, late.build)
        self.published(late.name, late.seed)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Remove an image, as people do, with all that lies beside it."""
        name = data.draw(st.sampled_from(sorted(self.images)))
        shutil.rmtree(self.path / name)
        shutil.rmtree(self.path / f".{name}.unfinished", ignore_errors=True)
        self.overtake(name)
        for late in self.late:
            late.is_current = late.is_current and late.name != name
        del self.images[name]
        self.labels.pop(name, None)
        self.unfinished.pop(name, None)
        # What others have noted of it is theirs to mend; here nobody else has.
        self.unlist(name)

    def unlist(self, name: str) -> None:
        """Have the list of images, where there is one, forget an image."""
        place = self.path / "OME"
        if not place.is_dir():
            return
        group = zarr.open_group(place, mode="r+")
        ome = dict(group.attrs.get("ome", {}))
        ome["series"] = [path for path in ome.get("series", []) if path != name]
        group.attrs["ome"] = ome

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.images)))
        paths = sorted((self.path / name).glob("[0123]/*/c/**/*"))
        chunks = [path for path in paths if path.is_file() and path.name.isdecimal()]
        path = data.draw(st.sampled_from(chunks))
        kind: Callable[[bytes], bytes] = data.draw(
            st.sampled_from([lambda raw: raw[:-1], lambda raw: raw[: len(raw) // 2]])
        )
        damaged = kind(path.read_bytes())
        path.unlink()  # a replaced image may share its files
        path.write_bytes(damaged)
        self.images[name].damaged.add(int(path.relative_to(self.path / name).parts[0]))

    @rule()
    def copy(self) -> None:
        """What is finished is as good elsewhere; what is not, is not taken for it."""
        there = self.directory / "copy.zarr"
        if not self.path.exists():
            return
        shutil.copytree(self.path, there)
        try:
            for name, image in self.images.items():
                if not image.is_damaged:
                    self.check_image(there, name, image)
        finally:
            shutil.rmtree(there)

    def check_image(self, store: Any, name: str, image: Image) -> None:
        opened = xpyramid.open_pyramid(store, name)
        for level, expected in zip(opened, image.expected, strict=True):
            np.testing.assert_array_equal(level.to_numpy(), expected)
        window = opened.metadata["omero"]["channels"][0]["window"]
        assert (window["min"], window["max"]) == (image.base.min(), image.base.max())

    def check_labels(self, path: str, seed: int) -> None:
        name = path.rpartition("/")[2]
        opened = xpyramid.open_pyramid(self.store(), path)
        for level, expected in zip(opened, values(name, seed, labels=True), strict=True):
            np.testing.assert_array_equal(level.to_numpy(), expected)

    @invariant()
    def readers_find_what_they_must(self) -> None:
        for name in NAMES:
            if name not in self.images:
                with pytest.raises((errors.NotAPyramidError, FileNotFoundError)):
                    xpyramid.open_pyramid(self.store(), name)
                continue
            image = self.images[name]
            if image.is_damaged:
                continue
            self.check_image(self.store(), name, image)
            opened = xpyramid.open_pyramid(self.store(), name)
            assert sorted(opened.labels) == sorted(self.labels[name])
            for label, seed in self.labels[name].items():
                self.check_labels(f"{name}/labels/{label}", seed)
            tree = xr.open_datatree(self.path / name, engine="zarr")
            assert {f"/labels/{label}/0" for label in self.labels[name]} <= set(tree.groups)

    @invariant()
    def verify_says_what_is_wrong(self) -> None:
        problems = self.verify(deep=True)
        damaged = {name for name, image in self.images.items() if image.is_damaged}
        assert damaged <= {problem.where.split("/")[0] for problem in problems}
        others = [p for p in problems if p.where.split("/")[0] not in damaged]
        assert {p.kind for p in others} <= {"unfinished"}, others
        self.forget_what_was_swept({p.where for p in others})
        assert {p.where for p in others} == set(self.unfinished) - damaged, others

    def forget_what_was_swept(self, unfinished: set[str]) -> None:
        """Know that what is left of a build without a record is removed by the next one nearby."""
        for name in self.unfinished.keys() - unfinished:
            if self.record_of(name) is None:
                del self.unfinished[name]


class StoreInPlaceOverTime(StoreOverTime):
    """The same store, as if its disk could rename nothing."""

    replaces_at_once = False

    def store(self) -> Any:
        self.path.mkdir(exist_ok=True)
        return zarr.storage.FsspecStore.from_url(
            f"file://{self.path}", storage_options={"auto_mkdir": True}
        )


def run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or examples, stateful_step_count=steps, deadline=None
        ),
    )


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.timeout(900 + 30 * EXAMPLES)
def test_a_store_on_disk() -> None:
    run(StoreOverTime, 6, 12)


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.timeout(900 + 30 * EXAMPLES)
def test_a_store_where_images_are_made_in_place() -> None:
    run(StoreInPlaceOverTime, 6, 12)
