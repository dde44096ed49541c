"""What `verify` finds, on pyramids of ours and of others, sound and broken."""

from __future__ import annotations

import json
import random
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.buffer import default_buffer_prototype

import xpyramid
from xpyramid import errors, ngff
from xpyramid.store import presence
from xpyramid.store.chunk_grid import ChunkGrid
from xpyramid.verifier.copies import is_same

RNG = np.random.default_rng(11)


def volume(dtype: str = "uint16", shape: tuple[int, ...] = (12, 20, 21)) -> xr.DataArray:
    """A volume whose first chunk is empty, with coordinates of several kinds."""
    data = RNG.integers(1, 200, shape).astype(dtype)
    data[:8, :8, :8] = 0
    coords = {
        "z": np.arange(shape[0])[::-1] * 4.0,
        "y": 0.5 * np.arange(shape[1]),
        "x": ("x", 0.5 * np.arange(shape[2]), {"units": "um"}),
        "when": np.datetime64("2025-01-01", "ns"),
        "who": "someone",
    }
    return xr.DataArray(data, dims=("z", "y", "x"), coords=coords, name="field")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One pyramid of each kind, not to be changed."""
    root = tmp_path_factory.mktemp("written")
    p = volume().pyramid.build(levels=2, chunks=8)
    for kind, options in KINDS.items():
        p.to_ome_zarr(root / kind, **options)
    return {kind: root / kind for kind in KINDS}


KINDS: dict[str, dict[str, Any]] = {
    "v3": {}, "v2": {"version": "0.4"}, "sharded": {"shards": 16},
}  # fmt: skip


@pytest.fixture(params=list(KINDS))
def store(request: pytest.FixtureRequest, written: dict[str, Path], tmp_path: Path) -> Path:
    """A pyramid of each kind, to be broken."""
    return Path(shutil.copytree(written[request.param], tmp_path / "out.zarr"))


@pytest.fixture
def plain(written: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written["v3"], tmp_path / "out.zarr"))


def kinds(problems: list[ngff.Problem]) -> set[str]:
    return {problem.kind for problem in problems}


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON document."""
    document = json.loads(path.read_text())
    path.write_text(json.dumps(change(document) or document))


# Sound pyramids


@pytest.mark.parametrize("deep", [False, True])
def test_nothing_is_wrong_with_what_we_write(store: Path, deep: bool) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    for report in (xpyramid.verify(store, deep=deep), xpyramid.verify(store, "field", deep)):
        assert report == []
        assert (report.images, report.notes) == (1, [])
    assert before == {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("dtype", "build"),
    [
        ("bool", {}),
        ("int8", {"method": "mode", "ignore": 7}),
        ("float32", {"skipna": False}),
        ("float64", {"method": "median", "min_valid": 0.5}),
        ("complex64", {"method": "sum"}),
        ("timedelta64[s]", {"method": "max"}),
        ("uint64", {"method": "nearest"}),
        ("uint8", {"factor": 3, "boundary": "trim", "levels": 2}),
        ("uint8", {"ignore": 3, "min_valid": 0.9, "factor": {"y": 2, "x": 5}, "levels": 3}),
        ("float32", {"ignore": float("nan")}),
    ],
)
def test_values_are_computed_again_as_they_were(dtype: str, build: dict[str, Any]) -> None:
    array = volume().astype(dtype)
    if dtype.startswith("float"):
        array = array.where(array % 5 > 0)
    target = zarr.storage.MemoryStore()
    array.pyramid.build(**{"levels": 3, "chunks": 8, **build}).to_ome_zarr(target)
    report = xpyramid.verify(target, deep=True)
    assert (report, report.notes) == ([], [])
    level = zarr.open_array(target, path="field/1/field")
    was = np.nan_to_num(level[-1, -1, -1:])
    level[-1, -1, -1:] = ~was if dtype == "bool" else was * 2
    found = [p for p in xpyramid.verify(target, deep=True) if p.kind == "values"]
    assert [p.where.rsplit("/c/")[0] for p in found] == ["field/1/field"]
    cell = tuple(n - 1 for n in level.shape)
    assert f"1 of {found[0].message.split()[2]} cells are wrong, the first at {cell}" in (
        found[0].message
    )


def test_several_images_and_a_copy(tmp_path: Path) -> None:
    array = volume()
    pyramids = xr.Dataset({"a": array, "b": array + 1}).pyramid.build(levels=2)
    pyramids.to_ome_zarr(tmp_path / "one.zarr", "runs")
    report = xpyramid.verify(tmp_path / "one.zarr", deep=True)
    assert (report, report.images) == ([], 2)
    xpyramid.open_pyramid(tmp_path / "one.zarr/runs/b").to_ome_zarr(tmp_path / "two.zarr")
    assert xpyramid.verify(tmp_path / "two.zarr", deep=True) == []
    # An image that does not say any more that it is one is still known to be.
    edit(tmp_path / "one.zarr/runs/b/zarr.json", lambda d: d["attributes"]["ome"].clear())
    found = xpyramid.verify(tmp_path / "one.zarr")
    assert {p.where for p in found} == {"runs/b"}
    assert kinds(found) == {"metadata", "changed"}


