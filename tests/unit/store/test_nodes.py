"""What is at a place: the same as zarr-python says, for a local store without its event loop."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, WrapperStore

from xpyramid.store.documents import new_group
from xpyramid.store.path import NodePath


@pytest.fixture(params=[2, 3])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> NodePath:
    """A store of either format with nodes of all kinds."""
    store = LocalStore(tmp_path / "lab.zarr")
    group = zarr.create_group(store, zarr_format=request.param, attributes={"title": "Lab"})
    inner = group.create_group("scans", attributes={"n": 1})
    inner.create_array("field", data=np.arange(6.0), chunks=(4,), attributes={"units": "m"})
    with warnings.catch_warnings(action="ignore", category=ZarrUserWarning):
        zarr.consolidate_metadata(store)
    (tmp_path / "lab.zarr/notes").mkdir()
    (tmp_path / "lab.zarr/notes/today.txt").write_text("fine")
    return NodePath(store, "")


@pytest.mark.parametrize("path", ["", "scans", "scans/field", "notes", "none", "notes/today.txt"])
def test_a_node_is_what_zarr_opens(root: NodePath, path: str) -> None:
    place = root / path
    other = NodePath(WrapperStore(root.store), path)  # of another class, so zarr opens it
    node, expected = place.node(), other.node()
    assert type(node) is type(expected)
    assert place.attributes() == other.attributes()
    if node is not None and expected is not None:
        assert node.metadata == expected.metadata
        assert node.path == expected.path
        assert node.read_only
    if isinstance(node, zarr.Array):
        assert np.array_equal(node[:], np.arange(6.0))


@pytest.mark.parametrize("root", [3], indirect=True)  # of format 2, documents are several
def test_zarr_is_not_asked(root: NodePath, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(zarr, "open", refuse)
    for path in ("", "scans", "scans/field", "notes", "none"):
        (root / path).node()
        if path != "notes":
            (root / path).is_empty()


@pytest.mark.parametrize("root", [3], indirect=True)
@pytest.mark.parametrize(
    "text", ["{", "[]", '{"zarr_format": 3}', '{"zarr_format": 3, "node_type": 7}']
)
def test_of_damaged_documents_zarr_says_what_is_wrong(root: NodePath, text: str) -> None:
    path = root.store.root / "scans/zarr.json"  # type: ignore[attr-defined]
    path.write_text(text)
    assert _fault_of(root / "scans") == _fault_of(NodePath(WrapperStore(root.store), "scans"))


def _fault_of(place: NodePath) -> type:
    try:
        return type(place.node())
    except Exception as error:  # zarr trips over damaged documents in many ways
        return type(error)


def test_what_cannot_be_seen_is_not_absent(root: NodePath, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    monkeypatch.setattr(zarr, "open", lambda **options: asked.append(options["path"]))
    (root / "none").node()
    assert asked == ["none"]  # zarr, which says what is wrong


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("attributes", [{}, {"title": "Lab", "of": ["a", {"b": None}]}])
def test_a_new_group_is_what_zarr_makes(zarr_format: Any, attributes: dict[str, Any]) -> None:
    documents: dict[str, Any] = {}
    zarr.create_group(
        zarr.storage.MemoryStore(documents), zarr_format=zarr_format, attributes=attributes
    )
    made = {key: data.to_bytes() for key, data in new_group(zarr_format, attributes).items()}
    assert made == {key: data.to_bytes() for key, data in documents.items()}
    assert all(json.loads(text) is not None for text in made.values())
