"""Plates and wells: what `info` and `verify` find in them, and what their documents must say."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

import xpyramid
from xpyramid import errors, reader
from xpyramid.cli import main as cli
from xpyramid.ngff import check_document

Json = dict[str, Any]


def content(version: str, key: str, value: Json) -> Json:
    """Return the attributes of a plate or a well of a version."""
    if version == "0.4":
        return {key: {**value, "version": version}}
    return {"ome": {"version": version, key: value}}


def plate(*wells: tuple[int, int], **more: Any) -> Json:
    rows, columns = "AB", "12"
    listed = [
        {"path": f"{rows[i]}/{columns[j]}", "rowIndex": i, "columnIndex": j} for i, j in wells
    ]
    names: Json = {"rows": [{"name": row} for row in rows]}
    names["columns"] = [{"name": column} for column in columns]
    return {"name": "plate", **names, "wells": listed, **more}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Plates of two wells with two images each, whose row group has no document."""
    found = {}
    for version in ("0.4", "0.5"):
        path = found[version] = tmp_path_factory.mktemp("plates") / version
        zarr_format: Any = 2 if version == "0.4" else 3
        root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
        root.attrs.update(content(version, "plate", plate((0, 0), (0, 1))))
        for well in ("A/1", "A/2"):
            for field in "01":
                small = xpyramid.example_field((20, 30))
                small.pyramid.to_ome_zarr(path, f"{well}/{field}", levels=2, version=version)
            group = zarr.open_group(path, path=well, mode="a", zarr_format=zarr_format)
            fields = {"images": [{"path": "0"}, {"path": "1"}]}
            group.attrs.update(content(version, "well", fields))
        for name in ("zarr.json", ".zgroup", ".zattrs"):
            (path / "A" / name).unlink(missing_ok=True)
        assert sorted(file.name for file in (path / "A").iterdir()) == ["1", "2"]
    return found


@pytest.fixture(params=["0.4", "0.5"])
def store(request: pytest.FixtureRequest, written: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(written[request.param], tmp_path / "plate.zarr"))


FIELDS = ["A/1/0", "A/1/1", "A/2/0", "A/2/1"]


