"""Arrays that zarr cannot open: `open_pyramid`, `info` and `verify` name the file and the fault."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import zarr
from helpers.quick import quick_if

import xpyramid
from xpyramid import errors
from xpyramid.cli import main as cli
from xpyramid.store.faults import fault_of

Json = dict[str, Any]


def put(key: str, value: Any) -> Callable[[Json], Any]:
    return lambda document: document.update({key: value})


def drop(key: str) -> Callable[[Json], Any]:
    return lambda document: document.pop(key) and None


#: What is done to the document of an array of Zarr v3, and what is said.
V3: dict[str, tuple[Callable[[Json], Any], str]] = {
    "no data_type": (drop("data_type"), "no data_type; expected shape, data_type, chunk_grid"),
    "no codecs": (drop("codecs"), "no codecs; expected shape"),
    "shape of text": (put("shape", "40"), "shape '40'; expected a list of integers"),
    "negative shape": (put("shape", [-4, 3]), r"shape \[-4, 3\]; expected a list of integers"),
    "unknown data_type": (put("data_type", "float99"), "data_type 'float99' is not known to zarr"),
    "unknown codec": (put("codecs", [{"name": "nonsense"}]), "codec 'nonsense' is not known"),
    "codec of a number": (put("codecs", [5]), "codec 5; expected an object with a name"),
    "no list of codecs": (put("codecs", {}), "codecs {}; expected a list of one or more"),
    "chunks of too many numbers": (
        put("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [4, 4, 4]}}),
        r"chunk_shape \[4, 4, 4\] of the shape .* expected as many integers of at least 1",
    ),
    "no chunks": (put("chunk_grid", {"name": "regular"}), "chunk_grid .* expected a name and"),
    "fill value of text": (put("fill_value", "much"), "zarr cannot read it: "),
    "a list": (lambda _: [1], r"\[1\]; expected a JSON object"),
    "node_type": (put("node_type", "tree"), "node_type 'tree'; expected 'array' or 'group'"),
}
V2: dict[str, tuple[Callable[[Json], Any], str]] = {
    "no dtype": (drop("dtype"), "no dtype; expected shape, chunks, dtype, compressor"),
    "shape of text": (put("shape", "40"), "shape '40'; expected a list of integers"),
    "unknown dtype": (put("dtype", "float99"), "dtype 'float99' is not known to zarr"),
    "unknown codec": (put("compressor", {"id": "nonsense"}), "codec {'id': 'nonsense'} is not"),
    "chunks of zero": (put("chunks", [0, 1]), r"chunks \[0, 1\] of the shape"),
    "a number": (lambda _: 7, "7; expected a JSON object"),
}
CASES = [
    *((path, "0.5", name) for path in ("0/field", "1/field", "0/x") for name in V3),
    *((path, "0.4", name) for path in ("0/field", "0/x") for name in V2),
]


def spoil(store: Path, version: str, path: str, change: Callable[[Json], Any]) -> Path:
    """Write an image, and spoil the document of one of its arrays."""
    base = xpyramid.example_field((40, 30)).rename("field")
    base.pyramid.to_ome_zarr(store.parent, levels=2, version=version)
    file = store / path / ("zarr.json" if version == "0.5" else ".zarray")
    document = json.loads(file.read_text())
    file.write_text(json.dumps(change(document) or document))
    return file


@pytest.mark.parametrize(
    ("path", "version", "name"), quick_if(lambda path, *_: path != "1/field", CASES)
)
def test_broken_arrays(
    path: str, version: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = (V3 if version == "0.5" else V2)[name]
    store = tmp_path / "out.zarr/field"
    file = spoil(store, version, path, change)
    with pytest.raises(errors.NotAPyramidError, match=message) as refused:
        xpyramid.open_pyramid(store)
    assert str(refused.value).startswith(f"{file}: ")
    assert cli.main(["info", str(tmp_path / "out.zarr")]) == 2
    assert str(file) in capsys.readouterr().err
    found = [p for p in xpyramid.verify(store) if p.where == str(file.relative_to(store))]
    assert any(p.severity == "error" for p in found), found


@pytest.mark.parametrize("text", ["{}", "{", "[]", '{"zarr_format": 3, "node_type": "array"}'])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_flat_arrays_of_others(tmp_path: Path, zarr_format: Any, text: str) -> None:
    """What zarr takes for nothing is there, and is named."""
    group = zarr.open_group(tmp_path, mode="w", zarr_format=zarr_format)
    transform = [{"type": "scale", "scale": [1, 1]}]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transform}]}
    group.attrs["multiscales"] = [{"version": "0.4", **image}]
    group.create_array("0", shape=(4, 4), dtype="u1")
    file = tmp_path / "0" / ("zarr.json" if zarr_format == 3 else ".zarray")
    file.write_text(text)
    with pytest.raises(errors.NotAPyramidError) as refused:
        xpyramid.open_pyramid(tmp_path)
    assert str(refused.value).startswith(f"{file}: ")
    where = [p.where for p in xpyramid.verify(tmp_path) if p.severity == "error"]
    assert f"0/{file.name}" in where


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda copies: copies["0/field"].pop("data_type"), "'0/field': no data_type; expected"),
        (put("0/field", 5), "'0/field': 5; expected a JSON object"),
        (lambda copies: copies["1/field"].update(shape="x"), "'1/field': shape 'x'; expected"),
        (lambda copies: copies["0/x"].update(codecs=[{"name": "nonsense"}]), "'nonsense' is not"),
        (None, "consolidated metadata 0.1; expected a mapping of documents"),
    ],
)
def test_copies_that_are_broken(tmp_path: Path, change: Any, message: str) -> None:
    """Zarr goes by the copies in the image's group."""
    file = spoil(tmp_path / "out.zarr/field", "0.5", "", lambda _: None)
    document = json.loads(file.read_text())
    if change is None:
        document["consolidated_metadata"] = 0.1
    else:
        change(document["consolidated_metadata"]["metadata"])
    file.write_text(json.dumps(document))
    with pytest.raises(errors.NotAPyramidError, match=message) as refused:
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")
    assert str(refused.value).startswith(f"{file}: ")
    assert "consolidated" in {p.kind for p in xpyramid.verify(tmp_path / "out.zarr/field")}


