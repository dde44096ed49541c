"""Whatever a file says of itself, the array says; whatever is picked of it, it is the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.version import Version

import xpyramid
from xpyramid.geometry import units

SPACINGS = st.floats(1e-6, 1e6).map(lambda n: float(f"{n:.6g}"))
LENGTHS = ("nm", "µm", "mm", "cm", "m", "km", "Å", "in")
TIMES = ("ns", "ms", "s", "min", "h", "d")
#: Until 2026.3.3, tifffile wrote quotes into attributes as they are, which is no XML.
QUOTE = '"' if Version(tifffile.__version__) >= Version("2026.3.3") else ""


@settings(max_examples=60)
@given(
    spacing=st.fixed_dictionaries({}, optional=dict.fromkeys("tzyx", SPACINGS)),
    length=st.sampled_from(LENGTHS),
    time=st.sampled_from(TIMES),
    names=st.none() | st.lists(st.text(f"abcαβ &<>'{QUOTE}", min_size=1), min_size=2, max_size=2),
    colors=st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2),
    compressed=st.booleans(),
)
def test_ome_tiff(
    spacing: dict[str, float], length: str, time: str, names: Any, colors: Any, compressed: bool
) -> None:
    said = {"t": "TimeIncrement", "z": "PhysicalSizeZ", "y": "PhysicalSizeY", "x": "PhysicalSizeX"}
    about: dict[str, Any] = {"axes": "TCZYX", "Channel": {}}
    for dim, step in spacing.items():
        about |= {said[dim]: step, f"{said[dim]}Unit": time if dim == "t" else length}
    if names is not None:
        about["Channel"]["Name"] = names
    if colors is not None:
        about["Channel"]["Color"] = colors
    data = np.arange(2 * 2 * 2 * 3 * 4, dtype="u2").reshape(2, 2, 2, 3, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.ome.tif")
        tifffile.imwrite(
            path,
            data,
            ome=True,
            photometric="minisblack",
            metadata=about,
            compression="zlib" if compressed else 0,
        )
        array = xpyramid.open_source(path).load()
    np.testing.assert_array_equal(array, data)
    for dim in "tzyx":
        assert (dim in array.coords) == (dim in spacing)
        if dim in spacing:
            assert float(array[dim][1]) == spacing[dim]
            kind = "time" if dim == "t" else "space"
            assert array[dim].units == units.to_ngff(time if dim == "t" else length, kind)
    labels = None if names is None else [name.strip() for name in names]
    if labels is not None and all(labels):
        assert array.c.values.tolist() == labels
    if colors is not None:
        found = [channel["color"] for channel in array.attrs["omero"]["channels"]]
        assert found == [f"{color % 2**32:08X}"[:6] for color in colors]


slices = st.builds(
    slice,
    st.none() | st.integers(-9, 9),
    st.none() | st.integers(-9, 9),
    st.sampled_from([None, 1, 2, 3, -1, -2]),
)


@settings(max_examples=80)
@given(
    dims=st.sampled_from(["YX", "ZYX", "CZYX", "YXS", "ZYXS", "TZCYX"]),
    options=st.sampled_from([{"rowsperstrip": 3}, {"tile": (16, 16)}, {"rowsperstrip": 1}]),
    order=st.sampled_from("<>"),
    compression=st.sampled_from([None, "zlib", "lzma"]),
    keys=st.lists(st.integers(0, 1) | slices, min_size=5, max_size=5),
)
def test_regions(
    dims: str, options: dict[str, Any], order: str, compression: Any, keys: Any
) -> None:
    sizes = {"T": 2, "C": 2, "Z": 3, "Y": 19, "X": 18, "S": 3}
    shape = [sizes[dim] for dim in dims]
    data = np.random.default_rng(0).integers(0, 9999, shape).astype(f"{order}u2")
    options = {**options, "photometric": "rgb" if "S" in dims else "minisblack"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        with tifffile.TiffWriter(path, byteorder=order) as file:
            file.write(data, metadata={"axes": dims}, compression=compression, **options)
        array = xpyramid.open_source(path)
        named = [dim.lower().replace("s", "c") for dim in dims]
        wanted = array.dims
        data = data.transpose([named.index(str(dim)) for dim in wanted])
        key = tuple(keys[: array.ndim])
        assume(data[key].size)  # xarray trips over empty steps backwards
        np.testing.assert_array_equal(array[key], data[key])
        assert array.dtype.newbyteorder("=") == data.dtype.newbyteorder("=")
