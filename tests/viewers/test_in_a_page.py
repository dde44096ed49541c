"""What viewers in a page draw: viv (as in vizarr), ome-zarr.js, and OpenLayers for maps."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.drawn import PATCHES, RGB, check_places, patches, write_drawn
from helpers.http_server import Served, serve
from helpers.neuroglancer_browser import Browser, open_browser

HERE = Path(__file__).parent
BUNDLER = HERE.parents[1] / "node_modules/.bin/esbuild"

pytestmark = [
    pytest.mark.viewers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        not BUNDLER.exists(),
        reason="npm install --no-save --no-package-lock $(cat tests/viewers/npm.txt)",
    ),
]

COLOURS = {colour: RGB[colour] for colour in PATCHES}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "channels": ("channels", {}),
    "channels-arrays": ("channels", {"layout": "arrays"}),
    "channels-0.4": ("channels", {"version": "0.4"}),
    "channels-root": ("channels", {"group": ""}),
    "volume": ("volume", {}),
    "volume-arrays": ("volume", {"layout": "arrays"}),
}


class Page:
    """A page with the viewers, and images beside it."""

    def __init__(self, root: Path, served: Served, browser: Browser) -> None:
        self.root, self.served, self.browser = root, served, browser

    def show(self, viewer: str, image: Path, *arguments: Any) -> tuple[Any, bytes]:
        """Return what a viewer says of an image, and its picture when it no longer changes."""
        driver = self.browser.driver
        driver.get(f"{self.served.url}/page.html")
        url = f"{self.served.url}/{image.relative_to(self.root)}"
        said = driver.execute_script(
            "return window.show[arguments[0]](...arguments[1])", viewer, [url, *arguments]
        )
        pictures: list[bytes] = [b"", driver.get_screenshot_as_png()]

        def is_settled() -> bool:
            pictures.append(driver.get_screenshot_as_png())
            return pictures[-1] == pictures[-2] and bool(
                patches(pictures[-1], COLOURS | {"white": RGB["white"]})
            )

        self.browser.wait(is_settled)
        return said, pictures[-1]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    root = tmp_path_factory.mktemp("page")
    shutil.copy(HERE / "page.html", root)
    bundle = ["--bundle", f"--outfile={root}/page.bundle.js", "--log-level=error"]
    production = '--define:process.env.NODE_ENV="production"'
    subprocess.run([BUNDLER, HERE / "page.js", *bundle, production], check=True, timeout=60)
    with serve(root) as served, open_browser() as browser:
        yield Page(root, served, browser)


@pytest.fixture(scope="module")
def images(page: Page) -> dict[str, Path]:
    return {
        case: write_drawn(page.root / f"{case}.zarr", kind, **how)
        for case, (kind, how) in CASES.items()
    }


def check_patch(picture: bytes, colour: str) -> None:
    """The one patch is in the upper right part."""
    found = patches(picture, {colour: RGB[colour]})[colour]
    assert found.part > 0.02
    assert found.y < 300
    assert found.x > 400


@pytest.mark.parametrize("viewer", ["viv", "omeZarrJs"])
@pytest.mark.parametrize("case", CASES)
def test_images(case: str, viewer: str, page: Page, images: dict[str, Path]) -> None:
    said, picture = page.show(viewer, images[case])
    if case.startswith("channels"):
        check_places(patches(picture, COLOURS))
    else:
        check_patch(picture, "white")
    if viewer == "viv":
        assert [shape[-2:] for shape in said["levels"]] == [[240, 320], [120, 160], [60, 80]]


def test_a_map(page: Page) -> None:
    """Land without values is not drawn, and zeros are; bounds and cells are those of the map."""
    path = write_drawn(page.root / "map.zarr", "map", conventions=["geozarr"], crs=True)
    said, picture = page.show("openLayers", path, "t2m")
    assert said["projection"] == "EPSG:4326"
    assert said["extent"] == [-40.125, 0.125, 39.875, 60.125]
    assert said["resolutions"] == [1, 0.5, 0.25]
    check_patch(picture, "green")
    found = patches(picture, {"blue": RGB["blue"], "black": (0, 0, 0)})
    assert found["blue"].part > 0.5  # zeros, where there is sea
    assert found["black"].part > 0.04  # and the page, where there are no values
