"""What was found in a file, on one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from xpyramid.sources import describe_source


def image(coords: dict[str, Any], dims: str = "zyx", **attrs: Any) -> xr.DataArray:
    return xr.DataArray(np.zeros([3] * len(dims)), coords, tuple(dims), attrs=attrs)


def along(dim: str, values: Any, unit: str | None = None) -> Any:
    return (dim, values, {"units": unit} if unit else {})


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (image({}), "no spacing found"),
        (
            image({"y": along("y", [0, 2, 4], "um"), "x": along("x", [5, 7, 9], "mm")}),
            "spacing y 2 micrometer, x 2 millimeter; origin x 5; no spacing found along z",
        ),
        (
            image({"z": along("z", [0, 1, 9]), "y": [3, 2, 1], "x": [0, 1, 2]}),
            "spacing y -1, x 1 (no unit); origin y 3; uneven steps along z",
        ),
        (
            image({"t": np.array([0, 5, 10], "M8[s]").astype("M8[ns]")}, "tyx"),
            "spacing t 5 second; no spacing found",
        ),
        (
            image({"c": ["a\x1b[31m", "b\n", "c"]}, "cyx"),
            "channels a\\x1b[31m, b\\n, c; no spacing found",
        ),
        (
            image({}, "yx", omero={"channels": [{"color": "FF0000"}]}, _FillValue=np.float32(-1)),
            "1 channel with colours; missing value -1.0; no spacing found",
        ),
        (image({}, "yx", _FillValue="none"), "missing value 'none'; no spacing found"),
    ],
)
def test_it_says(array: xr.DataArray, said: str) -> None:
    assert describe_source(array) == said


def test_many_channels() -> None:
    names = [f"marker {i}" for i in range(40)]
    array = xr.DataArray(np.zeros((40, 2, 2)), {"c": names}, ("c", "y", "x"))
    assert describe_source(array) == f"channels {', '.join(names[:8])} ...; no spacing found"
