"""neuroglancer shows every version that it knows, in its place, with its names and units."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from helpers.http_server import Served, serve
from helpers.neuroglancer_browser import Browser, open_browser
from helpers.stored_images import CASES, KINDS, Stored, store

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore")]

#: NGFF's units in those that neuroglancer counts in.
SI = {"micrometer": (1e-6, "m"), "second": (1, "s"), None: (1, "")}


class Page(NamedTuple):
    """All images of a kind in one viewer, each a layer."""

    kind: str
    images: dict[str, Stored]
    layers: list[dict[str, Any]]
    space: dict[str, Any]
    browser: Browser
    served: Served

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the layers of an image; channels may have become layers of their own."""
        return [layer for layer in self.layers if layer["name"].split()[0] == name]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module", params=KINDS)
def page(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    kind, root = request.param, tmp_path_factory.mktemp("served")
    images = {
        f"{version}-{layout}": store(root / f"{version}-{layout}.zarr", kind, version, layout)
        for of, version, layout in CASES
        if of == kind
    }
    with serve(root) as served:
        shown = browser.show(
            [
                {
                    "name": name,
                    "type": "segmentation" if kind == "labels" else "auto",
                    "source": f"zarr://{served.url}/{image.path.relative_to(root)}",
                }
                for name, image in images.items()
            ]
        )
        yield Page(kind, images, shown["layers"], shown["space"], browser, served)


def expected(image: Stored) -> dict[str, dict[str, Any]]:
    """Return scale, unit and bounds of each axis; a sample reaches half a step to each side."""
    plan, found = image.pyramid.plan, {}
    for axis, n, scale, first in zip(
        plan.axes, plan.levels[0].shape, plan.scale(0), plan.translation(0), strict=True
    ):
        factor, unit = SI[axis.unit]
        name = f"{axis.name}'" if axis.type == "channel" else axis.name
        lower = first / scale - 0.5
        found[name] = {"scale": scale * factor, "unit": unit, "lower": lower, "upper": lower + n}
    return found


def check(space: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> None:
    assert sorted(space["names"]) == sorted(wanted)
    for i, name in enumerate(space["names"]):
        assert space["units"][i] == wanted[name]["unit"]
        got = [space[key][i] for key in ("scales", "lower", "upper")]
        assert got == pytest.approx([wanted[name][key] for key in ("scale", "lower", "upper")])


def test_each_image_is_where_it_belongs(page: Page) -> None:
    for name, image in page.images.items():
        if image.version == "0.6":
            continue
        layers = page.of(name)
        assert layers, name
        for layer in layers:
            assert layer["messages"] == []
            (source,) = layer["sources"]
            assert source["error"] is None
            check(source["space"], expected(image))


def test_the_viewer_has_the_coordinates_of_the_images(page: Page) -> None:
    wanted = expected(next(iter(page.images.values())))
    check(page.space, {name: axis for name, axis in wanted.items() if not name.endswith("'")})


def test_chunks_are_found(page: Page) -> None:
    """At least one chunk of each image is read, and none is looked for in vain."""

    def chunks(name: str) -> list[int]:
        of = re.compile(rf"{re.escape(name)}\.zarr/.*/\d+$")
        return [status for status, path in page.served.log if of.match(path)]

    for name, image in page.images.items():
        if image.version != "0.6":
            page.browser.wait(lambda name=name: bool(chunks(name)))  # type: ignore[misc]
            assert set(chunks(name)) <= {200, 206}


def test_channels_are_layers_of_their_own(page: Page) -> None:
    """neuroglancer reads their names in 0.4; in 0.5 they have numbers."""
    names = {"0.4": ["DAPI", "GFP", "RFP"], "0.5": ["c-0.5", "c0.5", "c1.5"], "0.6": [""]}
    for name, image in page.images.items():
        shown = [layer["name"].removeprefix(name).strip() for layer in page.of(name)]
        one = ["field"] if "omero" in image.ome and image.version == "0.4" else [""]
        assert shown == (names[image.version] if page.kind in ("cyx", "tczyx") else one)


def test_0_6_is_not_known_to_it(page: Page) -> None:
    """When this fails, docs/metadata.md can say that neuroglancer reads 0.6."""
    for name, image in page.images.items():
        if image.version == "0.6":
            errors = [source["error"] for layer in page.of(name) for source in layer["sources"]]
            assert errors == ['OME multiscale metadata version "0.6" is not supported']
