"""Writing and opening: what is refused, and what is in the store."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors


def field(shape: tuple[int, ...] = (8, 8), dims: str = "yx", **coords: Any) -> xr.DataArray:
    data = np.arange(np.prod(shape), dtype="u2").reshape(shape)
    return xr.DataArray(data, dims=tuple(dims), coords=coords, name="field")


def refused(
    array: xr.DataArray, error: type[Exception], message: str, at: Path, **options: Any
) -> None:
    """Check that writing is refused, and that nothing is left."""
    before = sorted(at.rglob("*"))
    build = {"levels": 2, "dims": options.pop("dims", None), "factor": options.pop("factor", None)}
    with pytest.raises(error, match=message):
        array.pyramid.build(**build).to_ome_zarr(at / "out.zarr", **options)
    assert sorted(at.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        ".",
        "..",
        "a/../b",
        "/a",
        "a/",
        "a\\b",
        "a\0b",
        "x" * 300,
        "zarr.json",
        "__x",
        ".zgroup",
        ".field.unfinished",
    ],
)
def test_names(tmp_path: Path, name: str | None) -> None:
    refused(field().rename(name), errors.InvalidNameError, "name", tmp_path)
    if name:
        refused(field(), errors.InvalidNameError, "name", tmp_path, group=name)


def test_an_unnamed_array_takes_the_name_of_the_group(tmp_path: Path) -> None:
    field().rename(None).pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr", "a/b")
    assert zarr.open_array(tmp_path / "out.zarr/a/b/1/b").shape == (4, 4)
    assert xpyramid.open_pyramid(tmp_path / "out.zarr", "a/b").name == "b"


@pytest.mark.parametrize("coords", [{}, {"y": np.arange(8.0)}])
def test_the_array_may_have_the_name_of_a_dimension(tmp_path: Path, coords: dict[str, Any]) -> None:
    array = field(**coords).rename("y")
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    xr.testing.assert_identical(xpyramid.open_pyramid(tmp_path / "out.zarr/y")[0].load(), array)
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []
    plain = xr.open_zarr(tmp_path / "out.zarr/y/0")
    assert [variable.dims for variable in plain.data_vars.values()] == [("y", "x")]


@pytest.mark.parametrize(
    ("shape", "dims", "message"),
    [
        ((8,), "x", r"2 or 3 space dimensions, \('x',\) has 1"),
        ((2, 8), "cx", "2 or 3 space dimensions"),
        ((2, 8, 8), "wyx", None),
        ((2, 2, 8, 8), "wzyx", r"no axis for \['w'\]"),
        ((8, 8), "xy", r"call .transpose\('y', 'x'\)"),
        ((8, 8, 2), "yxc", r"call .transpose\('c', 'y', 'x'\)"),
        ((2, 2, 8, 8), "ctyx", r"call .transpose\('t', 'c', 'y', 'x'\)"),
    ],
)
def test_axes(tmp_path: Path, shape: tuple[int, ...], dims: str, message: str | None) -> None:
    if message is None:  # one unknown dimension before y and x is z
        field(shape, dims).pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr")
        assert xpyramid.open_pyramid(tmp_path / "out.zarr/field")[1].dims == tuple(dims)
    else:
        refused(field(shape, dims), errors.AxisError, message, tmp_path, dims=("x",))


def test_irregular_coordinates(tmp_path: Path) -> None:
    y = np.array([0.0, 1, 3, 7, 15, 31, 63, 127])
    array = field(y=y)
    message = "'y' is irregular: steps from 1 to 64.*irregular='approximate'"
    refused(array, errors.AxisError, message, tmp_path, factor=2)
    refused(array, errors.PlanError, "accepted: 'error'", tmp_path, irregular="ignore")
    p = array.pyramid.build(factor=[2])
    p.to_ome_zarr(tmp_path / "out.zarr", irregular="approximate")
    multiscale = ome(tmp_path / "out.zarr/field")["multiscales"][0]
    assert multiscale["metadata"]["irregular"] == ["y"]
    assert multiscale["datasets"][1]["coordinateTransformations"][0]["scale"] == [2 * 127 / 7, 2]
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "out.zarr/field")[0].y, y)


def test_irregular_times_are_counted(tmp_path: Path) -> None:
    months = pd.date_range("2020-01-01", periods=3, freq="MS")
    array = field((3, 8, 8), "tyx", t=months)
    array.pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr")
    multiscale = ome(tmp_path / "out.zarr/field")["multiscales"][0]
    assert multiscale["axes"][0] == {"name": "t", "type": "time"}
    assert multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1, 1]
    assert (xpyramid.open_pyramid(tmp_path / "out.zarr/field")[1].t == months).all()


def test_existing_targets(tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    p = field().pyramid.build(levels=2)
    p.to_ome_zarr(out)
    exists = errors.TargetExistsError
    refused(field(), exists, "already holds a group", tmp_path)
    refused(field(), exists, "cannot hold", tmp_path, group="field/0/field/deeper")
    refused(field(), exists, "field/0 is a level of an image", tmp_path, group="field/0/field")
    refused(field(), exists, "field/0 is a level of an image", tmp_path, group="field/0/other")
    name = errors.InvalidNameError
    refused(field(), name, "is for groups of label images", tmp_path, group="field/labels/x")
    refused(field(), exists, "Zarr format 3 and .* needs 2", tmp_path, group="b", version="0.4")
    (out / "notes").mkdir()
    (out / "notes/today.txt").write_text("keep")
    refused(field(), exists, "already holds files", tmp_path, group="notes")
    p.to_ome_zarr(out, "second")  # a sibling is welcome
    assert (
        len(xpyramid.open_pyramid(out, "field")) == len(xpyramid.open_pyramid(out, "second")) == 2
    )


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "out.zarr").write_text("x")
    refused(field(), errors.NotAPyramidError, "is a file", tmp_path)


def test_versions(tmp_path: Path) -> None:
    refused(
        field(),
        errors.PlanError,
        "version='0.3'; accepted: '0.5', '0.4', '0.6'",
        tmp_path,
        version="0.3",
    )


@pytest.mark.parametrize(
    "value", [np.longdouble(1), {1, 2}, b"x", np.array([b"x"]), {"a": [None, 1j]}]
)
def test_attributes_that_json_cannot_hold(tmp_path: Path, value: object) -> None:
    refused(field().assign_attrs(a=value), errors.AttributeValueError, "attribute 'a", tmp_path)


def test_all_json_is_strict_and_numpy_attributes_become_plain(tmp_path: Path) -> None:
    array = field().assign_attrs(n=np.int64(3), v=np.array([1.5, 2]), deep={"k": (1, None, True)})
    array.pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr")

    def no_constants(token: str) -> None:
        raise AssertionError(token)

    files = list((tmp_path / "out.zarr").rglob("zarr.json"))
    assert len(files) == 6
    for file in files:
        json.loads(file.read_text(), parse_constant=no_constants)
    attrs = xpyramid.open_pyramid(tmp_path / "out.zarr/field")[1].attrs
    assert attrs == {"n": 3, "v": [1.5, 2.0], "deep": {"k": [1, None, True]}}


def test_a_dataset_is_checked_whole_before_anything_is_written(tmp_path: Path) -> None:
    ds = xr.Dataset({"good": field(), "bad": field().assign_attrs(a={1})})
    with pytest.raises(errors.AttributeValueError):
        ds.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    assert not (tmp_path / "out.zarr").exists()


def test_datasets_keep_their_attributes(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": field(), "b": field((2, 8, 8), "tyx")}, attrs={"title": "both"})
    ds.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    for name in ds:
        level = xr.open_zarr(tmp_path / f"out.zarr/{name}/1")
        assert level.attrs == {"title": "both"}
        assert level[name].shape[-2:] == (4, 4)


def test_delayed(tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    delayed = field().pyramid.build(levels=3).to_ome_zarr(out, compute=False)
    with pytest.raises(errors.NotAPyramidError, match="is unfinished: its build was interrupted"):
        xpyramid.open_pyramid(out / "field")
    delayed.compute()
    np.testing.assert_array_equal(xpyramid.open_pyramid(out / "field")[0], field())


def test_a_failing_base_leaves_no_image(tmp_path: Path) -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("no data today")

    array = field().chunk(4)
    array = array.copy(data=array.data.map_blocks(fail, dtype="u2", meta=np.empty((0, 0), "u2")))
    with pytest.raises(errors.ReadError, match="no data today"):
        array.pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr")
    with pytest.raises(errors.NotAPyramidError, match="is unfinished: its build was interrupted"):
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")


def test_a_consolidated_root_sees_the_new_image() -> None:
    store = zarr.storage.MemoryStore()
    zarr.open_group(store, mode="w", zarr_format=2)
    zarr.consolidate_metadata(store)
    field().pyramid.build(levels=2).to_ome_zarr(store, version="0.4")
    assert "field" in zarr.open_group(store, mode="r", use_consolidated=True)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_groups_above_are_consolidated_only_where_they_were(version: Any, tmp_path: Path) -> None:
    zarr_format: Any = 2 if version == "0.4" else 3
    for group in ("", "lab", "lab/mine"):
        zarr.create_group(tmp_path / group, zarr_format=zarr_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are not in the specification
        zarr.consolidate_metadata(tmp_path, path="lab", zarr_format=zarr_format)
    field().pyramid.build(levels=2).to_ome_zarr(tmp_path, "lab/mine/field", version=version)
    groups = [zarr.open_group(tmp_path, path=group, mode="r") for group in ("", "lab", "lab/mine")]
    above, lab, mine = (group.metadata.consolidated_metadata for group in groups)
    assert above is None
    assert mine is None
    assert lab is not None
    assert {"mine", "mine/field", "mine/field/1"} <= set(lab.flattened_metadata)


def test_stores_of_every_kind(tmp_path: Path) -> None:
    p = field().pyramid.build(levels=2)
    p.to_ome_zarr(str(tmp_path / "text.zarr"))
    p.to_ome_zarr(f"file://{tmp_path}/url.zarr")
    p.to_ome_zarr(zarr.storage.LocalStore(tmp_path / "store.zarr"))
    p.to_ome_zarr(zarr.open_group(tmp_path / "group.zarr", path="inner"))
    p.to_ome_zarr(memory := {})
    p.to_ome_zarr("memory://xpyramid-test.zarr")
    for store, group in [
        (tmp_path / "text.zarr", "field"),
        (tmp_path / "url.zarr/field", None),
        (f"file://{tmp_path}/store.zarr", "field"),
        (zarr.open_group(tmp_path / "group.zarr"), "inner/field"),
        (memory, "field"),
        ("memory://xpyramid-test.zarr", "field"),
    ]:
        np.testing.assert_array_equal(xpyramid.open_pyramid(store, group)[0], field())


def ome(group: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((group / "zarr.json").read_text())["attributes"]["ome"]
    return found


def test_opening_says_what_is_there(tmp_path: Path) -> None:
    refused_paths = {
        "nothing": "there is nothing at",
        "out.zarr": r"holds \['field', 'other'\]; pass group='field'",
        "out.zarr/field/1": "no multiscales metadata",
        "out.zarr/field/1/field": "there is an array",
    }
    for group in ("field", "other"):
        field().pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr", group)
    (tmp_path / "out.zarr/zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    for path, message in refused_paths.items():
        with pytest.raises(errors.NotAPyramidError, match=message):
            xpyramid.open_pyramid(tmp_path / path)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "../../secret"}, "not a path inside"),
        ({"path": "/etc"}, "not a path inside"),
        ({"path": "7"}, "there is no array"),
        ({"coordinateTransformations": [{"type": "scale", "scale": [1]}]}, "not valid|and 2 axes"),
        ({"coordinateTransformations": []}, "not valid"),
    ],
)
def test_metadata_that_lie(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    field().pyramid.build(levels=2).to_ome_zarr(tmp_path / "out.zarr")
    group = zarr.open_group(tmp_path / "out.zarr/field")
    attrs = ome(tmp_path / "out.zarr/field")
    attrs["multiscales"][0]["datasets"][1].update(change)
    group.attrs["ome"] = attrs
    with pytest.raises(errors.NotAPyramidError, match=message):
        xpyramid.open_pyramid(tmp_path / "out.zarr/field")


def test_flat_images_of_others_open_with_coordinates(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "flat.zarr", mode="w")
    for k in range(2):
        group.create_array(
            str(k), shape=(9 - 4 * k, 8 // 2**k), dtype="u1", dimension_names=("y", "x")
        )
    transforms = [
        [{"type": "scale", "scale": [0.5, 0.5]}],
        [
            {"type": "scale", "scale": [1.0, 1.0]},
            {"type": "translation", "translation": [0.25, 0.25]},
        ],
    ]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"],
                "datasets": [
                    {"path": str(k), "coordinateTransformations": t}
                    for k, t in enumerate(transforms)
                ],
            }
        ],
    }
    p = xpyramid.open_pyramid(tmp_path / "flat.zarr")
    assert [level.shape for level in p] == [(9, 8), (5, 4)]
    np.testing.assert_array_equal(p[1].x, [0.25, 1.25, 2.25, 3.25])
    assert p[0].y.attrs == {"units": "micrometer"}
    assert p.factors[1] == {"y": 2, "x": 2}
    assert p.plan.translation(1) == (0.25, 0.25)


def test_coordinates_that_xarray_cannot_store(tmp_path: Path) -> None:
    array = field(q=("y", np.array([{1}] * 8, dtype=object)))
    message = "^coordinate 'q' has dtype object, with values of type set; accepted: numbers"
    with pytest.warns(UserWarning, match="coarser levels are without it"):
        refused(array, errors.AxisError, message, tmp_path)
    array = field(q=("y", np.arange(8.0), {"by": object()}))
    refused(array, errors.AttributeValueError, "attribute 'by'", tmp_path)
    stacked = field((2, 2, 8, 8), "abyx").stack(c=("a", "b")).transpose("c", "y", "x")
    message = r"coordinate 'c' is a MultiIndex of \['a', 'b'\].*call .reset_index\('c'\)"
    refused(stacked, errors.AxisError, message, tmp_path)


def test_an_array_name_is_no_path(tmp_path: Path) -> None:
    refused(field().rename("a/b"), errors.InvalidNameError, "'a/b' has a slash", tmp_path)


def test_attributes_are_not_taken_for_an_encoding(tmp_path: Path) -> None:
    attrs = {"scale_factor": 2, "add_offset": 1, "_FillValue": 7, "units": "days since 2000-01-01"}
    array = field().assign_attrs(attrs)
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2)
    back = xpyramid.open_pyramid(tmp_path / "out.zarr/field")[0]
    xr.testing.assert_identical(back.compute(), array)


@pytest.mark.parametrize(("source", "version"), [(2, "0.5"), (3, "0.4")])
def test_coordinates_change_their_zarr_format(tmp_path: Path, source: int, version: str) -> None:
    times = pd.date_range("2020-01-01", periods=3, freq="D")
    array = field((3, 8, 8), "tyx", t=times, x=np.arange(8.0))
    array.to_dataset().to_zarr(tmp_path / "in.zarr", zarr_format=source, consolidated=False)
    opened = xr.open_zarr(tmp_path / "in.zarr", consolidated=False).field
    encoding = dict(opened.x.encoding)
    opened.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version)
    back = xpyramid.open_pyramid(tmp_path / "out.zarr/field")[0]
    xr.testing.assert_identical(back.compute(), opened.compute())
    assert opened.x.encoding == encoding  # the user's own is left alone


def test_empty_chunks_are_stored_where_nothing_says_what_they_hold(tmp_path: Path) -> None:
    array = field() * np.uint16(0)
    array.rename("zeros").pyramid.to_ome_zarr(
        tmp_path / "a.zarr", levels=2, version="0.4", chunks=4
    )
    metadata = json.loads((tmp_path / "a.zarr/zeros/0/zeros/.zarray").read_text())
    assert metadata["fill_value"] is None
    assert sorted(p.name for p in (tmp_path / "a.zarr/zeros/0/zeros/0").iterdir()) == ["0", "1"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_stored_chunk_has_a_checksum(tmp_path: Path, version: str) -> None:
    field(x=np.arange(8.0)).pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, version=version)
    level = tmp_path / "out.zarr/field/1"
    for name in ("field", "x"):
        chunks = [f for f in (level / name).rglob("*") if f.is_file() and f.name[0] not in "z."]
        assert chunks
        for chunk in chunks:
            frame = chunk.read_bytes()
            assert frame[:4] == b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
            assert frame[4] & 0b100  # its Content_Checksum_flag


@pytest.mark.parametrize(
    ("value", "conventions"), [(complex(-0.0, -0.0), None), (complex(np.nan, 5), ["geozarr"])]
)
@pytest.mark.parametrize("shards", [None, 8])
def test_complex_samples_that_look_like_the_fill_value_are_stored(
    tmp_path: Path, value: complex, conventions: Any, shards: Any
) -> None:
    array = xr.DataArray(np.full((8, 8), value, "c8"), dims=("y", "x"), name="field")
    pyramid = array.pyramid.build(2, chunks=4)
    pyramid.to_ome_zarr(tmp_path, conventions=conventions, shards=shards)
    for made, stored in zip(pyramid, xpyramid.open_pyramid(tmp_path / "field"), strict=True):
        assert stored.values.tobytes() == made.values.tobytes()
