"""Stored images that get longer: the result is what writing all of it at once would be."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import quick_if, spread
from helpers.stores import KINDS, empty_store
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.geometry import passes, tiles
from xpyramid.growth import session
from xpyramid.store import documents
from xpyramid.writer.sinks import PartSink


def film(length: int = 7, shape: tuple[int, ...] = (20, 18), seed: int = 0) -> xr.DataArray:
    data = np.random.default_rng(seed).integers(1, 60000, (length, *shape)).astype("u2")
    coords = {"t": 0.5 * np.arange(length), "y": 1.0 + np.arange(shape[-2]), "x": 2.0}
    coords |= {"x": 0.25 * np.arange(shape[-1])}
    return xr.DataArray(data, coords, ("t", *"zyx"[-len(shape) :]), "film")


def stack() -> xr.DataArray:
    data = np.random.default_rng(1).integers(1, 60000, (21, 17, 9)).astype("u2")
    return xr.DataArray(data, {"z": 2.0 * np.arange(21)}, ("z", "y", "x"), "film")


OPTIONS: dict[str, Any] = {
    "levels": 3, "factor": {"y": 2, "x": 2}, "chunks": {"t": 1, "y": 8, "x": 8}, "omero": False,
    "progress": False,
}  # fmt: skip


def grow(store: Any, array: xr.DataArray, dim: str, cuts: Sequence[int], **options: Any) -> None:
    """Write a first part, and append the others."""
    for start, stop in pairwise([0, *cuts, array.sizes[dim]]):
        part = array.isel({dim: slice(start, stop)})
        if start == 0:
            part.pyramid.to_ome_zarr(store, **{**OPTIONS, **options})
        else:
            part.pyramid.append(store, dim=dim, progress=False)


def files(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def check_same(store: Any, other: Any, group: str = "film") -> None:
    pairs = zip(
        xpyramid.open_pyramid(store, group), xpyramid.open_pyramid(other, group), strict=True
    )
    for level, wanted in pairs:
        xr.testing.assert_identical(level.load(), wanted.load())
    assert xpyramid.verify(store, deep=True) == []


FORMS: dict[str, dict[str, Any]] = {
    "v3": {}, "v2": {"version": "0.4"}, "0.6": {"version": "0.6"}, "arrays": {"layout": "arrays"},
    "source": {"names": "source"}, "mode": {"method": "mode"}, "median": {"method": "median"},
}  # fmt: skip


@pytest.mark.parametrize("form", quick_if(lambda form: form in ("v3", "v2", "arrays"), FORMS))
def test_the_same_files_as_of_one_call(form: str, tmp_path: Path) -> None:
    grow(tmp_path / "a.zarr", film(), "t", [3, 4], **FORMS[form])
    film().pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS, **FORMS[form])
    check_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    grown, at_once = files(tmp_path / "a.zarr"), files(tmp_path / "b.zarr")
    own = {key for key in at_once if (key.count("/") == 1 and "zarr.json" in key) or "/.z" in key}
    assert {k: v for k, v in grown.items() if k not in own} == {
        k: v for k, v in at_once.items() if k not in own
    }
    name = ".zattrs" if form == "v2" else "zarr.json"
    records = []
    for written in (grown, at_once):
        content = json.loads(written[f"film/{name}"])
        attributes = content if form == "v2" else content["attributes"]
        sealed = attributes["xpyramid"]["sealed"]
        records.append({key: sealed[key] for key in ("objects", "documents", "attributes")})
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("chunks", "shards", "cuts"),
    quick_if(
        lambda *case: case[-1] == [4, 5, 6],
        [(3, None, [3, 5]), (3, None, [4, 5, 6]), (1, {"t": 4, "y": 16, "x": 16}, [4, 5, 6])],
    ),
)
def test_chunks_that_hold_several_steps(
    chunks: int, shards: Any, cuts: list[int], tmp_path: Path
) -> None:
    options = {"chunks": {"t": chunks, "y": 8, "x": 8}, "shards": shards}
    grow(tmp_path / "a.zarr", film(), "t", cuts, **options)
    film().pyramid.to_ome_zarr(tmp_path / "b.zarr", **{**OPTIONS, **options})
    check_same(tmp_path / "a.zarr", tmp_path / "b.zarr")


@pytest.mark.parametrize(
    "options",
    quick_if(
        lambda options: "boundary" in options,
        [
            {"factor": 2, "chunks": 4}, {"factor": 3, "chunks": 4, "boundary": "trim"},
            {"factor": 2, "chunks": 4, "layout": "arrays"}, {"factor": 2, "chunks": 4, "shards": 8},
            {"factor": 2, "chunks": 4, "method": "median"},
            {"factor": 2, "chunks": 4, "version": "0.4"},
        ],
    ),
)  # fmt: skip
def test_along_a_coarsened_dimension(options: dict[str, Any], tmp_path: Path) -> None:
    grow(tmp_path / "a.zarr", stack(), "z", [13, 14, 18], **options)
    stack().pyramid.to_ome_zarr(tmp_path / "b.zarr", **{**OPTIONS, **options})
    check_same(tmp_path / "a.zarr", tmp_path / "b.zarr")


COORDINATES: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "none": lambda array: array.drop_vars("t"),
    "one before": lambda array: array,
    "dates": lambda a: a.assign_coords(t=np.datetime64("2020-01-01", "ns") + 6 * np.arange(7)),
    "uneven": lambda array: array.assign_coords(t=[0, 0.1, 0.5, 2, 3, 3.5, 9]),
    "down": lambda array: array.assign_coords(t=-array.t),
    "others": lambda array: array.assign_coords(
        exposure=("t", 3.0 * np.arange(7)), name=("t", list("abcdefg")),
        drift=(("t", "y"), np.random.default_rng(2).random((7, 20))),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "layout"), spread(2, [*COORDINATES], ["groups", "arrays"]))
def test_coordinates_go_on(kind: str, layout: str, tmp_path: Path) -> None:
    array = COORDINATES[kind](film())
    cuts = [1, 2, 5] if kind == "one before" else [3, 5]
    grow(tmp_path / "a.zarr", array, "t", cuts, layout=layout)
    array.pyramid.to_ome_zarr(tmp_path / "b.zarr", layout=layout, **OPTIONS)
    check_same(tmp_path / "a.zarr", tmp_path / "b.zarr")
    scales = [
        [d["coordinateTransformations"] for d in xpyramid.open_pyramid(tmp_path / name, "film")
         .metadata["multiscales"][0]["datasets"]]
        for name in ("a.zarr", "b.zarr")
    ]  # fmt: skip
    assert scales[0] == scales[1]


def test_an_even_coordinate_goes_on_by_itself() -> None:
    store, array = MemoryStore(), film()
    array[:3].pyramid.to_ome_zarr(store, **OPTIONS)
    array[3:5].drop_vars("t").pyramid.append(store)
    array[5].drop_vars("t").pyramid.append(store)  # a single frame
    assert xpyramid.open_pyramid(store, "film")[2].t.values.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


REFUSED: dict[str, tuple[Callable[[xr.DataArray], xr.DataArray], type[Exception], str]] = {
    "overlap": (lambda a: a.assign_coords(t=[1.0, 1.5]), errors.AxisError, "at 1.0.*begin at 1.0"),
    "gap": (lambda a: a.assign_coords(t=[4.0, 4.5]), errors.AxisError, "step is 0.5.*1.0.*at 4.0"),
    "back": (lambda a: a.assign_coords(t=[-1.0, -0.5]), errors.AxisError, "do not follow"),
    "dates": (lambda a: a.assign_coords(t=np.array(["2020", "2021"], "M8[ns]")), errors.AxisError,
              "dtype"),
    "dtype": (lambda a: a.astype("f4"), errors.DtypeError, "float32; accepted: that of .*uint16"),
    "order": (lambda a: a.transpose("y", "x", "t"), errors.AxisError, r"transpose"),
    "dims": (lambda a: a.rename(y="row"), errors.AxisError, "row"),
    "lengths": (lambda a: a[:, :7], errors.AxisError, "7 samples along 'y'"),
    "places": (lambda a: a.assign_coords(y=a.y + 5), errors.PlanError, "6.0 where it has 1.0"),
    "units": (lambda a: a.assign_attrs(units="K"), errors.PlanError, "units 'K'.*'degC'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_continue_an_image_is_refused(case: str, tmp_path: Path) -> None:
    change, kind, message = REFUSED[case]
    array = film(5).assign_attrs(units="degC")
    array[:3].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    before = files(tmp_path)
    with pytest.raises(kind, match=message):
        change(array[3:]).pyramid.append(tmp_path / "a.zarr", "film")
    assert files(tmp_path) == before


def test_a_gap_on_request(tmp_path: Path) -> None:
    array = film(5).assign_coords(t=[0, 0.5, 1, 4, 4.5])
    array[:3].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    array[3:].pyramid.append(tmp_path / "a.zarr", irregular="approximate")
    array.pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
    check_same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def test_places_where_nothing_can_be_appended(tmp_path: Path) -> None:
    array = film()
    with pytest.raises(errors.NotAPyramidError, match="to_ome_zarr"):
        array.pyramid.append(tmp_path / "a.zarr")
    array[:3].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    with pytest.raises(errors.PlanError, match="accepted: 't', 'y', 'x'"):
        array[3:].pyramid.append(tmp_path / "a.zarr", dim="q")
    opened = xpyramid.open_pyramid(tmp_path / "a.zarr", "film")[0]
    with pytest.raises(errors.SourceOverlapError):
        opened.assign_coords(t=opened.t + 1.5).pyramid.append(tmp_path / "a.zarr")
    exact = stack()[:16, :16, :8]
    exact[:8].pyramid.to_ome_zarr(tmp_path / "b.zarr", levels=3, boundary="exact", progress=False)
    with pytest.raises(errors.PlanError, match="multiples of 2"):
        exact[8:13].pyramid.append(tmp_path / "b.zarr", dim="z")
    with pytest.raises(errors.PlanError, match="no dimension of time"):
        exact[8:].pyramid.append(tmp_path / "b.zarr")


def test_the_words_of_xarray(tmp_path: Path) -> None:
    array, store = film(), tmp_path / "a.zarr"
    for start, stop in ((0, 3), (3, 4), (4, 7)):
        array[start:stop].pyramid.to_ome_zarr(store, append_dim="t", **OPTIONS)
    array.pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
    check_same(store, tmp_path / "b.zarr")
    for options, message in (
        ({"mode": "w"}, "mode='w'"), ({"compute": False}, "compute=False"),
        ({"levels": 2}, "levels 3 there, 2 here"), ({"method": "max"}, "method 'mean' there"),
    ):  # fmt: skip
        with pytest.raises(errors.PlanError, match=message):
            array.pyramid.to_ome_zarr(store, append_dim="t", **{**OPTIONS, **options})


def test_variables_grow_together(tmp_path: Path) -> None:
    both = film().to_dataset(name="a").assign(b=film(seed=1), number=3)
    both.isel(t=slice(0, 4)).pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    both.isel(t=slice(4, 7)).pyramid.append(tmp_path / "a.zarr")
    both.pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
    for name in ("a", "b"):
        check_same(tmp_path / "a.zarr", tmp_path / "b.zarr", name)
    with pytest.raises(errors.NotAPyramidError, match="no image of c"):
        both[["a"]].rename(a="c").pyramid.append(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", quick_if(lambda kind: kind in ("fsspec", "icechunk"), KINDS))
def test_stores_of_all_kinds(kind: Any, tmp_path: Path) -> None:
    store = empty_store(kind, tmp_path)
    grow(store, film(), "t", [3, 4])
    film().pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
    for level, wanted in zip(
        xpyramid.open_pyramid(store, "film"), xpyramid.open_pyramid(tmp_path / "b.zarr", "film"),
        strict=True,
    ):  # fmt: skip
        xr.testing.assert_identical(level.load(), wanted.load())
    assert xpyramid.verify(store, deep=True) == []


def test_levels_that_were_added_to_an_array_of_others(tmp_path: Path) -> None:
    array = film().drop_vars(["t", "y", "x"])
    base = zarr.create_array(
        tmp_path / "a.zarr", name="film/0", data=array.values[:3], chunks=(1, 8, 8),
        dimension_names=("t", "y", "x"),
    )  # fmt: skip
    xpyramid.add_levels(tmp_path / "a.zarr", "film", levels=3, factor={"y": 2, "x": 2})
    array[3:].pyramid.append(tmp_path / "a.zarr")
    base = zarr.open_array(tmp_path / "a.zarr", path="film/0")
    np.testing.assert_array_equal(base[:], array)
    expected = array.pyramid.build(levels=3, factor={"y": 2, "x": 2})
    for level, wanted in zip(
        xpyramid.open_pyramid(tmp_path / "a.zarr", "film"), expected, strict=True
    ):
        np.testing.assert_array_equal(level, wanted)
    assert xpyramid.verify(tmp_path / "a.zarr", deep=True) == []


@pytest.mark.parametrize("chunk", [1, 3])
def test_who_reads_an_image_while_it_grows(chunk: int, tmp_path: Path) -> None:
    options = {**OPTIONS, "chunks": {"t": chunk, "y": 8, "x": 8}}
    film()[:4].pyramid.to_ome_zarr(tmp_path / "a.zarr", **options)
    before = xpyramid.open_pyramid(tmp_path / "a.zarr", "film")
    film()[4:].pyramid.append(tmp_path / "a.zarr")
    if chunk == 1:  # all that was there is as it was
        np.testing.assert_array_equal(before[0], film()[:4])
    else:
        with pytest.raises(errors.ReplacedError):
            before[0].load()
    film()[:3].pyramid.to_ome_zarr(tmp_path / "a.zarr", mode="w", **options)
    with pytest.raises(errors.ReplacedError):
        before[1].load()


@pytest.mark.parametrize(
    "options",
    [{}, {"version": "0.4"}, {"layout": "arrays"}, {"chunks": {"t": 3, "y": 8, "x": 8}}],
    ids=str,
)
def test_who_opens_an_image_while_it_grows(
    options: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    store, seen, put = tmp_path / "a.zarr", list[int](), session.put
    film()[:4].pyramid.to_ome_zarr(store, **{**OPTIONS, **options})

    def looking(place: Any, changed: Any) -> None:
        for key, document in changed.items():
            put(place, {key: document})
            opened = xpyramid.open_pyramid(store, "film")
            (length,) = {level.sizes["t"] for level in opened}
            np.testing.assert_array_equal(opened[0], film()[:length])
            assert opened[2].t.values.tolist() == film().t.values[:length].tolist()
            seen.append(length)

    for module in (session, documents):
        monkeypatch.setattr(module, "put", looking)
    film()[4:].pyramid.append(store)
    assert seen == sorted(seen)
    assert {*seen} == {4, 7}


def windows(store: Any) -> Any:
    metadata: Any = xpyramid.open_pyramid(store, "film").metadata
    return [channel["window"] for channel in metadata["omero"]["channels"]]


@pytest.mark.parametrize(
    ("chunk", "dtype"),
    quick_if(lambda *case: case == (3, "u2"), [(1, "f4"), (1, "u2"), (3, "f4"), (3, "u2")]),
)
def test_windows_are_those_of_all_samples(chunk: int, dtype: Any, tmp_path: Path) -> None:
    array = (film(9) // 10).astype(dtype).expand_dims(c=["a", "b"], axis=1)
    array = array * xr.DataArray(np.arange(1, 10, dtype=dtype), dims="t")  # brighter and brighter
    array = array.rename("film")
    options = {**OPTIONS, "omero": None, "chunks": {"t": chunk, "y": 8, "x": 8}}
    array.pyramid.to_ome_zarr(tmp_path / "b.zarr", **options)
    for stop in (4, 5, 9):
        start = {4: 0, 5: 4, 9: 5}[stop]
        part = array[start:stop]
        part.pyramid.to_ome_zarr(tmp_path / "a.zarr", append_dim="t", **options)
        array[:stop].pyramid.to_ome_zarr(tmp_path / f"{stop}.zarr", **options)
        assert windows(tmp_path / "a.zarr") == windows(tmp_path / f"{stop}.zarr")
    with xpyramid.Appender(tmp_path / "c.zarr", "film", **options_of_appender(options)) as out:
        for i, frame in enumerate(array):
            out.append(frame)
            stored = windows(tmp_path / "c.zarr")
            assert stored[0]["max"] == array.values[: i + 1, 0].max()
    assert windows(tmp_path / "c.zarr") == windows(tmp_path / "b.zarr")
    zarr.open_array(tmp_path / "a.zarr", path="film/0/film")[0, 1, 2, 3] = 1
    array.values[0, 1, 2, 3] = 1
    xpyramid.update(tmp_path / "a.zarr", "film", {"t": 0, "y": 2, "x": 3})
    array.pyramid.to_ome_zarr(tmp_path / "b.zarr", mode="w", **options)
    assert windows(tmp_path / "a.zarr") == windows(tmp_path / "b.zarr")
    check_same(tmp_path / "a.zarr", tmp_path / "b.zarr")


def options_of_appender(options: dict[str, Any]) -> dict[str, Any]:
    chunks = {**options["chunks"], "t": 1}  # no longer than the first call
    return {**{k: v for k, v in options.items() if k != "progress"}, "chunks": chunks}


def test_what_was_counted_is_not_read_again(tmp_path: Path, monkeypatch: Any) -> None:
    options = {**OPTIONS, "omero": None}
    film(7).pyramid.to_ome_zarr(tmp_path / "a.zarr", **options)
    more = film(9, seed=1)[7:]
    more[:1].pyramid.append(tmp_path / "a.zarr")  # of an image of one section, nothing is kept
    monkeypatch.setattr(session, "count_again", lambda *_: 1 / 0)
    more[1:].pyramid.append(tmp_path / "a.zarr")
    both = xr.concat([film(7), more], "t")
    both.pyramid.to_ome_zarr(tmp_path / "b.zarr", **options)
    assert windows(tmp_path / "a.zarr") == windows(tmp_path / "b.zarr")


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    film()[:4].pyramid.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
    with xpyramid.Appender(tmp_path / "a.zarr", "film") as out:
        with pytest.raises(errors.TargetBusyError):
            film()[4:].pyramid.append(tmp_path / "a.zarr")
        out.append(film()[4:])
    assert xpyramid.open_pyramid(tmp_path / "a.zarr", "film")[0].sizes["t"] == 7


def test_a_call_that_broke_off_is_resumed(tmp_path: Path, monkeypatch: Any) -> None:
    for module in (passes, tiles):
        monkeypatch.setattr(module, "LEAF_BYTES", 600)
    monkeypatch.setattr(passes, "TILE_BYTES", 1200)
    store, written, write = tmp_path / "a.zarr", list[str](), PartSink.__call__

    def fails_in_the_end(self: Any, region: Any, values: Any) -> Any:
        if len(written) == 30:
            raise OSError("no more")
        written.append(f"{self.path} {region}")
        return write(self, region, values)

    film()[:3].pyramid.to_ome_zarr(store, **OPTIONS)
    with monkeypatch.context() as patched, dask.config.set(scheduler="sync"):
        patched.setattr(PartSink, "__call__", fails_in_the_end)
        with pytest.raises(errors.StorageError, match="no more") as caught:
            film()[3:].pyramid.append(store)
        assert "unfinished" in "".join(caught.value.__notes__)
        kinds = {problem.kind for problem in xpyramid.verify(store)}
        assert {"unfinished"} <= kinds <= {"unfinished", "stray", "record"}
        np.testing.assert_array_equal(xpyramid.open_pyramid(store, "film")[0], film()[:3])
        first, other = {*written}, (film() + 1)[3:].astype("u2")
        with pytest.raises(errors.ResumeError, match="differ from what is stored"):
            other.pyramid.append(store, resume=True)
        written.clear()
        film()[3:].pyramid.append(store, resume=True)
    assert first - {*written}  # which are finished, and not written again
    film().pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
    check_same(store, tmp_path / "b.zarr")


def test_what_a_call_has_left_goes_with_the_next(tmp_path: Path, monkeypatch: Any) -> None:
    store = tmp_path / "a.zarr"
    film()[:3].pyramid.to_ome_zarr(store, **OPTIONS)
    with monkeypatch.context() as patched:
        patched.setattr(session, "finish_levels", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            film()[3:].pyramid.append(store)
    film()[3:4].pyramid.append(store)  # shorter than what was begun
    film()[:4].pyramid.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
    check_same(store, tmp_path / "b.zarr")
    assert files(store).keys() == files(tmp_path / "b.zarr").keys()


@st.composite
def growths(draw: st.DrawFn) -> tuple[xr.DataArray, str, list[int], dict[str, Any]]:
    ndim = draw(st.integers(2, 4))
    dims = "tzyx"[-ndim:]
    shape = [draw(st.integers(1, 9)) for _ in dims]
    dim = draw(st.sampled_from(list(dims)))
    at = dims.index(dim)
    shape[at] = draw(st.integers(2, 12))
    dtype = draw(st.sampled_from(["u1", "f4"]))
    data = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 9, shape).astype(dtype)
    cuts = draw(st.lists(st.integers(1, shape[at] - 1), unique=True, max_size=3))
    coarsened = draw(st.lists(st.sampled_from(list(dims)), unique=True, min_size=1))
    chunks = {d: draw(st.integers(1, 5)) for d in dims}
    lengths = dict(zip(dims, shape, strict=True))
    lengths[dim] = min([shape[at], *cuts])  # chunks are no longer than what is written first
    chunks = {d: min(n, lengths[d]) for d, n in chunks.items()}
    shards = {d: 2 * n for d, n in chunks.items()}
    options = {
        "factor": [dict.fromkeys(coarsened, 2)] * draw(st.integers(1, 2)), "chunks": chunks,
        "shards": draw(st.sampled_from([None, shards])),
        "boundary": draw(st.sampled_from(["pad", "trim"])), "levels": None,
        "method": draw(st.sampled_from(["mean", "max"])),
    }  # fmt: skip
    return xr.DataArray(data, dims=list(dims), name="film"), dim, sorted(cuts), options


def check_growth(case: tuple[xr.DataArray, str, list[int], dict[str, Any]]) -> None:
    array, dim, cuts, options = case
    first = [array.sizes[d] if d != dim else (cuts or [array.sizes[d]])[0] for d in array.dims]
    total = {d: 2 ** len(options["factor"]) for d in options["factor"][0]}
    if options["boundary"] == "trim" and any(
        n < total.get(str(d), 1) for d, n in zip(array.dims, first, strict=True)
    ):
        return  # whose levels have no samples
    grown, at_once = MemoryStore(), MemoryStore()
    grow(grown, array, dim, cuts, **options)
    array.pyramid.to_ome_zarr(at_once, **{**OPTIONS, **options})
    check_same(grown, at_once)


@settings(max_examples=8)
@given(growths())
def test_grown_equals_at_once(case: Any) -> None:
    check_growth(case)


@pytest.mark.slow
@settings(max_examples=60)
@given(growths())
def test_grown_equals_at_once_more_often(case: Any) -> None:
    check_growth(case)


@pytest.mark.parametrize("unit", ["s", "us"])
def test_times_of_another_resolution_than_those_that_are_stored(unit: str) -> None:
    days = np.array(["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"], "M8[ns]")
    film = xr.DataArray(np.ones((4, 8, 8), "u2"), {"t": days}, ("t", "y", "x"), "film")
    film.t.encoding["units"] = "nanoseconds since 1970-01-01"
    store: dict[str, Any] = {}
    film[:2].pyramid.to_ome_zarr(store, levels=2)
    later = film[2:].assign_coords(t=days[2:].astype(f"M8[{unit}]"))
    later.pyramid.append(store)
    assert xpyramid.open_pyramid(store, "film")[1].t.values.tolist() == days.tolist()
