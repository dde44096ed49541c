"""A chunk of the right size that cannot be decoded is named, however it is read."""

import pickle
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

import xpyramid
from xpyramid import errors
from xpyramid.reader import open as open_module
from xpyramid.reader import own_levels

VALUES = np.random.default_rng(0).integers(0, 60000, (64, 64)).astype("u2")


def foreign(path: Path) -> None:
    """Write an image as others do, without a record of sizes."""
    group = zarr.open_group(path / "out.zarr/f", mode="w", zarr_format=2)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.create_array("0", data=VALUES, chunks=(16, 16))
    image = {"version": "0.4", "axes": axes, "datasets": datasets}
    group.attrs["multiscales"] = [image]  # type: ignore[assignment]


def ours(path: Path, **options: Any) -> None:
    array = xr.DataArray(VALUES, dims=("y", "x"), name="f")
    array.pyramid.to_ome_zarr(path / "out.zarr", levels=2, chunks=16, **options)


IMAGES: dict[str, tuple[Any, str, str]] = {
    "groups": (ours, "0/f", "c/2/1"),
    "arrays": (lambda path: ours(path, layout="arrays"), "0", "c/2/1"),
    "0.4": (lambda path: ours(path, version="0.4"), "0/f", "2/1"),
    "shards": (lambda path: ours(path, shards=32), "0/f", "c/1/0"),
    "blosc": (lambda path: ours(path, compressor=BloscCodec()), "0/f", "c/2/1"),
    "of others": (foreign, "0", "2.1"),
}


def damage(path: Path, array: str, chunk: str) -> Path:
    """Change the bytes of a chunk, and not its size."""
    file = path / "out.zarr/f" / array / chunk
    data = file.read_bytes()
    file.write_bytes(bytes(255 - byte for byte in data[:600]) + data[600:])
    return file


@pytest.mark.parametrize("kind", IMAGES)
def test_a_chunk_that_cannot_be_decoded_is_named(kind: str, tmp_path: Path) -> None:
    write, array, chunk = IMAGES[kind]
    write(tmp_path)
    damage(tmp_path, array, chunk)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr/f")[0]
    told = rf"cannot read {tmp_path}/out.zarr/f/{array}, chunk {chunk}: .*Error: .*verify"
    for one in (level, level[16:48, 1:40], pickle.loads(pickle.dumps(level))):
        with pytest.raises(errors.ReadError, match=told) as caught:
            one.compute()
        assert isinstance(caught.value.__cause__, Exception)
    np.testing.assert_array_equal(level[:16], VALUES[:16])


@pytest.mark.parametrize("own", [False, True])
def test_the_chunk_is_named_where_several_are_read_at_once(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_module, "MAX_BLOCKS", 2)
    monkeypatch.setattr(own_levels, "MAX_OWN_BLOCKS", 2)
    write, array, chunk = IMAGES["groups" if own else "of others"]
    write(tmp_path)
    damage(tmp_path, array, chunk)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr/f", chunks={})[0]
    assert level.data.npartitions <= 2
    with pytest.raises(errors.ReadError, match=f"chunk {chunk}: "):
        level.compute()


@pytest.mark.slow
@pytest.mark.once
def test_other_processes_name_it_too(tmp_path: Path) -> None:
    write, array, chunk = IMAGES["groups"]
    write(tmp_path)
    damage(tmp_path, array, chunk)
    level = xpyramid.open_pyramid(tmp_path / "out.zarr/f", chunks={})[0]
    with (
        dask.config.set(scheduler="processes", num_workers=1),
        pytest.raises(errors.ReadError, match=f"chunk {chunk}: "),
    ):
        level.compute()


def test_what_is_built_of_it_names_it(tmp_path: Path) -> None:
    write, array, chunk = IMAGES["groups"]
    write(tmp_path)
    damage(tmp_path, array, chunk)
    opened = xpyramid.open_pyramid(tmp_path / "out.zarr/f")
    with pytest.raises(errors.ReadError, match="cannot read"):
        opened[0].rename("g").pyramid.to_ome_zarr(tmp_path / "other.zarr", levels=2)


def test_a_chunk_of_a_coordinate_is_named(tmp_path: Path) -> None:
    """The coordinates of dimensions are read when an image is opened."""
    lines = {"y": np.arange(64.0) ** 1.01, "x": [f"row {i}" for i in range(64)]}
    array = xr.DataArray(VALUES, lines, ("y", "x"), name="f")
    array.pyramid.to_ome_zarr(tmp_path / "out.zarr", levels=1, chunks=16, irregular="approximate")
    for coordinate in ("y", "x"):
        file = damage(tmp_path, f"0/{coordinate}", "c/0")
        with pytest.raises(errors.ReadError, match=f"f/0/{coordinate}, chunk c/0: .*Error: "):
            xpyramid.open_pyramid(tmp_path / "out.zarr/f")
        damage(tmp_path, f"0/{coordinate}", "c/0")  # twice is as it was
        assert file.exists()
    xpyramid.open_pyramid(tmp_path / "out.zarr/f")
