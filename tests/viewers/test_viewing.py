"""What one sees of a pyramid in napari, in neuroglancer and on the plain page."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers.scale_bars import check_bar, longest_white_run
from helpers.stored_images import SIZES, field, segmentation
from PIL import Image

import xpyramid

pytestmark = [pytest.mark.viewers, pytest.mark.filterwarnings("ignore")]  # viewers' own

COLORS = {"left": "FF0000", "right": "00FF00", "below": "0000FF"}
LABEL = (255, 255, 0)


def picture() -> xr.DataArray:
    """Return three discs, each in a channel: red on the left, green on the right, blue below."""
    y, x = np.mgrid[:300, :400]
    places = [(100, 120), (100, 280), (210, 200)]
    discs = np.stack([(y - i) ** 2 + (x - j) ** 2 < 60**2 for i, j in places])
    windows = [{"min": 0, "start": 0, "end": end, "max": 3000} for end in (3000, 2000, 1000)]
    values = discs * np.array([3000, 2000, 1000], "u2")[:, None, None]
    coords = {
        "c": [*COLORS],
        "y": ("y", 5 + 0.5 * np.arange(300.0), {"units": "um"}),
        "x": ("x", 7 + 0.5 * np.arange(400.0), {"units": "um"}),
    }
    channels = [
        {"label": name, "color": color, "window": window}
        for (name, color), window in zip(COLORS.items(), windows, strict=True)
    ]
    attrs = {"omero": {"channels": channels}}
    return xr.DataArray(values.astype("u2"), coords, ("c", "y", "x"), "discs", attrs)


def labels() -> xr.DataArray:
    """Return a label in the middle of the disc on the left."""
    y, x = np.mgrid[:300, :400]
    array = picture().isel(c=0, drop=True).copy(data=((y - 100) ** 2 + (x - 120) ** 2 < 30**2) * 1)
    colors = [{"label-value": 1, "rgba": [*LABEL, 255]}]
    return array.astype("u4").rename("cells").assign_attrs({"image-label": {"colors": colors}})


@pytest.fixture(
    scope="module",
    params=["stored", "stored in 0.4", "stored in 0.6", "virtual", "virtual float64"],
)
def pyramid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    array, kind = picture(), request.param
    if kind.endswith("float64"):
        array = array.astype("f8")
    if kind.startswith("virtual"):
        return array.chunk(64).pyramid.build(levels=3, chunks=64)
    path = tmp_path_factory.mktemp("shown") / "out.zarr"
    version: Any = kind.partition(" in ")[2] or "0.5"
    array.pyramid.to_ome_zarr(path, levels=3, chunks=64, version=version)
    labels().pyramid.to_ome_zarr(path, labels_of="discs", chunks=64, version=version)
    return xpyramid.open_pyramid(path, "discs")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    helper = pytest.importorskip("helpers.neuroglancer_browser")
    with helper.open_browser() as found:
        yield found


def centre(pixels: Any, color: str) -> tuple[float, float] | None:
    """Return where pixels of a colour are, on average; None where there are few."""
    found = np.argwhere((pixels[..., :3] == list(bytes.fromhex(color))).all(axis=-1))
    return tuple(found.mean(axis=0)) if len(found) > 1000 else None  # type: ignore[return-value]


def check_discs(pixels: Callable[[], Any], wait: Callable[[Callable[[], bool]], None]) -> Any:
    """Check that each disc is where its colour belongs; return the pixels."""
    wait(lambda: all(centre(pixels(), color) is not None for color in COLORS.values()))
    seen = pixels()
    left, right, below = (centre(seen, color) for color in COLORS.values())
    assert left is not None
    assert right is not None
    assert below is not None
    assert right[1] - left[1] > 100
    assert left[1] < below[1] < right[1]
    assert min(below[0] - left[0], below[0] - right[0]) > 50
    return seen


def per_pixel(seen: Any) -> float:
    """Return how many micrometres a pixel is: the discs above are 80 apart."""
    left, right = centre(seen, COLORS["left"]), centre(seen, COLORS["right"])
    assert left is not None
    assert right is not None
    return 80 / (right[1] - left[1])


def bar_in(browser: Any, viewer: str, seen: Any) -> tuple[str, float]:
    """Return what the scale bar of a page says, and how long it is in pixels."""
    if viewer == "page":
        script = """const bar = document.getElementById("scale");
            return [bar.textContent, bar.getBoundingClientRect().width]"""
        text, width = browser.driver.execute_script(script)
        return text, width
    height, width, _ = seen.shape
    texts = browser.driver.execute_script("return window.textsDrawn")
    return texts[-1], longest_white_run(seen[height * 3 // 4 :, : width // 2])


@pytest.mark.parametrize("viewer", ["neuroglancer", "page"])
def test_pages_show_channels_in_their_colours(viewer: str, pyramid: Any, browser: Any) -> None:
    def pixels() -> Any:
        return np.asarray(Image.open(BytesIO(browser.driver.get_screenshot_as_png())))

    with pyramid.view(viewer, block=False) as view:
        browser.driver.get("about:blank")
        browser.driver.get(view.url)
        seen = check_discs(pixels, browser.wait)
        if pyramid.labels:  # half of the label over the disc
            assert centre(seen, "FF8000") or centre(seen, "FF7F00")
        text, bar = bar_in(browser, viewer, seen)
        check_bar(text, bar, per_pixel(seen))
        if viewer == "neuroglancer":
            layers = browser.look()["layers"]
            names = [f"discs: {name}" for name in COLORS] + [*pyramid.labels]
            assert [layer["name"] for layer in layers] == names
            assert [message for layer in layers for message in layer["messages"]] == []
            space = browser.look()["space"]
            assert (space["names"], space["units"]) == (["x", "y"], ["m", "m"])
            np.testing.assert_allclose(space["scales"], [5e-7, 5e-7])
            np.testing.assert_allclose(space["lower"], [13.5, 9.5])
            np.testing.assert_allclose(space["upper"], [413.5, 309.5])


@pytest.mark.parametrize(("viewer", "behind"), [("neuroglancer", {128}), ("page", {51, 68})])
def test_what_is_missing_is_not_black(viewer: str, behind: set[int], browser: Any) -> None:
    values = np.zeros((300, 400), "f4")
    values[:, 200:] = 1
    values[:, :100] = np.nan
    array = xr.DataArray(values, dims=("y", "x"), name="map")

    def row() -> list[set[int]]:
        seen = np.asarray(Image.open(BytesIO(browser.driver.get_screenshot_as_png())))[..., 0]
        height, width = seen.shape
        start = np.flatnonzero(seen[height // 2] == 255)[-1:]  # the right end of the map
        if not start.size:
            return []
        unit = (start[0] - width // 2) // 2 or 1  # a quarter of the map
        middles = [width // 2 + int(unit * quarter) for quarter in (-1.5, -0.5, 0.5, 1.5)]
        rows = slice(height // 2 - 10, height // 2 + 10)
        return [set(seen[rows, m - 10 : m + 10].ravel().tolist()) for m in middles]

    with array.pyramid.build(levels=2).view(viewer, block=False) as view:
        browser.driver.get("about:blank")
        browser.driver.get(view.url)
        browser.wait(lambda: row() == [behind, {0}, {255}, {255}])


def test_what_is_missing_is_as_large_as_it_is_on_the_page(browser: Any) -> None:
    values = np.full((600, 800), 255, "f4")
    values[:100] = 0
    values[:, 300:304] = np.nan  # the coarsest level has something there

    def row() -> Any:
        seen = np.asarray(Image.open(BytesIO(browser.driver.get_screenshot_as_png())))[..., 0]
        line = seen[seen.shape[0] // 2 + 3]
        white = np.flatnonzero(line == 255)
        return line[white[0] : white[-1] + 1] if white.size else line

    array = xr.DataArray(values, dims=("y", "x"), name="map")
    with array.pyramid.build(levels=5, chunks=128).view("page", block=False) as view:
        browser.driver.get("about:blank")
        browser.driver.get(view.url)
        browser.wait(lambda: 255 in row() and bool({*row().tolist()} & {51, 68}))
        line = row()
    missing = np.flatnonzero(line != 255)  # and no seam between squares
    assert {*line[missing].tolist()} <= {51, 68}
    assert len(missing) == missing[-1] - missing[0] + 1
    zoom = len(line) / 800
    assert abs(len(missing) - 4 * zoom) <= 1
    assert abs(missing[0] - 300 * zoom) <= 1


def test_neuroglancer_shows_volumes_in_time(browser: Any) -> None:
    with field("tczyx").pyramid.build(levels=2).view("neuroglancer", block=False) as view:
        browser.driver.get("about:blank")
        browser.driver.get(view.url)
        browser.wait(lambda: len(browser.look()["layers"]) == 3)
        browser.wait(lambda: all(layer["ready"] for layer in browser.look()["layers"]))
        look = browser.look()
        assert [m for layer in look["layers"] for m in layer["messages"]] == []
        assert look["space"]["names"] == ["x", "y", "z", "t"]
        assert look["space"]["units"] == ["m", "m", "m", "s"]
        size = [SIZES[dim] for dim in "xyzt"]
        lower, upper = (np.array(look["space"][end]) for end in ("lower", "upper"))
        np.testing.assert_allclose(upper - lower, size)


@pytest.fixture(scope="module")
def napari() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("napari", reason="pip install 'xpyramid[viewers]'")


def test_napari_takes_layers_as_they_are(pyramid: Any, napari: Any) -> None:
    viewer = napari.components.ViewerModel()
    layers = viewer.add_image(**pyramid.layer_kwargs())
    assert [layer.name for layer in layers] == [f"discs: {name}" for name in COLORS]
    for i, (layer, color) in enumerate(zip(layers, COLORS.values(), strict=True)):
        assert layer.multiscale
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert (list(layer.scale), list(layer.translate)) == ([0.5, 0.5], [7 - 2, 7])
        brightest = np.round(255 * layer.colormap.colors[-1, :3]).astype("u1")
        assert brightest.tobytes().hex().upper() == color
        assert layer.contrast_limits == [0, 3000 - 1000 * i]
        for got, level in zip(layer.data, pyramid, strict=True):
            np.testing.assert_array_equal(np.asarray(got), level[i].values)


#: Shows an image in napari, on the screen that it is given, and keeps what is drawn.
_DRAW = """
import sys, time
import numpy as np, xpyramid
from qtpy.QtWidgets import QApplication
pyramid = xpyramid.open_pyramid(sys.argv[1], "discs")
shown = pyramid if sys.argv[2] == "stored" else pyramid.isel(x=slice(0, 399))
viewer = shown.view("napari", block=False)
viewer.scale_bar.visible = True
end = time.monotonic() + 5
while time.monotonic() < end:
    QApplication.processEvents()
    time.sleep(0.05)
