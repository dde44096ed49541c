"""Several methods of one array: what is read, encoded and stored once, and what each image is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.counting_store import CountingStore
from helpers.quick import quick_if, spread
from numcodecs import Zstd
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main
from xpyramid.store.local_chunks import Codec
from xpyramid.writer.journal import Journal
from xpyramid.writer.sinks import ZarrSink

CHUNK = 8
STATISTICS = ["mean", "std", "min", "max", "count"]

pytestmark = pytest.mark.filterwarnings("ignore::xpyramid.errors.ViewerWarning")


def values() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(1, 1000, (32, 24), "u2")


def field(data: Any = None, **attrs: Any) -> xr.DataArray:
    data = values() if data is None else data
    return xr.DataArray(data, dims=("y", "x"), name="field", attrs=attrs)


def build(array: xr.DataArray, method: Any, **options: Any) -> Any:
    return array.pyramid.build(levels=3, factor=2, chunks=CHUNK, method=method, **options)


def check(store: Any, pyramids: xpyramid.Pyramids, group: str = "field") -> None:
    """Check that what is stored is what was built, and that nothing is wrong with it."""
    for name, pyramid in pyramids.items():
        opened = xpyramid.open_pyramid(store, f"{group}/{name}")
        assert (opened.method, len(opened)) == (pyramid.method, len(pyramid))
        for stored, lazy in zip(opened, pyramid, strict=True):
            assert stored.dtype == lazy.dtype
            np.testing.assert_array_equal(stored, lazy)
    assert xpyramid.verify(store, deep=True) == []


# What is built


def test_a_list_makes_a_mapping_by_method() -> None:
    made = build(field(), ["mean", "max", np.ptp])
    assert list(made) == ["mean", "max", "ptp"]
    assert [p.method for p in made.values()] == ["mean", "max", "ptp"]
    np.testing.assert_array_equal(made["max"][1], build(field(), "max")[1])
    assert list(build(field(), ("min",))) == ["min"]


def test_a_mapping_gives_names() -> None:
    made = build(field(), {"average": "mean", "peak": "max"})
    assert [p.method for p in made.values()] == ["mean", "max"]
    assert list(made) == ["average", "peak"]


def test_statistics_are_five_images() -> None:
    made = build(field(), "statistics")
    assert list(made) == STATISTICS
    dtypes = [p[1].dtype for p in made.values()]
    assert dtypes == [np.dtype(kind) for kind in ("u2", "f4", "u2", "u2", "u1")]
    assert list(build(field(), ["median", "statistics"])) == ["median", *STATISTICS]


def test_the_repr_says_where_they_are_written() -> None:
    text = repr(build(field(), ["mean", "max"]))
    assert text.startswith("<xpyramid.Pyramids: mean, max>")
    assert text.endswith("written in one pass, which reads level 0 once: field/mean, field/max")
    unnamed = repr(build(field().rename(None), ["mean", "max"]))
    assert unnamed.endswith("<group>/mean, <group>/max")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ([], "accepted: methods"),
        (["mean", "mean"], "'mean' twice"),
        (["mean", "statistics"], "'mean' twice"),
        (["mean", 3], "with 3"),
        ({"a": "statistics"}, "with 'statistics' for 'a'"),
        ({"": "mean"}, "accepted: methods"),
        ({1: "mean"}, "accepted: methods"),
        (["mean", "average"], "did you mean 'mean'"),
        ({"mean"}, "a list of those"),
    ],
)
def test_what_is_no_list_of_methods(method: Any, message: str) -> None:
    with pytest.raises(errors.PlanError, match=message):
        build(field(), method)


@pytest.mark.parametrize("method", [["mean", "max"], "statistics", 3])
def test_downsample_takes_one_method(method: Any) -> None:
    with pytest.raises(errors.PlanError, match="accepted: count, max, mean"):
        xpyramid.downsample(values(), 2, method)


def test_variables_of_a_dataset_by_several_methods(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": field(), "b": field() + 1, "time": 3})
    both = ds.pyramid.build(levels=2, method=["mean", "max"])
    assert list(both) == ["a/mean", "a/max", "b/mean", "b/max"]
    mixed = ds.pyramid.build(levels=2, method={"a": {"low": "min", "high": "max"}, "b": "mean"})
    assert list(mixed) == ["a/low", "a/high", "b"]
    assert "one pass, which reads level 0 once: a/low, a/high\nleft out" in repr(mixed)
    mixed.to_ome_zarr(tmp_path / "out.zarr", "lab")
    check(tmp_path / "out.zarr", mixed, "lab")
    tree = mixed.to_datatree()
    assert list(tree["a/low/1"].data_vars) == ["a"]


def test_labels_have_no_mean_and_no_std_but_a_count() -> None:
    labels = field().rename("cell_ids")
    with pytest.raises(errors.PlanError, match="'std' of labels"):
        build(labels, ["mode", "std"], kind="labels")
    made = build(labels, ["mode", "count"])
    assert [p.kind for p in made.values()] == ["labels", "image"]


# Where it is written


def test_the_group_is_that_of_the_array_unless_one_is_named(tmp_path: Path) -> None:
    made = build(field(), ["mean", "max"])
    made.to_ome_zarr(tmp_path / "out.zarr")
    made.to_ome_zarr(tmp_path / "out.zarr", "lab/run")
    made.to_ome_zarr(tmp_path / "root.zarr", "")
    check(tmp_path / "out.zarr", made)
    check(tmp_path / "out.zarr", made, "lab/run")
    assert {*xpyramid.open_pyramids(tmp_path / "root.zarr")} == {"mean", "max"}
    unnamed = build(field().rename(None), ["mean", "max"])
    with pytest.raises(errors.InvalidNameError, match="no name"):
        unnamed.to_ome_zarr(tmp_path / "other.zarr")
    unnamed.to_ome_zarr(tmp_path / "other.zarr", "it")
    check(tmp_path / "other.zarr", unnamed, "it")


def test_build_and_write_in_one_call() -> None:
    store = MemoryStore()
    field().pyramid.to_ome_zarr(store, levels=2, method=["mean", "max"])
    assert {*xpyramid.open_pyramids(store)} == {"field/mean", "field/max"}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "field.npy", values())
    source, target = str(tmp_path / "field.npy"), str(tmp_path / "out.zarr")
    assert main(["build", source, target, "--levels", "2", "--method", "mean,max"]) == 0
    assert f"written to {target}/field: mean, max, 2 levels each" in capsys.readouterr().out
    more = ["--method", "low=min,many=count", "--group", "other", "--levels", "2"]
    assert main(["build", source, target, *more]) == 0
    names = {"field/mean", "field/max", "other/low", "other/many"}
    assert {*xpyramid.open_pyramids(target)} == names
    assert main(["build", source, target, "--method", "statistics", "--group", "all"]) == 0
    assert main(["build", source, target, "--method", "mean,maxx"]) == 2
    assert "did you mean 'max'" in capsys.readouterr().err
    assert main(["build", source, target, "--method", "low=min,max"]) == 2
    assert "accepted: one method, several, or several with names" in capsys.readouterr().err


# Once


def source(store: Any) -> xr.DataArray:
    encoding = {"field": {"chunks": (CHUNK, CHUNK)}}
    field().to_dataset().to_zarr(store, encoding=encoding, zarr_format=3, consolidated=False)
    return xr.open_zarr(store, chunks=None, consolidated=False).field


@pytest.mark.parametrize("lazily", [True, False])
def test_level_0_is_read_once(lazily: bool, tmp_path: Path) -> None:
    store = CountingStore()
    array = source(store)
    if lazily:
        array = array.chunk(y=CHUNK, x=CHUNK)
    made = build(array, "statistics")
    store.log.clear()
    made.to_ome_zarr(tmp_path / "out.zarr")
    read = Counter(store.chunks("get"))
    assert len(read) == 12
    assert set(read.values()) == {1}
    check(tmp_path / "out.zarr", made)


@pytest.mark.parametrize(("shards", "kind"), spread(2, [None, 2 * CHUNK], ["in memory", "dask"]))
def test_level_0_is_encoded_once(
    kind: str, shards: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Counter[bytes]()
    encode = Codec.encode

    def counted(self: Codec, chunk: Any) -> bytes:
        encoded[np.ascontiguousarray(chunk).tobytes()] += 1
        return encode(self, chunk)

    monkeypatch.setattr(Codec, "encode", counted)
    data = values() if kind == "in memory" else da.from_array(values(), chunks=CHUNK)
    made = build(field(data), ["mean", "min", "max", "median"])
    made.to_ome_zarr(tmp_path / "out.zarr", shards=shards)
    chunks = [values()[y : y + 8, x : x + 8] for y in range(0, 32, 8) for x in range(0, 24, 8)]
    assert [encoded[chunk.tobytes()] for chunk in chunks] == [1] * 12
    check(tmp_path / "out.zarr", made)


def test_level_0_is_encoded_once_for_other_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Counter[int]()
    encode = Zstd.encode
    monkeypatch.setattr(
        Zstd, "encode", lambda self, b: sizes.update([memoryview(b).nbytes]) or encode(self, b)
    )
    counts = []
    for methods in ("mean", ["mean", "max"]):
        sizes.clear()
        store = MemoryStore()
        array = field().astype("u4")
        array.pyramid.to_ome_zarr(store, levels=2, factor=2, chunks=(32, 24), method=methods)
        counts.append((sizes[32 * 24 * 4], sizes[16 * 12 * 4]))
    assert counts == [(1, 1), (1, 2)]


def base_files(path: Path, name: str) -> list[Path]:
    return sorted(p for p in (path / f"field/{name}/0/field/c").rglob("*") if p.is_file())


def test_level_0_is_stored_once_on_disks_that_can_do_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(field(), ["mean", "min", "max"])
    made.to_ome_zarr(tmp_path / "linked.zarr")
    files = [base_files(tmp_path / "linked.zarr", name) for name in made]
    assert [len(one) for one in files] == [12] * 3
    for one, two, three in zip(*files, strict=True):
        assert one.stat().st_ino == two.stat().st_ino == three.stat().st_ino

    link = os.link

    def refuse(source: Any, target: Any, **options: Any) -> None:
        if "/c/" in str(source):
            raise OSError(1, "no links here")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", refuse)
    made.to_ome_zarr(tmp_path / "copied.zarr")
    for name in made:
        pairs = zip(
            base_files(tmp_path / "copied.zarr", name),
            base_files(tmp_path / "linked.zarr", name),
            strict=True,
        )
        assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)
    assert not list(tmp_path.rglob("*.partial"))
    check(tmp_path / "copied.zarr", made)


def test_what_is_written_to_one_image_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    made = build(field(), ["mean", "max"])
    made.to_ome_zarr(out)
    zarr.open_array(out / "field/max/0/field")[3:5, 4] = 60000
    np.testing.assert_array_equal(xpyramid.open_pyramid(out, "field/mean")[0], values())
    assert xpyramid.verify(out / "field/mean", deep=True) == []
    xpyramid.update(out, "field/max")
    assert xpyramid.verify(out, deep=True) == []
    assert xpyramid.open_pyramid(out, "field/max")[2].values[0, 1] == 60000
    np.testing.assert_array_equal(xpyramid.open_pyramid(out, "field/mean")[0], values())


def test_images_with_other_ways_of_storing_share_nothing(tmp_path: Path) -> None:
    """Only what has the same form has the same bytes."""
    array = field()
    made = xpyramid.Pyramids(
        {f"chunks {n}": array.pyramid.build(levels=2, chunks=n) for n in (8, 4)}, name="field"
    )
    made.to_ome_zarr(tmp_path / "out.zarr")
    check(tmp_path / "out.zarr", made)


# Broken off, and gone on with


class EnoughError(Exception):
    pass


def broken_off(pyramids: xpyramid.Pyramids, path: Path, after: int) -> None:
    """Break a build off when so many documents are in journals."""
    save, saved = Journal.save, []

    def fail(self: Journal, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(self.place)
        if len(saved) == after:
            raise EnoughError

    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="sync"):
        patch.setattr(Journal, "save", fail)
        with pytest.raises(EnoughError):
            pyramids.to_ome_zarr(path)


@pytest.mark.parametrize("after", quick_if(lambda after: after == 3, [1, 3, 8]))
def test_a_build_is_resumed(after: int, tmp_path: Path) -> None:
    array = field(np.where(values() < 500, np.nan, values()).astype("f4"))
    made = build(array, "statistics")
    broken_off(made, tmp_path / "out.zarr", after)
    with dask.config.set(scheduler="sync"):
        made.to_ome_zarr(tmp_path / "out.zarr", resume=True)
    check(tmp_path / "out.zarr", made)
    made.to_ome_zarr(tmp_path / "whole.zarr")
    for path in (tmp_path / "whole.zarr").rglob("*"):
        if path.is_file():
            other = tmp_path / "out.zarr" / path.relative_to(tmp_path / "whole.zarr")
            assert other.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("method", ["std", "count"])
def test_another_input_is_not_gone_on_with(method: str, tmp_path: Path) -> None:
    """Though level 0 of these is the same for both."""
    array = field(np.where(values() < 500, np.nan, values()).astype("f4"))
    broken_off(build(array, [method]), tmp_path / "out.zarr", 3)
    other = build(field(np.where(values() < 600, np.nan, values() * 2).astype("f4")), [method])
    with pytest.raises(errors.ResumeError, match="another input"):
        other.to_ome_zarr(tmp_path / "out.zarr", resume=True)


def test_they_are_written_later(tmp_path: Path) -> None:
    made = build(field(), "statistics")
    dask.compute(made.to_ome_zarr(tmp_path / "out.zarr", compute=False))
    check(tmp_path / "out.zarr", made)


def test_what_cannot_be_written_to_one_place_is_said_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(field(), ["mean", "max"])
    store = ZarrSink.store

    def fail(self: ZarrSink, region: tuple[slice, ...], encoded: Sequence[Any]) -> Any:
        if "field/max" in self.name:
            with self._naming(region):
                raise OSError(28, "No space left on device")
        return store(self, region, encoded)

    with monkeypatch.context() as patch:
        patch.setattr(ZarrSink, "store", fail)
        with pytest.raises(errors.StorageError, match=r"field/max/0.*chunk \(\d, \d\)"):
            made.to_ome_zarr(tmp_path / "out.zarr")
    made.to_ome_zarr(tmp_path / "out.zarr", resume=True)
    check(tmp_path / "out.zarr", made)


# What each image is


def test_level_0_of_std_and_count_says_where_samples_count(tmp_path: Path) -> None:
    gaps = values().astype("f4")
    gaps[:3, :5] = np.nan
    field(gaps).pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, method=["std", "count"])
    std, count = (
        xpyramid.open_pyramid(tmp_path / "out.zarr", f"field/{m}") for m in ("std", "count")
    )
    np.testing.assert_array_equal(std[0], np.where(np.isnan(gaps), np.nan, 0))
    np.testing.assert_array_equal(count[0], ~np.isnan(gaps))
    expected = field(gaps).coarsen(y=2, x=2).std()
    np.testing.assert_allclose(std[1], expected, rtol=1e-6)
    np.testing.assert_array_equal(count[1], field(gaps).coarsen(y=2, x=2).count())
    assert std[1].dtype == np.float32
    assert count[1].dtype == np.uint8


def test_zeros_of_std_are_not_stored(tmp_path: Path) -> None:
    build(field(), ["std"]).to_ome_zarr(tmp_path / "out.zarr")
    assert not base_files(tmp_path / "out.zarr", "std")
    assert xpyramid.verify(tmp_path / "out.zarr", deep=True) == []
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "out.zarr", "field/std")[0], 0)


def test_attributes_of_std_and_count_are_true_of_them() -> None:
    array = field(values().astype("i2"), units="K", _FillValue=np.int16(1), long_name="it",
                  standard_name="air_temperature", scale_factor=0.5, add_offset=3.0)  # fmt: skip
    made = build(array, ["std", "count"])
    for k in range(2):
        assert made["std"][k].attrs == {
            "units": "K", "long_name": "it", "standard_name": "air_temperature", "scale_factor": 0.5
        }  # fmt: skip
        assert made["count"][k].attrs == {"long_name": "it"}
    np.testing.assert_array_equal(np.isnan(made["std"][0]), values() == 1)


def test_windows_of_viewers_are_those_of_level_1_where_level_0_says_nothing(tmp_path: Path) -> None:
    made = build(field(), "statistics")
    made.to_ome_zarr(tmp_path / "out.zarr")
    for name in ("mean", "std", "min", "max"):
        group = zarr.open_group(tmp_path / f"out.zarr/field/{name}", mode="r")
        window = group.attrs["ome"]["omero"]["channels"][0]["window"]
        seen = made[name][1 if name == "std" else 0].values
        assert (window["min"], window["max"]) == (seen.min(), seen.max())


def test_windows_of_counts_stay_when_level_0_changes(tmp_path: Path) -> None:
    build(field(), ["count"]).to_ome_zarr(tmp_path / "out.zarr")
    place = tmp_path / "out.zarr/field/count"
    before = zarr.open_group(place, mode="r").attrs["ome"]["omero"]
    zarr.open_array(place / "0/field")[:4, :4] = 0
    xpyramid.update(place)
    assert zarr.open_group(place, mode="r").attrs["ome"]["omero"] == before
    assert xpyramid.verify(place, deep=True) == []


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    made = build(field(), "statistics")
    made.to_ome_zarr(tmp_path / "out.zarr")
    return tmp_path / "out.zarr"


def test_what_verify_says_of_wrong_values(stored: Path) -> None:
    for name in STATISTICS:
        array = zarr.open_array(stored / f"field/{name}/2/field")
        array[0, 0] = array[0, 0] + 7
    report = xpyramid.verify(stored, deep=True)
    wrong = {p.where.split("/")[1] for p in report if p.kind == "values"}
    changed = {p.where.split("/")[1] for p in report}
    assert wrong == {"mean", "min", "max", "count"}
    assert changed == {*STATISTICS}  # by its checksum
    (note,) = report.notes
    assert "field/std" in note
    assert "made from samples, which its image does not hold" in note


def test_what_is_missing_is_made_again_where_that_can_be(stored: Path) -> None:
    before = {name: xpyramid.open_pyramid(stored, f"field/{name}")[1].values for name in STATISTICS}
    for name in STATISTICS:
        (stored / f"field/{name}/1/field/c/0/0").unlink()
    report = xpyramid.repair(stored)
    assert {p.where for p in report} == {"field/std/1/field/c/0/0"}
    for name in ("mean", "min", "max", "count"):
        got = xpyramid.open_pyramid(stored, f"field/{name}")[1].values
        np.testing.assert_array_equal(got, before[name])


def test_counts_are_updated_from_level_0_of_their_image(stored: Path) -> None:
    zarr.open_array(stored / "field/count/0/field")[:4, :4] = 0
    xpyramid.update(stored, "field/count")
    assert xpyramid.open_pyramid(stored, "field/count")[2].values[0, :2].tolist() == [0, 16]
    with pytest.raises(errors.NotAPyramidError, match="cannot be made again"):
        xpyramid.update(stored, "field/std", {"y": slice(0, 2)})


@pytest.mark.parametrize("name", ["mean", "max"])
def test_levels_are_added_to_one_image(name: str, stored: Path) -> None:
    xpyramid.drop_levels(stored, f"field/{name}", levels=1)
    xpyramid.add_levels(stored, f"field/{name}", levels=3, factor=2, method=name)
    assert xpyramid.verify(stored, deep=True) == []


@pytest.mark.parametrize("name", ["std", "count"])
def test_no_levels_are_added_to_what_holds_no_samples(name: str, stored: Path) -> None:
    with pytest.raises(errors.NotAPyramidError, match="does not hold the samples"):
        xpyramid.add_levels(stored, f"field/{name}", levels=4, method=name)
    with pytest.raises(errors.NotAPyramidError):
        field().pyramid.append(stored, f"field/{name}", "y")


@pytest.mark.parametrize("method", ["std", "count"])
def test_std_and_count_are_no_levels_beside_samples(method: str, tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "in.zarr", mode="w")
    group.create_array("0", data=values().astype("f4"), chunks=(8, 8), dimension_names=("y", "x"))
    with pytest.raises(errors.PlanError, match=f"'{method}' beside the samples"):
        xpyramid.add_levels(tmp_path / "in.zarr", levels=2, method=method)
    with pytest.raises(errors.PlanError, match="accepted: count, max"):
        xpyramid.add_levels(tmp_path / "in.zarr", levels=2, method=["mean", "max"])


@pytest.mark.parametrize("dtype", ["M8[ns]", "m8[s]", "c8"])
def test_std_of_what_has_none(dtype: str) -> None:
    data = values().astype("i8").astype(dtype)
    with pytest.raises(errors.DtypeError, match="std of dtype"):
        build(field(data), "std")
    assert int(build(field(data), "count")[2].max()) == 16


def test_images_are_appended_to_together(tmp_path: Path) -> None:
    film = xr.DataArray(np.stack([values()] * 3), dims=("t", "y", "x"), name="film")
    options: dict[str, Any] = {"levels": 2, "chunks": CHUNK, "method": ["mean", "max"]}
    store = tmp_path / "out.zarr"
    film[:2].pyramid.to_ome_zarr(store, append_dim="t", **options)
    film[2:].pyramid.to_ome_zarr(store, append_dim="t", **options)
    for name in ("mean", "max"):
        whole = film.pyramid.build(levels=2, chunks=CHUNK, method=name)
        for got, want in zip(xpyramid.open_pyramid(store, f"film/{name}"), whole, strict=True):
            np.testing.assert_array_equal(got, want)
    assert xpyramid.verify(store, deep=True) == []


CHANGES: dict[str, Callable[[Any], Any]] = {"u1": np.uint8, "f8": np.float64}


@pytest.mark.parametrize("dtype", list(CHANGES))
def test_memory_and_cost_are_those_of_the_samples_that_are_read(dtype: str) -> None:
    made = build(field(CHANGES[dtype](values())), "statistics")
    read = {name: p.plan.cost(workers=1).bytes_read for name, p in made.items()}
    assert set(read.values()) == {32 * 24 * np.dtype(dtype).itemsize}
    written = made["count"].plan.cost(workers=1).bytes_written
    assert written == made["count"].nbytes == 32 * 24 + 16 * 12 + 8 * 6
