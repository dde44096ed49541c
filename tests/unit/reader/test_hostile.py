"""Metadata that strangers made to confuse, to exhaust, or to reach what is not theirs."""

import gc
import json
import math
import os
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray.indexes import RangeIndex

import xpyramid
from xpyramid import errors, ngff
from xpyramid.cli import main as cli
from xpyramid.reader import find

Json = dict[str, Any]
Change = Callable[[Json, Json], None]


def image(where: Path, shapes: Any = ((8, 8), (4, 4)), chunks: Any = (8, 8)) -> Path:
    """Store an image in Zarr v2, whose metadata are files that a test can spoil."""
    group = zarr.open_group(where, mode="w", zarr_format=2)
    for k, shape in enumerate(shapes):
        group.create_array(str(k), shape=shape, chunks=chunks, dtype="u2", compressors=None)
    group.attrs.update(document(len(shapes)))
    return where


def document(levels: int = 2) -> Json:
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [2**k, 2**k]}]}
        for k in range(levels)
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    return {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}


def spoil(where: Path, change: Change) -> None:
    attrs = document()
    multiscale = attrs["multiscales"][0]
    change(multiscale, multiscale["datasets"][1])
    (where / ".zattrs").write_text(json.dumps(attrs))


def transform(*transforms: Any) -> Change:
    return lambda _, level: level.update(coordinateTransformations=list(transforms))


def scale(values: Any) -> Change:
    return transform({"type": "scale", "scale": values})


def path(value: Any) -> Change:
    return lambda _, level: level.update(path=value)


def top(**fields: Any) -> Change:
    return lambda multiscale, _: multiscale.update(fields)


def deep(levels: int, leaf: Any = 1) -> Any:
    for _ in range(levels):
        leaf = [leaf]
    return leaf


def deep_sequence(levels: int) -> Json:
    leaf: Json = {"type": "scale", "scale": [2]}
    for _ in range(levels):
        leaf = {"type": "sequence", "transformations": [leaf]}
    return leaf


LIES: dict[str, tuple[Change, str]] = {
    **{
        f"path {value!r:.30}": (path(value), "not a path inside")
        for value in (
            "../../secret", "0/../../x", "/etc", "//host/x", "", ".", "a//b", "a\0b", "a\\b",
            "a\nb", "https://example.org/0", "file:///etc", "C:/x", "x" * 5000, "é" * 200, "1/",
        )
    },
    "path 5": (path(5), "not a dataset with a path"),
    "path twice": (path("0"), "occur twice"),
    "nothing there": (path("7"), "there is no array"),
    "a group": (path(".zattrs"), "there is no array"),
    **{
        f"scale {k}": (scale(value), "not valid")
        for k, value in enumerate((
            [-2, -2], [math.nan, 1], [math.inf, 1], ["2", "2"], [True, True], [2],
            [2, 2, 2], [], "22", None, 7, {"y": 2}, [[2], [2]], [10**400, 2], [2, None], deep(900),
        ))
    },
    "scale 0 of several samples": (scale([0, 2]), "scale 0 along 'y', where it has 4 samples"),
    "two scales": (
        transform({"type": "scale", "scale": [2, 2]}, {"type": "scale", "scale": [2, 2]}),
        "2 scales, .2, 2. and .2, 2.; accepted: one",
    ),
    "two translations": (
        transform({"type": "scale", "scale": [2, 2]},
                  {"type": "translation", "translation": [1, 0]},
                  {"type": "translation", "translation": [0, 1]}),
        "2 translations, .* accepted: one",
    ),
    "scales that overflow together": (
        transform({"type": "scale", "scale": [1e300, 1]}, {"type": "scale", "scale": [1e300, 1]}),
        "not valid",
    ),
    "no transformations": (transform(), "not valid"),
    "translation alone": (transform({"type": "translation", "translation": [1, 1]}), "no scale"),
    "translation of text": (
        transform({"type": "scale", "scale": [1, 1]}, {"type": "translation", "translation": "1"}),
        "accepted: a list of 2",
    ),
    "unknown transformation": (transform({"type": "warp", "scale": [2, 2]}), "accepted: scale"),
    "no type": (transform({"scale": [2, 2]}), "accepted: scale"),
    "transformation in an array": (transform({"type": "scale", "path": "x"}), "not supported"),
    "deep sequence": (transform(deep_sequence(150)), "accepted: a list of 2"),
    "datasets that are none": (top(datasets=[1, None]), "not a dataset with a path"),
    "no datasets": (top(datasets=[]), "0 datasets"),
    "datasets without end": (
        top(datasets=[{"path": str(k)} for k in range(100_000)]), "100000 datasets; accepted: 1 to",
    ),
    "unknown version": (top(version="9.9"), "accepted: 0.1, 0.2"),
    "a long version": (top(version="0.4" * 5000), "OME-NGFF version"),
    "a version that is none": (top(version=[4]), "OME-NGFF version"),
    "no axes": (top(axes=None), "there are no axes"),
    "one axis": (top(axes=[{"name": "y"}]), "accepted: a list of 1"),
    "axes twice": (top(axes=[{"name": "y"}, {"name": "y"}]), "of the same name"),
    "axes that are none": (top(axes=[1, {"type": "space"}]), "is not an axis"),
    "axes of bad names": (top(axes=[{"name": "y/../x"}, {"name": "x"}]), "not the name of an axis"),
    "axes of three": (top(axes=["z", "y", "x"]), "accepted: a list of 3, one for each"),
    "fine after coarse": (
        lambda m, _: m.update(datasets=m["datasets"][::-1]), "from fine to coarse",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused(tmp_path: Path, name: str) -> None:
    change, message = LIES[name]
    store = image(tmp_path / "a.zarr")
    spoil(store, change)
    began = time.perf_counter()
    with pytest.raises(errors.NotAPyramidError, match=message) as refused:
        xpyramid.open_pyramid(store)
    assert time.perf_counter() - began < 5
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        "null",
        '"x"',
        '{"multiscales": ' + "[" * 100_000,
        "\xff",
        "{}" * 2,
        "{5: 1}",
    ],
    ids=str.__len__,
)
@pytest.mark.parametrize("file", [".zattrs", ".zgroup", "1/.zarray"])
def test_files_that_are_no_metadata(tmp_path: Path, file: str, text: str) -> None:
    store = image(tmp_path / "a.zarr")
    (store / file).write_bytes(text.encode("latin1"))
    with pytest.raises(errors.NotAPyramidError):
        xpyramid.open_pyramid(store)