def test_a_method_of_ones_own_is_not_computed_again() -> None:
    target = zarr.storage.MemoryStore()
    volume("float64").pyramid.build(levels=2, method=np.ptp).to_ome_zarr(target)
    report = xpyramid.verify(target, deep=True)
    assert report == []
    assert report.notes == [
        "field: the values were not computed again: method 'ptp' is not known here"
    ]


# Deleted and damaged files


def test_every_deleted_object_is_named(store: Path) -> None:
    image = store / "field"
    for path in [path for path in image.rglob("*") if path.is_file()]:
        raw = path.read_bytes()
        path.unlink()
        key = str(path.relative_to(store))
        found = xpyramid.verify(store)
        named = [p for p in found if key in (p.where, f"{p.where}/{path.name}")]
        assert named, (key, found)
        path.write_bytes(raw)
    assert xpyramid.verify(store) == []


@pytest.mark.parametrize("number", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_flipped_bytes_are_noticed(number: int, store: Path) -> None:
    chance = random.Random(5)
    files = [path for path in (store / "field").rglob("*") if path.is_file()]
    objects = [path for path in files if not path.name.startswith((".z", "zarr"))]
    documents = [path for path in files if path not in objects]
    for path in chance.choices(objects, k=number) + chance.choices(documents, k=number):
        raw = path.read_bytes()
        at = chance.randrange(len(raw))
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :])
        assert xpyramid.verify(store, deep=path in objects), (path, at)
        path.write_bytes(raw)
    assert xpyramid.verify(store, deep=True) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_no_flipped_bit_of_a_chunk_changes_values_silently(
    tmp_path: Path, zarr_format: int
) -> None:
    version = {2: "0.4", 3: "0.5"}[zarr_format]
    small = xr.DataArray(np.arange(16, dtype="u1").reshape(4, 4), dims=("y", "x"), name="a")
    small.pyramid.build(levels=1).to_ome_zarr(tmp_path, version=version)
    chunk = tmp_path / "a/0/a" / ("0/0" if zarr_format == 2 else "c/0/0")
    array = zarr.open_array(tmp_path / "a/0/a", mode="r")
    raw = chunk.read_bytes()
    silent = 0
    for bit in range(8 * len(raw)):
        chunk.write_bytes(
            bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(raw))
        )
        try:
            np.testing.assert_array_equal(array[...], small.values)
        except (RuntimeError, ValueError):
            continue
        silent += 1  # an unused bit of the frame's header
    assert silent <= 2


def test_damage_is_said_once(plain: Path) -> None:
    """What lies above a damaged chunk cannot be judged, and is not."""
    (plain / "field/0/field/c/1/1/1").write_bytes(b"nothing")
    (plain / "field/0/field/c/0/1/1").unlink()
    found = xpyramid.verify(plain, deep=True)
    assert {(p.kind, p.where) for p in found} == {
        ("changed", "field/0/field/c/1/1/1"),
        ("missing", "field/0/field/c/0/1/1"),
    }
    (message,) = [p.message for p in found if p.kind == "changed"]
    assert re.match(
        r"the chunk has 7 bytes, and \d+ were recorded: .*; it cannot be decoded", message
    )


def test_objects_that_should_not_be_there(plain: Path) -> None:
    array = zarr.open_array(plain / "field/0/field")
    array[0, 0, 0] = 1  # its chunk was empty
    (plain / "field/1/field/c/9").mkdir()
    (plain / "field/1/field/c/9/0").write_bytes(b"")
    (plain / "field/1/field/c/01").write_bytes(b"")
    shutil.copytree(plain / "field/1", plain / "field/3")
    found = {(p.kind, p.where): p for p in xpyramid.verify(plain)}
    assert set(found) >= {
        ("extra", "field/0/field/c/0/0/0"),
        ("stray", "field/1/field/c/9/0"),
        ("stray", "field/1/field/c/01"),
        ("stale", "field/3"),
        ("extra", "field/3/field"),
    }
    assert {p.severity for key, p in found.items() if key[0] != "consolidated"} == {"warning"}


def test_symbolic_links_are_not_followed(plain: Path) -> None:
    shutil.move(plain / "field/1", plain.parent / "elsewhere")
    (plain / "field/1").symlink_to(plain.parent / "elsewhere")
    found = xpyramid.verify(plain)
    assert ("link", "field/1") in {(p.kind, p.where) for p in found}
    assert "missing" in kinds(found)


