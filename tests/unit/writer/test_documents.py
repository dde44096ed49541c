"""Documents that are made in memory are those that zarr-python and xarray would write."""

import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from xpyramid.store.names import StoredNames
from xpyramid.writer import coordinates, documents
from xpyramid.writer.compression import ZarrFormat

FORMATS: tuple[ZarrFormat, ...] = (2, 3)
Y, X = np.arange(16), np.arange(12)
DAYS = np.datetime64("2025-01-01", "ns") + np.arange(16) * np.timedelta64(1, "D")


def content(made: dict[str, Buffer]) -> dict[str, bytes]:
    return {key: document.to_bytes() for key, document in made.items()}


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_group_is_consolidated_as_zarr_does_it(zarr_format: ZarrFormat) -> None:
    made: dict[str, Buffer] = {}
    root = zarr.create_group(MemoryStore(made), zarr_format=zarr_format, attributes={"a": [1, "é"]})
    for path in ("b/Z", "b/a", "b/é", "Q/0", "c/d/e"):
        root.create_array(path, shape=(3, 4), chunks=(2, 4), dtype="f4", attributes={"x": 0.1})
    expected = dict(made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in ("b", ""):
            zarr.consolidate_metadata(MemoryStore(expected), path=path)
    documents.consolidate(made, "b")
    documents.consolidate(made)
    assert content(made) == content(expected)
    documents.consolidate(made, attributes={"new": None})
    assert documents.attributes_of(made) == {"new": None}
    assert dict(zarr.open_group(MemoryStore(made), mode="r").attrs) == {"new": None}


KEPT = {"t": ("t", DAYS), "c": ("c", ["DAPI", "é"]), "s": 3, "b": ("c", [True, False])}

#: Coordinates of a fine and a coarse level, and whether the second are made from the first.
LEVELS: dict[str, tuple[dict[str, Any], dict[str, Any], bool | None]] = {
    "floats": ({"y": Y * 0.5, "x": X * 1.0}, {"y": Y[:8] + 0.25, "x": X[:6] + 0.5}, True),
    "integers": ({"y": Y}, {"y": Y[::2]}, True),
    "other order": ({"y": Y * 0.5, "x": X * 1.0}, {"x": X[:6] + 0.5, "y": Y[:8] + 0.25}, True),
    "zero": ({"y": Y * 0.5}, {"y": Y[:1] * 0.5}, None),
    "all fill value": ({"y": Y * 0.5}, {"y": Y[:1] * np.nan}, True),
    "no longer all fill value": ({"y": Y * np.nan}, {"y": Y[:3] * 1.0}, True),
    "some NaN": ({"w": ("y", Y * 1.0)}, {"w": ("y", [np.nan, 1.0])}, True),
    "attributes": ({"y": ("y", Y * 0.5, {"units": "m"})}, {"y": ("y", Y[:3] + 0.5, {"units": "m"})},
                   True),
    "two dimensions": ({"w": (("y", "x"), np.add.outer(Y, X))},
                       {"w": (("y", "x"), np.add.outer(Y[:8], X[:6]))}, True),
    "kept": ({"y": Y * 0.5, **KEPT}, {"y": Y[:2] + 0.5, **KEPT}, True),
    "other dtype": ({"y": Y}, {"y": Y[::2] + 0.5}, False),
    "the same numbers in another dtype": ({"y": Y}, {"y": Y.astype("i4")}, False),
    "other attributes": ({"y": ("y", Y * 0.5, {"units": "m"})}, {"y": Y[:3] + 0.5}, False),
    "other names": ({"y": Y * 0.5, "x": X * 1.0}, {"y": Y[:8] + 0.25}, False),
    "coarser times": ({"t": ("t", DAYS)}, {"t": ("t", DAYS[::2])}, False),
    "masked": ({"w": ("y", Y * 0.5, {"_FillValue": -1.0})},
               {"w": ("y", Y[:3] * 0.5, {"_FillValue": -1.0})}, False),
    "longer": ({"y": Y[:3] * 0.5}, {"y": Y * 0.5}, False),
    "empty": ({"y": Y * 0.5}, {"y": Y[:0] * 0.5}, False),
    "byte order": ({"y": (Y * 0.5).astype(">f8")}, {"y": (Y[:3] * 0.5).astype(">f8")}, True),
}  # fmt: skip


def prepared(level: xr.Dataset) -> xr.Dataset:
    """Return the coordinates of a level, under their own names."""
    dims = {str(dim): str(dim) for dim in level.dims}
    coords = {str(name): str(name) for name in level.coords}
    return coordinates.prepare_coordinates(
        level, StoredNames("field", dims, coords), {"about": "levels"}
    )


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", LEVELS)
def test_coordinates_are_stored_as_xarray_does_it(
    case: str, zarr_format: ZarrFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    *levels, is_made = LEVELS[case]
    fine, coarse = (prepared(xr.Dataset(coords=level)) for level in levels)
    by_xarray, calls = coordinates._by_xarray, list[xr.Dataset]()

    def count(dataset: xr.Dataset, zarr_format: ZarrFormat) -> documents.Documents:
        calls.append(dataset)
        return by_xarray(dataset, zarr_format)

    monkeypatch.setattr(coordinates, "_by_xarray", count)
    made = list(coordinates.coordinate_documents([fine, coarse], zarr_format))
    assert is_made is None or len(calls) == (1 if is_made else 2)
    assert [content(one) for one in made] == [
        content(by_xarray(level, zarr_format)) for level in (fine, coarse)
    ]