np.save(sys.argv[3], viewer.screenshot())
print([layer.name for layer in viewer.layers])
drawn = viewer.window._qt_viewer.canvas._viewer_overlay_to_visual.values()
print("bar:", *(v.node.text.text for vs in drawn for v in vs if v.overlay is viewer.scale_bar))
viewer.close()
"""


@pytest.mark.usefixtures("napari")
@pytest.mark.parametrize("kind", ["stored", "virtual"])
def test_napari_draws_channels_in_their_colours(kind: str, tmp_path: Path) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("apt-get install xvfb xauth")
    picture().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=3, chunks=64)
    labels().pyramid.to_ome_zarr(tmp_path / "out.zarr", labels_of="discs", chunks=64)
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]
    arguments = [str(tmp_path / "out.zarr"), kind, str(tmp_path / "drawn.npy")]
    done = subprocess.run(
        [*screen, sys.executable, "-c", _DRAW, *arguments],
        env={**os.environ, "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    names = [f"discs: {name}" for name in COLORS] + ["cells"] * (kind == "stored")
    assert str(names) in done.stdout
    drawn = np.load(tmp_path / "drawn.npy")
    height, width, _ = drawn.shape
    bar = longest_white_run(drawn[height * 9 // 10 :, width // 2 :])
    (text,) = (line[5:] for line in done.stdout.splitlines() if line.startswith("bar: "))
    check_bar(text, bar, per_pixel(drawn), width=3)
    check_discs(lambda: drawn, lambda is_there: pytest.fail("black") if not is_there() else None)


def test_napari_takes_labels(napari: Any, tmp_path: Path) -> None:
    labels().pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=2, chunks=64)
    for pyramid in (
        labels().pyramid.build(levels=2),
        xpyramid.open_pyramid(tmp_path / "out.zarr"),
    ):
        viewer = napari.components.ViewerModel()
        layer = viewer.add_labels(**pyramid.layer_kwargs())
        assert type(layer) is napari.layers.Labels
        np.testing.assert_allclose(layer.get_color(1)[:3], [1, 1, 0])
        np.testing.assert_array_equal(np.asarray(layer.data[1]), pyramid[1].values)
    plain = segmentation().astype("?").drop_attrs().pyramid.build(levels=2)
    layer = napari.components.ViewerModel().add_labels(**plain.layer_kwargs())
    assert layer.data[0].dtype.kind in "iu"
