"""Images of several methods that are written in one pass are those of each method alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from helpers import strategies as our
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

import xpyramid

METHODS = ["mean", "min", "max", "median", "mode", "nearest", "std", "count"]

pytestmark = pytest.mark.filterwarnings("ignore::xpyramid.errors.ViewerWarning")


@contextmanager
def stores(kind: str) -> Iterator[tuple[Any, Any]]:
    """Yield two stores, in memory or on disk."""
    if kind == "memory":
        yield MemoryStore(), MemoryStore()
        return
    with TemporaryDirectory() as directory:
        yield Path(directory, "together.zarr"), Path(directory, "alone.zarr")


def objects(store: Any, group: str) -> dict[str, bytes]:
    """Return all that is stored of an image."""
    if isinstance(store, MemoryStore):
        pairs = store._store_dict.items()
        return {key: value.to_bytes() for key, value in pairs if key.startswith(f"{group}/")}
    files = (path for path in (store / group).rglob("*") if path.is_file())
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}


def check(data: st.DataObject, kind: str, dtypes: st.SearchStrategy[Any]) -> None:
    """Write several methods together, and each alone; compare all bytes."""
    shape = data.draw(our.shapes(min_dims=2, max_dims=3))
    array, recipe = data.draw(our.noise(shape, data.draw(dtypes))), data.draw(our.recipes(shape))
    fitting = [m for m in METHODS if array.dtype.kind in "iu" or m != "mode"]
    methods = data.draw(st.lists(st.sampled_from(fitting), min_size=2, max_size=4, unique=True))
    blocks = data.draw(st.none() | our.chunks(array.shape))
    field = our.field(array, recipe, blocks)
    chunks = data.draw(st.integers(1, 8))
    options: dict[str, Any] = {**recipe.options, "chunks": (chunks,) * array.ndim}
    shards = tuple(2 * max(1, min(chunks, n)) for n in array.shape)
    writing: dict[str, Any] = data.draw(
        st.sampled_from(
            [{}, {"shards": shards}, {"version": "0.4"}, {"layout": "arrays"},
             {"compressor": [ZstdCodec(), Crc32cCodec()]}, {"memory": "1 GB"}]
        )
    )  # fmt: skip
    with stores(kind) as (together, alone):
        made = field.pyramid.build(method=methods, **options)
        assert list(made) == methods
        made.to_ome_zarr(together, **writing)
        for method in methods:
            group = f"field/{method}"
            one = field.pyramid.build(method=method, **options)
            one.to_ome_zarr(alone, group, **writing)
            assert objects(together, group) == objects(alone, group)
            opened = xpyramid.open_pyramid(together, group)
            for stored, lazy in zip(opened, made[method], strict=True):
                assert stored.dtype == lazy.dtype
                np.testing.assert_array_equal(stored, lazy)
        assert xpyramid.verify(together, deep=True) == []


@pytest.mark.parametrize("kind", ["memory", "disk"])
@settings(max_examples=3)
@given(data=st.data())
def test_they_are_those_of_each_method_alone(kind: str, data: st.DataObject) -> None:
    check(data, kind, st.sampled_from([np.dtype("u2"), np.dtype("f4")]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "disk"])
@settings(max_examples=10)
@given(data=st.data())
def test_they_are_those_of_each_method_alone_in_every_dtype(kind: str, data: st.DataObject) -> None:
    check(data, kind, our.integers | our.floats)
