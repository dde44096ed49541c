"""What dimensions mean: which are coarsened, and what a caller may say of each."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors

KNOWN = (
    "ensemble member realization number component spin polarization stokes sample model scenario "
    "stain round gene"
).split()


def field(*dims: str, **coords: Any) -> xr.DataArray:
    return xr.DataArray(np.zeros((4,) * len(dims), "f4"), coords, dims, "field")


@pytest.mark.parametrize("name", KNOWN)
def test_known_names_are_not_space(name: str) -> None:
    p = field("time", name, "latitude", "longitude").pyramid.build(levels=2)
    assert p.plan.coarsened == ("latitude", "longitude")
    assert f"not coarsened: time, {name} (channel)" in repr(p)


def test_a_name_that_nobody_knows_is_not_space() -> None:
    p = field("foo", "lat", "lon").pyramid.build(levels=2)
    assert p.plan.coarsened == ("lat", "lon")
    assert "foo (not known to be space; name it in dims= to coarsen it)" in repr(p)
    p.to_ome_zarr(store := {})
    assert xpyramid.open_pyramid(store, "field")[1].dims == ("foo", "lat", "lon")


@pytest.mark.parametrize("unit", ["um", "m", "degree", "radian", "kpc", "1e-6 m"])
def test_a_unit_of_length_or_angle_says_space(unit: str) -> None:
    along = xr.DataArray(np.arange(4.0), dims="foo", attrs={"units": unit})
    assert field("foo", "y", "x", foo=along).pyramid.build(levels=2).plan.coarsened[0] == "foo"


def test_an_axis_of_cf_says_space() -> None:
    along = xr.DataArray(np.arange(4.0), dims="foo", attrs={"axis": "Z"})
    assert field("foo", "y", "x", foo=along).pyramid.build(levels=2).plan.coarsened[0] == "foo"


@pytest.mark.parametrize(
    "options",
    [{"dims": ["foo", "y", "x"]}, {"factor": {"foo": 2, "y": 2, "x": 2}}, {"factor": (2, 2, 2)},
     {"factor": [{"foo": 2}]}],
)  # fmt: skip
def test_who_names_a_dimension_coarsens_it(options: Any) -> None:
    p = field("foo", "y", "x").pyramid.build(**{"levels": 2} | options)
    assert p[1].sizes["foo"] == 2
    p.to_ome_zarr({})


def test_where_nothing_is_space_the_error_asks() -> None:
    with pytest.raises(errors.PlanError, match=r"no space dimension among \('foo', 'bar'\); say"):
        field("foo", "bar").pyramid.build(levels=2)


@pytest.mark.parametrize("dims", [("a", "b"), ("dim_0", "dim_1"), ("phony_dim_0", "phony_dim_1")])
def test_unnamed_dimensions_go_by_position(dims: tuple[str, ...]) -> None:
    assert field(*dims).pyramid.build(levels=2).plan.coarsened == dims


def test_a_second_time_is_not_space() -> None:
    p = field("time", "step", "y", "x").pyramid.build(levels=2)
    assert [(axis.name, axis.type) for axis in p.plan.axes][1] == ("c", "channel")


# Sequences in the order of the array


@pytest.mark.parametrize("one", [(1, 2, 2), np.array([1, 2, 2])])
def test_a_tuple_of_factors_is_one_for_each_dimension(one: Any) -> None:
    p = xr.DataArray(np.zeros((4, 64, 64), "u1"), dims=("z", "y", "x")).pyramid.build(3, factor=one)
    assert [level.shape for level in p] == [(4, 64, 64), (4, 32, 32), (4, 16, 16)]


def test_a_list_of_tuples_is_steps() -> None:
    p = xr.DataArray(np.zeros((4, 64, 64), "u1"), dims=("z", "y", "x")).pyramid.build(
        factor=[(1, 2, 2), (2, 2, 4)]
    )
    assert [level.shape for level in p] == [(4, 64, 64), (4, 32, 32), (2, 16, 8)]


def test_levels_end_when_what_is_coarsened_fits() -> None:
    p = xr.DataArray(np.zeros((100, 64, 64), "u1"), dims=("z", "y", "x")).pyramid.build(
        factor=(1, 2, 2), chunks=(16, 16, 16)
    )
    assert [level.shape for level in p] == [(100, 64, 64), (100, 32, 32), (100, 16, 16)]


def test_a_tuple_of_another_length() -> None:
    with pytest.raises(errors.PlanError, match=r"has 2 entries for the 3 .*factor=\[2, 2\]"):
        field("z", "y", "x").pyramid.build(factor=(2, 2))


def test_spacing_origin_units_and_chunks_as_sequences() -> None:
    p = field("t", "y", "x").pyramid.build(
        2, spacing=(None, 4, 5), origin=np.array([0.0, 1, 2]), units=("s", "nm", "nm"),
        chunks=(1, 2, 3),
    )  # fmt: skip
    assert [axis.spacing for axis in p.plan.axes] == [1, 4, 5]
    assert [axis.origin for axis in p.plan.axes] == [0, 1, 2]
    assert [axis.unit for axis in p.plan.axes] == ["second", "nanometer", "nanometer"]
    assert p.plan.levels[0].chunks == (1, 2, 3)
    with pytest.raises(errors.AxisError, match=r"spacing=\(1, 2\) has 2 entries for the 3"):
        field("t", "y", "x").pyramid.build(spacing=(1, 2))


# Words of other tools


@pytest.mark.parametrize(
    ("word", "ours"),
    [("scale_factors", "factor="), ("voxel_size", "spacing="), ("resolution", "spacing="),
     ("facter", "did you mean factor="), ("n_levels", "levels=")],
)  # fmt: skip
def test_words_of_other_tools(word: str, ours: str) -> None:
    for call in (field("y", "x").pyramid.build, field("y", "x").pyramid.to_ome_zarr):
        store = () if call.__name__ == "build" else ({},)
        with pytest.raises(errors.OptionError, match=f"no option {word}=.*{ours}"):
            call(*store, **{word: 2})
    dataset = field("y", "x").to_dataset().pyramid
    with pytest.raises(errors.OptionError, match=ours):
        dataset.build(**{word: 2})
    if ours == "factor=":
        with pytest.raises(errors.OptionError, match=ours):
            xpyramid.downsample(np.zeros(3), **{word: 2})


def test_words_of_other_writers() -> None:
    p = field("y", "x").pyramid.build(levels=2)
    pyramids = field("y", "x").to_dataset().pyramid.build(levels=2)
    for writes in (p.to_ome_zarr, pyramids.to_ome_zarr, field("y", "x").pyramid.to_ome_zarr):
        with pytest.raises(errors.OptionError, match="for 'overwrite', write mode='w'"):
            writes({}, overwrite=True)  # type: ignore[call-arg]
        with pytest.raises(errors.OptionError, match="did you mean compressor= for 'compresor'"):
            writes({}, compresor=None)  # type: ignore[call-arg]
    assert isinstance(errors.OptionError(""), TypeError)


# One level


def test_why_there_is_one_level() -> None:
    p = field("y", "x").to_dataset().pyramid.build()["field"]
    assert len(p) == 1
    assert "one level: each dimension to coarsen fits into one chunk; pass levels=2" in repr(p)
    p.to_ome_zarr(store := {})
    assert "pass levels=2" not in repr(xpyramid.open_pyramid(store, "field"))


def test_units_without_a_word_are_shown() -> None:
    p = field("y", "x").pyramid.build(2, spacing=2, units="furlong")
    kept = "only in the coordinate"
    said = f"units that OME-NGFF has no word for: furlong (y), {kept}, furlong (x), {kept}"
    assert said in repr(p)
    assert said in p._repr_html_()
    p = field("y", "x").pyramid.build(2, spacing=2, units={"y": "kpc"})
    assert "no word for: kpc (y), written as 1000 parsec" in repr(p)


# Photographs


@pytest.mark.parametrize("colors", [3, 4])
def test_a_photograph_as_numpy_has_it(colors: int) -> None:
    values = np.random.default_rng(0).integers(0, 255, (140, 150, colors), "u1")
    p = xr.DataArray(values, name="photo").pyramid.build(2)
    assert p[0].dims == ("dim_2", "dim_0", "dim_1")
    assert p[1].shape == (colors, 70, 75)
    assert list(p[0].dim_2.values) == ["red", "green", "blue", "alpha"][:colors]
    assert "dim_2: colours, as the last axis had no name and a length of 3 or 4" in repr(p)
    np.testing.assert_array_equal(p[0].transpose("dim_0", "dim_1", "dim_2"), values)
    p.to_ome_zarr(store := {})
    again = xpyramid.open_pyramid(store, "photo")
    np.testing.assert_array_equal(again[0].values, np.moveaxis(values, -1, 0))
    found = [channel["color"] for channel in again.metadata["omero"]["channels"]]
    assert found[:3] == ["FF0000", "00FF00", "0000FF"]
    assert again.metadata["omero"]["channels"][0]["window"] == {
        "min": 0, "max": 255, "start": 0, "end": 255,
    }  # fmt: skip


def test_options_of_a_photograph_are_in_the_order_of_the_array() -> None:
    array = xr.DataArray(np.zeros((40, 60, 3), "u1"), name="photo")
    p = array.pyramid.build(
        2, factor=(2, 3, 1), spacing=(0.5, 0.25, None), chunks=(20, 30, 3), units="mm"
    )
    assert p[1].shape == (3, 20, 20)
    assert p.plan.scale(0) == (1, 0.5, 0.25)
    assert p.plan.levels[0].chunks == (3, 20, 30)


@pytest.mark.parametrize(
    "array",
    [
        xr.DataArray(np.zeros((140, 150, 3)), dims=("z", "y", "x")),
        xr.DataArray(np.zeros((3, 3, 3))),
        xr.DataArray(np.zeros((150, 3))),
        xr.DataArray(np.zeros((140, 150, 5))),
    ],
)
def test_what_is_no_photograph(array: xr.DataArray) -> None:
    assert all(axis.type == "space" for axis in array.pyramid.build(2).plan.axes)


@pytest.mark.parametrize("dim", ["rgb", "color"])
def test_a_dimension_named_after_colours(dim: str) -> None:
    array = xr.DataArray(np.zeros((3, 40, 60), "u1"), dims=(dim, "height", "width"), name="photo")
    p = array.pyramid.build(2)
    assert [axis.name for axis in p.plan.axes] == ["c", "y", "x"]
    p.to_ome_zarr(store := {})
    found = xpyramid.open_pyramid(store, "photo").metadata["omero"]["channels"]
    assert [channel["color"] for channel in found] == ["FF0000", "00FF00", "0000FF"]


def test_colours_that_come_last_and_have_a_name() -> None:
    array = xr.DataArray(np.zeros((40, 60, 3), "u1"), dims=("y", "x", "c"), name="photo")
    with pytest.raises(errors.AxisError, match=r"transpose\('c', 'y', 'x'\).*omero={'labels'"):
        array.pyramid.to_ome_zarr({}, levels=2)


def test_levels_of_pressure_are_z() -> None:
    dims = ("time", "number", "pressure_level", "latitude", "longitude")
    axes = field(*dims).pyramid.build(2).plan.axes
    assert [axis.name for axis in axes] == ["t", "c", "z", "y", "x"]


# Smaller ones


def test_an_index_coordinate_has_levels() -> None:
    array = field("y", "x", x=np.arange(4.0))
    np.testing.assert_array_equal(array.x.pyramid.build(2, factor=2)[1], [0.5, 2.5])


@pytest.mark.parametrize("factor", [1, (1, 1), [(1, 1), (2, 1)]])
def test_downsample_by_one_returns_the_samples(factor: Any) -> None:
    array = np.arange(12, dtype="u1").reshape(3, 4)
    first, *_ = xpyramid.downsample(array, factor)
    np.testing.assert_array_equal(first, array)
    with pytest.raises(errors.PlanError, match="does not make a coarser level"):
        xr.DataArray(array, dims=("y", "x")).pyramid.build(factor=1)


OF_THE_OTHER_CALL = [
    ("to_ome_zarr", "scale_factors", "factor= to .pyramid.build()"),
    ("to_ome_zarr", "voxel_size", "spacing= to .pyramid.build()"),
    ("to_ome_zarr", "resolution", "spacing= to .pyramid.build()"),
    ("to_ome_zarr", "method", "method= to .pyramid.build()"),
    ("build", "overwrite", "mode='w' to to_ome_zarr()"),
    ("build", "shard_shape", "shards= to to_ome_zarr()"),
    ("build", "compressor", "compressor= to to_ome_zarr()"),
]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("call", "name", "where"), OF_THE_OTHER_CALL)
def test_options_of_the_other_call_are_told(
    call: str, name: str, where: str, several: bool
) -> None:
    array = field("y", "x")
    given: Any = array.to_dataset() if several else array
    options: dict[str, Any] = {name: 2}
    write = partial(given.pyramid.build(2).to_ome_zarr, {})
    called = given.pyramid.build if call == "build" else write
    with pytest.raises(errors.OptionError, match=re.escape(f"for {name!r}, pass {where}")):
        called(**options)
    with pytest.raises(errors.OptionError, match=r"method= of \.pyramid\.build.* for 'mehtod'"):
        write(mehtod="mode")
