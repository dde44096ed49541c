"""Pictures by matplotlib: which level, where, in which colours, and how much is read."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors
from xpyramid.plotting.pixels import composed

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def square(n: int, **options: Any) -> xr.DataArray:
    """Return an image whose upper left quarter is 100, and all else 0."""
    values = np.zeros((n, n), "u1")
    values[: n // 2, : n // 2] = 100
    coords = {dim: 0.5 * np.arange(n) for dim in "yx"}
    return xr.DataArray(values, coords, ("y", "x"), "square", options)


def axes(pixels: int) -> Any:
    figure = plt.figure(figsize=(pixels / 100, pixels / 100), dpi=100)
    return figure.add_axes((0, 0, 1, 1))


def test_the_level_that_fits() -> None:
    p = square(800).pyramid.build(levels=5, chunks=64)
    assert p.plot(ax=axes(400)).get_array().shape == (800, 800)
    image = p.plot(ax=axes(100))
    assert image.get_array().shape == (200, 200)
    assert image.axes.get_title() == "square, level 2"
    assert p.plot(ax=axes(100), x=slice(0, 50)).get_array().shape == (200, 26)
    assert p.plot(ax=axes(100), x=slice(0, 50), y=slice(0, 50)).get_array().shape == (101, 101)
    assert p.plot(ax=axes(100), level=4).get_array().shape == (50, 50)
    with pytest.raises(IndexError, match="levels 0 to 4"):
        p.plot(ax=axes(100), level=5)


def test_no_more_is_read_than_is_shown() -> None:
    read = []

    def block(block_info: Any = None) -> np.ndarray:
        read.append(block_info[None]["chunk-location"])
        return np.ones((64, 64), "u1")

    import dask.array as da

    base = da.map_blocks(block, dtype="u1", chunks=((64,) * 16, (64,) * 16))
    p = xr.DataArray(base, dims=("y", "x"), name="field").pyramid.build(levels=3, chunks=64)
    p.plot(ax=axes(30), level=0, x=slice(0, 60), y=slice(70, 120))
    assert len(set(read)) == 1


def test_places() -> None:
    p = square(64).pyramid.build(levels=3, chunks=16)
    for level in range(3):
        image = p.plot(level=level)
        assert image.get_extent() == [-0.25, 31.75, 31.75, -0.25]
        assert image.axes.yaxis_inverted()  # row 0 is at the top
        values = np.asarray(image.get_array())
        assert values[0, 0] == 100
        assert values[-1, -1] == 0
    part = p.plot(level=1, x=slice(8, 16), y=slice(4, 8))
    assert part.get_extent() == [7.75, 16.75, 8.75, 3.75]


def test_latitudes_grow_upwards() -> None:
    grid = xr.DataArray(
        np.zeros((10, 20)), {"lat": np.linspace(-45, 45, 10), "lon": np.arange(20.0)},
        ("lat", "lon"), "t", {"units": "K"},
    )  # fmt: skip
    grid.lat.attrs["units"], grid.lon.attrs["units"] = "degrees_north", "degrees_east"
    image = grid.pyramid.build(levels=2, chunks=5).plot()
    assert not image.axes.yaxis_inverted()
    assert image.axes.get_ylabel() == "lat [degrees_north]"
    assert len(image.axes.figure.axes) == 2  # with a scale of colours
    assert image.axes.figure.axes[1].get_ylabel() == "t [K]"


def test_slices_and_projections() -> None:
    values = np.zeros((8, 32, 32), "u2")
    values[4, 3, 5] = 7
    stack = xr.DataArray(values, {"z": 2.0 * np.arange(8)}, ("z", "y", "x"), "stack")
    p = stack.pyramid.build(levels=2, factor={"z": 1, "y": 2, "x": 2}, chunks=8)
    image = p.plot(level=0)
    assert image.axes.get_title() == "stack, level 0, z = 8"
    assert np.asarray(image.get_array())[3, 5] == 7
    assert np.asarray(p.plot(level=0, z=1.4).get_array()).max() == 0
    projected = p.plot(level=0, project="max")
    assert np.asarray(projected.get_array())[3, 5] == 7
    assert projected.axes.get_title() == "stack, level 0"
    with pytest.raises(errors.PlanError, match="project='best'; accepted: max"):
        p.plot(project="best")
    with pytest.raises(
        errors.SelectionError, match=r"'x', which is one of .* drawn; accepted: a slice"
    ):
        p.plot(x=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": 0}, r"along 'time', 0: no datetime; accepted: coordinates from "
         r"2000-01-01T06:00:00 to 2000-01-03; for an index, call \.isel\(time=0\) first$"),
        ({"time": "noon"}, "'noon': no datetime; accepted: coordinates from .* to 2000-01-03$"),
        ({"q": 1}, "no dimension 'q'"),
        ({"level": 9}, "level 9"),
        ({"project": "best"}, "project='best'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_leaves_no_empty_axes(options: Any, message: str) -> None:
    times = np.array(["2000-01-01T06:00", "2000-01-03"], "M8[ns]")
    film = xr.concat([square(32), square(32)], "time").assign_coords(time=times)
    p = film.pyramid.build(levels=2)
    plt.close("all")
    with pytest.raises((errors.PyramidError, IndexError), match=message):
        p.plot(**options)
    if "level" not in options and "project" not in options:
        with pytest.raises(errors.PyramidError, match=message):
            p.plot.levels(**options)
    assert plt.get_fignums() == []
    assert p.isel(time=0).plot().axes.get_title().endswith("level 0")


def test_channels_in_their_colours() -> None:
    film = xr.concat([square(32), square(32)[::-1, ::-1].assign_coords(square(32).coords)], "c")
    film = film.assign_coords(c=["a", "b"]).rename("film")
    store = zarr.storage.MemoryStore()
    omero = {"colors": ["FF0000", "0000FF"], "windows": [(0, 100), (0, 200)]}
    film.pyramid.to_ome_zarr(store, levels=2, chunks=16, omero=omero)
    p = xpyramid.open_pyramid(store)
    picture = np.asarray(p.plot(level=0).get_array())
    assert picture[0, 0].tolist() == [1, 0, 0]
    assert picture[-1, -1].tolist() == [0, 0, 0.5]
    assert picture[0, -1].tolist() == [0, 0, 0]
    one = p.plot(level=0, c="b")
    assert one.get_clim() == (0, 200)
    assert one.axes.get_title() == "film, level 0, c = b"


def test_a_window_without_width() -> None:
    values = np.array([[[4.0, 5.0, 6.0]]])
    assert composed(values, [(np.ones(3), 5, 5)])[0, :, 0].tolist() == [0, 0, 1]


def test_what_no_channel_has_is_transparent() -> None:
    values = np.array([[[0, 1, np.nan, np.nan]], [[0, np.nan, 1, np.nan]]])
    picture = composed(values, [(np.array([1, 0, 0]), 0, 1), (np.array([0, 0, 1]), 0, 1)])
    assert picture[0].tolist() == [[0, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_photographs_are_as_they_are() -> None:
    photo = xr.DataArray(np.full((8, 8, 3), [255, 127.5, 0]).astype("u1"), name="photo")
    picture = np.asarray(photo.pyramid.build(levels=1).plot().get_array())
    np.testing.assert_allclose(picture[0, 0], [1, 127 / 255, 0])


def test_labels_get_colours_of_their_own() -> None:
    values = np.arange(16, dtype="u4").reshape(4, 4) // 4
    p = xr.DataArray(values, dims=("y", "x"), name="cells").pyramid.build(levels=1, kind="labels")
    picture = np.asarray(p.plot().get_array())
    assert picture.shape == (4, 4, 4)
    assert not picture[0].any()  # nothing, where no label is
    assert len({tuple(color) for color in picture[1:, 0]}) == 3


def test_all_levels_side_by_side() -> None:
    p = square(800).pyramid.build(levels=3, chunks=64)
    figure = p.plot.levels(figsize=(6, 2))
    shapes = [ax.images[0].get_array().shape for ax in figure.axes]
    assert len(shapes) == 3
    assert shapes[0][0] <= 200
    assert abs(shapes[0][0] / shapes[2][0] - 4) < 0.5
    extents = [ax.images[0].get_extent() for ax in figure.axes]
    np.testing.assert_allclose(extents[0], extents[1], atol=1)


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (np.datetime64("2025-07-01", "ns"), "2025-07-01"),
        (np.datetime64("2025-07-01T12:00", "ns"), "2025-07-01T12:00:00"),
        (np.datetime64("NaT", "ns"), "NaT"),
        (np.timedelta64(6, "h").astype("m8[ns]"), "21600 seconds"),
    ],
    ids=str,
)
def test_times_in_titles_have_no_nanoseconds(time: Any, said: str) -> None:
    film = square(32).expand_dims(time=[time])
    image = film.pyramid.build(levels=1).plot()
    assert image.axes.get_title() == f"square, level 0, time = {said}"


def test_titles_of_levels_side_by_side_do_not_overlap() -> None:
    film = square(64).expand_dims(time=[np.datetime64("2025-07-01T12:00", "ns")]).rename("sst")
    figure = film.pyramid.build(levels=3, chunks=64).plot.levels()
    figure.canvas.draw()
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert len(boxes) == 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_colour_stands_for_the_same_value_in_all_levels() -> None:
    field = xpyramid.example_field((64, 64), dtype="float32").rename("sst")
    figure = field.pyramid.build(levels=3, chunks=64).plot.levels()
    *levels, bar = figure.axes
    limits = {ax.images[0].get_clim() for ax in levels}
    assert len(levels) == 3
    assert len(limits) == 1
    assert bar.get_ylim() == limits.pop()
    figure.canvas.draw()
    texts = [text.get_window_extent() for ax in levels for text in (ax.title, ax.xaxis.label)]
    assert all(text.x1 < bar.get_window_extent().x0 for text in texts)


def test_one_dimension_alone() -> None:
    p = xpyramid.example_field((60,)).pyramid.build(levels=2)
    with pytest.raises(errors.AxisError, match="not two space dimensions"):
        p.plot()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'xpyramid\[plot\]'"):
        square(8).pyramid.build(levels=1).plot()


def test_no_scale_stands_beside_channels_and_labels() -> None:
    film = xr.concat([square(32), square(32)], "c").assign_coords(c=["a", "b"])
    cells = xr.DataArray(np.eye(32, dtype="u1"), dims=("y", "x"), name="cells")
    for p in (film.pyramid.build(levels=2), cells.pyramid.build(levels=2, kind="labels")):
        assert len(p.plot().axes.figure.axes) == 1
        assert len(p.plot.levels().axes) == 2


def test_labels_have_the_colours_that_they_are_given() -> None:
    colors = [{"label-value": 1, "rgba": [255, 0, 0, 128]}]
    attrs = {"image-label": {"colors": colors}}
    cells = xr.DataArray(np.eye(4, dtype="u4"), dims=("y", "x"), name="cells", attrs=attrs)
    picture = np.asarray(cells.pyramid.build(levels=1).plot().get_array())
    np.testing.assert_allclose(picture[0, 0], [1, 0, 0, 128 / 255])
    assert not picture[0, 1].any()