@pytest.mark.parametrize(
    "omero",
    [5, "x", [], {"channels": 5}, {"channels": [5]}, {"channels": [{"label": {}}]}, {}, deep(300)],
    ids=lambda omero: str(omero)[:20],
)
def test_garbage_in_omero_does_no_harm(tmp_path: Path, omero: Any) -> None:
    store = image(tmp_path / "a.zarr")
    (store / ".zattrs").write_text(json.dumps({**document(), "omero": omero}))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(xpyramid.open_pyramid(store)) == 2
    assert all("omero" in str(warning.message) for warning in said)


def test_labels_that_lead_away_are_not_listed(tmp_path: Path) -> None:
    store = image(tmp_path / "a.zarr")
    labels = zarr.open_group(store / "labels", mode="w", zarr_format=2)
    labels.attrs["labels"] = ["../../x", "/etc", 5, None, "cells", "x" * 5000]
    assert xpyramid.open_pyramid(store).labels == ("cells",)


@pytest.mark.parametrize("claim", [{"library": "xpyramid"}, {"library": "xpyramid", "dims": ["a"]}])
@pytest.mark.parametrize(
    "factors", [None, 5, [[1, 1]], [[1, 1], [0, 2]], [[1, 1], ["2", 2]], [[2, 2], [3, 3]]]
)
def test_claims_to_be_ours(tmp_path: Path, claim: Json, factors: Any) -> None:
    store = image(tmp_path / "a.zarr")
    spoil(store, top(metadata={**claim, "factors": factors, "method": 5, "boundary": []}))
    p = xpyramid.open_pyramid(store)
    assert p.factors[1] == {"y": 2, "x": 2}
    assert p.method == "unknown"


HUGE = [((10**12, 8), (1, 8)), ((2**40, 2**20), (64, 64)), ((2**30, 4), (2**20, 4))]


