"""What is served of an image that is not written is what is written, byte for byte."""

import json
from pathlib import Path
from typing import Any

import dask.array as da
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.stored_images import field, segmentation

import xpyramid
from xpyramid.viewing import image as looking
from xpyramid.viewing.cache import Cache
from xpyramid.viewing.virtual import VirtualImage

#: What is known only when all of an image is made: its record, and what belongs to it.
RECORD = "xpyramid"


def virtual(pyramid: xpyramid.Pyramid, **options: Any) -> VirtualImage:
    return VirtualImage(pyramid._viewed(Cache()), options)  # type: ignore[arg-type]


def stored(root: Path) -> dict[str, bytes]:
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != f".{RECORD}"
    }
    return {key: without_record(key, data) for key, data in files.items()}


def without_record(key: str, data: bytes) -> bytes:
    """Return an object; of the image's own group, its content without the record."""
    if key not in ("zarr.json", ".zattrs", ".zmetadata"):
        return data
    document = json.loads(data)
    for holder in (
        document,
        document.get("attributes"),
        document.get("metadata", {}).get(".zattrs"),
    ):
        if isinstance(holder, dict):
            holder.pop(RECORD, None)
    return json.dumps(document).encode()


def check(pyramid: xpyramid.Pyramid, path: Path, **options: Any) -> dict[str, bytes]:
    """Compare what is served with what is written; return it."""
    image = virtual(pyramid, **options)
    served = {key: image.read(key) for key in image.keys()}  # noqa: SIM118
    found = {key: without_record(key, data) for key, data in served.items() if data is not None}
    pyramid.to_ome_zarr(path, **options)
    want = stored(path / str(pyramid.name))
    assert sorted(found) == sorted(want)
    for key, data in want.items():
        assert found[key] == data, key
        assert image.size(key) is not None
    return found


def lazily_stored(path: Path, array: xr.DataArray, **options: Any) -> xr.DataArray:
    array.to_dataset(name="field").to_zarr(path, consolidated=False, **options)
    return xr.open_zarr(path, chunks=None, consolidated=False).field


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"version": "0.4"},
        {"shards": {"y": 32, "x": 32}},
        pytest.param({"version": "0.6", "layout": "arrays"}, marks=pytest.mark.slow),
        pytest.param({"version": "0.4", "layout": "arrays"}, marks=pytest.mark.slow),
        pytest.param({"compressor": None}, marks=pytest.mark.slow),
        pytest.param({"names": "source", "conventions": ["geozarr"]}, marks=pytest.mark.slow),
        {"compressor": (zarr.codecs.BloscCodec(), zarr.codecs.Crc32cCodec())},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_every_object_is_the_one_that_is_written(options: dict[str, Any], tmp_path: Path) -> None:
    pyramid = field("czyx").isel(c=slice(2)).pyramid.build(levels=3, chunks=16)
    found = check(pyramid, tmp_path / "out.zarr", **options)
    assert len(found) > 12


@pytest.mark.parametrize(
    "kind",
    [
        "misaligned",
        "lazy",
        "labels",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("dask", "float", "median", "nan")
        ),
    ],
)
def test_sources_of_all_kinds(kind: str, tmp_path: Path) -> None:
    array, options = field("zyx"), {}
    if kind == "dask":
        array = array.chunk(16)
    elif kind == "misaligned":
        array = array.chunk({"z": 4, "y": 11, "x": 7})
    elif kind == "lazy":
        array = lazily_stored(tmp_path / "in.zarr", array.chunk(-1))
    elif kind == "float":
        array = (array / 7).astype(">f4")
    elif kind == "labels":
        array = segmentation()
    elif kind == "median":
        options["method"] = "median"
    elif kind == "nan":
        array = array.where(array % 3 > 0)
    check(array.pyramid.build(levels=3, chunks=16, **options), tmp_path / "out.zarr")


@pytest.mark.parametrize("opened", ["lazy", "dask"])
def test_chunks_that_are_stored_already_are_passed_through(opened: str, tmp_path: Path) -> None:
    """Their bytes are those of whoever wrote them, which another encoder would not make."""
    array = field("zyx") // 700 * 700  # which compresses
    codec = zarr.codecs.ZstdCodec(level=5)
    encoding = {"field": {"compressors": [codec], "chunks": (9, 16, 16)}}
    chunk = np.ascontiguousarray(array[:, :16, :16])
    array = lazily_stored(tmp_path / "in.zarr", array, encoding=encoding)
    other = numcodecs.Zstd(level=1).encode(chunk)
    assert other != (tmp_path / "in.zarr/field/c/0/0/0").read_bytes()
    (tmp_path / "in.zarr/field/c/0/0/0").write_bytes(other)
    array = array.chunk(16) if opened == "dask" else array
    pyramid = array.pyramid.build(levels=2)
    found = check(pyramid, tmp_path / "out.zarr")
    assert found["0/field/c/0/0/0"][5:-4] == other[5:]  # it has got a checksum
    check(pyramid, tmp_path / "anew.zarr", compressor="default")


