"""Which arrays have objects of the same bytes, so that these are encoded once for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from xpyramid.store.path import NodePath
from xpyramid.writer import sinks
from xpyramid.writer.sinks import PartSink, PatchSink, ZarrSink, open_sink

FORM: dict[str, Any] = {"shape": (8, 8), "chunks": (4, 4), "dtype": "u2"}


def sink(store: Any, name: str, **form: Any) -> ZarrSink:
    array = zarr.create_array(store, name=name, **{**FORM, **form})
    return open_sink(array, NodePath(array.store, "image"), 0, name)


@pytest.mark.parametrize(
    "form",
    [
        {"attributes": {"units": "m"}},
        {"dimension_names": ["y", "x"]},
        {"chunk_key_encoding": {"name": "default", "separator": "."}},
    ],
)
def test_the_same(form: dict[str, Any], tmp_path: Path) -> None:
    for store in (MemoryStore(), tmp_path / "out.zarr"):
        one, other = sink(store, "one"), sink(store, "other", **form)
        assert one.form == other.form is not None
        values = np.arange(64, dtype="u2").reshape(8, 8)
        region = (slice(0, 8), slice(0, 8))
        written = other.store(region, one.encode(region, values))
        np.testing.assert_array_equal(zarr.open_array(store, path="other", mode="r")[:], values)
        alone = one(region, values)
        np.testing.assert_array_equal(written["other"], alone["one"])


@pytest.mark.parametrize(
    "form",
    [
        {"shape": (8, 12)},
        {"chunks": (2, 4)},
        {"shards": (8, 8)},
        {"dtype": "i2"},
        {"dtype": ">u2", "serializer": zarr.codecs.BytesCodec(endian="big")},
        {"fill_value": 7},
        {"compressors": ZstdCodec(level=3)},
        {"compressors": BloscCodec()},
        {"compressors": [ZstdCodec(), Crc32cCodec()]},
        {"zarr_format": 2},
        {"config": {"write_empty_chunks": True}},
    ],
    ids=[
        "shape",
        "chunks",
        "shards",
        "dtype",
        "byte order",
        "fill value",
        "level",
        "codec",
        "codecs",
        "format",
        "config",
    ],
)
def test_others(form: dict[str, Any], tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    assert sink(store, "one").form != sink(store, "other", **form).form


def test_what_takes_parts() -> None:
    array = zarr.create_array(MemoryStore(), **FORM)
    assert PatchSink(array, "array", "0").form is None
    forms = {PartSink(array, "array", "0", offset).form for offset in ((0, 0), (0, 0), (4, 0))}
    assert len(forms) == 2


def test_codecs_that_may_know_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    array = zarr.create_array(MemoryStore(), **FORM)
    assert sinks._form(array, is_simple=False) is not None
    monkeypatch.setattr(sinks.zarr.config, "get", lambda *_: "zarrs.ZarrsCodecPipeline")
    assert sinks._form(array, is_simple=False) is None
    assert sinks._form(array, is_simple=True) is not None


def test_what_is_fill_value_is_removed_there(tmp_path: Path) -> None:
    for store in (MemoryStore(), tmp_path / "out.zarr"):
        one, other = sink(store, "one"), sink(store, "other")
        region = (slice(0, 4), slice(0, 8))
        ones, zeros = (np.full((4, 8), n, "u2") for n in (1, 0))
        assert len(other.store(region, one.encode(region, ones))["other"]) == 2
        assert other.store(region, one.encode(region, zeros)) == {}
        assert zarr.open_array(store, path="other").nchunks_initialized == 0
