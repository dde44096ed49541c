"""One group a level with all variables: what is written, what it is read as, what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.killed_process import killed_everywhere
from helpers.small_image import broken_off, leftovers
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.cli import view as view_command
from xpyramid.cli.main import main
from xpyramid.engine import Work
from xpyramid.viewing import Cache


def fields(**changes: Any) -> xr.Dataset:
    """Return variables on one grid: in time, without, and of labels."""
    rng = np.random.default_rng(0)
    coords = {
        "time": ("time", np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")),
        "lat": ("lat", np.linspace(80, -80, 40), {"units": "degrees_north"}),
        "lon": ("lon", 2.0 * np.arange(60), {"units": "degrees_east"}),
        "height": ((), 2.0, {"units": "m"}),
    }
    kinds = {"flag_values": [0, 1, 2], "flag_meanings": "sea land ice"}
    data = {
        "rain": (("time", "lat", "lon"), rng.random((3, 40, 60)).astype("f4"), {"units": "mm"}),
        "relief": (("lat", "lon"), rng.normal(size=(40, 60)).astype("f4")),
        "kind": (("lat", "lon"), rng.integers(0, 3, (40, 60)).astype("u1"), kinds),
    }
    return xr.Dataset({**data, **changes}, coords, {"title": "weather"})


def pyramids(dataset: xr.Dataset | None = None) -> xpyramid.Pyramids:
    return (fields() if dataset is None else dataset).pyramid.build(levels=3, factor=2, chunks=16)


def check(place: Any, made: xpyramid.Pyramids) -> None:
    """Check that all levels are stored as they were made, and that nothing is wrong."""
    opened = xpyramid.open_pyramids(place)
    assert list(opened) == list(made)
    for name, p in made.items():
        assert (opened[name].method, opened[name].plan.kind) == (p.method, p.plan.kind)
        for stored, lazy in zip(opened[name], p, strict=True):
            xr.testing.assert_identical(stored.compute(), lazy.compute())
    assert xpyramid.verify(place, deep=True) == []


# What is written


def test_a_level_is_a_dataset_of_all_variables(tmp_path: Path) -> None:
    made = pyramids()
    made.to_ome_zarr(tmp_path / "maps.zarr", layout="datasets")
    check(tmp_path / "maps.zarr", made)
    tree = xr.open_datatree(tmp_path / "maps.zarr", engine="zarr")
    assert list(tree.children) == ["0", "1", "2"]
    for k in range(3):
        level = tree[str(k)].to_dataset()
        xr.testing.assert_equal(level.compute(), made.level(k).compute())
        assert level.attrs == {"title": "weather"}
        assert level.rain.attrs == {"units": "mm"}
    wanted = made.to_datatree("datasets").attrs
    for key in ("multiscales", "zarr_conventions"):
        assert tree.attrs[key] == wanted[key]
    back = tree.pyramid
    assert {name: p.factors for name, p in back.items()} == {
        name: made[name].factors for name in ("kind", "rain", "relief")
    }
    back.to_ome_zarr(tmp_path / "again.zarr")
    assert sorted(xpyramid.open_pyramids(tmp_path / "again.zarr")) == ["kind", "rain", "relief"]


def test_to_ome_it_is_a_group_of_several_images(tmp_path: Path) -> None:
    made = fields().pyramid.build(levels=2, factor=2)
    made.to_ome_zarr(tmp_path / "lab.zarr", "maps", layout="datasets")
    ome = zarr.open_group(tmp_path / "lab.zarr/maps", mode="r").attrs["ome"]
    images: Any = ome["multiscales"]
    assert [image["name"] for image in images] == ["rain", "relief", "kind"]
    assert [[d["path"] for d in image["datasets"]] for image in images] == [
        ["0/rain", "1/rain"], ["0/relief", "1/relief"], ["0/kind", "1/kind"]
    ]  # fmt: skip
    assert [axis["name"] for axis in images[0]["axes"]] == ["time", "lat", "lon"]
    assert "omero" not in ome
    opened = xpyramid.open_pyramids(tmp_path / "lab.zarr")
    assert list(opened) == ["maps/rain", "maps/relief", "maps/kind"]
    assert xpyramid.open_pyramid(tmp_path / "lab.zarr/maps", multiscale="kind").method == "mode"
    tree = xr.open_datatree(tmp_path / "lab.zarr", engine="ome-zarr")
    assert tree["maps/relief/1"].to_dataset().relief.shape == (20, 30)
    assert xpyramid.verify(tmp_path / "lab.zarr") == []


@pytest.mark.parametrize(
    "options",
    [{"version": "0.6"}, {"names": "ome"}, {"shards": 32}, {"conventions": ["geozarr"]}],
    ids=str,
)
def test_with_other_options(options: dict[str, Any]) -> None:
    store, made = MemoryStore(), pyramids()
    made.to_ome_zarr(store, layout="datasets", **options)
    check(store, made)


def test_one_array_is_laid_out_like_this_too() -> None:
    store, array = MemoryStore(), fields().relief
    array.pyramid.to_ome_zarr(store, "", levels=2, layout="datasets")
    assert "multiscales" in zarr.open_group(store, mode="r").attrs
    assert xpyramid.open_pyramid(store)[1].name == "relief"
    assert xpyramid.verify(store) == []


def test_what_variables_have_in_common_is_read_once(tmp_path: Path) -> None:
    read = Counter[tuple[int, ...]]()

    def block(block_info: Any = None) -> np.ndarray[Any, Any]:
        location = tuple(block_info[None]["chunk-location"])
        read[location] += 1
        return np.full((16, 16), sum(location), "f4")

    base = xr.DataArray(
        da.map_blocks(block, chunks=((16, 16), (16, 16)), dtype="f4"), dims=("y", "x")
    )
    dataset = xr.Dataset({"a": base, "b": base + 1})
    with dask.config.set(scheduler="sync"):
        dataset.pyramid.to_ome_zarr(tmp_path / "a.zarr", levels=3, chunks=8, layout="datasets")
    assert set(read.values()) == {1}
    assert len(read) == 4
    opened = xpyramid.open_pyramids(tmp_path / "a.zarr")
    np.testing.assert_array_equal(opened["b"][2], opened["a"][2] + 1)


def test_it_takes_the_place_of_an_image_and_makes_way_for_one(tmp_path: Path) -> None:
    place, image = tmp_path / "a.zarr", xpyramid.example_field((64, 64)).pyramid.build(levels=2)
    image.to_ome_zarr(place, "")
    with pytest.raises(errors.TargetExistsError, match="mode='w'"):
        pyramids().to_ome_zarr(place, layout="datasets")
    pyramids().to_ome_zarr(place, layout="datasets", mode="w")
    check(place, pyramids())
    image.to_ome_zarr(place, "", mode="w")
    assert "rain" not in zarr.open_group(place, mode="r")["1"]
    assert xpyramid.open_pyramid(place).name == "field"
    assert xpyramid.verify(place) == []


def test_later(tmp_path: Path) -> None:
    made = pyramids()
    later: Any = made.to_ome_zarr(tmp_path / "a.zarr", layout="datasets", compute=False)
    with pytest.raises(errors.NotAPyramidError):
        xpyramid.open_pyramids(tmp_path / "a.zarr")
    later.compute(scheduler="sync")
    check(tmp_path / "a.zarr", made)


# All or nothing


def small() -> xpyramid.Pyramids:
    data = np.arange(1, 9, dtype="u2").reshape(4, 2)
    dataset = xr.Dataset({"a": (("y", "x"), data), "b": (("y", "x"), data * 2)})
    return dataset.pyramid.build(levels=3, chunks=2, factor=2)


def write(directory: Path, **options: Any) -> None:
    with dask.config.set(scheduler="sync"):
        small().to_ome_zarr(directory / "out.zarr", "maps", layout="datasets", **options)


def is_whole(directory: Path) -> bool:
    """Whether all variables are there, rather than none."""
    try:
        opened = xpyramid.open_pyramids(directory / "out.zarr/maps")
    except errors.NotAPyramidError:
        return False
    assert list(opened) == ["a", "b"]
    for name, p in small().items():
        for stored, lazy in zip(opened[name], p, strict=True):
            np.testing.assert_array_equal(stored, lazy)
    return True


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_off(lambda: write(tmp_path))
    assert not is_whole(tmp_path)
    with pytest.raises(errors.TargetExistsError, match="unfinished build"):
        write(tmp_path)
    ran: list[object] = []
    reduce_node = Work.reduce_node

    def spy(self: Work, *arguments: Any) -> Any:
        ran.append(arguments)
        return reduce_node(self, *arguments)

    monkeypatch.setattr(Work, "reduce_node", spy)
    write(tmp_path, resume=True)
    resumed = len(ran)
    assert is_whole(tmp_path)
    assert leftovers(tmp_path) == []
    assert xpyramid.verify(tmp_path / "out.zarr") == []
    write(tmp_path, mode="w")
    assert 0 < resumed == len(ran) - resumed - 2  # two were done


def test_another_variable_is_another_build(tmp_path: Path) -> None:
    broken_off(lambda: write(tmp_path))
    other = {**small(), "b": small()["b"].map(lambda level: level)}
    with pytest.raises(errors.ResumeError, match="others"):
        xpyramid.Pyramids(other).to_ome_zarr(
            tmp_path / "out.zarr", "maps", layout="datasets", resume=True
        )


@pytest.mark.once
@pytest.mark.slow
def test_killed_anywhere_all_variables_are_there_or_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcomes = []
    name = f"{__name__}:{write.__name__}"
    for directory in killed_everywhere(name, tmp_path / "empty", tmp_path / "n"):
        outcomes.append(is_whole(directory))
        if not outcomes[-1] and len(outcomes) % 3 == 0:
            write(directory, resume=True)
            assert is_whole(directory)
            assert leftovers(directory) == []
            assert xpyramid.verify(directory / "out.zarr") == []
    assert outcomes.count(False) > 40
    assert outcomes[-1]


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "0.4"}, r"layout='datasets'.*accepted: version='0.5'"),
        ({"omero": True}, r"omero=True.*accepted: layout='groups'"),
        ({"append_dim": "time"}, "append_dim='time'.*leave out layout"),
    ],
)
def test_options_for_one_image(options: dict[str, Any], message: str) -> None:
    store = MemoryStore()
    with pytest.raises(errors.PlanError, match=message):
        pyramids().to_ome_zarr(store, layout="datasets", **options)
    assert not store._store_dict


def test_variables_that_do_not_fit_together() -> None:
    store, first = MemoryStore(), pyramids()
    coarser = fields()[["relief"]].pyramid.build(levels=2)
    with pytest.raises(errors.PlanError, match="'relief' has the factors"):
        xpyramid.Pyramids({**first, **coarser}).to_ome_zarr(store, layout="datasets")
    moved = pyramids(fields()[["relief"]].assign_coords(lon=1 + 2.0 * np.arange(60)))
    said = "'lon' of 'relief' differs from that of the variables before it, at level 0"
    with pytest.raises(errors.PlanError, match=said):
        xpyramid.Pyramids({**first, **moved}).to_ome_zarr(store, layout="datasets")
    titled = pyramids(fields().assign_coords(height=3.0)[["relief"]])
    with pytest.raises(
        errors.PlanError, match="'height' of 'relief' differs from that of the variables"
    ):
        xpyramid.Pyramids({**first, **titled}).to_ome_zarr(store, layout="datasets")
    methods = fields().relief.pyramid.build(levels=2, method=["mean", "max"])
    with pytest.raises(errors.PlanError, match="several of the arrays are called 'relief'"):
        methods.to_ome_zarr(store, layout="datasets")
    with pytest.raises(errors.PlanError, match="without pyramids"):
        xpyramid.Pyramids({}).to_ome_zarr(store, layout="datasets")
    assert not store._store_dict


@pytest.mark.parametrize(
    "change",
    [
        lambda place: xpyramid.add_levels(place, levels=4),
        lambda place: xpyramid.drop_levels(place, levels=1),
        lambda place: xpyramid.update(place, region={"lat": slice(0, 4)}),
        lambda place: fields().rain.pyramid.append(place, ""),
    ],
    ids=["add_levels", "drop_levels", "update", "append"],
)
def test_what_is_stored_is_not_changed(change: Callable[[Path], Any], tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    made = pyramids()
    made.to_ome_zarr(place, layout="datasets")
    (place / "1/relief/c/0/0").unlink()
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    with pytest.raises(errors.NotAPyramidError, match=r"several images.*open_pyramids\("):
        change(place)
    report = xpyramid.repair(place)
    assert [problem.where for problem in report] == ["1/relief/c/0/0"]
    assert "nothing was made again" in report.notes[0]
    assert "several images" in report.notes[0]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


# What is said and shown of it


def test_info_shows_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pyramids().to_ome_zarr(tmp_path / "a.zarr", layout="datasets")
    assert main(["info", str(tmp_path / "a.zarr")]) == 0
    said = capsys.readouterr().out
    assert said.count("levels as datasets") == 3
    assert "'relief' (lat: 40, lon: 60) float32: 3 levels of mean" in said


def test_who_names_none_gets_the_first_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "a.zarr")
    pyramids().to_ome_zarr(store, layout="datasets")
    first = xpyramid.open_pyramid(store)
    assert first.name == "rain"
    assert "the first image of its group; others: relief, kind" in repr(first)
    chosen = [xpyramid.open_pyramid(store, multiscale="relief"), first.isel(lat=slice(0, 32))]
    for p in [*chosen, *xpyramid.open_pyramids(store).values()]:
        assert "of its group" not in repr(p)
    assert main(["build", store, str(tmp_path / "b.zarr")]) == 0
    assert "other images of the group: relief, kind" in capsys.readouterr().out
    monkeypatch.setattr(view_command, "view", lambda *_, **__: None)
    assert main(["view", store]) == 0
    assert "others, with --variable: relief, kind" in capsys.readouterr().out


def test_viewers_get_each_by_itself(tmp_path: Path) -> None:
    """They show the first image that a group announces, whichever was meant."""
    pyramids().to_ome_zarr(tmp_path / "a.zarr", layout="datasets", names="ome")
    for p in xpyramid.open_pyramids(tmp_path / "a.zarr").values():
        assert p._viewed(Cache()).place is None


def test_a_variable_is_chosen_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, shown = str(tmp_path / "a.zarr"), []
    pyramids().to_ome_zarr(store, layout="datasets")
    xr.testing.assert_identical(
        xpyramid.open_source(store, variable="relief").load(), pyramids()["relief"][0].load()
    )
    build = ["build", store, str(tmp_path / "b.zarr"), "-q", "--variable"]
    assert main([*build, "kind"]) == 0
    assert xpyramid.open_pyramid(tmp_path / "b.zarr").method == "mode"
    assert main([*build, "rian"]) == 2
    assert "--variable rian no image of" in (said := capsys.readouterr().err)
    assert "accepted: rain, relief, kind" in said
    monkeypatch.setattr(view_command, "view", lambda images, *_, **__: shown.extend(images))
    assert main(["view", store, "--variable", "relief"]) == 0
    assert [(image.name, len(image.source.levels)) for image in shown] == [("relief", 3)]