def test_many_absent_objects_are_kept_as_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "LONGEST", 0)
    target = zarr.storage.MemoryStore()
    volume().pyramid.build(levels=2, chunks=4).to_ome_zarr(target)
    assert xpyramid.verify(target, deep=True) == []
    del target._store_dict["field/0/field/c/2/4/5"]
    (found,) = xpyramid.verify(target)
    assert (found.kind, found.where) == ("missing", "field/0/field/c/2/4/5")  # sizes tell which
    without_tables(target)
    (found,) = xpyramid.verify(target)
    assert found.where == "field/0/field"
    assert "81 of 90 chunks are there; expected 82" in found.message
    assert "values" in kinds(xpyramid.verify(target, deep=True))


def without_tables(store: zarr.storage.MemoryStore) -> None:
    """Make the record of an image one of an older version, without sizes and checksums."""
    document = json.loads(store._store_dict["field/zarr.json"].to_bytes())
    sealed = document["attributes"]["xpyramid"]["sealed"]
    for record in sealed["objects"].values():
        del record["table"], record["grid"]
    del sealed["digest"]
    text = json.dumps(document).encode()
    store._store_dict["field/zarr.json"] = default_buffer_prototype().buffer.from_bytes(text)


def test_images_of_older_versions_have_no_sizes() -> None:
    target = zarr.storage.MemoryStore()
    volume().pyramid.build(levels=2, chunks=8).to_ome_zarr(target)
    without_tables(target)
    for checks in ({}, {"checksums": True}, {"deep": True}):
        report = xpyramid.verify(target, **checks)
        assert (report, report.notes) == ([], [])
    key = "field/1/field/c/0/0/1"
    raw = target._store_dict[key]
    target._store_dict[key] = raw[: len(raw) // 2]
    assert xpyramid.verify(target, checksums=True) == []
    assert kinds(xpyramid.verify(target, deep=True)) == {"unreadable"}
    np.testing.assert_array_equal(xpyramid.open_pyramid(target, "field")[0].shape, (12, 20, 21))


def test_consolidated_copies(plain: Path) -> None:
    edit(
        plain / "field/zarr.json",
        lambda d: d["consolidated_metadata"]["metadata"].pop("1/field") and None,
    )
    found = xpyramid.verify(plain)
    assert [(p.kind, p.where) for p in found] == [("consolidated", "field/1/field")]


def test_edited_metadata(plain: Path) -> None:
    edit(plain / "field/0/x/zarr.json", lambda d: d["attributes"].update(units="nm"))
    edit(plain / "field/zarr.json", lambda d: d["attributes"].update(note="mine"))
    found = [p for p in xpyramid.verify(plain) if p.kind == "changed"]
    assert [p.where for p in found] == ["field", "field/0/x/zarr.json"]


def test_numbers_of_problems_are_bounded(plain: Path) -> None:
    def many(document: Any) -> None:
        datasets = document["attributes"]["ome"]["multiscales"][0]["datasets"]
        datasets += [{**datasets[0], "path": str(k)} for k in range(20_000)]

    edit(plain / "field/zarr.json", many)
    found = xpyramid.verify(plain)
    assert 1000 < len(found) < 3000
    assert any("more of this kind" in p.message for p in found)


# Unfinished


def test_unfinished(tmp_path: Path) -> None:
    (tmp_path / "out.zarr/.field.unfinished").mkdir(parents=True)
    zarr.open_group(tmp_path / "out.zarr", mode="a")
    for where in (
        [tmp_path / "out.zarr"],
        [tmp_path / "out.zarr/field"],
        [tmp_path / "out.zarr", "field"],
    ):
        (found,) = xpyramid.verify(*where)
        assert found.kind == "unfinished"
        assert "resume=True" in found.message
    target = zarr.storage.MemoryStore()
    group = zarr.open_group(target).create_group("field")
    group.attrs["xpyramid"] = {"unfinished": {}}
    (found,) = xpyramid.verify(target)
    assert (found.kind, found.where) == ("unfinished", "field")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(errors.NotAPyramidError, match="nothing at"):
        xpyramid.verify(tmp_path / "no.zarr")
    zarr.create_array(tmp_path / "array.zarr", shape=(2,), dtype="u1")
    assert xpyramid.verify(tmp_path / "array.zarr") == []
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(errors.NotAPyramidError, match="no Zarr group"):
        xpyramid.verify(tmp_path / "empty.zarr", "a")
    (found,) = xpyramid.verify(tmp_path / "empty.zarr")
    assert found.kind == "metadata"


# Pyramids of others


def foreign(
    path: Path,
    shapes: tuple[tuple[int, ...], ...] = ((3, 65, 64), (3, 32, 32), (3, 16, 16)),
    *,
    names: tuple[str, ...] | None = ("c", "y", "x"),
    dtypes: tuple[str, ...] = ("u1",) * 3,
    **array: Any,
) -> Path:
    """Write a pyramid as others do: flat, without our records."""
    group = zarr.open_group(path, mode="w")
    for k, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)):
        level = group.create_array(
            str(k), shape=shape, dtype=dtype, chunks=(1, 32, 32), dimension_names=names, **array
        )
        level[:] = 1
    transforms = [
        [{"type": "scale", "scale": [1, 0.5 * 2**k, 0.5 * 2**k]},
         {"type": "translation", "translation": [0, 0.25 * (2**k - 1), 0.25 * (2**k - 1)]}]
        for k in range(3)
    ]  # fmt: skip
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": "image", "type": "mean", "metadata": {"method": "block mean"},
                "axes": [{"name": "c", "type": "channel"},
                         {"name": "y", "type": "space", "unit": "micrometer"},
                         {"name": "x", "type": "space", "unit": "micrometer"}],
                "datasets": [{"path": str(k), "coordinateTransformations": t}
                             for k, t in enumerate(transforms)],
            }
        ],
    }  # fmt: skip
    return path


