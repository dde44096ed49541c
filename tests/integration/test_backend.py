"""The xarray engine, and the way back from a DataTree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.backend import OmeZarrBackend


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of one store, one of them with labels."""
    path = tmp_path_factory.mktemp("engine") / "lab.ome.zarr"
    field = xpyramid.example_field((12, 80, 60), 16).assign_coords(x=0.5 * np.arange(60))
    field.x.attrs["units"] = "um"
    field.attrs["instrument"] = "SPIM"
    field.pyramid.to_ome_zarr(path, levels=3, factor=2)
    (field > 9000).astype("u1").rename("cells").pyramid.to_ome_zarr(path, labels_of="field")
    field.isel(z=0).rename("plane").pyramid.to_ome_zarr(path, levels=2)
    return path


def test_it_is_installed() -> None:
    engines = xr.backends.list_engines()
    assert isinstance(engines["ome-zarr"], OmeZarrBackend)
    assert "OME-Zarr" in engines["ome-zarr"].description


def test_a_level(store: Path) -> None:
    p = xpyramid.open_pyramid(store, "field")
    opened = xr.open_dataset(store, engine="ome-zarr", group="field", level=1)
    xr.testing.assert_identical(opened.field, p[1])
    assert opened.field.attrs["instrument"] == "SPIM"
    assert opened.field.chunks is None
    assert opened.x.attrs["units"] == "um"
    finest = xr.open_dataset(store / "field", engine="ome-zarr")
    xr.testing.assert_identical(finest.field, p[0])
    named = xr.open_dataset(store / "field", engine="ome-zarr", level="2")
    assert named.sizes == {"z": 3, "y": 20, "x": 15}
    coarse = xr.open_dataset(store / "field", engine="ome-zarr", resolution={"x": "1.2 um"})
    assert coarse.sizes["x"] == 30


def test_dask_only_when_asked_for(store: Path) -> None:
    opened = xr.open_dataset(store / "field", engine="ome-zarr", chunks={})
    assert opened.field.data.chunksize == (12, 16, 16)
    assert opened.field.data.sum().compute() == xpyramid.open_pyramid(store, "field")[0].sum()


def test_what_is_left_out(store: Path) -> None:
    opened = xr.open_dataset(store / "field", engine="ome-zarr", drop_variables=["x", "none"])
    assert "x" not in opened.coords


def test_all_levels_of_all_images(store: Path) -> None:
    tree = xr.open_datatree(store, engine="ome-zarr")
    assert set(tree.children) == {"field", "plane"}
    assert set(tree["field"].children) == {"0", "1", "2", "labels"}
    p = xpyramid.open_pyramid(store, "field")
    for k in range(3):
        xr.testing.assert_identical(tree[f"field/{k}/field"], p[k])
    cells = xpyramid.open_pyramid(store, "field/labels/cells")
    xr.testing.assert_identical(tree["field/labels/cells/2/cells"], cells[2])
    image = xr.open_datatree(store / "field", engine="ome-zarr")
    assert set(image.children) == {"0", "1", "2", "labels"}
    assert image["labels/cells/2/cells"].shape == (3, 20, 15)
    part = xr.open_datatree(store, engine="ome-zarr", group="plane")
    assert set(part.children) == {"0", "1"}


def test_an_image_of_somebody_else(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "other.zarr", mode="w", zarr_format=2)
    for k, n in enumerate((32, 16)):
        group.create_array(str(k), data=np.full((2, n, n), k + 1, "u2"), chunks=(1, 8, 8))
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": "micrometer"} for n in "yx"
    ]
    datasets = [
        {
            "path": str(k),
            "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5 * 2**k, 0.5 * 2**k]}],
        }
        for k in range(2)
    ]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["omero"] = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    opened = xr.open_dataset(tmp_path / "other.zarr", engine="ome-zarr", level=1)
    (name,) = opened.data_vars
    assert opened[name].sel(c="GFP").shape == (16, 16)
    assert opened.y.attrs["units"] == "micrometer"
    assert opened.x.values[:2].tolist() == [0, 1]


