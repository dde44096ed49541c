"""neuroglancer in a browser without a screen."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their own
    neuroglancer = pytest.importorskip("neuroglancer", reason="pip install 'xpyramid[viewers]'")
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install 'xpyramid[viewers]'")

#: Drawing without a graphics card, and no calls home.
_FLAGS = """
    --headless=new --no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader
    --ignore-gpu-blocklist --disable-background-networking --disable-component-update --no-first-run
    --window-size=1000,700
"""

_PATIENCE = 30  # seconds

#: What a viewer says of each of its layers, of their sources, and of its own coordinates.
_LOOK = """
const space = (s) => ({
  names: s.names, units: s.units, scales: Array.from(s.scales),
  lower: Array.from(s.bounds.lowerBounds), upper: Array.from(s.bounds.upperBounds),
});
const source = (s) => ({
  url: s.spec.url,
  error: s.loadState && s.loadState.error ? String(s.loadState.error.message) : null,
  space: s.loadState && s.loadState.dataSource
    ? space(s.loadState.dataSource.modelTransform.outputSpace) : null,
});
const layer = (m) => ({
  name: m.name, ready: m.isReady(),
  messages: Array.from(m.layer.messages).map((one) => one.message),
  sources: m.layer.dataSources.map(source),
});
const viewer = window.viewer;
return {
  layers: viewer.layerManager.managedLayers.filter((m) => m.layer).map(layer),
  space: space(viewer.coordinateSpace.value),
};
"""


#: Keeps what is written onto canvases, such as the words beside a scale bar.
_KEEP_TEXTS = """
window.textsDrawn = [];
for (const kind of [CanvasRenderingContext2D, OffscreenCanvasRenderingContext2D]) {
  const fill = kind.prototype.fillText;
  kind.prototype.fillText = function (text, ...rest) {
    window.textsDrawn.push(text);
    return fill.call(this, text, ...rest);
  };
}
"""


class Browser:
    """A page with an empty viewer, again and again."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.viewer = neuroglancer.Viewer()  # the page is gone when it is

    def show(self, layers: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what the viewer says of some layers when each is ready, or has failed."""
        self.driver.get(self.viewer.get_viewer_url())
        self.wait(lambda: self.driver.execute_script("return !!window.viewer"))
        state = {"layers": layers, "layout": "xy"}
        self.driver.execute_script("window.viewer.state.restoreState(arguments[0])", state)
        self.wait(lambda: all(map(_is_settled, self.look()["layers"])))
        return self.look()

    def look(self) -> dict[str, Any]:
        found: dict[str, Any] = self.driver.execute_script(_LOOK)
        return found

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < end, self.driver.get_log("browser")
            time.sleep(0.05)


def _is_settled(layer: dict[str, Any]) -> bool:
    return layer["ready"] or any(source["error"] for source in layer["sources"])


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Open a browser until the end of the block; skip where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver, or .ci/viewers-install")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in _FLAGS.split():
        options.add_argument(flag)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        chrome.set_page_load_timeout(_PATIENCE)
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _KEEP_TEXTS})
        chrome.set_script_timeout(_PATIENCE)
        neuroglancer.set_server_bind_address("127.0.0.1")
        yield Browser(chrome)
    finally:
        chrome.quit()
        neuroglancer.stop()