def changed(path: Path, change: Callable[[Any, Any], Any]) -> list[ngff.Problem]:
    """Change the metadata of an image, ``change(ome, multiscale)``, and verify it."""
    group = zarr.open_group(path, mode="r+")
    ome: Any = group.attrs["ome"]
    change(ome, ome["multiscales"][0])
    group.attrs["ome"] = ome
    return xpyramid.verify(path)


def transform(multiscale: Any, level: int, which: int, value: list[float]) -> None:
    kind = ("scale", "translation")[which]
    multiscale["datasets"][level]["coordinateTransformations"][which][kind] = value


def test_a_sound_pyramid_of_others(tmp_path: Path) -> None:
    report = xpyramid.verify(foreign(tmp_path), deep=True)
    assert report == []
    (note,) = report.notes
    assert note.startswith("1, 2: mean and nearest")


def no_shift(_: Any, multiscale: Any) -> None:
    for k in (1, 2):
        transform(multiscale, k, 1, [0, 0, 0])


OMERO = {
    "channels": [{"color": "ffffff", "window": {"min": 0, "start": 0, "end": 9, "max": 255}}] * 3
}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda _, m: transform(m, 1, 0, [1, 65 / 64, 1]), "scale",
         r"along 'y', the scale 1.015625 is 2.03125 times .* lengths 65 and 32; expected 1"),
        (lambda _, m: transform(m, 2, 0, [1, 2, 1.3]), "scale", "expected a whole multiple"),
        (lambda _, m: transform(m, 2, 0, [1, 2, 4]), "shape", "length is 16 .* expected 8 from 64"),
        (no_shift, "translation", "no level is shifted by half a pixel"),
        (lambda _, m: transform(m, 2, 1, [0, 0, 0]), "translation", "expected one convention"),
        (lambda _, m: transform(m, 2, 1, [0, 9, 0.75]), "translation", "expected 0 or 0.75"),
        (lambda _, m: m["datasets"].reverse(), None, None),
        (lambda _, m: m["datasets"].append(m["datasets"][2]), "metadata", "occur twice"),
        (lambda _, m: m["datasets"].pop(), "stale", "looks like a level"),
        (lambda _, m: m["axes"][1].update(unit="um"), "unit", "'um'; expected 'micrometer'"),
        (lambda _, m: m["axes"][1].update(unit="pixel"), "unit", "'pixel'; expected a space unit"),
        (lambda _, m: m["axes"][1].update(name="x"), None, None),
        (lambda _, m: m["axes"][0].update(name="d"), "names", r"expected \['d', 'y', 'x'\]"),
        (lambda _, m: m["datasets"][2].update(path="7"), "missing", "there is nothing"),
        (lambda _, m: m["datasets"][2].update(path="../2"), "path", "'../2'; expected a path"),
        (lambda _, m: m["datasets"][2].update(path="a\0b"), "path", "expected a path inside"),
        (lambda _, m: m.update(datasets=[]), None, None),
        (lambda o, _: o.update(omero={"channels": OMERO["channels"][:2]}), "omero",
         "2 channels; expected 3"),
        (lambda o, _: o.update(omero={"channels": 7}), None, None),
        (lambda o, _: o.update(omero={"channels": [{"color": "ff00ff",
            "window": {"min": 0, "start": 0, "end": 510, "max": 510}}] * 3}), "omero",
         "0 to 510; expected 0 to 255"),
        (lambda o, _: o.update(omero={"channels": [{"color": "ff00ff",
            "window": {"start": 9, "end": 1, "min": 0, "max": 9}}] * 3}), "omero",
         "expected min <= max and start <= end"),
        (lambda o, _: o.update(omero={"channels": [{"color": "#ff"}] * 3}), "omero", "six hexa"),
        (lambda o, _: o.update(version="0.4"), None, None),
        (lambda o, _: o.update(version="7"), "metadata", "'7'"),
        (lambda o, _: o.update(multiscales={}), "metadata", "expected a list"),
    ],
)  # fmt: skip
def test_metadata_that_contradict_the_arrays(
    tmp_path: Path, change: Callable[[Any, Any], Any], kind: str | None, message: str | None
) -> None:
    found = changed(foreign(tmp_path), change)
    assert found
    if kind is not None and message is not None:
        assert any(p.kind == kind and re.search(message, p.message) for p in found), found