@pytest.mark.parametrize("scene", [False, True])
def test_info_lists_all_that_it_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scene: bool
) -> None:
    array = xpyramid.example_field((40, 30))
    images = {name: array.rename(name) for name in ("a", "b", "c")}
    xr.Dataset(images).pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr")
    if scene:
        ends = {"input": {"name": "c", "path": "c"}, "output": {"name": "world"}}
        transforms = [{"type": "identity", **ends}]
        said: Json = {"version": "0.6", "scene": {"coordinateTransformations": transforms}}
        zarr.open_group(tmp_path / "out.zarr").attrs["ome"] = said
    for name, text in (("a/0/a", '{"zarr_format": 3, "node_type": "array"}'), ("b", "{")):
        (tmp_path / "out.zarr" / name / "zarr.json").write_text(text)
    assert cli.main(["info", str(tmp_path / "out.zarr")]) == 2
    out, err = capsys.readouterr()
    assert f"{tmp_path}/out.zarr/c\n<xpyramid.Pyramid 'c'" in out
    first, second = err.splitlines()
    assert first.startswith(f"xpyramid: {tmp_path}/out.zarr/a/0/a/zarr.json: no shape, data_type")
    assert second.startswith(f"xpyramid: {tmp_path}/out.zarr/b/zarr.json: not JSON")


def test_what_is_sound() -> None:
    group = {"zarr_format": 3, "node_type": "group"}
    assert fault_of(group, "zarr.json") is None
    assert fault_of({"zarr_format": 2}, ".zgroup") is None
    assert fault_of(group | {"attributes": []}, "zarr.json") is not None
    old = {"zarr_format": 2, "shape": [3], "chunks": [2], "fill_value": None, "order": "C",
           "compressor": None, "filters": [{"id": "vlen-utf8"}], "dtype": "|O"}  # fmt: skip
    assert fault_of(old, ".zarray") is None
    assert fault_of(old | {"filters": None, "dtype": [["a", "<i4"]]}, ".zarray") is None