def test_which_paths_are_unmistakable(store: Path, tmp_path: Path) -> None:
    can_open = OmeZarrBackend().guess_can_open
    assert can_open("s3://bucket/scan.ome.zarr/")
    assert can_open("scan.ozx")
    assert can_open(store / "field")
    assert not can_open("https://host/scan.zarr")
    assert not can_open("scan.nc")
    assert not can_open(tmp_path)
    (tmp_path / "zarr.json").write_text("{")
    assert not can_open(tmp_path)
    assert not can_open({"a": 1})
    shutil.copytree(store / "field", tmp_path / "scan")
    assert xr.open_dataset(tmp_path / "scan", level=2).field.shape == (3, 20, 15)


def test_what_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.PlanError, match="two ways to say the same; pass one"):
        xr.open_dataset(store, engine="ome-zarr", group="field", level=1, resolution=2)
    with pytest.raises(IndexError, match="level 7; this pyramid has the levels 0 to 2"):
        xr.open_dataset(store, engine="ome-zarr", group="field", level=7)
    with pytest.raises(errors.PlanError, match=r"storage_options=.* are for URLs"):
        xr.open_dataset(store, engine="ome-zarr", storage_options={"anon": True})
    with pytest.raises(errors.NotAPyramidError, match="there is nothing"):
        xr.open_datatree(tmp_path / "none", engine="ome-zarr")
    with pytest.raises(errors.NotAPyramidError, match="field"):
        xr.open_dataset(store, engine="ome-zarr")  # there are several


def test_back_from_a_tree(store: Path) -> None:
    p = xpyramid.open_pyramid(store, "field")
    for tree in (xr.open_datatree(store / "field", engine="ome-zarr"), p.to_datatree()):
        q = tree.pyramid
        assert q.factors == p.factors
        assert q.plan.scale(2) == p.plan.scale(2)
        for level, expected in zip(q, p, strict=True):
            xr.testing.assert_identical(level, expected)
        again = zarr.storage.MemoryStore()
        q.isel(x=slice(8, 40)).to_ome_zarr(again)
        assert xpyramid.verify(again, deep=True) == []
        xr.testing.assert_equal(xpyramid.open_pyramid(again)[2], p[2].isel(x=slice(2, 10)))


def test_a_tree_without_coordinates() -> None:
    array = xr.DataArray(np.zeros((7, 10)), dims=("y", "x"), name="field")
    levels = {"0": array, "1": xr.DataArray(np.zeros((4, 5)), dims=("y", "x"), name="field")}
    tree = xr.DataTree.from_dict({k: level.to_dataset() for k, level in levels.items()})
    assert tree.pyramid.factors[1] == {"y": 2, "x": 2}


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"a": (4, 4)}, "no children '0', '1'"),
        ({"0": (8, 8), "2": (2, 2)}, "no children '0', '1'"),  # one is missing
        ({"0": (8, 8), "1": (5, 4)}, "along 'y', a level has 5 samples"),
        ({"0": (36, 36), "1": (18, 18), "2": (12, 12)}, "not multiples of each other"),
    ],
)
def test_trees_that_are_no_pyramids(levels: dict[str, tuple[int, int]], message: str) -> None:
    tree = xr.DataTree.from_dict(
        {
            k: xr.DataArray(np.zeros(shape), dims=("y", "x"), name="field").to_dataset()
            for k, shape in levels.items()
        }
    )
    with pytest.raises((errors.NotAPyramidError, errors.AxisError), match=message):
        tree.pyramid  # noqa: B018


def test_trees_of_something_else(store: Path) -> None:
    tree = xr.open_datatree(store, engine="ome-zarr")
    with pytest.raises(errors.NotAPyramidError, match=r"as one of \['/field', '/plane'"):
        tree.pyramid  # noqa: B018
    other = xr.DataTree.from_dict(
        {"0": xr.Dataset({"a": ("x", [1, 2])}), "1": xr.Dataset({"b": ("x", [1])})}
    )
    with pytest.raises(errors.NotAPyramidError, match=r"variables \['b'\], and level 0 \['a'\]"):
        other.pyramid  # noqa: B018
    other = xr.DataTree.from_dict(
        {"0": xr.Dataset({"a": ("x", [1, 2])}), "1": xr.Dataset({"a": ("x", [1.0])})}
    )
    with pytest.raises(errors.NotAPyramidError, match="level 1 holds 'a'"):
        other.pyramid  # noqa: B018