@pytest.mark.parametrize("omero", [OMERO])
def test_right_omero(tmp_path: Path, omero: Any) -> None:
    assert changed(foreign(tmp_path), lambda o, _: o.update(omero=omero)) == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"dtypes": ("u1", "u1", "u2")}, "dtype", "dtype uint16; expected uint8"),
        ({"names": None}, "names", "no dimension_names"),
        ({"names": ("c", "x", "y")}, "names", r"\['c', 'x', 'y'\]; expected"),
        ({"chunk_key_encoding": {"name": "default", "separator": "."}}, "separator", "'.'"),
        ({"shapes": ((3, 65, 64), (3, 32, 32), (3, 0, 16))}, "shape", "the length is 0"),
        ({"shapes": ((3, 65, 64), (3, 32, 32), (3, 33, 16))}, "order", "expected a smaller level"),
    ],
)
def test_arrays_that_make_no_pyramid(
    tmp_path: Path, options: dict[str, Any], kind: str, message: str
) -> None:
    found = xpyramid.verify(foreign(tmp_path, **options), deep=True)
    pattern = re.compile(message)
    assert any(p.kind == kind and pattern.search(p.message) for p in found), found


def test_missing_chunks_of_others(tmp_path: Path) -> None:
    path = foreign(tmp_path)
    (path / "0/c/0/0/0").unlink()
    report = xpyramid.verify(path)
    assert report == []
    assert report.notes == [
        "0: 1 of 18 chunks are not stored and read as 0; nothing in the store says "
        "whether they ever were"
    ]
    notes = xpyramid.verify(path, deep=True).notes
    assert notes[1].startswith("1: none of mean, nearest")
    assert notes[2].startswith("2: mean and nearest")
    shutil.rmtree(path / "2/c")
    (found,) = xpyramid.verify(path)
    assert (found.kind, found.where) == ("missing", "2")


def test_labels(tmp_path: Path) -> None:
    path = foreign(tmp_path / "image")
    foreign(path / "labels/cells", names=("c", "y", "x"))
    labels = zarr.open_group(path / "labels", mode="a")
    labels.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    assert xpyramid.verify(path, deep=True) == []
    labels.attrs["ome"] = {"version": "0.5", "labels": ["cells", "gone"]}
    foreign(path / "labels/extra")
    changed(path / "labels/extra", lambda _, m: m["datasets"].pop())
    found = {(p.kind, p.where) for p in xpyramid.verify(path)}
    assert found == {
        ("labels", "labels/gone"), ("labels", "labels/extra"), ("stale", "labels/extra/2"),
    }  # fmt: skip


def mutations(document: Any, chance: random.Random) -> Any:
    """Replace something in a JSON document by something else."""
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            spots.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(document)
    node, key = chance.choice(spots)
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    node[key] = chance.choice(
        [
            None,
            -1,
            0,
            10**30,
            1e300,
            "",
            "../..",
            "x" * 5000,
            [],
            {},
            deep,
            [0],
            {"a": 1},
            True,
            "0",
        ]
    )
    return document


def test_nothing_raises_for_hostile_metadata(tmp_path: Path) -> None:
    chance = random.Random(3)
    path = foreign(tmp_path / "a")
    documents = [path / "zarr.json", path / "1/zarr.json"]
    original = {document: document.read_bytes() for document in documents}
    zarr.open_group(path, mode="r+").attrs["ome"] |= {"omero": OMERO}  # type: ignore[operator]
    for i in range(100):
        document = documents[i % 3 // 2]
        edit(document, lambda d: mutations(d, chance))
        report = xpyramid.verify(path, deep=i % 5 == 0)
        assert all(len(p.message) < 3000 for p in report)
        document.write_bytes(original[document])
    assert xpyramid.verify(path) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"a": NaN}', b"[" * 10**5])
def test_documents_that_are_none(plain: Path, raw: bytes) -> None:
    for name in ("", "1/", "1/field/"):
        document = plain / "field" / f"{name}zarr.json"
        before = document.read_bytes()
        document.write_bytes(raw)
        found = xpyramid.verify(plain)
        assert any(p.where.startswith("field") and p.severity == "error" for p in found)
        document.write_bytes(before)


