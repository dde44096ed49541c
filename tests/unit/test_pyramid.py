import ast
import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.display import in_bytes


def small() -> xpyramid.Pyramid:
    array = xpyramid.example_field((20, 30, 40), chunks=16, dtype="uint16")
    return array.assign_attrs(stain="DAPI").pyramid.build(levels=3)


def test_the_public_surface_is_small() -> None:
    assert xpyramid.__all__ == [
        "Appender",
        "Pyramid",
        "Pyramids",
        "__version__",
        "add_levels",
        "downsample",
        "drop_levels",
        "errors",
        "example_field",
        "open_pyramid",
        "open_pyramids",
        "open_source",
        "repair",
        "update",
        "verify",
    ]
    public = [name for name in dir(xpyramid.Pyramid) if not name.startswith("_")]
    assert public == [
        "at", "attrs", "chunks", "coarsened", "coords", "dims", "dtype", "factors", "isel", "kind",
        "labels", "layer_kwargs", "map", "metadata", "method", "name", "nbytes", "plot", "sel",
        "shape", "sizes", "table", "to_datatree", "to_ome_zarr", "units", "view",
    ]  # fmt: skip


def test_levels_are_plain_lazy_arrays() -> None:
    p = small()
    assert len(p) == len(p.levels) == 3
    assert [level.shape for level in p] == [(20, 30, 40), (10, 15, 20), (5, 8, 10)]
    for level in p:
        assert type(level) is xr.DataArray
        assert level.name == "field"
        assert level.attrs == {"stain": "DAPI"}
        assert level.chunks is not None
    assert p[-1] is p.levels[2]
    assert p[0].chunks == ((16, 4), (16, 14), (16, 16, 8))
    assert p[1].chunks == ((8, 2), (8, 7), (8, 8, 4))
    assert p.dims == ("z", "y", "x")
    assert p.factors[2] == {"z": 4, "y": 4, "x": 4}
    assert (p.method, p.name) == ("mean", "field")
    assert p.nbytes == p.plan.nbytes == sum(level.nbytes for level in p)


def test_the_base_is_the_array_itself() -> None:
    array = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"))
    assert array.pyramid.build(levels=2)[0] is array


def test_building_computes_nothing() -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        p = small()
        repr(p), p._repr_html_(), p.to_datatree()
        with pytest.raises(AssertionError, match="computed"):
            p[1].compute()


def test_a_pyramid_is_frozen_and_pickles() -> None:
    p = small()
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.plan = None  # type: ignore[misc,assignment]
    q = pickle.loads(pickle.dumps(p))
    xr.testing.assert_identical(p[2].compute(), q[2].compute())


def test_repr() -> None:
    assert repr(small()).splitlines() == [
        "<xpyramid.Pyramid 'field' (z: 20, y: 30, x: 40) uint16: "
        "3 levels of mean over z, y, x, 54.8 kB>",
        "level  shape         chunks        size   scale (z, y, x)",
        "0      20 × 30 × 40  16 × 16 × 16  48 kB  1 × 1 × 1 micrometer",
        "1      10 × 15 × 20  10 × 15 × 16  6 kB   2 × 2 × 2 micrometer",
        "2      5 × 8 × 10    5 × 8 × 10    800 B  4 × 4 × 4 micrometer",
    ]
    html = small()._repr_html_()
    assert html.count("<tr>") == 4
    assert html.count("<rect") == 3
    assert "xr-section-summary" in html  # in xarray's style
    assert "tasks, about" in html
    assert "&lt;xpyramid.Pyramid &#x27;field&#x27;" in html


def test_levels_and_plans_in_notebooks() -> None:
    p = small()
    html = p.plan._repr_html_()
    assert (html.count("<tr>"), html.count("<rect")) == (8, 3)  # levels and axes
    assert "&lt;xpyramid.Plan (z: 20" in html
    cost = p.plan.cost()
    assert f"{cost.tasks} tasks, about {in_bytes(cost.memory)} of memory" in html
    assert f"{in_bytes(cost.bytes_written)} to write" in html
    html = p.levels._repr_html_()
    assert not p.levels._made  # shown, and not made for it
    assert html.count("made at first use") == 3 + 3  # and as text, where there are no styles
    assert p[1].dtype == "uint16"
    assert repr(p.levels).splitlines() == [
        "<xpyramid: 3 levels>",
        "0  (z: 20, y: 30, x: 40) made at first use",
        "1  (z: 10, y: 15, x: 20) uint16",
        "2  (z: 5, y: 8, x: 10) made at first use",
    ]


