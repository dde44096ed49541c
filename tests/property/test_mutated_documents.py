"""Documents that somebody has broken, in any place: every call gives an answer or an error of ours.

More of it: ``XPYRAMID_EXAMPLES=10000 pytest -m slow tests/property/test_mutated_documents.py``.
"""

from __future__ import annotations

import copy
import json
import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.buffer import default_buffer_prototype

import xpyramid
from xpyramid import errors

EXAMPLES = int(os.environ.get("XPYRAMID_EXAMPLES", "600"))

#: What takes the place of something in a document.
JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**70, 0.1, -0.0, 1e-320, 5e-324, 1e308,
    "", "0", "x", "/", "..", "a/../b", "NaN", "Infinity", "\ud800", "\x1b[2J", "x" * 5000,
    [], [None], [0], [[]], [1e-320, 1.0], ["y", "x"], [{}], [True], [0, 0], list(range(9)),
    {}, {"a": 1}, {"name": "y"}, {"type": "scale"}, {"type": "scale", "scale": [1e-320, 1]},
    {"path": "0"}, {"name": 1, "type": []}, {"metadata": 0.1}, {"kind": "inline", "metadata": []},
]  # fmt: skip


@cache
def stores() -> list[dict[str, bytes]]:
    """Return whole stores, of all versions and layouts, with labels and coordinates."""
    made = []
    times = np.datetime64("2020-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    array = xr.DataArray(
        np.arange(3 * 8 * 6, dtype="u2").reshape(3, 8, 6), dims=("time", "y", "x"), name="field",
        coords={"time": times, "y": np.arange(8) * 0.5, "lat": ("y", np.arange(8.0))},
    )  # fmt: skip
    for version in ("0.4", "0.5", "0.6"):
        for layout in ("groups", "arrays"):
            store: dict[str, Any] = {}
            array.pyramid.build(factor=[2], chunks=4, dims=("y", "x")).to_ome_zarr(
                store, version=version, layout=layout
            )
            labels = xr.DataArray(np.ones((8, 6), "i4"), dims=("y", "x"), name="cells")
            labels.pyramid.build(factor=[2], chunks=4, method="mode").to_ome_zarr(
                store, version=version, labels_of="field", layout=layout
            )
            made.append({key: value.to_bytes() for key, value in store.items()})
    made += [_old(version) for version in ("0.1", "0.2", "0.3")]
    return made


def _old(version: str) -> dict[str, bytes]:
    """Return an image of an early version, as others wrote it."""
    store: dict[str, Any] = {}
    group = zarr.open_group(zarr.storage.MemoryStore(store), mode="w", zarr_format=2)
    for k, n in enumerate((8, 4)):
        group.create_array(f"{k}", shape=(1, 1, 1, n, n), chunks=(1, 1, 1, 4, 4), dtype="u1")
    image: dict[str, Any] = {"version": version, "datasets": [{"path": "0"}, {"path": "1"}]}
    if version == "0.3":
        image["axes"] = ["t", "c", "z", "y", "x"]
    group.attrs["multiscales"] = [image]
    return {f"field/{key}": value.to_bytes() for key, value in store.items()}


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something is in a document."""
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def mutate(document: Any, rng: random.Random) -> Any:
    """Return a document in which something is gone, another thing, or there twice."""
    document = copy.deepcopy(document)
    if not isinstance(document, dict | list) or not document:
        return rng.choice(JUNK)
    # What lies near the root is as likely as what lies deep: most of a document is deep.
    every = list(places(document))
    depth = rng.choice(sorted({len(path) for path in every}))
    *above, last = rng.choice([path for path in every if len(path) == depth])
    holder = document
    for key in above:
        holder = holder[key]
    kind = rng.randrange(4)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif kind == 2 and isinstance(holder[last], int | float):
        holder[last] = rng.choice([0, -holder[last], holder[last] * 10**9, 1e-320, 2**64])
    else:
        holder[last] = copy.deepcopy(rng.choice(JUNK))
    return document


def mutated(seed: int) -> dict[str, Any]:
    """Return a store in which one to three things in its documents are others."""
    rng = random.Random(seed)
    store = dict(rng.choice(stores()))
    documents = [key for key in store if key.rpartition("/")[2] in DOCUMENTS]
    for _ in range(rng.randint(1, 3)):
        key = rng.choice(documents)
        changed = mutate(json.loads(store[key]), rng)
        store[key] = json.dumps(changed).encode()
    buffer = default_buffer_prototype().buffer
    return {key: buffer.from_bytes(value) for key, value in store.items()}


DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")

CALLS: dict[str, Callable[[Any], Any]] = {
    "open": lambda store: repr(xpyramid.open_pyramid(store, "field")),
    "open labels": lambda store: repr(xpyramid.open_pyramid(store, "field/labels/cells")),
    "verify": lambda store: list(map(str, xpyramid.verify(store))),
    "verify deep": lambda store: list(map(str, xpyramid.verify(store, deep=True))),
}


def raw_error(call: Callable[[Any], Any], store: Any) -> str | None:
    """Return the error that is not ours, if there is one, or that an answer took too long."""
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(zarr.storage.MemoryStore(store))
    except errors.PyramidError:
        pass
    except Exception as error:
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        where = "" if last is None else f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
        return f"{type(error).__name__}: {str(error)[:200]} at {where}"
    return "too slow" if time.monotonic() - start > 10 else None


@pytest.mark.once
@pytest.mark.slow
@pytest.mark.timeout(0)
def test_mutated_documents() -> None:
    found: dict[str, list[str]] = {}
    for seed in range(EXAMPLES):
        store = mutated(seed)
        for name, call in CALLS.items():
            if error := raw_error(call, store):
                found.setdefault(error, []).append(f"{name} of mutated({seed})")
    assert not found