# The parts


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("shape", [(), (7,), (5, 0), (5, 6, 7)])
def test_grid(zarr_format: int, separator: str, shape: tuple[int, ...]) -> None:
    name = "v2" if zarr_format == 2 else "default"
    target = zarr.storage.MemoryStore()
    array = zarr.create_array(
        target, shape=shape, chunks=(2,) * len(shape), dtype="u1", zarr_format=zarr_format,
        chunk_key_encoding={"name": name, "separator": separator}, fill_value=0,
    )  # fmt: skip
    array[...] = 1
    grid = ChunkGrid.from_metadata(array.metadata.to_dict())
    keys = [key for key in target._store_dict if not key.startswith((".z", "zarr"))]
    assert {grid.key(i) for i in range(grid.total)} == set(keys)
    present, unexpected_keys = grid.present([*keys, "what", "c/-1", ".zattrs"])
    assert present.all()
    assert unexpected_keys == ["what", "c/-1"]
    covered = np.zeros(shape, int)
    for i in range(grid.total):
        covered[grid.region(i)] += 1
    assert (covered == 1).all()


def test_a_plate_and_others_as_documents() -> None:
    plate = {
        "columns": [{"name": "1"}], "rows": [{"name": "A"}], "name": "p", "version": "0.5",
        "wells": [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}],
    }  # fmt: skip
    assert ngff.check_document({"ome": {"version": "0.5", "plate": plate}}) == []
    del plate["rows"]
    (found,) = ngff.check_document({"ome": {"version": "0.5", "plate": plate}})
    assert found.kind == "metadata"
    assert ngff.check_document({"labels": ["a"]}) == []
    label = {
        "image-label": {"version": "0.4", "colors": [{"label-value": 1, "rgba": [0, 0, 0, 9]}]}
    }
    assert ngff.check_document(label) == []
    label["image-label"]["colors"] *= 2  # type: ignore[operator]
    assert kinds(ngff.check_document(label)) == {"metadata"}
    assert ngff.check_document([]) != []
    assert ngff.check_document({"zarr_format": 3}) != []


# What is right, however it is spelled


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
@pytest.mark.parametrize("deep", [False, True])
def test_sound_pyramids_of_old_versions(tmp_path: Path, version: str, deep: bool) -> None:
    group = zarr.open_group(tmp_path, mode="w", zarr_format=2)
    encoding: Any = {"name": "v2", "separator": "." if version == "0.1" else "/"}
    for k in range(3):
        shape = (1, 1, 1, 40 >> k, 30 >> k)
        level = group.create_array(
            str(k), shape=shape, chunks=(1, 1, 1, 16, 16), dtype="u1", chunk_key_encoding=encoding
        )
        level[:] = 1
    image: dict[str, Any] = {"version": version, "datasets": [{"path": str(k)} for k in range(3)]}
    image |= {"axes": list("tczyx")} if version == "0.3" else {}
    group.attrs["multiscales"] = [image]
    assert xpyramid.verify(tmp_path, deep=deep) == []
    image["datasets"].reverse()
    group.attrs["multiscales"] = [image]
    assert [(p.kind, p.where) for p in xpyramid.verify(tmp_path)] == [
        ("order", "1"),
        ("order", "0"),
    ]


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.parametrize("shape", [(0, 4, 6), (3, 0, 6), (3, 4, 0)])
def test_dimensions_of_length_0(version: str, shape: tuple[int, ...]) -> None:
    target = zarr.storage.MemoryStore()
    empty = xr.DataArray(np.zeros(shape, "u2"), dims=("t", "y", "x"), name="a")
    empty.pyramid.build(levels=2, chunks=2).to_ome_zarr(target, version=version)
    assert xpyramid.verify(target, deep=True) == []


#: Documents of arrays and groups, and others that mean the same: what writers leave out or spell.
ARRAY = {
    "zarr_format": 3, "node_type": "array", "shape": [4, 4], "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
    "fill_value": 0.0, "attributes": {}, "dimension_names": [None, None],
    "storage_transformers": [],
}  # fmt: skip
SAME: list[dict[str, Any]] = [
    {"fill_value": 0},
    {"chunk_key_encoding": {"name": "default"}},
    {"codecs": [ARRAY["codecs"][0], {"name": "crc32c", "configuration": {}}]},  # type: ignore[index]
]


@st.composite
def spellings(draw: st.DrawFn) -> dict[str, Any]:
    """Return a document that means what the other does."""
    document: dict[str, Any] = dict(ARRAY)
    for change in draw(st.lists(st.sampled_from(SAME))):
        document |= change
    for key in draw(st.sets(st.sampled_from(["attributes", "storage_transformers"]))):
        del document[key]
    return dict(draw(st.permutations(list(document.items()))))


@given(spellings())
def test_copies_that_mean_the_same(copy: dict[str, Any]) -> None:
    assert is_same(copy, ARRAY, "0/zarr.json")
    for key, value in {
        "shape": [4, 5], "attributes": {"a": 1}, "fill_value": 1, "dimension_names": ["y", "x"],
        "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}], "data_type": "int32",
    }.items():  # fmt: skip
        assert not is_same(copy | {key: value}, ARRAY, "0/zarr.json")


