"""docs/metadata.md and docs/store.md name every field that is written."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers.stored_images import SIZES, field, segmentation

DOCS = Path(__file__).parents[2] / "docs"
#: What stands in fences and between backticks.
NAMED = set(
    re.findall(
        r"[\w:-]+",
        " ".join(
            code
            for page in ("metadata.md", "store.md")
            for code in re.findall(r"`[^`\n]+`", (DOCS / page).read_text(encoding="utf-8"))
        ),
    )
)


def keys(value: Any) -> Iterator[str]:
    """Yield the keys of all mappings; those below are names of dimensions and attributes."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield key
        if key not in ("coordinates", "xpyramid"):
            yield from keys(inner)
    for inner in value if isinstance(value, list) else ():
        yield from keys(inner)


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.parametrize("layout", ["groups", "arrays"])
def test_fields_are_documented(tmp_path: Path, version: str, layout: str) -> None:
    options: dict[str, Any] = {"version": version, "layout": layout}
    more = {} if version == "0.4" else {"conventions": ["geozarr"]}
    uneven = np.geomspace(1, 2, SIZES["z"])
    base = field("tczyx").assign_coords(z=uneven).isel(y=slice(None, None, -1))
    base = base.assign_coords(spatial_ref=0)
    base.spatial_ref.attrs["crs_wkt"] = 'GEOGCRS["WGS 84", ID["EPSG",4326]]'
    base.astype(">u2").pyramid.to_ome_zarr(
        tmp_path, levels=2, ignore=7, skipna=True, min_valid=0.1,
        irregular="approximate", **options, **more,
    )  # fmt: skip
    field("yx").rename("image").pyramid.to_ome_zarr(tmp_path, levels=2, **options)
    segmentation().pyramid.to_ome_zarr(tmp_path, labels_of="image", **options)
    found: set[str] = set()
    for group in ("field", "image", "image/labels", "image/labels/cells"):
        found |= set(keys(dict(zarr.open_group(tmp_path, path=group, mode="r").attrs)))
    assert len(found) > 30
    assert found - NAMED == set()
