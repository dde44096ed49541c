"""A third way to come to a place, beside rename and in place: a session, whose commit publishes.

The toy below is what an Icechunk session is like: what is written is seen by nobody before the
commit, there is no rename, no lock and no directory, and only the keys of Zarr's nodes are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.core.sync import sync
from zarr.storage import MemoryStore, WrapperStore

import xpyramid
from xpyramid import errors
from xpyramid.store import transaction
from xpyramid.store.build_record import BuildRecord
from xpyramid.store.documents import missing_parents, put, record_writes
from xpyramid.store.path import NodePath
from xpyramid.store.retrying import bare

DATA = np.arange(64, dtype="u2").reshape(8, 8)


class Session(WrapperStore[Store]):
    """What is committed, and beside it what is not."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.changes = OnlyNodes(MemoryStore())
        self.commits = 0

    def with_read_only(self, read_only: bool = False) -> Store:
        return self._store.with_read_only(read_only)

    def commit(self) -> None:
        for key, document in self.changes.documents().items():
            sync(self.set(key, document))
        self.commits += 1


class OnlyNodes(WrapperStore[Store]):
    """A store that takes the keys of Zarr's nodes alone."""

    async def set(self, key: str, value: Buffer) -> None:
        assert not any(part.startswith(".") for part in key.split("/")), key
        await self._store.set(key, value)

    def documents(self) -> dict[str, Buffer]:
        return dict(self._store._store_dict)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class CommitTransaction:
    """The toy: written beside what is committed, published by a commit."""

    target: NodePath
    kept: tuple[str, ...] = ()
    tasks: None = None
    excludes_all: bool = True
    keeps_notes: bool = False

    @classmethod
    def suits(cls, store: Store) -> bool:
        return isinstance(store, Session)

    @property
    def _session(self) -> Session:
        session = bare(self.target.store)
        assert isinstance(session, Session)
        return session

    @property
    def location(self) -> NodePath:
        return NodePath(self._session.changes, self.target.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def recover(self) -> bool:
        return False

    def noted(self) -> BuildRecord | None:
        return None

    unfinished = noted

    def is_original(self, record: BuildRecord) -> bool:
        raise NotImplementedError

    def left_over(self) -> int | None:
        return None

    def begin(
        self,
        record: BuildRecord,  # noqa: ARG002
        zarr_format: Literal[2, 3],
        interim: Mapping[str, Buffer] | None = None,  # noqa: ARG002
    ) -> None:
        self.abandon()
        for parent, documents in missing_parents(self.target, zarr_format):
            put(NodePath(self._session.changes, parent.path), documents)

    def note(self, record: BuildRecord) -> None:
        pass

    def tidy(self) -> None:
        pass

    def publish(self, documents: Mapping[str, Buffer], *, durable: bool = False) -> None:  # noqa: ARG002
        put(self.location, documents)
        self._session.commit()

    def change_group(self, group: NodePath, change: Callable[[NodePath], None]) -> None:
        put(group, record_writes(group, change))

    def flush(self) -> None:
        pass

    def abandon(self) -> None:
        sync(self._session.changes.clear())

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def third_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "KINDS", [CommitTransaction, *transaction.KINDS])


def array(data: Any = DATA) -> xr.DataArray:
    return xr.DataArray(data, dims=("y", "x"), name="field")


def test_a_commit_publishes() -> None:
    array().pyramid.to_ome_zarr(session := Session(), "lab/field", levels=3, factor=2)
    assert session.commits == 1
    opened = xpyramid.open_pyramid(session, "lab/field")
    np.testing.assert_array_equal(opened[0], DATA)
    assert len(opened) == 3
    assert not xpyramid.verify(session, deep=True)
    with pytest.raises(errors.TargetExistsError):
        array().pyramid.to_ome_zarr(session, "lab/field", levels=3)


def test_nothing_is_seen_before_the_commit() -> None:
    array().pyramid.to_ome_zarr(session := Session(), levels=2, factor=2)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("enough")

    other = xr.DataArray(np.ones((8, 8)), dims=("y", "x"), name="field")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommitTransaction, "publish", fail)
        with pytest.raises(RuntimeError, match="enough"):
            other.pyramid.to_ome_zarr(session, mode="w", levels=2, factor=2)
    np.testing.assert_array_equal(xpyramid.open_pyramid(session)[0], DATA)
    assert session.commits == 1
    other.pyramid.to_ome_zarr(session, mode="w", levels=2, factor=2)
    np.testing.assert_array_equal(xpyramid.open_pyramid(session)[0], other)


def test_labels_are_listed() -> None:
    array().pyramid.to_ome_zarr(session := Session(), levels=2, factor=2)
    labels = array().rename("cells")
    labels.pyramid.to_ome_zarr(session, labels_of="field", levels=2, factor=2, method="mode")
    assert xpyramid.open_pyramid(session, "field").labels == ("cells",)
    assert session.commits == 2
    group = zarr.open_group(session, mode="r")["field/labels"]
    assert group.attrs["ome"] == {"version": "0.5", "labels": ["cells"]}
