"""Level 0 as others store it, and what an image must be once it has other levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

import xpyramid
from helpers import oracle

Files = dict[str, tuple[int, bytes]]


def noise(shape: tuple[int, ...] = (40, 33), dtype: Any = "u2") -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def base(place: Any, path: str = "field/0", **options: Any) -> np.ndarray[Any, Any]:
    """Store level 0 as others do."""
    data = options.pop("data", None)
    data = noise() if data is None else data
    form: dict[str, Any] = {"chunks": (8,) * data.ndim, "zarr_format": 3, **options}
    if form["zarr_format"] == 3:
        form.setdefault("dimension_names", tuple("tczyx"[-data.ndim :]))
    else:
        form.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    zarr.create_array(place, name=path, data=data, **form)
    return data


def files(directory: Path) -> Files:
    """Return when each file was changed, and what is in it."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {str(p.relative_to(directory)): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


def check(store: Any, data: np.ndarray[Any, Any], levels: int, group: str | None = "field") -> None:
    """Compare an image with the mean of its base by an independent oracle."""
    p = xpyramid.open_pyramid(store, group)
    assert len(p) == levels
    for k, level in enumerate(p):
        np.testing.assert_array_equal(level, oracle.mean(data, (2**k,) * data.ndim))
    report = xpyramid.verify(store, deep=True)
    assert (report, report.notes) == ([], [])
