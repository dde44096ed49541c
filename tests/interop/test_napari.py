"""What napari makes of images, with its OME-Zarr plugin and without a screen."""

import warnings
from typing import Any

import numpy as np
import pytest
from helpers.stored_images import CASES, Stored, store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their own
    pytest.importorskip("napari_ome_zarr", reason="pip install 'xpyramid[viewers]'")
    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from npe2 import PluginManager

pytestmark = pytest.mark.filterwarnings("ignore")  # napari's own


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    PluginManager.instance().discover()


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return store(tmp_path_factory.mktemp("image") / "out.zarr", *request.param)


@pytest.fixture(scope="module")
def layers(stored: Stored) -> list[Any]:
    """Return the layers of an image; the plugin shows labels together with their image."""
    viewer = ViewerModel()
    viewer.open(str(stored.path), plugin="napari-ome-zarr")
    kind = Labels if "image-label" in stored.ome else Image
    return [layer for layer in viewer.layers if type(layer) is kind]


def test_names(stored: Stored, layers: list[Any]) -> None:
    """Channels are layers of their own, and an image without channels is one."""
    names = [layer.name.split("/")[-1] for layer in layers]
    labels = ["DAPI", "GFP", "RFP"] if "c" in stored.pyramid.plan.dims else ["field"]
    channels = [f"field: {label}" for label in labels]
    assert names == (channels if "omero" in stored.ome else [stored.pyramid.name])


def test_scales_and_units(stored: Stored, layers: list[Any]) -> None:
    plan = stored.pyramid.plan
    axes = zip(plan.axes, plan.scale(0), strict=True)
    kept = [(axis.name, axis.unit, scale) for axis, scale in axes if axis.type != "channel"]
    for layer in layers:
        units = [str(unit) for unit in layer.units]
        assert list(zip(layer.axis_labels, units, layer.scale, strict=True)) == kept


def test_levels(stored: Stored, layers: list[Any]) -> None:
    """All levels are there, with the values of each channel."""
    for i, layer in enumerate(layers):
        assert layer.multiscale
        for got, level in zip(layer.data, stored.pyramid, strict=True):
            want = level.isel(c=i) if "c" in level.dims else level
            np.testing.assert_array_equal(np.asarray(got), want.values)


def test_channels(stored: Stored, layers: list[Any]) -> None:
    channels = stored.ome.get("omero", {}).get("channels", [])
    for layer, channel in zip(layers, channels, strict=False):
        window = channel["window"]
        assert layer.contrast_limits == [window["start"], window["end"]]
        brightest = np.round(255 * layer.colormap.colors[-1, :3]).astype("u1")
        assert brightest.tobytes().hex().upper() == channel["color"]


def test_colours_of_labels(stored: Stored, layers: list[Any]) -> None:
    if "image-label" in stored.ome:
        (layer,) = layers
        np.testing.assert_allclose(layer.get_color(1), [1, 0, 0, 1])