@pytest.fixture
def fields() -> xr.Dataset:
    """Return two variables on one grid, one of them in time."""
    rng = np.random.default_rng(0)
    coords = {
        "lat": ("lat", np.linspace(80, -80, 40), {"units": "degrees_north"}),
        "lon": ("lon", 2.0 * np.arange(60), {"units": "degrees_east"}),
    }
    data = {
        "rain": (("time", "lat", "lon"), rng.random((3, 40, 60)).astype("f4")),
        "wind": (("lat", "lon"), rng.random((40, 60))),
    }
    return xr.Dataset(data, coords, {"title": "weather"})


def test_one_group_a_level_with_all_variables(fields: xr.Dataset, tmp_path: Path) -> None:
    pyramids = fields.pyramid.build(levels=3, factor=2, chunks=16)
    tree = pyramids.to_datatree(layout="datasets")
    tree.to_zarr(tmp_path / "out.zarr", consolidated=False)
    again = xr.open_datatree(tmp_path / "out.zarr", engine="zarr", consolidated=False)
    assert sorted(again.children) == ["0", "1", "2"]
    for k in range(3):
        xr.testing.assert_equal(again[str(k)].to_dataset(), pyramids.level(k).compute())
    assert again["1"].sizes == {"time": 3, "lat": 20, "lon": 30}
    levels = again.attrs["multiscales"]["layout"]
    assert [level["asset"] for level in levels] == ["0", "1", "2"]
    assert [level["transform"]["scale"] for level in levels] == [
        [1.0, 1.0, 1.0], [1.0, 2.0, 2.0], [1.0, 4.0, 4.0]
    ]  # fmt: skip
    assert again.attrs["zarr_conventions"][0]["name"] == "multiscales"
    assert again.attrs["multiscales"]["resampling_method"] == "average"
    back = again.pyramid
    assert (sorted(back), back.attrs) == (["rain", "wind"], {"title": "weather"})
    for name in back:
        assert back[name].factors == pyramids[name].factors
        for level, expected in zip(back[name], pyramids[name], strict=True):
            xr.testing.assert_equal(level.compute(), expected.compute())
    back.to_ome_zarr(tmp_path / "images.zarr")
    assert sorted(xpyramid.open_pyramids(tmp_path / "images.zarr")) == ["rain", "wind"]
    assert xpyramid.verify(tmp_path / "images.zarr") == []


def test_levels_that_differ_are_in_no_datasets(fields: xr.Dataset) -> None:
    first, second = (
        fields[["rain"]].pyramid.build(levels=3, factor=2), fields[["wind"]].pyramid.build(levels=2)
    )  # fmt: skip
    with pytest.raises(errors.PlanError, match="'wind' has the factors"):
        xpyramid.Pyramids({**first, **second}).to_datatree("datasets")
    with pytest.raises(errors.PlanError, match="layout='groups'; accepted: 'images', 'datasets'"):
        first.to_datatree("groups")


def test_a_grid_mapping_is_no_variable(fields: xr.Dataset) -> None:
    levels = fields.pyramid.build(levels=2, factor=2)
    tree = xr.DataTree.from_dict(
        {str(k): levels.level(k).assign(spatial_ref=((), 0)) for k in range(2)}
    )
    assert list(tree.pyramid) == ["rain", "wind"]


def test_other_files_do_not_pay_for_the_engine() -> None:
    """All engines are imported when xarray opens a file, and asked whether it is theirs."""
    code = (
        "import sys; from xpyramid.backend import OmeZarrBackend; "
        "print(OmeZarrBackend().guess_can_open('model.nc'), *sorted({'dask', 'zarr', 'numba', "
        "'xpyramid.ngff', 'xpyramid.reader', 'xpyramid.store'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