def test_images_below_rows_without_documents(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reader.find_images(str(store)) == FIELDS
    assert reader.find_images(str(store), "A/2") == ["0", "1"]
    assert cli.main(["info", str(store)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("/")] == [f"{store}/{f}" for f in FIELDS]
    report = xpyramid.verify(store, deep=True)
    assert report.images == 4
    (problem,) = report
    assert (problem.where, problem.severity) == ("A", "warning")
    assert "no document of this row of the plate" in problem.message
    assert len(xpyramid.open_pyramid(store, "A/2/1")) == 2


def test_wells_that_are_not_there(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = next(path for path in (store / "zarr.json", store / ".zattrs") if path.exists())
    shutil.rmtree(store / "A/1")
    shutil.rmtree(store / "A/2/1")
    report = xpyramid.verify(store)
    assert [(p.where, p.message.split(",")[0]) for p in report if p.severity == "error"] == [
        ("A/1", "listed as a well of the plate"),
        ("A/2/1", "listed as a field of view of the well"),
    ]
    assert cli.main(["info", str(store)]) == 2  # after all that can be read
    out, err = capsys.readouterr()
    assert f"{store}/A/2/0" in out
    assert [line.split(": ")[1:3] for line in err.splitlines()] == [
        [f"{store}/A/1", f"there is nothing; {store} holds neither groups nor arrays"],
        [f"{store}/A/2/1", f"there is nothing; {store}/A/2 holds ['0']"],
    ]
    with pytest.raises(errors.NotAPyramidError, match="pass group='A/2/0'"):
        xpyramid.open_pyramid(store)  # the first well has nothing to open
    document.write_text(document.read_text().replace('"A/1"', '"../../etc"'))
    assert reader.find_images(str(store)) == ["A/2/0", "A/2/1"]
    assert not any(".." in p.where for p in xpyramid.verify(store))


def test_a_well_without_its_document(store: Path) -> None:
    for name in ("zarr.json", ".zgroup", ".zattrs"):
        (store / "A/1" / name).unlink(missing_ok=True)
    assert reader.find_images(str(store)) == FIELDS
    wrong = {p.where: p for p in xpyramid.verify(store)}
    assert set(wrong) == {"A", "A/1"}
    assert wrong["A/1"].message.startswith("no document of this well of the plate")


def test_a_plate_that_zarr_can_walk_alone(written: dict[str, Path], tmp_path: Path) -> None:
    """Images that the plate does not list are found as well."""
    store = Path(shutil.copytree(written["0.5"], tmp_path / "plate.zarr"))
    zarr.open_group(store, path="A", mode="a")
    edit = json.loads((store / "zarr.json").read_text())
    edit["attributes"]["ome"]["plate"]["wells"].pop()
    (store / "zarr.json").write_text(json.dumps(edit))
    assert reader.find_images(str(store)) == FIELDS
    assert xpyramid.verify(store) == []


def test_consolidated_plates(store: Path) -> None:
    """The copies are walked, which know the rows also where their documents have gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.open_group(store, path="A", mode="a", zarr_format=2 + (store / "zarr.json").exists())
        zarr.consolidate_metadata(store)
    for name in ("zarr.json", ".zgroup"):
        (store / "A" / name).unlink(missing_ok=True)
    assert reader.find_images(str(store)) == FIELDS


def change(key: str, value: Any) -> Callable[[Json], Any]:
    return lambda plate: plate.update({key: value})


ACQUISITION = {"id": 0, "name": "first", "maximumfieldcount": 2}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (change("rows", []), "plate.rows []; expected a list of one or more objects"),
        (change("wells", None), "plate.wells None; expected a list"),
        (change("columns", [{"name": "1"}, {}]), "plate.columns[1].name is missing; expected let"),
        (change("rows", [{"name": "A"}, {"name": "A"}]), "name ['A'] in plate.rows more than once"),
        (change("field_count", 0), "plate.field_count 0; expected an integer of at least 1"),
        (change("field_count", True), "plate.field_count True; expected an integer"),
        (change("name", 5), "plate.name 5; expected text"),
        (change("acquisitions", {}), "plate.acquisitions {}; expected a list of objects"),
        (change("acquisitions", [ACQUISITION | {"starttime": -1}]),
         "plate.acquisitions[0].starttime -1; expected an integer of at least 0"),
        (change("acquisitions", [ACQUISITION | {"endtime": 1.5}]),
         "plate.acquisitions[0].endtime 1.5; expected an integer"),
        (change("acquisitions", [ACQUISITION | {"maximumfieldcount": 0}]),
         "plate.acquisitions[0].maximumfieldcount 0; expected an integer of at least 1"),
        (change("acquisitions", [ACQUISITION, ACQUISITION]), "id [0] in plate.acquisitions more"),
        (change("acquisitions", [ACQUISITION | {"id": "0"}]), "plate.acquisitions[0].id '0'"),
        (lambda p: p["wells"][0].update(path="A/1/0"), "plate.wells[0].path 'A/1/0'; expected the"),
        (lambda p: p["wells"][0].update(path="B/1"), "path 'B/1'; expected 'A/1', as its indices"),
        (lambda p: p["wells"][0].update(rowIndex=7), "rowIndex 7; expected less than 2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_plates_that_are_wrong(version: str, changed: Any, message: str) -> None:
    one = plate((0, 0), (1, 1), acquisitions=[ACQUISITION])
    assert check_document(content(version, "plate", one)) == []
    changed(one)
    said = [p.message for p in check_document(content(version, "plate", one))]
    assert any(message in text for text in said), said


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"path": "0", "acquisition": "1"}, "well.images[1].acquisition '1'; expected an integer"),
        ({"path": "0", "acquisition": 0.5}, "well.images[1].acquisition 0.5; expected an integer"),
        ({"path": "a/b"}, "well.images[1].path 'a/b'; expected letters"),
        ({"path": "1"}, "path ['1'] in well.images more than once"),
        ({}, "well.images[1].path is missing"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_wells_that_are_wrong(version: str, image: Json, message: str) -> None:
    one: Json = {"images": [{"path": "1", "acquisition": 2}]}
    assert check_document(content(version, "well", one)) == []
    one["images"].append(image)
    said = [p.message for p in check_document(content(version, "well", one))]
    assert any(message in text for text in said), said
    said = [p.message for p in check_document(content(version, "well", {"images": []}))]
    assert "well.images []; expected a list of one or more objects" in said


def test_names_of_fields_of_view_in_0_6() -> None:
    for path, wrong in {"a_b-c.d": ["0.4", "0.5"], "..": ["0.4", "0.5", "0.6"]}.items():
        for version in ("0.4", "0.5", "0.6"):
            found = check_document(content(version, "well", {"images": [{"path": path}]}))
            assert bool(found) == (version in wrong)


def test_what_is_recommended() -> None:
    one = plate((0, 0), acquisitions=[{"id": 1}])
    del one["name"]
    old = check_document({"plate": one})
    assert [p.message for p in old] == [
        "plate.acquisitions[0] has no name, maximumfieldcount; OME-NGFF recommends them",
        "the plate has no name, version; OME-NGFF recommends them",
    ]
    new = check_document(content("0.5", "plate", one))
    assert new[1].message == "the plate has no name; OME-NGFF recommends it"
    (well,) = check_document({"well": {"images": [{"path": "0"}]}})
    assert well.message == "the well has no version; OME-NGFF recommends it"
    alike = plate((0, 0)) | {"columns": [{"name": "1"}, {"name": "a"}, {"name": "A"}]}
    (case,) = check_document(content("0.5", "plate", alike))
    assert "differ by their case alone" in case.message
    assert {p.severity for p in [*old, *new, well, case]} == {"warning"}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_list_of_a_bioformats2raw_container(tmp_path: Path, version: str) -> None:
    zarr_format: Any = 2 if version == "0.4" else 3
    root = zarr.open_group(tmp_path, mode="w", zarr_format=zarr_format)
    said: Json = {"bioformats2raw.layout": 3}
    root.attrs.update({"ome": {"version": version, **said}} if version == "0.5" else said)
    series: Json = {"series": ["0"]}
    group = root.create_group("OME")
    group.attrs.update({"ome": {"version": version, **series}} if version == "0.5" else series)
    (tmp_path / "OME/METADATA.ome.xml").write_text("<OME/>")
    small = xpyramid.example_field((20, 30))
    small.pyramid.to_ome_zarr(tmp_path, "0", levels=2, version=version)
    assert xpyramid.verify(tmp_path, deep=True) == []
    assert xpyramid.verify(tmp_path / "OME") == []
    assert check_document(dict(group.attrs)) == []
    (wrong,) = check_document({"ome": {"version": "0.5", "series": [0]}})
    assert wrong.message == "series is [0]; expected a list of paths"
