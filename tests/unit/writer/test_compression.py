"""Compressors that the caller chooses."""

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

import xpyramid
from xpyramid.errors import PlanError

DATA = xr.DataArray(
    np.random.default_rng(0).integers(0, 9, (40, 30), "u2"), dims=("y", "x"), name="field"
)


@pytest.mark.parametrize("shards", [None, 16])
@pytest.mark.parametrize(
    ("compressor", "names"),
    [
        ("default", ["zstd"]),
        (None, []),
        (BloscCodec(cname="lz4"), ["blosc"]),
        (GzipCodec(level=1), ["gzip"]),
        ([ZstdCodec(level=3), Crc32cCodec()], ["zstd", "crc32c"]),
    ],
)
def test_codecs(compressor: Any, names: list[str], shards: Any, tmp_path: Path) -> None:
    DATA.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8, compressor=compressor, shards=shards)
    array = zarr.open_array(tmp_path / "field/1/field", mode="r")
    assert [codec.to_dict()["name"] for codec in array.compressors] == names
    for got, want in zip(
        xpyramid.open_pyramid(tmp_path / "field"), DATA.pyramid.build(levels=2), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    assert not xpyramid.verify(tmp_path, deep=True)


@pytest.mark.parametrize(
    "compressor", ["default", None, numcodecs.Blosc(), numcodecs.GZip(1), numcodecs.Zstd(4)]
)
def test_codecs_of_zarr_v2(compressor: Any, tmp_path: Path) -> None:
    DATA.pyramid.to_ome_zarr(tmp_path, levels=2, chunks=8, compressor=compressor, version="0.4")
    array = zarr.open_array(tmp_path / "field/1/field", mode="r")
    wanted = numcodecs.Zstd(1) if compressor == "default" else compressor
    assert array.metadata.compressor == wanted  # type: ignore[union-attr]
    np.testing.assert_array_equal(xpyramid.open_pyramid(tmp_path / "field")[0], DATA)
    assert not xpyramid.verify(tmp_path, deep=True)


@pytest.mark.parametrize(
    ("compressor", "version"),
    [
        ("zstd", "0.5"),
        (BytesCodec(), "0.5"),
        (numcodecs.Zstd(), "0.5"),
        ([3], "0.5"),
        (ZstdCodec(), "0.4"),
    ],
)
def test_what_is_no_compressor(compressor: Any, version: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"compressor=.*; accepted with Zarr v[23]: 'default'"):
        DATA.pyramid.to_ome_zarr(tmp_path / "out", compressor=compressor, version=version)
    assert not (tmp_path / "out").exists()
