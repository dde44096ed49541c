"""What napari draws, with its OME-Zarr plugin, on a screen of its own."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.drawn import PATCHES, RGB, SIZES, SPACING, check_places, patches, write_drawn
from helpers.scale_bars import check_bar, longest_white_run
from PIL import Image

NEEDED = ("napari", "napari_ome_zarr", "PyQt6")
MISSING = [name for name in NEEDED if not importlib.util.find_spec(name)]

pytestmark = [
    pytest.mark.viewers,
    pytest.mark.skipif(bool(MISSING), reason="pip install 'xpyramid[viewers]'"),
    pytest.mark.skipif(not shutil.which("xvfb-run"), reason="apt-get install xvfb xauth"),
]

#: What is drawn, and how it is written; "" is the root of the store.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    f"{kind} {layout}": (kind, {"layout": layout})
    for kind in ("channels", "labels", "volume", "map")
    for layout in ("groups", "arrays")
} | {
    "channels 0.4": ("channels", {"version": "0.4"}),
    "channels root": ("channels", {"group": ""}),
}


class Shown(NamedTuple):
    """What napari says, and shows."""

    said: dict[str, Any]
    picture: bytes


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    """Open all images in one viewer, one after the other."""
    root = tmp_path_factory.mktemp("napari")
    images = {
        case: write_drawn(root / f"{case}.zarr", kind, **how) for case, (kind, how) in CASES.items()
    }
    arguments = [part for case, image in images.items() for part in (image, root / f"{case}.png")]
    program = Path(__file__).with_name("draw_in_napari.py")
    done = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24", sys.executable, program, *arguments],
        env={**os.environ, "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        case: Shown(one, (root / f"{case}.png").read_bytes())
        for case, one in zip(images, said, strict=True)
    }


@pytest.mark.parametrize("case", CASES)
def test_patches_are_where_they_belong(case: str, shown: dict[str, Shown]) -> None:
    kind, picture = CASES[case][0], shown[case].picture
    if kind in ("channels", "labels"):
        check_places(patches(picture, {colour: RGB[colour] for colour in PATCHES}))
    else:  # the one patch is in the north-east
        found = patches(picture, {"white": RGB["white"]})["white"]
        height, width = 600, 800
        assert found.part > 0.02
        assert found.y < height / 2
        assert found.x > width / 2


@pytest.mark.parametrize("case", [case for case in CASES if "map" not in case])
def test_it_lies_where_it_is(case: str, shown: dict[str, Shown]) -> None:
    """Corners are those of the samples, in micrometres."""
    said = shown[case].said
    dims = "zyx" if case.startswith("volume") else "yx"
    first, last = said["extent"]
    for i, dim in enumerate(dims):
        assert said["units"][i] == "micrometer"
        assert last[i] - first[i] == pytest.approx(SIZES[dim] * SPACING, abs=2 * SPACING)
    assert said["levels"] == 3


def test_layers_are_of_their_kinds(shown: dict[str, Shown]) -> None:
    assert shown["channels groups"].said["layers"] == ["Image"] * 3
    assert sorted(shown["labels groups"].said["layers"]) == ["Image", "Labels"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if CASES[case][0] in ("channels", "labels")]
)
def test_the_scale_bar_is_as_long_as_it_says(case: str, shown: dict[str, Shown]) -> None:
    """The patches tell how many micrometres a pixel is; the bar is below on the right."""
    found = patches(shown[case].picture, {colour: RGB[colour] for colour in PATCHES})
    apart = (PATCHES["green"][1] - PATCHES["red"][1]) * SIZES["x"] * SPACING
    per_pixel = apart / (found["green"].x - found["red"].x)
    pixels = np.asarray(Image.open(io.BytesIO(shown[case].picture)))
    height, width, _ = pixels.shape
    bar = longest_white_run(pixels[height * 9 // 10 :, width // 2 :])
    check_bar(shown[case].said["bar"], bar, per_pixel, width=3)
