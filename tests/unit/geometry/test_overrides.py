"""spacing=, origin=, units=, axis_types=."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xpyramid
from xpyramid import errors
from xpyramid.cli.main import main


def field(dims: str = "yx", **coords: Any) -> xr.DataArray:
    data = np.arange(4 ** len(dims), dtype="u2").reshape((4,) * len(dims))
    return xr.DataArray(data, dims=tuple(dims), coords=coords, name="field")


def grid(array: xr.DataArray, **options: Any) -> dict[str, tuple[float, float, str | None]]:
    plan = array.pyramid.build(levels=2, **options).plan
    return {axis.dim: (axis.spacing, axis.origin, axis.unit) for axis in plan.axes}


@pytest.mark.parametrize(
    ("options", "y", "x"),
    [
        ({}, (1, 0, None), (0.5, 10, "nanometer")),
        ({"spacing": 3}, (3, 0, None), (3, 10, "nanometer")),
        ({"spacing": {"y": np.float32(0.25)}}, (0.25, 0, None), (0.5, 10, "nanometer")),
        ({"spacing": {"x": -2}}, (1, 0, None), (-2, 10, "nanometer")),
        ({"origin": {"x": 0}}, (1, 0, None), (0.5, 0, "nanometer")),
        ({"origin": 5, "spacing": {"x": 2}}, (1, 5, None), (2, 5, "nanometer")),
        ({"units": "µm"}, (1, 0, "micrometer"), (0.5, 10, "micrometer")),
        ({"units": {"y": "feet"}}, (1, 0, "foot"), (0.5, 10, "nanometer")),
        ({"units": {"x": "degree"}}, (1, 0, None), (0.5, 10, None)),
    ],
)
def test_what_is_given_counts_before_the_coordinates(
    options: dict[str, Any], y: tuple[Any, ...], x: tuple[Any, ...]
) -> None:
    array = field(x=("x", 10 + 0.5 * np.arange(4), {"unit": "nm"}))
    assert grid(array, **options) == {"y": y, "x": x}
    assert list(array.x) == [10, 10.5, 11, 11.5]  # the array itself is left alone
    assert "y" not in array.coords


def test_one_unit_takes_the_place_of_another() -> None:
    array = field(x=("x", np.arange(4.0), {"unit": "nm", "long_name": "width"}))
    p = array.pyramid.build(units={"x": "um"})
    assert p[0].x.attrs == {"long_name": "width", "units": "um"}


def test_levels_and_metadata_agree() -> None:
    uneven = field(y=[0.0, 1, 4, 5])
    store: dict[str, Any] = {}
    p = uneven.pyramid.build(factor=[2], spacing={"y": 0.1, "x": 0.2}, units="nm")
    np.testing.assert_array_equal(p[0].y, 0.1 * np.arange(4))
    np.testing.assert_allclose(p[1].x, [0.1, 0.5])
    assert p[1].x.attrs == {"units": "nm"}
    p.to_ome_zarr(store)
    opened = xpyramid.open_pyramid(store, "field")
    assert opened.plan.axes == p.plan.axes
    for level, back in zip(p, opened, strict=True):
        xr.testing.assert_identical(level.compute(), back.compute())
    # an origin alone takes the mean step
    assert grid(uneven, origin={"y": 2})["y"] == (5 / 3, 2.0, None)


def test_what_is_given_is_exact_and_survives_a_single_sample() -> None:
    store: dict[str, Any] = {}
    array = field()[:1]
    p = array.pyramid.build(factor=[2], spacing={"y": 7, "x": 0.1 + 0.2}, origin={"y": 1e9 / 3})
    p.to_ome_zarr(store)
    opened = xpyramid.open_pyramid(store, "field")
    assert opened.plan.scale(1) == (7 * 2, (0.1 + 0.2) * 2)
    assert opened.plan.axes == p.plan.axes


def test_spacings_choose_what_is_halved() -> None:
    p = field("zyx").pyramid.build(levels=2, spacing={"z": 40, "y": 4, "x": 4})
    assert p.factors[1] == {"z": 1, "y": 2, "x": 2}


@pytest.mark.parametrize(
    ("dims", "types", "expected"),
    [
        ("wzyx", {"w": "channel"}, "c channel, z space, y space, x space"),
        ("wyx", {"w": "time"}, "t time, y space, x space"),
        ("cyx", {"c": "space"}, "z space, y space, x space"),
        ("cyx", {"c": "time"}, "t time, y space, x space"),
        ("abyx", {"a": "time", "b": "channel"}, "t time, c channel, y space, x space"),
        ("tyx", {"t": "channel"}, "c channel, y space, x space"),
    ],
)
def test_types(dims: str, types: dict[str, Any], expected: str) -> None:
    p = field(dims).pyramid.build(axis_types=types)
    assert ", ".join(f"{axis.name} {axis.type}" for axis in p.plan.axes) == expected
    store: dict[str, Any] = {}
    p.to_ome_zarr(store)
    opened = xpyramid.open_pyramid(store, "field")
    assert opened.plan.axes == p.plan.axes  # though the names do not say it
    again: dict[str, Any] = {}
    opened.to_ome_zarr(again)
    assert {k: v.to_bytes() for k, v in again.items()} == {
        k: v.to_bytes() for k, v in store.items()
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spacing": 0}, "spacing=0 along 'y'; accepted: numbers other than 0"),
        ({"spacing": {"x": np.nan}}, "spacing=nan along 'x'; accepted: finite"),
        ({"spacing": "wide"}, "spacing='wide' along 'y'; accepted: finite"),
        ({"spacing": True}, "spacing=True along"),
        ({"spacing": [1, 2]}, r"spacing=\[1, 2\] has 2 entries for the 3 dimensions"),
        ({"spacing": {"z": 1}}, r"spacing={'z': 1}: no dimension \['z'\]; accepted: t, y, x"),
        ({"spacing": {"t": 1}}, "'t' holds datetimes .*drop_vars"),
        ({"origin": {"x": np.inf}}, "origin=inf along 'x'; accepted: finite"),
        ({"origin": {"w": 1}}, r"origin=.* no dimension \['w'\]"),
        ({"spacing": 1e-9, "origin": 1e9}, "spacing=1e-09 with origin=1000000000.0 along 'y'"),
        ({"units": {"x": 3}}, "units=3 along 'x'; accepted: a unit as text"),
        ({"units": ""}, "units='' along"),
        ({"units": {"t": "s"}}, "'t' holds datetimes"),
        ({"axis_types": "time"}, "axis_types='time'; accepted: a mapping"),
        ({"axis_types": {"x": "spatial"}}, "={'x': 'spatial'}; accepted: time, channel, space"),
        ({"axis_types": {"q": "time"}}, r"no dimension \['q'\]; accepted: t, y, x"),
        ({"axis_types": {"y": "time", "x": "time"}}, "'x': 'time'}; accepted: one time"),
        ({"axis_types": {"x": "time"}}, "no place for the dimension 't'; say what it is"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    array = field("tyx", t=pd.date_range("2020", periods=4))
    with pytest.raises((errors.AxisError, errors.PlanError), match=message):
        array.pyramid.build(**options)


def test_no_more_than_three_space_dimensions() -> None:
    with pytest.raises(errors.AxisError, match=r"={'w': 'space'} cannot be: there are three"):
        field("wzyx").pyramid.build(axis_types={"w": "space"})


def test_datasets_take_what_concerns_each_variable() -> None:
    ds = xr.Dataset({"a": field("qyx"), "b": field("yx")})
    options: dict[str, Any] = {"spacing": {"q": 2, "x": 3}, "axis_types": {"q": "time"}}
    ps = ds.pyramid.build(levels=2, **options)
    assert ps["a"].plan.scale(0) == (2, 1, 3)
    assert ps["b"].plan.scale(0) == (1, 3)
    assert ps["a"].plan.axes[0].type == "time"
    with pytest.raises(errors.AxisError, match=r"no dimension \['w'\]; accepted: q, y, x"):
        ds.pyramid.build(spacing={"w": 2})


def test_an_irregular_coordinate_names_the_ways_out() -> None:
    array = field(y=[0.0, 1, 4, 5])
    with pytest.raises(errors.AxisError, match=r"spacing={'y': \.\.\.}.*irregular='approximate'"):
        array.pyramid.to_ome_zarr({}, levels=2, factor=2)
    array.pyramid.to_ome_zarr({}, levels=2, spacing={"y": 1})


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "scan.npy", np.zeros((2, 4, 4), "u1"))
    build = ["build", str(tmp_path / "scan.npy"), str(tmp_path / "out.zarr"), "--levels", "2"]
    options = ["--spacing", "z=2,y=0.5", "--origin", "-1", "--units", "um"]
    assert main([*build, *options, "--axis-types", "z=time"]) == 0
    axes = xpyramid.open_pyramid(tmp_path / "out.zarr/scan").plan.axes
    found = [(axis.type, axis.spacing, axis.origin, axis.unit) for axis in axes]
    assert found == [
        ("time", 2, 0, None),
        ("space", 0.5, -1, "micrometer"),
        ("space", 1, -1, "micrometer"),
    ]
    capsys.readouterr()
    for wrong, message in [
        (["--spacing", "wide"], "'wide'; accepted: a number"),
        (["--origin", "y=1,y=2"], "'y=1,y=2'; accepted: one for all"),
        (["--units", "y="], "'y='; accepted"),
        (["--axis-types", "time"], "'time'; accepted: types"),
        (["--axis-types", "z=frame"], "--axis-types z=frame; accepted: time, channel, space"),
        (
            ["--spacing", "1,2"],
            "--spacing 1.0,2.0 has 2 entries for the 3 dimensions z, y, x; accepted: one for each, "
            "in this order; one for all space dimensions; or by name, as in --spacing y=1.0,x=2.0",
        ),
        (
            ["--factor", "2,2"],
            "accepted: one integer for each dimension, in this order; one for all; "
            "or by name, as in --factor y=2,x=2",
        ),
    ]:
        assert main([*build, *wrong]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("unit", "hint"),
    [
        ("mikron", " (did you mean micron?)"),
        ("Mikrometers", " (did you mean micrometers?)"),
        ("degrees_north", ""),
        ("mV", ""),
    ],
)
def test_units_that_nobody_knows(unit: str, hint: str) -> None:
    said = repr(field().pyramid.build(levels=2, units={"x": unit}))
    assert f"no word for: {unit} (x), only in the coordinate{hint}\n" in f"{said}\n"