def test_texts_of_strangers_are_escaped_in_notebooks() -> None:
    bad = "<script>\x1b[2J"
    array = xr.DataArray(np.zeros((4, 4), "u1"), dims=(bad, "x"), attrs={bad: bad})
    p = array.pyramid.build(2, units=(bad, "um"), factor={"x": 2})
    for shown in (p, p.plan, p.levels):
        html = shown._repr_html_()
        assert "&lt;script&gt;" in html
        assert "<script>" not in html
        assert "\x1b" not in html


def test_repr_of_one_level_and_of_mixed_units() -> None:
    array = xr.DataArray(np.zeros((4, 4), "u1"), dims=("y", "x"))
    assert repr(array.pyramid.build()).splitlines()[0] == (
        "<xpyramid.Pyramid (y: 4, x: 4) uint8: 1 level, 16 B>"
    )
    array = array.assign_coords(x=xr.DataArray(np.arange(4), dims="x", attrs={"units": "nm"}))
    assert array.pyramid.build().table()[0][-1] == "1 × 1 nanometer"
    channels = array.assign_coords(y=("y", range(4), {"units": "um"})).expand_dims(c=2)
    assert channels.pyramid.build().table()[0][-1] == "1 × 1 micrometer × 1 nanometer"


def test_a_unit_of_all_but_channels_is_said_once() -> None:
    array = xr.DataArray(np.zeros((2, 3, 4, 4), "u1"), dims=("c", "z", "y", "x"))
    scale = array.pyramid.build(spacing=(None, 2, 0.25, 0.25), units="um").table()[0][-1]
    assert scale == "1 × 2 × 0.25 × 0.25 micrometer"
    assert array.pyramid.build().table()[0][-1] == "1 × 1 × 1 × 1"
    scale = array.pyramid.build(units={"y": "um", "x": "um"}).table()[0][-1]
    assert scale == "1 × 1 × 1 micrometer × 1 micrometer"


WHY_KEPT = [
    ({"spacing": (4, 1, 1), "units": "um"}, "z (coarser already)"),
    ({"spacing": (4, 1, 1)}, "z (coarser already)"),  # without units, the numbers are compared
    ({"spacing": (4, 1, 1), "units": (None, "um", "um")}, None),  # which cannot be compared
    ({"spacing": (1, 1, 1), "units": ("um", "nm", "nm")}, "z (coarser already)"),
    ({"spacing": (4, 1, 1), "dims": ("y", "x")}, "z (not in dims=)"),
    ({"spacing": (4, 1, 1), "units": "um", "dims": ("y", "x")}, "z (not in dims=)"),
    ({"factor": {"y": 2, "x": 2}}, "z (not in factor=)"),
    ({"factor": (1, 2, 2)}, "z (its factor is 1)"),
    ({"factor": [(1, 2, 2)]}, "z (its factor is 1)"),
    ({"factor": 5, "boundary": "trim"}, "z (shorter than its factor, 5)"),
    ({"factor": {"z": 2}}, "y (not in factor=), x (not in factor=)"),
]


@pytest.mark.parametrize(("options", "said"), WHY_KEPT)
def test_the_repr_says_why_a_dimension_is_not_coarsened(
    options: dict[str, Any], said: str | None
) -> None:
    p = xr.DataArray(np.zeros((4, 8, 8), "u1"), dims=("z", "y", "x")).pyramid.build(2, **options)
    found = [line for line in repr(p).splitlines() if line.startswith("not coarsened")]
    assert found == ([f"not coarsened: {said}"] if said else [])


def test_what_is_short_or_coarse_says_so_beside_channels_and_times() -> None:
    array = xr.DataArray(np.zeros((2, 3, 1, 8, 8), "u1"), dims=("time", "c", "z", "y", "x"))
    p = array.pyramid.build(2, spacing={"y": 1, "x": 4})
    said = "time, c (channel), z (one sample), x (coarser already)"
    assert f"not coarsened: {said}" in repr(p)
    grid = xr.DataArray(
        np.zeros((2, 16, 16), "f4"),
        {"latitude": np.arange(16) * 0.01, "longitude": np.arange(16) * 0.04},
        ("time", "latitude", "longitude"),
    )
    assert "not coarsened: time, longitude (coarser already)" in repr(grid.pyramid.build(2))