def test_a_stored_image_is_served_as_another_version(tmp_path: Path) -> None:
    field("cyx").pyramid.to_ome_zarr(tmp_path / "in.zarr", version="0.6", chunks=16, levels=3)
    opened = xpyramid.open_pyramid(tmp_path / "in.zarr")
    assert len(check(opened, tmp_path / "out.zarr")) > 20
    check(opened.isel(x=slice(4, 20)), tmp_path / "part.zarr")


def test_coordinates_that_dask_computes(tmp_path: Path) -> None:
    array = field("yx")
    lat = da.from_array(np.arange(20 * 33.0).reshape(20, 33), chunks=16)
    array = array.assign_coords(lat=(("y", "x"), lat), when=((), da.from_array(np.array(3))))
    found = check(array.pyramid.build(levels=2, chunks=16), tmp_path / "out.zarr")
    assert any(key.startswith("1/lat/c/") for key in found)


def test_numbers_that_were_packed_are_packed_again(tmp_path: Path) -> None:
    array = (field("yx") * 0.5).where(field("yx") > 100)
    array.encoding = {"dtype": np.dtype("i2"), "scale_factor": 0.5, "_FillValue": -1}
    check(array.pyramid.build(levels=2, chunks=16), tmp_path / "out.zarr", dtype="source")


def test_an_array_without_a_name_is_called_image() -> None:
    image = virtual(field("yx").rename(None).pyramid.build(levels=2, chunks=16))
    assert image.read("1/image/zarr.json") is not None


def test_objects_that_hold_nothing_are_not_there(tmp_path: Path) -> None:
    array = xr.DataArray(np.zeros((40, 40), "u2"), dims=("y", "x"), name="field")
    array[:9] = 7
    found = check(array.pyramid.build(levels=2, chunks=16), tmp_path / "out.zarr")
    assert "0/field/c/0/0" in found
    assert "0/field/c/1/0" not in found


@pytest.mark.parametrize(
    "key",
    [
        "0/field/c/9/0", "0/field/c/0", "0/field/c/0/0/0", "0/field/c/00/0", "0/field/0/0",
        "0/field/c/-1/0", "0/field/c/1e0/0", "0/field/c/0/0/", "0/field/c/" + "9" * 5000,
        "0/field", "9/field/c/0/0", "", "c/0/0", "../0/field/c/0/0", "0/field/c/٣/0",
        "0//field/c/0/0", "0/field/c/0.0",
    ],
)  # fmt: skip
def test_other_keys_are_not_there(key: str) -> None:
    image = virtual(field("yx").pyramid.build(levels=2, chunks=16))
    assert image.read("0/field/c/1/2") is not None
    assert image.read(key) is image.size(key) is None


def test_what_was_looked_at_is_made_once() -> None:
    made: list[object] = []

    def block(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        made.append(values.shape)
        return values

    base = da.map_blocks(block, da.ones((64, 64), chunks=32), dtype="f8", meta=np.empty((0, 0)))
    pyramid = xr.DataArray(base, dims=("y", "x"), name="field").pyramid.build(levels=2, chunks=32)
    image = virtual(pyramid, omero=False)
    assert not made
    assert image.read("0/field/c/0/1", slice(2, 9)) == image.read("0/field/c/0/1")[2:9]  # type: ignore[index]
    image.size("0/field/c/0/1")
    assert len(made) == 1
    image.read("1/field/c/0/0")
    assert len(made) == 5


def test_of_large_images_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows come from the middle, of all channels and the first time; of few bytes."""
    monkeypatch.setattr(looking, "LOOKED_AT", 4000)
    values = np.zeros((2, 3, 100, 200), "u2")
    values[0, 1, 40:60, 90:110] = 7
    array = xr.DataArray(values, dims=("t", "c", "y", "x"), name="field")
    image = array.pyramid.build(levels=3, chunks={"y": 16, "x": 16})._viewed(Cache())
    k, region = image._looked_at()
    assert (k, region[0], region[1]) == (0, slice(0, 1), slice(0, 3))
    assert 0 < np.prod([part.stop - part.start for part in region]) <= 4000
    assert [channel["window"]["max"] for channel in image.channels] == [1, 7, 1]
    store = zarr.storage.MemoryStore()
    array.pyramid.to_ome_zarr(store, levels=3, factor=4, omero=False)
    assert xpyramid.open_pyramid(store)._viewed(Cache())._looked_at()[0] == 2  # it is there already


def test_spreads_are_looked_at_where_there_are_any(tmp_path: Path) -> None:
    """Level 0 of a standard deviation is nothing but zeros."""
    pyramid = (field("yx") / 2).pyramid.build(levels=2, chunks=16, method="std")
    check(pyramid, tmp_path / "out.zarr")
    assert pyramid._viewed(Cache()).channels[0]["window"]["end"] > 100


def test_what_cannot_be_written_says_so() -> None:
    array = xr.DataArray(
        np.ones((2, 2, 2, 2, 40, 40)), dims=("a", "b", "c", "z", "y", "x"), name="f"
    )
    with pytest.raises(xpyramid.errors.AxisError, match="no axis"):
        virtual(array.pyramid.build(levels=2))
