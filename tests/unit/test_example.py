import numpy as np
import pytest

import xpyramid
from xpyramid import errors


def test_values_do_not_depend_on_chunks_but_on_the_seed() -> None:
    a = xpyramid.example_field((20, 30, 40), chunks=7).values
    np.testing.assert_array_equal(
        a, xpyramid.example_field((20, 30, 40), chunks=(20, 9, 40)).values
    )
    assert (a != xpyramid.example_field((20, 30, 40), seed=1).values).mean() > 0.9


@pytest.mark.parametrize("dtype", ["bool", "uint8", ">u2", "int64", "float16", "float64"])
def test_dtypes(dtype: str) -> None:
    got = xpyramid.example_field((64, 64), dtype=dtype)
    assert got.dtype == np.dtype(dtype)
    values = got.values.astype(float)
    assert got.values.dtype == np.dtype(dtype)
    assert len(np.unique(values)) > (1 if dtype == "bool" else 40)
    assert 0 <= values.min() < values.max() <= {"uint8": 127}.get(dtype, 32767)


def test_there_is_structure_and_noise() -> None:
    values = xpyramid.example_field((64, 64, 64), dtype="float32").values
    means = values.reshape(8, 8, 8, 8, 8, 8).mean((1, 3, 5))
    assert means.std() > 0.05  # blobs survive averaging over 512 samples
    assert np.diff(values, axis=2).std() > 0.01  # neighbours differ by noise


def test_dimensions_and_coordinates() -> None:
    got = xpyramid.example_field((2, 3, 4, 5, 6), spacing=0.5, unit="nanometer")
    assert got.dims == ("t", "c", "z", "y", "x")
    assert list(got.coords) == ["z", "y", "x"]
    assert (got.x.values[1], got.x.attrs["units"]) == (0.5, "nanometer")
    assert xpyramid.example_field((6,)).dims == ("x",)


def test_refusals() -> None:
    for shape in [(), (1,) * 6]:
        with pytest.raises(errors.PlanError, match="accepted: 1 to 5 lengths"):
            xpyramid.example_field(shape)
    with pytest.raises(errors.DtypeError, match="dtype='complex128'"):
        xpyramid.example_field((4,), dtype=complex)