def test_datatree() -> None:
    p = small()
    tree = p.to_datatree()
    assert list(tree.children) == ["0", "1", "2"]
    xr.testing.assert_identical(tree["2/field"], p[2])
    unnamed = xr.DataArray(np.zeros((4, 4)), dims=("y", "x")).pyramid.build(levels=2)
    assert unnamed.to_datatree()["1/data"].shape == (2, 2)


def test_dataset() -> None:
    ds = xr.Dataset(
        {
            "a": (("y", "x"), np.ones((8, 8), "u1")),
            "b": (("t", "y", "x"), np.ones((2, 8, 8), "f4")),
            "offset": (("x",), np.zeros(8)),
            "version": ((), 3),
        },
        attrs={"title": "two fields"},
    )
    ps = ds.pyramid.build(levels=2)
    assert list(ps) == ["a", "b"]
    assert ps["b"][1].shape == (2, 4, 4)
    assert list(ds.pyramid.build(levels=2, dims="x")) == ["a", "b", "offset"]
    assert ps.to_datatree()["b/1/b"].shape == (2, 4, 4)
    assert "two" not in repr(ps)
    assert repr(ps).startswith("<xpyramid.Pyramids: a, b>")
    note = "left out, without the dimensions y, x: offset (x), version ()"
    assert repr(ps).endswith(f"\n\n{note}")
    assert ps._repr_html_().endswith(f"<div>{note}</div>")
    assert repr(ds.pyramid.build(dims="x")).endswith("without the dimension x: version ()")
    assert "left out" not in repr(ds[["a", "b"]].pyramid.build())
    with pytest.raises(errors.PlanError, match=r"no variable has all of the dimensions \('w',\)"):
        ds.pyramid.build(dims="w")


def test_a_grid_mapping_is_not_left_out() -> None:
    ds = xr.Dataset({"a": (("y", "x"), np.ones((8, 8), "u1")), "crs": ((), 0)})
    ds["a"].attrs["grid_mapping"] = "crs"
    assert "left out" not in repr(ds.pyramid.build(levels=2))


def test_levels_that_there_are_not() -> None:
    p = small()
    for level in (3, 9, -4, np.int64(9)):
        with pytest.raises(IndexError, match=f"level {level}; this pyramid has the levels 0 to 2"):
            p[level]
    for wrong in ("two", 1.0, None):
        with pytest.raises(
            TypeError, match=rf"level {wrong!r}; accepted: integers .*levels 0 to 2"
        ):
            p[wrong]  # type: ignore[index]
    one = xr.DataArray(np.zeros((4, 4), "u1"), dims=("y", "x")).pyramid.build()
    with pytest.raises(IndexError, match="level 1; this pyramid has level 0 alone"):
        one[1]


def test_method_of_each_variable() -> None:
    labels = np.array([[1, 3], [3, 3]], "u1")
    ds = xr.Dataset(dict.fromkeys(("a", "b", "c"), (("y", "x"), labels)))
    ds["c"].attrs["flag_values"] = [1, 3]
    ps = ds.pyramid.build(levels=2, method={"a": "min"})
    assert {name: p.method for name, p in ps.items()} == {"a": "min", "b": "mean", "c": "mode"}
    assert [p[1].values.item() for p in ps.values()] == [1, 2, 3]
    with pytest.raises(errors.PlanError, match=r"names \['d'\]; accepted: a, b, c"):
        ds.pyramid.build(method={"d": "min"})


