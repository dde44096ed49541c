"""Which viewer shows images, and how long."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import weakref
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Self

from xpyramid.errors import AxisError, PlanError
from xpyramid.viewing import neuroglancer
from xpyramid.viewing.image import ViewedImage
from xpyramid.viewing.napari import open_napari
from xpyramid.viewing.objects import Files, Objects
from xpyramid.viewing.page import Page

if TYPE_CHECKING:
    from xpyramid.viewing.server import Server

VIEWERS = ("napari", "neuroglancer", "page")

#: What has to be installed for a viewer.
_EXTRAS = {"napari": "xpyramid[napari]", "neuroglancer": "xpyramid[view]"}

#: Height in a notebook, in pixels.
_HEIGHT = 600


class View:
    """Images on a page in a browser of this machine, until it is closed.

    In a notebook it shows itself. It is a context manager, too.

    Attributes
    ----------
    url : str
        Of the page. Whoever knows it can read the images, while the view is open.
    """

    def __init__(self, server: Server, url: str) -> None:
        self.url = url
        self._close = weakref.finalize(self, server.close)

    def close(self) -> None:
        """End the view: nothing is served any more."""
        self._close()

    def wait(self) -> None:
        """Wait until Ctrl-C, or until another thread closes the view."""
        while self._close.alive:
            time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<xpyramid view at {self.url}>" if self._close.alive else "<closed xpyramid view>"

    def _repr_html_(self) -> str:
        if not self._close.alive:
            return "<p>This view is closed.</p>"
        return f"<iframe src='{escape(self.url)}' width='100%' height='{_HEIGHT}'></iframe>"


def view(
    images: Sequence[ViewedImage],
    viewer: str | None = None,
    *,
    block: bool | None = None,
    browser: bool = True,
    port: int = 0,
) -> Any:
    """Show images; see :meth:`xpyramid.Pyramid.view`.

    Parameters
    ----------
    images : sequence of ViewedImage
    viewer : {"napari", "neuroglancer", "page"}, optional
    block : bool, optional
    browser : bool
        Whether to open a browser where the page is not shown in a notebook.
    port : int
        Of the server; 0 is any that is free.
    """
    chosen = _chosen(viewer)
    images = [part for image in images for part in image.images()]
    if block is None:
        block = not _is_interactive()
    if chosen == "napari":
        return open_napari(images, images[0].name, block=block)
    opened = open_page(images, chosen, port)
    try:
        if browser and not _in_notebook():
            import webbrowser  # noqa: PLC0415  # takes time

            webbrowser.open(opened.url)
        if not block:
            return opened
        print(f"{opened.url}\nCtrl-C ends the view", flush=True)
        opened.wait()
    except KeyboardInterrupt:
        opened.close()
    return None


def open_page(images: Sequence[ViewedImage], viewer: str, port: int = 0) -> View:
    """Serve images, and a page that shows them.

    Raises
    ------
    AxisError
        If there are fewer than two space dimensions.
    DtypeError
        If the samples are no real numbers.
    """
    for image in images:
        if sum(axis.type == "space" for axis in image.plan.axes) < 2:
            raise AxisError(
                f"there are not two space dimensions to show among {', '.join(image.plan.dims)}",
                fix="name them: array.pyramid.build(axes={...})",
            )
        image.check_dtype()
    from xpyramid.viewing.server import Server  # noqa: PLC0415  # takes time to import

    if viewer == "page":
        server = Server({"page": Page(images)}, port)
        return View(server, f"{server.url}/page/index.html")
    objects: dict[str, Objects] = {
        str(i): neuroglancer.served(image) for i, image in enumerate(images)
    }
    geometry = neuroglancer.geometry_of(objects["0"])
    neuroglancer.state_of(images, geometry, [*objects])  # which may take a while, and fail
    server = Server({"v": Files(neuroglancer.client()), **objects}, port)
    sources = [f"{server.url}/{name}" for name in objects]
    state = neuroglancer.state_of(images, geometry, sources)
    return View(server, neuroglancer.url_of(state, f"{server.url}/v/client"))


def _chosen(viewer: str | None) -> str:
    """Return which viewer to use.

    Raises
    ------
    PlanError
        For one that there is not.
    ImportError
        For one that is not installed.
    """
    if viewer is None:
        usable = (name for name in VIEWERS if _is_usable(name))
        return next(usable)
    if viewer not in VIEWERS:
        raise PlanError(option="viewer", value=viewer, accepted="'napari', 'neuroglancer', 'page'")
    if viewer in _EXTRAS and not _is_installed(viewer):
        extra = _EXTRAS[viewer]
        raise ImportError(
            f"viewer={viewer!r} needs {viewer}: pip install '{extra}'; viewer='page' needs nothing"
        )
    if viewer == "napari" and not _has_screen():  # Qt would end the process
        raise PlanError(
            ": there is no screen to open a window on", option="viewer", value=viewer,
            accepted="'neuroglancer', 'page'", fix="or run it on a virtual screen: xvfb-run ...",
        )  # fmt: skip
    return viewer


def _is_usable(viewer: str) -> bool:
    """Whether a viewer is there, and something to show it on."""
    if viewer != "napari":
        return viewer not in _EXTRAS or _is_installed(viewer)
    has_qt = any(map(_is_installed, ("PyQt6", "PySide6", "PyQt5", "PySide2")))
    return _is_installed(viewer) and _has_screen() and has_qt and not _in_notebook()


def _has_screen() -> bool:
    """Whether a window can be opened, or Qt was told to do without."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return not sys.platform.startswith("linux") or any(map(os.environ.get, names))


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _ipython() -> Any:
    """Return the running IPython, None where there is none."""
    module = sys.modules.get("IPython")
    return None if module is None else module.get_ipython()


def _in_notebook() -> bool:
    return hasattr(_ipython(), "kernel")


def _is_interactive() -> bool:
    return _ipython() is not None
