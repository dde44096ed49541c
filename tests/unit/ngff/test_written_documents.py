"""Documents are written by hand, as the models of ome-zarr-models write them, and without them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpyramid.ngff import VERSIONS, Axis, Dataset, Multiscale

NUMBERS = st.floats(1e-6, 1e6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def images(draw: st.DrawFn) -> Multiscale:
    names = draw(st.sampled_from(["yx", "zyx", "cyx", "tczyx", "tyx"]))
    types = {"t": "time", "c": "channel"}
    units = st.none() | st.sampled_from(["micrometer", "meter"])
    axes = [
        Axis(name, types.get(name, "space"), draw(units) if name in "zyx" else None)
        for name in names
    ]
    spacing, origin = (tuple(draw(NUMBERS) for _ in names) for _ in range(2))
    datasets = [
        Dataset(f"{k}/a", tuple(s * 2**k for s in spacing), origin)
        for k in range(draw(st.integers(1, 3)))
    ]
    metadata = draw(st.dictionaries(st.text(), JSON, max_size=3))
    return Multiscale(tuple(axes), tuple(datasets), draw(st.text()), "mean", metadata)


def by_models(version: str, image: Multiscale) -> dict[str, Any]:
    """Return what ome-zarr-models make of an image."""

    def module(name: str) -> Any:
        return importlib.import_module(f"ome_zarr_models.v{version.replace('.', '')}.{name}")

    own = {"version": version}
    multiscale = module("multiscales").Multiscale(
        axes=[module("axes").Axis(name=a.name, type=a.type, unit=a.unit) for a in image.axes],
        datasets=tuple(
            module("multiscales").Dataset.build(
                path=d.path, scale=d.scale, translation=d.translation
            )
            for d in image.datasets
        ),
        name=image.name,
        type=image.type,
        metadata=dict(image.metadata),
        **(own if version == "0.4" else {}),
    )
    attrs = module("image").ImageAttrs(
        multiscales=[multiscale], **(own if version == "0.5" else {})
    )
    dumped: dict[str, Any] = attrs.model_dump(mode="json", exclude_none=True)
    return dumped if version == "0.4" else {"ome": dumped}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@given(image=images())
def test_as_the_models_write_them(version: str, image: Multiscale) -> None:
    """Byte for byte: also the keys are in the same order."""
    ours = VERSIONS[version].attributes(image)
    assert json.dumps(ours) == json.dumps(by_models(version, image))


@pytest.mark.parametrize("version", VERSIONS)
def test_json_is_strict(version: str) -> None:
    metadata = {"ignore": float("inf"), "more": [{"a": float("nan")}]}
    axes = (Axis("y", "space"), Axis("x", "space"))
    image = Multiscale(axes, (Dataset("0", (1, 1), (0, 0)),), metadata=metadata)
    document = VERSIONS[version].attributes(image)
    assert '"ignore": null, "more": [{"a": null}]' in json.dumps(document, allow_nan=False)


def test_a_first_write_loads_no_models() -> None:
    code = (
        "import sys, numpy as np, xarray as xr, zarr, xpyramid\n"
        "array = xr.DataArray(np.zeros((64, 64), 'u2'), dims=('y', 'x'), name='field')\n"
        "array.pyramid.to_ome_zarr(zarr.storage.MemoryStore(), levels=2)\n"
        "print(sorted({'pydantic', 'ome_zarr_models', 'ome_zarr'} & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