def test_import_and_planning_do_not_load_numba() -> None:
    code = (
        "import sys; sys.modules['sparse'] = None; "  # dask would import it, and it numba
        "import xpyramid; repr(xpyramid.example_field((300, 300)).pyramid.build()); "
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_import_loads_the_accessors_and_their_options_alone() -> None:
    code = (
        "import sys, xarray; before = {*sys.modules}; import xpyramid; "
        "print(sorted({n for n in {*sys.modules} - before if n.count('.') < 2 and n[:1] != '_'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(done.stdout)
    ours = {name for name in loaded if name.startswith("xpyramid.")}
    assert ours == {
        f"xpyramid.{n}" for n in ("_version", "accessor", "errors", "messages", "options")
    }
    assert not {"dask", "numba", "scipy", "tifffile", "zarr"} & {*loaded}


def test_public_names_are_there_when_they_are_asked_for() -> None:
    assert {*xpyramid.__all__} <= {*dir(xpyramid)}
    for name in xpyramid.__all__:
        assert getattr(xpyramid, name) is not None
    assert xpyramid.downsample.__module__ == "xpyramid.in_memory"
    with pytest.raises(AttributeError, match="'xpyramid' has no attribute 'nonsense'"):
        xpyramid.nonsense  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("method", ["median of means", "Mean", 3])
def test_unknown_methods(method: object) -> None:
    array = xr.DataArray(np.zeros((4, 4)), dims=("y", "x"))
    with pytest.raises(errors.PlanError, match=r"accepted: count, max, mean, .*, or a callable"):
        array.pyramid.build(levels=2, method=method)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("average", "mean"),
        ("AVG", "mean"),
        ("Mean", "mean"),
        ("means", "mean"),
        ("majority", "mode"),
        ("most_common", "mode"),
        ("nearest-neighbour", "nearest"),
        ("nearest neighbor", "nearest"),
        ("subsample", "nearest"),
        ("stride", "nearest"),
        ("minimum", "min"),
        ("maximum", "max"),
        ("medain", "median"),
    ],
)
def test_methods_by_other_words(word: str, ours: str) -> None:
    array = xr.DataArray(np.zeros((4, 4)), dims=("y", "x"))
    meant = f"accepted: count, max, .*; did you mean '{ours}'\\?$"
    with pytest.raises(errors.PlanError, match=meant):
        array.pyramid.build(levels=2, method=word)
    with pytest.raises(errors.PlanError, match=f"did you mean '{ours}'"):
        xpyramid.downsample(array.values, 2, word)


@pytest.mark.parametrize("dtype", ["U3", "O", "V4"])
def test_dtypes_without_a_mean(dtype: str) -> None:
    array = xr.DataArray(np.zeros((4, 4), dtype), dims=("y", "x"))
    with pytest.raises(errors.DtypeError, match=r"mean of dtype .*; accepted: bool, integers"):
        array.pyramid.build(levels=2)


@pytest.mark.parametrize("ignore", [-1, 256, 0.5])
def test_ignore_must_be_a_value_of_the_dtype(ignore: float) -> None:
    array = xr.DataArray(np.zeros((4, 4), "u1"), dims=("y", "x"))
    with pytest.raises(errors.DtypeError, match=r"is not a value of dtype uint8 \(0 to 255\)"):
        array.pyramid.build(levels=2, ignore=ignore)


def test_unknown_chunk_sizes() -> None:
    values = da.ones((8, 8), chunks=4)
    array = xr.DataArray(values[values.sum(axis=1) > 0], dims=("y", "x"), name="field")
    with pytest.raises(errors.PlanError, match=r"length of \['y'\] .*compute_chunk_sizes\(\)"):
        array.pyramid.build()
    with pytest.raises(errors.PlanError, match="unknown"):
        array.to_dataset().pyramid.build()
    array.data.compute_chunk_sizes()
    assert array.pyramid.build(levels=2)[1].shape == (4, 4)


@pytest.mark.parametrize(
    "attrs",
    [
        {"_FillValue": np.uint8(255)},
        {"_FillValue": np.array([255], "u1")},
        {"missing_value": [255]},
        {"_FillValue": 255, "missing_value": 255},
    ],
)
def test_missing_values_in_every_form(attrs: Any) -> None:
    array = xr.DataArray(np.array([[0, 255], [255, 0]], "u1"), dims=("y", "x"), attrs=attrs)
    assert array.pyramid.build(levels=2)[1].values.item() == 0


