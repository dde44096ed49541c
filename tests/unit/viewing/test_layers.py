"""What viewers are told of an image: names, colours, windows, place and units."""

import json
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from helpers.stored_images import field, segmentation

import xpyramid
from xpyramid.errors import AxisError, DtypeError, PlanError
from xpyramid.viewing import image as looking
from xpyramid.viewing import layer_kwargs
from xpyramid.viewing import viewers as viewing
from xpyramid.viewing.cache import Cache
from xpyramid.viewing.neuroglancer import geometry_of, served, state_of
from xpyramid.viewing.objects import StoredObjects
from xpyramid.viewing.page import Page
from xpyramid.viewing.virtual import VirtualImage

OMERO = {"colors": ["FF0000", "00FF00", "0000FF"], "windows": [(0, 10), (5, 20), (1, 3000)]}


def shown(pyramid: xpyramid.Pyramid) -> Any:
    return pyramid._viewed(Cache())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of an image with colours, and labels over it."""
    path = tmp_path_factory.mktemp("colored") / "out.zarr"
    field("cyx").pyramid.to_ome_zarr(path, levels=3, chunks=16, omero=OMERO)
    segmentation().pyramid.to_ome_zarr(path, labels_of="field", chunks=16)
    return path


@pytest.fixture
def colored(store: Path) -> xpyramid.Pyramid:
    return xpyramid.open_pyramid(store, "field")


def test_channels_are_layers_with_their_colours(colored: xpyramid.Pyramid) -> None:
    kwargs = colored.layer_kwargs()
    data = kwargs.pop("data")
    assert kwargs == {
        "multiscale": True,
        "channel_axis": 0,
        "name": ["field: DAPI", "field: GFP", "field: RFP"],
        "colormap": ["#FF0000", "#00FF00", "#0000FF"],
        "contrast_limits": [(0, 10), (5, 20), (1, 3000)],
        "visible": [True, True, True],
        "blending": "additive",
        "scale": [0.5, 0.5],
        "translate": [10, 10],
        "units": ["micrometer", "micrometer"],
        "axis_labels": ["y", "x"],
    }
    for got, level in zip(data, colored, strict=True):
        assert (got.shape, got.dtype) == (level.shape, level.dtype)
        np.testing.assert_array_equal(np.asarray(got[1]), level[1].values)


def test_an_image_without_channels_is_one_layer() -> None:
    kwargs = field("tczyx").isel(c=1, drop=True).pyramid.build(levels=2).layer_kwargs()
    assert (kwargs["name"], kwargs["colormap"]) == ("field", "#FFFFFF")
    assert kwargs["units"] == ["second", *["micrometer"] * 3]
    assert kwargs["scale"] == [600, 0.5, 0.5, 0.5]
    assert "channel_axis" not in kwargs
    low, high = kwargs["contrast_limits"]
    assert (5 <= low < 20, 2980 < high < 3000) == (True, True)


def test_of_many_channels_some_are_shown_at_first() -> None:
    image = field("cyx").isel(c=[0, 1, 2] * 3).assign_coords(c=range(9))
    assert image.pyramid.build(levels=2).layer_kwargs()["visible"] == [True] * 6 + [False] * 3


def test_windows_are_those_that_are_written(tmp_path: Path) -> None:
    array = field("cyx") / 3
    virtual = array.pyramid.build(levels=2)
    virtual.to_ome_zarr(tmp_path / "out.zarr")
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr")
    assert shown(virtual).channels == opened.metadata["omero"]["channels"]
    assert shown(opened).channels == opened.metadata["omero"]["channels"]


def test_stored_windows_need_no_samples(
    colored: xpyramid.Pyramid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was read")

    monkeypatch.setattr(looking.engine.Source, "read", refuse)
    channels = shown(colored).channels
    assert [channel["window"]["end"] for channel in channels] == [10, 20, 3000]


def test_labels_are_labels() -> None:
    kwargs = segmentation().pyramid.build(levels=2).layer_kwargs()
    assert kwargs["colormap"][1] == [1, 0, 0, 1]
    assert kwargs["colormap"][0][3] == 0
    assert {"contrast_limits", "channel_axis", "blending"}.isdisjoint(kwargs)
    plain = (field("yx") % 3).rename("cells").pyramid.build(levels=2, kind="labels").layer_kwargs()
    assert "colormap" not in plain


def test_one_level_is_no_pyramid_to_napari() -> None:
    kwargs = field("yx").pyramid.build(levels=1).layer_kwargs()
    assert kwargs["multiscale"] is False
    np.testing.assert_array_equal(kwargs["data"], field("yx"))


@pytest.mark.parametrize("is_dask", [True, False])
def test_levels_are_computed_where_one_looks(is_dask: bool, tmp_path: Path) -> None:
    array = field("zyx")
    array.to_dataset().to_zarr(tmp_path / "in.zarr", consolidated=False)
    options: Any = {"chunks": {} if is_dask else None, "consolidated": False}
    pyramid = xr.open_zarr(tmp_path / "in.zarr", **options).field.pyramid.build(levels=3, chunks=8)
    level = pyramid.layer_kwargs()["data"][1]
    want = pyramid[1].values
    for key in [
        (3,), (-1, slice(None, None, 3)), (slice(5, 1, -2), 2, slice(-4, None)), (slice(2, 2),),
        (0, 0, 0), (..., 16), (slice(None), [0, 3, 9], slice(1, 12, 5)),
    ]:  # fmt: skip
        np.testing.assert_array_equal(np.asarray(level[key]), want[key])


def test_what_is_no_real_number_is_refused() -> None:
    complex_field = field("yx") + 1j
    with pytest.raises(DtypeError, match="complex128; accepted: real numbers"):
        complex_field.pyramid.build(levels=2).layer_kwargs()


def test_neuroglancer_is_told_everything(colored: xpyramid.Pyramid) -> None:
    images = shown(colored).images()
    state = state_of(images, geometry_of(served(images[0])), ["http://x/0", "http://x/1"])
    assert state["dimensions"] == {"x": [5e-7, "m"], "y": [5e-7, "m"]}
    assert state["position"] == [20 + 16, 20 + 10]
    assert state["layout"] == "xy"
    assert state["crossSectionScale"] == pytest.approx(33 / 800)
    *channels, labels = state["layers"]
    controls = [layer["shaderControls"] for layer in channels]
    assert [control["color"] for control in controls] == ["#FF0000", "#00FF00", "#0000FF"]
    assert [control["normalized"]["range"] for control in controls] == [[0, 10], [5, 20], [1, 3000]]
    assert [layer["localPosition"] for layer in channels] == [[0], [1], [2]]
    assert channels[0]["localDimensions"] == {"c'": [1, ""]}
    assert (labels["type"], labels["segmentColors"]) == (
        "segmentation",
        {"1": "#ff0000", "2": "#e69f00"},
    )
    assert labels["source"] == "zarr://http://x/1"


def test_neuroglancer_shows_volumes_from_three_sides() -> None:
    image = shown(field("tczyx").pyramid.build(levels=2))
    state = state_of([image], geometry_of(served(image)), ["http://x/0"])
    assert [*state["dimensions"]] == ["x", "y", "z", "t"]
    assert state["position"] == [36, 30, 24, 0]
    assert state["layout"] == "4panel"
    assert len(state["layers"]) == 3


def test_images_of_ours_are_served_as_they_are(
    colored: xpyramid.Pyramid, store: Path, tmp_path: Path
) -> None:
    """Others are brought into a form that neuroglancer reads."""
    image, labels = shown(colored).images()
    assert type(served(image)) is type(served(labels)) is StoredObjects
    assert served(image).read("zarr.json") == (store / "field/zarr.json").read_bytes()
    assert type(served(shown(colored.isel(x=slice(4, 20))))) is VirtualImage
    assert type(served(shown(colored.map(lambda level: level + level)))) is VirtualImage
    field("yx").pyramid.to_ome_zarr(tmp_path / "old.zarr", version="0.4", levels=2)
    old = served(shown(xpyramid.open_pyramid(tmp_path / "old.zarr")))
    assert type(old) is StoredObjects
    assert geometry_of(old).datasets[1].translation == (10.25, 10.25)
    others: list[dict[str, Any]] = [{"version": "0.6"}, {"names": "source"}]
    for i, options in enumerate(others):
        array = field("yx").rename(y="row", x="column")
        array.pyramid.to_ome_zarr(tmp_path / f"{i}.zarr", levels=2, **options)
        assert type(served(shown(xpyramid.open_pyramid(tmp_path / f"{i}.zarr")))) is VirtualImage


@pytest.mark.parametrize(
    ("dtype", "kind", "want"),
    [("?", "image", "uint8"), ("f8", "image", "float32"), ("f2", "image", "float32"),
     ("i8", "image", "float32"), ("i8", "labels", "uint64"), ("u8", "labels", "uint64"),
     (">u2", "image", "uint16")],
)  # fmt: skip
def test_dtypes_that_neuroglancer_refuses_are_shown_as_others(
    dtype: str, kind: Any, want: str
) -> None:
    pyramid = field("yx").astype(dtype).pyramid.build(levels=2, kind=kind, chunks=16)
    image = served(shown(pyramid))
    document = json.loads(image.read("1/field/zarr.json") or b"")
    assert document["data_type"] == want
    got = VirtualImage.read(image, "1/field/c/0/0")  # type: ignore[arg-type]
    assert got


def test_coordinates_that_are_uneven_are_shown_by_their_mean() -> None:
    array = field("yx").assign_coords(x=np.arange(33.0) ** 1.5)
    image = served(shown(array.pyramid.build(levels=2)))
    assert json.loads(image.read("zarr.json") or b"")["attributes"]["ome"]["multiscales"]


def png(data: bytes | None) -> np.ndarray[Any, Any]:
    from io import BytesIO

    from PIL import Image

    assert data is not None
    return np.asarray(Image.open(BytesIO(data)))


def test_the_page_shows_tiles_in_colours() -> None:
    values = np.zeros((3, 2, 300, 400), "u2")
    values[0, 1, 256:, :256] = 100
    values[2, 1] = 50
    omero = {"channels": [
        {"label": name, "color": color, "window": {"min": 0, "start": 0, "end": 100, "max": 200}}
        for name, color in zip("rgb", OMERO["colors"], strict=True)
    ]}  # fmt: skip
    array = xr.DataArray(
        values, {"c": [*"rgb"]}, ("c", "z", "y", "x"), "field", attrs={"omero": omero}
    )
    page = Page([shown(array.pyramid.build(levels=2))])
    (about,) = json.loads(page.read("images.json") or b"")
    assert about["others"] == [{"dim": "z", "length": 2, "at": 1, "places": []}]
    assert [channel["color"] for channel in about["channels"]] == ["#FF0000", "#00FF00", "#0000FF"]
    tile = png(page.read("tile/0/0/1_0/1/0_1_2.png"))
    assert tile.shape == (44, 256, 3)
    assert (tile == [255, 0, 128]).all()
    assert (png(page.read("tile/0/0/1_0/1/2.png")) == [0, 0, 128]).all()
    assert (png(page.read("tile/0/0/1_0/0/0_1_2.png")) == 0).all()
    assert png(page.read("tile/0/1/0_0/1/0.png")).shape == (150, 200, 3)
    assert page.read("tile/0/0/1_0/99/2.png") == page.read("tile/0/0/1_0/1/2.png")
    assert (page.read("index.html") or b"").startswith(b"<!doctype html>")
    for key in [
        "tile/1/0/0_0/1/0.png", "tile/0/2/0_0/1/0.png", "tile/0/0/2_0/1/0.png",
        "tile/0/0/0_0/-/0.png", "tile/0/0/0_0/1/0.jpg", "tile/0/0/-1_0/1/0.png", "page.py", "",
        "../page.html",
    ]:  # fmt: skip
        assert page.read(key) is page.size(key) is None


def test_the_page_says_places_as_coordinates_do() -> None:
    times = np.array(["2025-01-01T00:00", "2025-01-01T06:00"], "M8[ns]")
    z = ("z", [2.5, 3.0, 3.5], {"units": "mm"})
    shape = {"t": 2, "z": 3, "y": 20, "x": 30}
    array = xr.DataArray(np.zeros([*shape.values()], "u1"), {"t": times, "z": z}, [*shape], "field")
    (about,) = json.loads(Page([shown(array.pyramid.build(levels=2))]).read("images.json") or b"")
    assert [one["places"] for one in about["others"]] == [
        ["2025-01-01", "2025-01-01T06:00:00"], ["2.5 mm", "3 mm", "3.5 mm"]
    ]  # fmt: skip


def test_nothing_is_shown_where_samples_are_missing() -> None:
    values = np.ones((20, 30), "f4")
    values[5:, :10] = np.nan
    image = shown(xr.DataArray(values, dims=[*"yx"], name="field").pyramid.build(levels=2))
    tile = png(Page([image]).read("tile/0/0/0_0/-/0.png"))
    np.testing.assert_array_equal(tile[..., 3], np.where(np.isnan(values), 0, 255))
    (layer,) = state_of([image], geometry_of(served(image)), [""])["layers"]
    assert "emitTransparent" in layer["shader"]
    image = shown(field("yx").pyramid.build(levels=2))
    (layer,) = state_of([image], geometry_of(served(image)), [""])["layers"]
    assert "isnan" not in layer["shader"]  # which GLSL has for no integers


def test_what_has_no_samples_has_no_tiles() -> None:
    page = Page([shown(xr.DataArray(np.zeros((0, 5, 5), "u1"), dims=[*"tyx"]).pyramid.build())])
    assert page.read("tile/0/0/0_0/0/0.png") is None


def test_complex_samples_are_refused_before_they_are_served() -> None:
    p = xr.DataArray(np.zeros((20, 30), "c8"), dims=[*"yx"], name="field").pyramid.build(levels=2)
    with pytest.raises(DtypeError, match="no colours for dtype complex64"):
        p.view("page", block=False)


def test_the_page_shows_labels_in_their_colours() -> None:
    page = Page([shown(segmentation().pyramid.build(levels=2))])
    tile, labels = png(page.read("tile/0/0/0_0/-/-.png")), segmentation().values
    assert (tile[labels == 0] == 0).all()
    assert (tile[labels == 1] == [255, 0, 0, 255]).all()
    assert (tile[labels == 2][:, 3] == 255).all()


def test_a_view_ends_with_its_block(colored: xpyramid.Pyramid) -> None:
    from urllib.error import URLError
    from urllib.request import urlopen

    with colored.view("page", block=False) as view:
        assert view.url.startswith("http://127.0.0.1:")
        assert urlopen(view.url).read().startswith(b"<!doctype html>")
        (name, labels) = json.loads(urlopen(view.url.replace("index.html", "images.json")).read())
        assert (name["name"], labels["name"], labels["labels"]) == ("field", "cells", True)
        assert view.url in view._repr_html_()
    with pytest.raises(URLError):
        urlopen(view.url)
    assert "closed" in view._repr_html_()
    assert "closed" in repr(view)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    return opened


def test_several_pyramids_are_shown_together(quiet: list[str]) -> None:
    dataset = xr.Dataset({"cells": segmentation(), "field": field("yx")})
    with dataset.pyramid.build(levels=2).view("page", block=False) as view:
        from urllib.request import urlopen

        about = json.loads(urlopen(view.url.replace("index.html", "images.json")).read())
        assert [image["name"] for image in about] == ["field", "cells"]
        assert quiet == [view.url]


def test_a_call_that_waits_ends_with_the_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(viewing.time, "sleep", interrupt)
    assert field("yx").pyramid.build(levels=2).view("page") is None
    url, said = capsys.readouterr().out.splitlines()
    assert said == "Ctrl-C ends the view"
    with pytest.raises(OSError, match="refused"):
        __import__("urllib.request").request.urlopen(url)


def test_viewers_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pyramid = field("yx").pyramid.build(levels=2)
    with pytest.raises(PlanError, match="viewer='vizarr'; accepted: 'napari', 'neuroglancer', "):
        pyramid.view("vizarr")
    monkeypatch.setattr(viewing, "_is_installed", lambda _: False)
    for viewer, extra in (("napari", "napari"), ("neuroglancer", "view")):
        with pytest.raises(ImportError, match=rf"pip install 'xpyramid\[{extra}\]'"):
            pyramid.view(viewer)
    assert viewing._chosen(None) == "page"


def test_the_best_viewer_that_can_be_shown_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewing, "_is_installed", lambda _: True)
    monkeypatch.setattr(viewing.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    assert viewing._chosen(None) == "napari"
    monkeypatch.setattr(viewing, "_in_notebook", lambda: True)
    assert viewing._chosen(None) == "neuroglancer"
    monkeypatch.setattr(viewing, "_in_notebook", lambda: False)
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert viewing._chosen(None) == "neuroglancer"


@pytest.mark.parametrize("is_north_up", [True, False])
def test_maps_have_the_north_above(is_north_up: bool) -> None:
    """Rows from north to south keep their order, and others are turned round."""
    lat = np.arange(40, 50, 0.5)[:: -1 if is_north_up else 1]
    array = field("yx").assign_coords(y=lat).rename(y="lat", x="lon").drop_attrs()
    image = shown(array.pyramid.build(levels=2))
    assert image.is_upward is not is_north_up
    kwargs = layer_kwargs(image)
    assert (kwargs["scale"][0], kwargs["translate"][0]) == (0.5, -49.5 if is_north_up else 40)
    state = state_of([image], geometry_of(served(image)), ["http://x/0"])
    assert state["position"][1] == (-99 if is_north_up else 80) + 10
    assert state["crossSectionOrientation"] == ([0, 0, 0, 1] if is_north_up else [1, 0, 0, 0])
    (about,) = json.loads(Page([image]).read("images.json") or b"")
    assert about["upward"] is image.is_upward
    assert about["levels"][1]["start"][0] == (-49.25 if is_north_up else 40.25)


def test_units_that_are_multiples_are_those_that_are_served() -> None:
    """OME-NGFF has no kiloparsec, and the state has to have the unit of the source."""
    x = ("x", np.arange(33.0), {"units": "kpc"})
    image = shown(field("yx").assign_coords(x=x).pyramid.build(levels=2))
    state = state_of([image], geometry_of(served(image)), ["http://x/0"])
    assert state["dimensions"]["x"] == [pytest.approx(3.0857e19, rel=1e-4), "m"]


def test_one_dimension_is_no_picture() -> None:
    array = xr.DataArray(np.arange(99.0), dims="x", name="line")
    with pytest.raises(AxisError, match="not two space dimensions"):
        array.pyramid.build(levels=2).view("page", block=False)


def test_nothing_is_computed_before_somebody_looks() -> None:
    array = field("zyx").chunk(8)
    array.attrs["omero"] = {"channels": [
        {"label": "field", "color": "FFFFFF", "window": {"min": 0, "start": 0, "end": 9, "max": 9}}
    ]}  # fmt: skip

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        pyramid = array.pyramid.build(levels=3)
        pyramid.layer_kwargs()
        served(shown(pyramid)).read("zarr.json")


def test_without_any_channel_there_is_no_layer() -> None:
    pyramid = xr.DataArray(np.zeros((0, 5, 5)), dims=("c", "y", "x"), name="f").pyramid.build()
    with pytest.raises(AxisError, match="no channels to show along 'c'"):
        pyramid.layer_kwargs()
