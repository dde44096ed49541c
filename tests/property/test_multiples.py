"""Units that OME-NGFF has no word for come back with the very numbers, whatever is written."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import spread
from hypothesis import given, settings
from hypothesis import strategies as st

import xpyramid
from xpyramid.geometry import units

CASES: dict[str, tuple[str, float]] = {
    "kpc": ("parsec", 1e3), "Mpc": ("parsec", 1e6), "kiloparsecs": ("parsec", 1e3),
    "AU": ("meter", 149597870700), "nautical_miles": ("meter", 1852), "nmi": ("meter", 1852),
    "light_years": ("meter", 9460730472580800), "100 nm": ("nanometer", 100),
    "0.5 um": ("micrometer", 0.5),
}  # fmt: skip
WITHOUT = ["degrees_north", "degree", "pixel", "kpcs/h", "code_length", "0 m", "Bpc", "", "1e99 m"]


def galaxy(unit: str, spacing: float, origin: float, n: int = 8) -> xr.DataArray:
    line = origin + spacing * np.arange(n)
    coords = {"y": np.arange(8.0), "x": ("x", line, {"units": unit})}
    return xr.DataArray(np.ones((8, n), "f4"), coords, ("y", "x"), "gas")


@pytest.mark.parametrize(
    ("unit", "version", "layout"),
    spread(3, list(CASES), ["0.4", "0.5", "0.6"], ["groups", "arrays"]),
)
def test_metadata_are_in_a_unit_that_viewers_know(unit: str, version: str, layout: str) -> None:
    word, number = CASES[unit]
    array = galaxy(unit, 0.25, -3)
    pyramid = array.pyramid.build(levels=3)
    pyramid.to_ome_zarr(store := {}, version=version, layout=layout)
    opened = xpyramid.open_pyramid(store, "gas")
    image = opened.metadata["multiscales"][0]
    axes = image["coordinateSystems"][0]["axes"] if version == "0.6" else image["axes"]
    assert axes[1] == {"name": "x", "type": "space", "unit": word}
    for k, dataset in enumerate(image["datasets"]):
        transforms = dataset["coordinateTransformations"]
        scale, shift = transforms[0]["transformations"] if version == "0.6" else transforms
        assert scale["scale"][1] == 0.25 * 2**k * number
        assert shift["translation"][1] == (-3 + 0.25 * (2**k - 1) / 2) * number
    for level, back in zip(pyramid, opened, strict=True):
        xr.testing.assert_identical(back.load(), level.load())
    assert xpyramid.verify(store, deep=True) == []
    assert opened.plan.axes[1] == pyramid.plan.axes[1]
    assert opened.plan.stored == ()
    opened.to_ome_zarr(again := {}, version=version, layout=layout)
    assert xpyramid.open_pyramid(again, "gas").metadata["multiscales"] == [image]


lines = given(
    st.sampled_from(sorted(CASES)),
    st.floats(1e-9, 1e9) | st.floats(-1e9, -1e-9),
    st.floats(-1e9, 1e9),
    st.sampled_from(["groups", "arrays"]),
    st.sampled_from(["mean", "nearest"]),
    st.sampled_from([1, 8]),
)


@settings(max_examples=30)
@lines
def test_numbers_come_back(
    unit: str, spacing: float, origin: float, layout: str, method: str, n: int
) -> None:
    check_numbers(unit, spacing, origin, layout, method, n)


@pytest.mark.slow
@lines
def test_many_numbers_come_back(
    unit: str, spacing: float, origin: float, layout: str, method: str, n: int
) -> None:
    check_numbers(unit, spacing, origin, layout, method, n)


def check_numbers(
    unit: str, spacing: float, origin: float, layout: str, method: str, n: int
) -> None:
    """Write an image in a unit, and compare its axes with those that are read."""
    array = galaxy(unit, 1, 0, n)
    spacing = 2.0**-10 * round(spacing * 2**10) or 1
    pyramid = array.pyramid.build(
        levels=2, spacing={"x": spacing}, origin={"x": round(origin)}, factor=2, method=method
    )
    pyramid.to_ome_zarr(store := {}, layout=layout)
    opened = xpyramid.open_pyramid(store, "gas")
    assert opened.plan.axes == pyramid.plan.axes
    for k in (0, 1):
        assert opened.plan.scale(k) == pyramid.plan.scale(k)
        assert opened.plan.translation(k) == pyramid.plan.translation(k)
        np.testing.assert_allclose(opened[k].x, pyramid[k].x, rtol=1e-12)
        assert opened[k].x.attrs == {"units": unit}


@pytest.mark.parametrize("unit", WITHOUT)
def test_units_without_a_conversion_stay_attributes(unit: str) -> None:
    array = galaxy(unit, 0.25, -3)
    array.pyramid.to_ome_zarr(store := {}, levels=2)
    opened = xpyramid.open_pyramid(store, "gas")
    assert "unit" not in opened.metadata["multiscales"][0]["axes"][1]
    xr.testing.assert_identical(opened[0].load(), array)


def test_weeks() -> None:
    assert units.exact("weeks", "time") == ("day", 7)
    assert units.exact("2 weeks", "time") == ("day", 14)
    assert units.exact("weeks", "space") is units.exact("ms", "time") is None


NOTES = [{}, None, 3, {"x": 3}, {"x": {}}, *(
    {"x": {"number": number, "spacing": spacing, "origin": 0}}
    for number in ("0", "1/0", "-3", "1e999999999", 7, "9" * 101, "3")
    for spacing in (None, "a", 0.25)
)]  # fmt: skip


@pytest.mark.parametrize("note", NOTES)
def test_notes_of_strangers(note: Any) -> None:
    galaxy("kpc", 0.25, -3).pyramid.to_ome_zarr(store := {}, levels=2)
    group = zarr.open_group(store, path="gas")
    ome: Any = dict(group.attrs)["ome"]
    ome["multiscales"][0]["metadata"]["multiples"] = note
    group.attrs["ome"] = ome
    assert xpyramid.open_pyramid(store, "gas").plan.scale(1)[1] > 0