@pytest.mark.parametrize("encoding", [{"_FillValue": 255}, {"missing_value": np.uint8(255)}])
def test_missing_values_of_the_encoding_of_integers(encoding: Any) -> None:
    """As rioxarray has them, ``write_nodata(255, encoded=True)``: xarray would write attributes."""
    values = np.array([[0, 255, 255, 255], [255, 0, 255, 255]], "u1")
    array = xr.DataArray(values, dims=("y", "x"), name="field")
    array.encoding = {**encoding, "chunks": (2, 2)}
    array.pyramid.to_ome_zarr(store := {}, levels=2)
    level = xr.open_zarr(store, group="field/1", consolidated=False).field
    np.testing.assert_array_equal(level, [[0, np.nan]])
    stored = xpyramid.open_pyramid(store, "field")
    np.testing.assert_array_equal(stored[1], [[0, 255]])
    assert stored[0].attrs == encoding
    assert array.encoding == {**encoding, "chunks": (2, 2)}
    assert not array.attrs


@pytest.mark.parametrize(
    ("dtype", "encoding", "attrs"),
    [
        ("f4", {"_FillValue": 255.0}, {}),  # NaN is what is missing
        ("u1", {"_FillValue": -1}, {}),  # which no sample can have
        ("u1", {"_FillValue": None}, {}),
        ("u1", {"_FillValue": 255, "scale_factor": 0.5}, {}),  # of the packed numbers
        ("u1", {"_FillValue": 255}, {"_FillValue": 0}),  # of a file opened without decoding
    ],
)
def test_encodings_that_name_no_missing_value(dtype: str, encoding: Any, attrs: Any) -> None:
    array = xr.DataArray(np.full((4, 4), 255, dtype), dims=("y", "x"), attrs=attrs)
    array.encoding = encoding
    assert array.pyramid.build(levels=2)[0].attrs == attrs


def test_two_missing_values() -> None:
    attrs = {"_FillValue": 254, "missing_value": 255}
    array = xr.DataArray(np.zeros((4, 4), "u1"), dims=("y", "x"), attrs=attrs)
    with pytest.raises(errors.PlanError, match=r"name \[254, 255\].*say which with ignore="):
        array.pyramid.build(levels=2)
    assert array.pyramid.build(levels=2, ignore=255).plan.options == {"ignore": 255}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda block: block.astype("i8") + 300,
            "a dask block of dtype int64 in",
        ),
        (lambda block: block[:3], r"a dask block of shape \(3, 16\), announced as \(16, 16\)"),
    ],
)
def test_blocks_that_are_not_what_they_are_announced_as(made: Any, message: str) -> None:
    data = da.zeros((64, 64), chunks=16, dtype="u1").map_blocks(made, dtype="u1")
    array = xr.DataArray(data, dims=("y", "x"), name="field")
    with pytest.raises(errors.ReadError, match=message):
        array.pyramid.to_ome_zarr({}, levels=2)


def test_variables_of_the_same_name_as_text() -> None:
    dataset = xr.Dataset({1: (("y", "x"), np.zeros((4, 4))), "1": (("y", "x"), np.ones((4, 4)))})
    with pytest.raises(errors.PlanError, match=r"several variables are called \['1'\]"):
        dataset.pyramid.build()


@pytest.mark.parametrize(("dtype", "said"), [("i1", "true"), ("u2", "false"), ("i1", "True")])
def test_integers_of_the_other_sign(dtype: str, said: str) -> None:
    array = xr.DataArray(np.zeros((4, 4), dtype), dims=("y", "x"), attrs={"_Unsigned": said})
    with pytest.raises(errors.PlanError, match=r"_Unsigned=.*mask_and_scale=True"):
        array.pyramid.build(levels=2)


@pytest.mark.parametrize("fill", [1e20, 0.1, np.float32(0.1)])
def test_fill_values_are_those_of_the_dtype(fill: float) -> None:
    values = np.array([[fill, fill, 4, 8]] * 2, "f4")
    array = xr.DataArray(values, dims=("y", "x"), name="field", attrs={"_FillValue": fill})
    array.pyramid.to_ome_zarr(store := {}, levels=2)
    level = xr.open_zarr(store, group="field/1", consolidated=False).field
    np.testing.assert_array_equal(level, [[np.nan, 6]])


def test_uneven_times_have_no_step_in_the_table() -> None:
    data = np.zeros((3, 8, 8))
    times = xr.DataArray([0.0, 1.0, 9.0], dims="t", attrs={"units": "s"})
    p = xr.DataArray(data, {"t": times}, ("t", "y", "x"), "film").pyramid.build(levels=2)
    assert p.table()[1][-1] == "uneven × 2 × 2"
