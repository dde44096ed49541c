"""What goes in and out of stores: nothing at build, and then everything once."""

from collections import Counter
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
from helpers.counting_store import CountingStore, is_chunk

import xpyramid  # noqa: F401  registers .pyramid

SHAPE, CHUNKS = (40, 50, 60), (16, 20, 15)
COUNT = 3 * 3 * 4  # chunks of the base
FORMATS: dict[str, Literal[2, 3]] = {"0.4": 2, "0.5": 3}


def base_store(values: Any = None, zarr_format: Literal[2, 3] = 3) -> CountingStore:
    """Return a store that holds an array "field" with coordinates, and an empty log."""
    store = CountingStore()
    if values is None:
        values = np.random.default_rng(0).integers(1, 2**16, SHAPE, "u2")
    coords = {dim: (dim, 0.5 * np.arange(n)) for dim, n in zip("zyx", SHAPE, strict=True)}
    dataset = xr.Dataset({"field": (("z", "y", "x"), values, {"units": "K"})}, coords)
    dataset.to_zarr(store, encoding={"field": {"chunks": CHUNKS}}, zarr_format=zarr_format,
                   consolidated=False)  # fmt: skip
    store.log.clear()
    return store


def samples(store: CountingStore, what: str) -> list[str]:
    """Return the chunks that were got, set or deleted, without those of coordinates."""
    return [key for key in store.chunks(what) if not set(key.split("/")) & {"z", "y", "x"}]


def open_field(store: CountingStore, chunks: Any) -> xr.DataArray:
    """Open the array of `base_store`."""
    return xr.open_zarr(store, chunks=chunks, consolidated=False)["field"]


#: As on disk; several stored chunks in one; chunks that cut stored ones; read lazily by xarray.
OPENINGS: dict[str, Any] = {"stored": {}, "large": {"z": 32, "x": 45}, "lazily indexed": None}


@pytest.mark.parametrize("chunks", OPENINGS.values(), ids=OPENINGS)
def test_building_reads_no_chunk(chunks: Any) -> None:
    store = base_store()
    field = open_field(store, chunks)
    pyramid = field.pyramid.build(levels=3)
    repr(pyramid), pyramid._repr_html_(), pyramid.to_datatree(), pyramid.nbytes
    assert samples(store, "get") == []
    pyramid[2].isel(x=0).compute()  # the log does see what is read
    assert samples(store, "get")


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("chunks", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize(
    "options",
    [{"levels": 3}, {"levels": 3, "factor": 3, "chunks": 7}, {"factor": [{"z": 5}, {"x": 2}]}],
    ids=["halves", "other chunks", "uneven"],
)
def test_every_chunk_is_read_once_and_written_once(
    chunks: Any, version: str, options: dict[str, Any]
) -> None:
    store, target = base_store(zarr_format=FORMATS[version]), CountingStore()
    pyramid = open_field(store, chunks).pyramid.build(**options)
    pyramid.to_ome_zarr(target, version=version)

    read = Counter(samples(store, "get"))
    assert len(read) == COUNT
    assert set(read.values()) == {1}
    written = Counter(samples(target, "set"))
    assert set(written.values()) == {1}
    for k, level in enumerate(pyramid.plan.levels):
        grid = [-(-n // c) for n, c in zip(level.shape, level.chunks, strict=True)]
        own = [key for key in written if key.startswith(f"field/{k}/field/")]
        assert len(own) == np.prod(grid)
    assert samples(target, "get") == []  # nothing is read back to be changed
    assert samples(target, "delete") == []


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("compute", [True, False])
def test_the_image_is_announced_after_the_last_chunk(version: str, compute: bool) -> None:
    target = CountingStore()
    field = open_field(base_store(zarr_format=FORMATS[version]), {})
    delayed = field.pyramid.to_ome_zarr(target, levels=3, version=version, compute=compute)
    if not compute:
        assert samples(target, "set") == []
        assert not any("multiscales" in entry.text for entry in target.log)
        delayed.compute()
    chunks = [i for i, (what, key, _) in enumerate(target.log) if what == "set" and is_chunk(key)]
    news = [i for i, entry in enumerate(target.log) if '"multiscales"' in entry.text]
    assert news
    assert min(news) > max(chunks)


@pytest.mark.filterwarnings("ignore::xpyramid.errors.MissingChunkWarning")
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_empty_regions_are_written_at_most_once(version: str) -> None:
    values = np.zeros(SHAPE, "u2")
    values[:20, 10:, 30] = 1000
    target = CountingStore()
    field = open_field(base_store(values, FORMATS[version]), {})
    field.pyramid.to_ome_zarr(target, levels=3, version=version)
    assert set(Counter(samples(target, "set")).values()) == {1}
    with xr.open_zarr(target, group="field/0", consolidated=False) as level:
        np.testing.assert_array_equal(level["field"], values)


def test_variables_of_a_dataset_share_what_they_read() -> None:
    store, target = base_store(), CountingStore()
    field = open_field(store, {})
    xr.Dataset({"field": field, "half": field // 2}).pyramid.to_ome_zarr(target, levels=2)
    assert set(Counter(samples(store, "get")).values()) == {1}
    assert set(Counter(samples(target, "set")).values()) == {1}
