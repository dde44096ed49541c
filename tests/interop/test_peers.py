"""Images that other libraries write here and now, and what one of them reads of ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.stored_images import CASES, store

import xpyramid

pytestmark = pytest.mark.filterwarnings("ignore")  # their own

ABSENT = "pip install 'xpyramid[peers]'"
DATA = np.arange(3 * 65 * 66, dtype="u2").reshape(3, 65, 66)


def acquire_zarr(path: Path) -> None:
    """Write z, y, x as a camera streams it."""
    acquire = pytest.importorskip("acquire_zarr", reason=ABSENT)

    def dimension(name: str, scale: float, chunk: int) -> Any:
        return acquire.Dimension(
            name=name, kind=acquire.DimensionType.SPACE, unit="micrometer", scale=scale,
            array_size_px=DATA.shape["zyx".index(name)], chunk_size_px=chunk, shard_size_chunks=1,
        )  # fmt: skip

    array = acquire.ArraySettings(
        data_type=DATA.dtype,
        downsampling_method=acquire.DownsamplingMethod.MEAN,
        dimensions=[dimension("z", 2, 1), dimension("y", 0.5, 16), dimension("x", 0.5, 16)],
    )
    stream = acquire.ZarrStream(acquire.StreamSettings(store_path=str(path), arrays=[array]))
    stream.append(DATA)
    stream.close()


def ome_zarr_pyramid(path: Path) -> None:
    """Write z, y, x with exact means."""
    peer = pytest.importorskip("ome_zarr_pyramid", reason=ABSENT)
    image = peer.Pyramid().from_array(
        zarr.array(DATA, chunks=(1, 16, 16)),
        axis_order="zyx",
        unit_list=["micrometer"] * 3,
        scale=[2, 0.5, 0.5],
    )
    image = image.downscale(n_layers=3, downscale_method="mean")
    peer.io.write_pyramid(image, str(path), chunk_shape=(1, 16, 16))


def bioio_ome_zarr(path: Path) -> None:
    """Write c, y, x; the scale of level 1 is the ratio of the shapes."""
    writers = pytest.importorskip("bioio_ome_zarr.writers", reason=ABSENT)
    colors = {"DAPI": "FF0000", "GFP": "00FF00", "RFP": "0000FF"}
    writers.OMEZarrWriter(
        str(path), [(3, 65, 66), (3, 33, 33)], "u2", image_name="hi",
        axes_names=["c", "y", "x"], axes_types=["channel", "space", "space"],
        axes_units=[None, "micrometer", "micrometer"], physical_pixel_size=[1, 0.5, 0.5],
        channels=[writers.Channel(label=name, color=color) for name, color in colors.items()],
    ).write_full_volume(DATA)  # fmt: skip


WRITERS = [acquire_zarr, ome_zarr_pyramid, bioio_ome_zarr]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_what_they_write(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "a.zarr")
    p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(p[0], DATA)
    assert [factors["x"] for factors in p.factors] == [2**k for k in range(len(p))]
    for level, dataset in zip(p, p.metadata["multiscales"][0]["datasets"], strict=True):
        np.testing.assert_array_equal(level, group[dataset["path"]])
        (scale,) = [t["scale"] for t in dataset["coordinateTransformations"]]
        assert level.x.attrs == {"units": "micrometer"}
        np.testing.assert_allclose(level.x, scale[2] * np.arange(level.sizes["x"]))
        np.testing.assert_allclose(level.y, scale[1] * np.arange(level.sizes["y"]))


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_it_can_be_written_again(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """Values, places and channels stay; what is wrong with the metadata is said by verify."""
    write(tmp_path / "a.zarr")
    p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    p.to_ome_zarr(tmp_path / "b.zarr", "again")
    q = xpyramid.open_pyramid(tmp_path / "b.zarr", "again")
    for got, want in zip(q, p, strict=True):
        xr.testing.assert_equal(got.compute(), want.compute())
    if write is bioio_ome_zarr:
        assert list(p[1].c) == ["DAPI", "GFP", "RFP"]
        assert q.metadata["omero"]["channels"] == p.metadata["omero"]["channels"]


@pytest.mark.parametrize("case", [case for case in CASES if case[1] != "0.6"], ids="-".join)
def test_bioio_reads_ours(tmp_path: Path, case: tuple[str, str, str]) -> None:
    reader = pytest.importorskip("bioio_ome_zarr", reason=ABSENT)
    stored = store(tmp_path / "out.zarr", *case)
    image = reader.Reader(str(stored.path))
    assert image.resolution_levels == tuple(range(len(stored.pyramid)))
    assert image.scale.X == 0.5
    for k, level in enumerate(stored.pyramid):
        image.set_resolution_level(k)
        np.testing.assert_array_equal(image.dask_data, level)
    if "c" in stored.pyramid.plan.dims:
        assert image.channel_names == ["DAPI", "GFP", "RFP"]