@pytest.mark.parametrize(("shape", "chunks"), HUGE, ids=str)
def test_huge_shapes_take_no_memory(tmp_path: Path, shape: Any, chunks: Any) -> None:
    store = image(tmp_path / "a.zarr", [shape, (shape[0] // 2, shape[1] // 2)], chunks)
    p = xpyramid.open_pyramid(store)
    assert p[0].chunks is None
    assert xpyramid.open_pyramid(store, chunks={})[0].data.npartitions <= 2**18
    made = [dim for dim, n in p[0].sizes.items() if not isinstance(p[0].xindexes[dim], RangeIndex)]
    assert sum(p[0].sizes[dim] for dim in made) < 2**21
    assert p[0][5:7, 3].values.tolist() == [0, 0]
    assert p.factors[1] == {"y": 2, "x": 2}


def test_shapes_that_nothing_can_hold(tmp_path: Path) -> None:
    store = image(tmp_path / "a.zarr")
    metadata = json.loads((store / "1/.zarray").read_text())
    (store / "1/.zarray").write_text(json.dumps({**metadata, "shape": [10**30, 8]}))
    with pytest.raises(errors.NotAPyramidError, match=r"which is too large to read|cannot be read"):
        xpyramid.open_pyramid(store)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    store = image(tmp_path / "a.zarr")
    metadata = json.loads((store / "1/.zarray").read_text())
    (store / "1/.zarray").write_text(json.dumps({**metadata, "filters": [{"id": "pickle"}]}))
    with pytest.raises(errors.NotAPyramidError, match="pickle"):
        xpyramid.open_pyramid(store)


@pytest.mark.parametrize("what", [".zattrs", "1", "1/.zarray", "1/0.0"])
def test_links_out_of_the_store_are_not_followed(tmp_path: Path, what: str) -> None:
    outside, store = image(tmp_path / "outside.zarr"), image(tmp_path / "a.zarr")
    for where, value in ((outside, 7), (store, 1)):
        for k in "01":
            zarr.open_array(where / k, mode="r+")[...] = value
    (outside / "kept").mkdir()
    (store / what).rename(outside / "kept/a")
    (store / what).symlink_to(Path(os.path.relpath(outside / what, (store / what).parent)))
    with pytest.raises(errors.NotAPyramidError, match=r"leads out of .* symbolic link"):
        xpyramid.open_pyramid(store)[1].compute()
    assert (
        xpyramid.open_pyramid(tmp_path, "a.zarr")[1] == (7 if what in ("1", "1/0.0") else 1)
    ).all()


def test_links_inside_a_store_are_followed(tmp_path: Path) -> None:
    store = image(tmp_path / "a.zarr")
    zarr.open_array(store / "1", mode="r+")[...] = 3
    (store / "1").rename(store / "other")
    (store / "1").symlink_to("other")
    (tmp_path / "link.zarr").symlink_to(store)
    assert (xpyramid.open_pyramid(tmp_path / "link.zarr")[1] == 3).all()


def test_links_in_circles_and_pipes(tmp_path: Path) -> None:
    store = image(tmp_path / "a.zarr")
    (store / "1/.zarray").unlink()
    (store / "1/.zarray").symlink_to(".zarray")
    with pytest.raises(errors.NotAPyramidError, match="there is no array"):
        xpyramid.open_pyramid(store)
    (store / "1/.zarray").unlink()
    os.mkfifo(store / "1/.zarray")
    with pytest.raises(errors.NotAPyramidError, match="is not a file"):
        xpyramid.open_pyramid(store)


def test_links_that_make_a_store_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(find, "MAX_GROUPS", 100)
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    for name in "ab":
        (tmp_path / "a.zarr" / name).symlink_to(".")
    assert cli.main(["info", str(tmp_path / "a.zarr")]) == 2
    assert "more than 100 groups" in capsys.readouterr().err


@pytest.mark.parametrize("change", [path("../../x"), scale([math.nan, 1]), top(version="9.9")])
def test_info_says_in_one_line_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Change
) -> None:
    store = image(tmp_path / "a.zarr")
    assert cli.main(["info", str(store)]) == 0
    assert cli.main(["info", str(archive(tmp_path))]) == 0
    spoil(store, change)
    capsys.readouterr()
    assert cli.main(["info", str(store)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_metadata_without_end(tmp_path: Path) -> None:
    store = image(tmp_path / "a.zarr")
    with (store / ".zattrs").open("w") as file:
        file.truncate(2**33)  # a hole
    with pytest.raises(errors.NotAPyramidError, match="8589934592 bytes; accepted"):
        xpyramid.open_pyramid(store)


def archive(where: Path, method: int = zipfile.ZIP_DEFLATED, **more: bytes) -> Path:
    store = image(where / "a.zarr")
    with zipfile.ZipFile(where / "a.zip", "w", method) as packed:
        for file in sorted(store.rglob("*")):
            if file.is_file() and file.name not in more:
                packed.write(file, file.relative_to(store))
        for name, content in more.items():
            packed.writestr(name, content)
    return where / "a.zip"


def test_names_in_archives_that_lead_away(tmp_path: Path) -> None:
    names = {"../escaped": b"x", "/tmp/escaped": b"x", "../../a.zarr/0/0.0": b"x"}
    packed = archive(tmp_path, **names)
    before = sorted(tmp_path.rglob("*"))
    p = xpyramid.open_pyramid(packed)
    assert p[0].compute().shape == (8, 8)
    assert sorted(tmp_path.rglob("*")) == before


def test_archives_that_unpack_without_end(tmp_path: Path) -> None:
    packed = archive(tmp_path, **{".zattrs": b" " * (2**27 + 1)})
    assert packed.stat().st_size < 1e6
    with pytest.raises(errors.NotAPyramidError, match="134217729 bytes; accepted"):
        xpyramid.open_pyramid(packed)


def test_archives_that_unpack_to_more_than_they_say(tmp_path: Path) -> None:
    """A member says that it has 128 bytes, and would give 100 MB."""
    packed = archive(tmp_path, **{"0/0.0": bytes(10**8)})
    content = bytearray(packed.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            if int.from_bytes(content[at + offset : at + offset + 4], "little") == 10**8:
                content[at + offset : at + offset + 4] = (128).to_bytes(4, "little")
    packed.write_bytes(content)
    p = xpyramid.open_pyramid(packed)
    tracemalloc.start()
    try:
        with pytest.raises(errors.ReadError, match=r"0/0\.0: BadZipFile: Bad CRC-32"):
            p[0].compute()
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_archives_are_closed_with_what_reads_them(tmp_path: Path) -> None:
    """Of garbage in a cycle, the file may be found first, with a warning that it is open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.freeze()  # what earlier tests left need not be looked through 20 times
        try:
            for _ in range(20):
                cycle: list[Any] = [xpyramid.open_pyramid(archive(tmp_path))]
                cycle[0][0].compute()
                cycle.append(cycle)
                del cycle
                gc.collect()
        finally:
            gc.unfreeze()
    assert not [w for w in caught if issubclass(w.category, ResourceWarning)]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_archives(tmp_path: Path, method: int) -> None:
    with pytest.raises(errors.NotAPyramidError, match="accepted: stored, deflated"):
        xpyramid.open_pyramid(archive(tmp_path, method))


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(errors.NotAPyramidError, match="not a zip archive"):
        xpyramid.open_pyramid(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w"):
        pass
    with pytest.raises(errors.NotAPyramidError, match="there is nothing"):
        xpyramid.open_pyramid(tmp_path / "b.zip")


WORDS = st.sampled_from(
    ["multiscales", "ome", "omero", "datasets", "path", "axes", "version", "name", "type", "scale",
     "translation", "sequence", "identity", "coordinateTransformations", "coordinateSystems", "y",
     "x", "0", "1", "0.4", "0.6", "output", "label", "channels", "transformations", "space", "dims"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | WORDS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every value in a document."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [at, *(place for key, child in inner for place in places(child, (*at, key)))]


@settings(max_examples=200)
@given(st.data())
def test_any_document_is_read_or_refused(data: st.DataObject) -> None:
    """One to three values of a good document become something else, of any kind."""
    attrs: Any = document()
    if data.draw(st.booleans()):
        attrs = {"ome": {"version": data.draw(st.sampled_from(["0.5", "0.6", None])), **attrs}}
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(attrs)[1:] or [("multiscales",)]))
        target = attrs
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = data.draw(VALUES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = ngff.parse(attrs)
            ngff.recover(found, [(8,) * len(found.axes)] * len(found.datasets))
        except errors.NotAPyramidError:
            return
    for dataset in found.datasets:
        for vector in (dataset.scale, dataset.translation):
            assert len(vector) in (0, len(found.axes))
            assert np.isfinite(vector).all()
        assert all(s > 0 for s in dataset.scale)
