"""Images of every kind, version and layout, for those who read them."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

import xpyramid

SCHEMAS = Path(__file__).parents[1] / "schemas"

VERSIONS = ("0.4", "0.5", "0.6")
LAYOUTS = ("groups", "arrays")
SIZES = {"t": 2, "c": 3, "z": 9, "y": 20, "x": 33}


class Stored(NamedTuple):
    """An image in a store."""

    path: Path
    version: str
    layout: str
    pyramid: xpyramid.Pyramid

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(zarr.open_group(self.path, mode="r").attrs)

    @property
    def ome(self) -> dict[str, Any]:
        found: dict[str, Any] = self.attributes.get("ome", self.attributes)
        return found

    @property
    def paths(self) -> list[str]:
        return [dataset["path"] for dataset in self.ome["multiscales"][0]["datasets"]]


def field(dims: str) -> xr.DataArray:
    """Return an image in micrometres, away from the origin, with named channels."""
    shape = [SIZES[dim] for dim in dims]
    values = np.random.default_rng(0).integers(5, 3000, shape, "u2")
    coords: dict[str, Any] = {
        dim: (dim, 10 + 0.5 * np.arange(SIZES[dim]), {"units": "um"})
        for dim in dims
        if dim in "zyx"
    }
    if "c" in dims:
        coords["c"] = ["DAPI", "GFP", "RFP"]
    if "t" in dims:
        coords["t"] = np.array(["2025-01-01T00:00", "2025-01-01T00:10"], "M8[ns]")
    return xr.DataArray(values, coords, tuple(dims), "field", {"stain": "DAPI"})


def segmentation() -> xr.DataArray:
    """Return labels of the y, x image, with names and colours."""
    attrs = {
        "flag_values": [1, 2],
        "flag_meanings": "cell nucleus",
        "image-label": {"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}]},
    }
    return (field("yx") % 3).astype("u1").rename("cells").assign_attrs(attrs)


def store(path: Path, kind: str, version: str, layout: str) -> Stored:
    """Write an image of a kind."""
    options: dict[str, Any] = {"version": version, "layout": layout}
    if kind == "labels":
        field("yx").pyramid.to_ome_zarr(path, levels=3, chunks=16, **options)
        cells = segmentation()
        cells.pyramid.to_ome_zarr(path, labels_of="field", chunks=16, **options)
        return Stored(path / "field/labels/cells", version, layout, cells.pyramid.build(levels=3))
    if kind == "sharded":
        kind, options["shards"] = "zyx", {"y": 32, "x": 32}
    pyramid = field(kind).pyramid.build(levels=3, chunks=16)
    pyramid.to_ome_zarr(path, **options)
    return Stored(path / "field", version, layout, pyramid)


KINDS = ("yx", "zyx", "cyx", "tczyx", "sharded", "labels")
CASES = [
    (kind, version, layout)
    for kind in KINDS
    for version in VERSIONS
    for layout in LAYOUTS
    if (kind, version) != ("sharded", "0.4")
]


@cache
def validator(version: str, name: str) -> Draft202012Validator:
    """Return a schema of the specification, with those that it refers to."""
    registry: Registry[Any] = Registry()
    found = {}
    for file in (SCHEMAS / version).glob("*.schema"):
        found[file.stem] = json.loads(file.read_text())
        resource = Resource.from_contents(found[file.stem], default_specification=DRAFT202012)
        registry = registry.with_resource(found[file.stem]["$id"], resource)
    return Draft202012Validator(found[name], registry=registry)