def test_copies_of_other_documents() -> None:
    old = {"zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<f4", "compressor": None,
           "fill_value": 0, "order": "C", "filters": None}  # fmt: skip
    assert is_same(old | {"dimension_separator": ".", "fill_value": 0.0}, old, "0/.zarray")
    assert not is_same(old | {"dimension_separator": "/"}, old, "0/.zarray")
    assert not is_same(old | {"fill_value": "NaN"}, old, "0/.zarray")
    group = {"zarr_format": 3, "node_type": "group"}
    assert is_same(group | {"attributes": {}}, group, "0/zarr.json")
    assert not is_same(group | {"attributes": {"a": 1}}, group, "0/zarr.json")
    assert is_same({"a": 1}, {"a": 1.0}, "0/.zattrs")
    for key in ("zarr.json", ".zarray", ".zattrs"):
        assert not is_same({"a": 1}, None, key)
        assert not is_same([], {"zarr_format": 3, "node_type": "array"}, key)


def test_consolidated_metadata_that_spell_out_defaults(tmp_path: Path) -> None:
    path = foreign(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # v3 has no specification of them
        zarr.consolidate_metadata(path)
    assert xpyramid.verify(path) == []
    edit(path / "1/zarr.json", lambda d: [d.pop("attributes"), d.pop("storage_transformers")] and d)
    edit(path / "zarr.json", lambda d: d["consolidated_metadata"]["metadata"]["2"].update(
        fill_value=0.0, storage_transformers=[]))  # fmt: skip
    assert xpyramid.verify(path) == []
    edit(path / "1/zarr.json", lambda d: d.update(fill_value=1))
    assert [(p.kind, p.where) for p in xpyramid.verify(path)] == [("consolidated", "1/zarr.json")]


@pytest.mark.parametrize("value", [0.1, 5, "x", [], [1], True])
def test_consolidated_metadata_that_are_none(tmp_path: Path, value: Any) -> None:
    path = foreign(tmp_path)
    edit(path / "zarr.json", lambda d: d.update(consolidated_metadata=value))
    (found,) = xpyramid.verify(path)
    assert (found.kind, found.where) == ("consolidated", "zarr.json")


# What the specification asks


@pytest.mark.parametrize(
    "transforms",
    [
        [{"type": "scale", "scale": [1, 1, 1]}, {"type": "scale", "scale": [1, 1, 1]}],
        [{"type": "scale", "scale": [1, 2, 2]}, {"type": "scale", "scale": [1, 2, 2]}],
        [{"type": "translation", "translation": [0, 0, 0]}, {"type": "scale", "scale": [1, 1, 1]}],
        [{"type": "identity"}],
        [{"type": "scale", "scale": [1, 1, 1]}, {"type": "translation", "translation": [0, 1, 0]},
         {"type": "translation", "translation": [0, 1, 0]}],
    ],
)  # fmt: skip
@pytest.mark.parametrize("above", [False, True])
def test_transformations_that_are_not_one_scale_and_one_translation(
    tmp_path: Path, transforms: Any, above: bool
) -> None:
    found = changed(
        foreign(tmp_path),
        lambda _, m: (m if above else m["datasets"][0]).update(
            coordinateTransformations=transforms
        ),
    )
    assert any(p.severity == "error" and p.kind in ("transformation", "metadata") for p in found), (
        found
    )


def test_what_an_image_should_say(tmp_path: Path) -> None:
    def strip(_: Any, multiscale: Any) -> None:
        for key in ("name", "type", "metadata"):
            del multiscale[key]

    (found,) = changed(foreign(tmp_path), strip)
    assert (found.kind, found.severity) == ("recommended", "warning")
    assert found.message == "the image has no name, type, metadata; OME-NGFF recommends them"


def test_numbers_that_are_too_small_or_too_large(tmp_path: Path) -> None:
    path = foreign(tmp_path)
    for scale in (1e-320, 1e-308, 1e308, 5e-324):
        for level in (0, 1, 2):
            found = changed(path, lambda _, m, at=level, s=scale: transform(m, at, 0, [1, s, 0.5]))
            assert any(p.severity == "error" for p in found)
            assert xpyramid.verify(path, deep=True)


# Labels and their image


def labelled(
    path: Path, *, units: str | None = "micrometer", shape: tuple[int, ...] = (65, 64),
    scale: tuple[float, ...] = (0.5, 0.5), shift: tuple[float, ...] = (0, 0), axes: str = "yx",
) -> list[ngff.Problem]:  # fmt: skip
    """Write a label image of one level into an image of three channels, and verify both."""
    foreign(path)
    group = zarr.open_group(path / "labels/cells", mode="w")
    group.create_array("0", shape=shape, dtype="u1", chunks=shape, dimension_names=list(axes))[
        :
    ] = 1
    said = {"unit": units} if units else {}
    group.attrs["ome"] = {
        "version": "0.5",
        "image-label": {"colors": [{"label-value": 1, "rgba": [0, 0, 0, 9]}]},
        "multiscales": [{
            "name": "cells", "type": "mode", "metadata": {"method": "mode"},
            "axes": [{"name": name, "type": "space", **said} for name in axes],
            "datasets": [{"path": "0", "coordinateTransformations": [
                {"type": "scale", "scale": list(scale)},
                {"type": "translation", "translation": list(shift)},
            ]}],
        }],
    }  # fmt: skip
    labels = zarr.open_group(path / "labels", mode="a")
    labels.attrs["ome"] = {"version": "0.5", "labels": ["cells"]}
    found = xpyramid.verify(path)
    assert {p.where for p in found} <= {"labels/cells"}
    return [p for p in found if "levels; expected" not in p.message]


@pytest.mark.parametrize(
    "label",
    [
        {},
        {"shape": (33, 32), "scale": (1, 1), "shift": (0.25, 0.25)},  # half the resolution
        {"shape": (32, 32), "scale": (1, 1)},  # and trimmed, without the half-pixel shift
        {"shape": (130, 128), "scale": (0.25, 0.25), "shift": (-0.125, -0.125)},
        {"units": "nanometer", "scale": (500, 500)},
    ],
)
def test_labels_that_cover_their_image(tmp_path: Path, label: dict[str, Any]) -> None:
    assert labelled(tmp_path, **label) == []


@pytest.mark.parametrize(
    ("label", "severity", "message"),
    [
        ({"scale": (1, 1)}, "error", "covers -0.5 to 64.5 micrometer along 'y', and the image"),
        ({"scale": (1, 1), "units": None}, "warning", "unit None along 'y'; expected 'micrometer'"),
        ({"scale": (1, 1), "units": None}, "warning", "covers -0.5 to 64.5 micrometer along 'y'"),
        ({"shift": (0, 7)}, "error", "covers 6.75 to 38.75 micrometer along 'x', and the image"),
        ({"shape": (65, 32)}, "error", "covers -0.25 to 15.75 micrometer along 'x'"),
        ({"shift": (0, 0.25)}, "warning", "scale 0.5 and translation 0.25 along 'x'; expected 0.5"),
        ({"scale": (0.5, 0.505)}, "warning", "scale 0.505 and translation 0 along 'x'"),
        ({"units": "nanometer"}, "error", "covers -0.00025 to 0.03225 micrometer along 'y'"),
        ({"units": "parsec of its own"}, "warning", "'parsec of its own' along 'y', and the image"),
        ({"axes": "zx", "shape": (1, 64)}, "warning", "axes ['z'] that the image does not have"),
        ({"axes": "zx", "shape": (1, 64)}, "warning", "no axes ['y'], which the image has"),
    ],
)
def test_labels_that_contradict_their_image(
    tmp_path: Path, label: dict[str, Any], severity: str, message: str
) -> None:
    found = labelled(tmp_path, **label)
    assert [p for p in found if p.severity == severity and message in p.message], found
    assert (severity == "error") == any(p.severity == "error" for p in found)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_that_are_no_object(tmp_path: Path, zarr_format: Any) -> None:
    path = foreign(tmp_path)
    if zarr_format == 3:
        edit(path / "1/zarr.json", lambda d: d.update(attributes=[1]))
    else:
        zarr.create_array(path / "9", shape=(4,), dtype="u1", zarr_format=2)
        (path / "9/.zattrs").write_text("[1]")
    wrong = "1/zarr.json" if zarr_format == 3 else "9/.zattrs"
    assert wrong in {p.where for p in xpyramid.verify(path) if p.severity == "error"}


def test_a_shape_with_a_0(tmp_path: Path) -> None:
    """There are no objects of such an array, and so all are unexpected_keys."""
    path = foreign(tmp_path)
    edit(path / "0/zarr.json", lambda d: d.update(shape=[0, 65, 64]))
    found = xpyramid.verify(path, deep=True)
    assert {"stray", "order"} <= kinds(found)
    assert "expected none, for it is empty" in next(p.message for p in found if p.kind == "stray")


@pytest.mark.parametrize("version", ["0.2", "0.3"])
def test_label_images_of_old_versions(tmp_path: Path, version: str) -> None:
    group = zarr.open_group(tmp_path, mode="w", zarr_format=2)
    encoding: Any = {"name": "v2", "separator": "/"}
    group.create_array(
        "0", shape=(1, 1, 1, 8, 8), dtype="u1", chunk_key_encoding=encoding, fill_value=0
    )[:] = 1
    image = {"version": version, "datasets": [{"path": "0"}], "axes": list("tczyx")}
    group.attrs["multiscales"] = [image]
    group.attrs["image-label"] = {"version": version, "colors": [{"label-value": 1}]}
    assert xpyramid.verify(tmp_path) == []
