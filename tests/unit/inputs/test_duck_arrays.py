"""Arrays of other packages: what they say beside their samples counts, or is refused."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from helpers.quick import quick_if
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import xpyramid
from xpyramid import errors

FEW_DTYPES = ["?", "u1", ">u2", "i8", "f2", "f8"]
DTYPES = ["?", "u1", "i1", "u2", ">i2", "u4", "i4", "i8", "u8", "f2", "f4", "f8"]


def field(data: Any, *dims: str) -> xr.DataArray:
    return xr.DataArray(data, dims=dims or ("y", "x"), name="field")


# Masked


def test_masked_samples_do_not_count() -> None:
    array = np.ma.masked_array([1, 2, 777, 3], mask=[0, 0, 1, 0])
    (level,) = xpyramid.downsample(array, 4)
    assert level.tolist() == [2]
    (level,) = xpyramid.downsample(np.ma.masked_array([1, 2, 7, 7], mask=[0, 0, 1, 1]), 2)
    assert level.tolist() == [2, None]


METHODS = ["mean", "median", "min", "max", "mode"]


def check_masked(data: st.DataObject, dtype: str, method: str) -> None:
    """Compare with what is reduced of the samples that are not masked."""
    kind = np.dtype(dtype).kind
    if kind == "f" and method == "mode":
        method = "max"
    values = data.draw(
        hnp.arrays(
            dtype,
            12,
            elements=hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False),
        )
    )
    mask = data.draw(hnp.arrays(bool, 12))
    array = np.ma.masked_array(values, mask)
    left = values[~mask]
    spans = np.dtype(dtype).kind in "iu" and left.size and left.min() == np.iinfo(dtype).min
    if spans and np.dtype(dtype).itemsize == 8 and left.max() == np.iinfo(dtype).max:
        with pytest.raises(errors.DtypeError, match="which leaves no value"):
            xpyramid.downsample(array, 4, method)
        return
    (level,) = xpyramid.downsample(array, 4, method)
    assert level.dtype == np.dtype(dtype)
    for cell in range(3):
        window = slice(4 * cell, 4 * cell + 4)
        left = values[window][~mask[window]]
        assert bool(np.ma.getmaskarray(level)[cell]) == (left.size == 0)
        if left.size:
            (wanted,) = xpyramid.downsample(left, left.size, method)
            np.testing.assert_array_equal(level.data[cell], wanted[0])


@settings(max_examples=30)
@given(st.data(), st.sampled_from(FEW_DTYPES), st.sampled_from(METHODS))
def test_masked_arrays(data: st.DataObject, dtype: str, method: str) -> None:
    check_masked(data, dtype, method)


@pytest.mark.slow
@given(st.data(), st.sampled_from(DTYPES), st.sampled_from(METHODS))
def test_masked_arrays_of_every_dtype(data: st.DataObject, dtype: str, method: str) -> None:
    check_masked(data, dtype, method)


@pytest.mark.parametrize("options", [{"skipna": False}, {"ignore": 3}])
def test_options_that_a_mask_replaces(options: Any) -> None:
    with pytest.raises(errors.PlanError, match="with a masked array, whose mask"):
        xpyramid.downsample(np.ma.masked_array([1, 2]), 2, **options)


@pytest.mark.parametrize("method", ["nearest", "sum", np.max])
def test_methods_that_know_no_mask(method: Any) -> None:
    with pytest.raises(errors.PlanError, match=r"of a masked array; accepted: mean.*filled"):
        xpyramid.downsample(np.ma.masked_array([1, 2]), 2, method)


@pytest.mark.parametrize("dtype", ["i2", "i4", "f4"])
def test_masked_blocks_of_dask(dtype: str) -> None:
    data = da.ma.masked_greater(da.arange(8, chunks=4, dtype=dtype).reshape(2, 4), 5)
    p = field(data).pyramid.build(2, factor=2)  # what is masked is NaN, for xarray or else for us
    assert p[0].dtype == p[1].dtype == xr.DataArray(data.compute()).dtype
    np.testing.assert_array_equal(p[0], [[0, 1, 2, 3], [4, 5, np.nan, np.nan]])
    np.testing.assert_array_equal(p[1], [[2.5, 2.5]])  # (0, 1, 4, 5) and (2, 3)


def test_masked_times_of_dask() -> None:
    days = np.array(["2000-01-01", "2000-01-03", "2000-01-05", "2000-01-06"], "M8[ns]")
    masked = da.from_array(np.ma.masked_array(days, [0, 0, 0, 1]), chunks=2)
    p = xr.DataArray(masked, dims="x", name="field").pyramid.build(2, factor=2)
    assert p[1].values.astype("M8[D]").astype(str).tolist() == ["2000-01-02", "2000-01-05"]


# pint


def test_units_of_pint_are_attributes() -> None:
    pint = pytest.importorskip("pint")
    unit = pint.UnitRegistry()
    array = field(np.arange(16.0).reshape(4, 4) * unit.kelvin)
    array = array.assign_coords(depth=("y", np.arange(4.0) * unit.meter))
    p = array.pyramid.build(2, factor=2)
    assert p[1].attrs["units"] == "kelvin"
    assert p[1].depth.attrs["units"] == "meter"
    np.testing.assert_array_equal(p[1], [[2.5, 4.5], [10.5, 12.5]])
    p.to_ome_zarr(store := {})
    assert xpyramid.open_pyramid(store, "field")[0].attrs["units"] == "kelvin"
    blocks = array.drop_vars("depth").chunk(2).pyramid.build(2, factor=2)
    assert blocks[1].attrs["units"] == "kelvin"
    np.testing.assert_array_equal(blocks[1], p[1])
    with pytest.raises(errors.UnsupportedArrayError, match=r"pass array\.magnitude"):
        xpyramid.downsample(np.arange(4) * unit.kelvin, 2)


def test_units_of_pint_xarray() -> None:
    pytest.importorskip("pint_xarray")
    array = field(np.arange(16.0).reshape(4, 4)).assign_attrs(units="K")
    array = array.assign_coords(x=("x", np.arange(4.0), {"units": "mm"})).pint.quantify()
    p = array.pyramid.build(2, factor=2)
    assert p[1].attrs["units"] == "kelvin"
    assert p.plan.axes[1].unit == "millimeter"
    assert type(p[1].compute().data) is np.ndarray


# sparse


@pytest.mark.parametrize("blocks", quick_if(bool, [None, 8]))
def test_sparse_arrays_are_made_dense_block_by_block(
    blocks: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = pytest.importorskip("sparse")
    dense = np.eye(1024, dtype="u2") * 8
    array = field(sparse.COO(dense))
    made: list[tuple[int, ...]] = []
    todense = sparse.COO.todense

    def watched(block: Any) -> Any:
        made.append(block.shape)
        return todense(block)

    monkeypatch.setattr(sparse.COO, "todense", watched)
    p = (array if blocks is None else array.chunk(256)).pyramid.build(2, chunks=256)
    assert made == []
    p.to_ome_zarr(store := {})
    assert max(made) <= (512, 512)
    np.testing.assert_array_equal(xpyramid.open_pyramid(store, "field")[0], dense)
    (wanted,) = xpyramid.downsample(dense, 2)
    np.testing.assert_array_equal(p[1], wanted)
    with pytest.raises(errors.UnsupportedArrayError, match="sparse"):
        xpyramid.downsample(sparse.COO(dense), 2)


# Others


def _of_sparse(values: Any) -> Any:
    return pytest.importorskip("sparse").COO(values)


def _of_sparse_rows(values: Any) -> Any:
    return pytest.importorskip("sparse").GCXS(values)


def _of_scipy(values: Any) -> Any:
    return pytest.importorskip("scipy.sparse").csr_array(values)


def _of_pint(values: Any) -> Any:
    return values * pytest.importorskip("pint").UnitRegistry().kelvin


@pytest.mark.parametrize("made_by", [_of_sparse, _of_sparse_rows, _of_scipy, _of_pint])
def test_the_call_that_downsample_advises_can_be_made(made_by: Any) -> None:
    values = np.eye(4)
    array = made_by(values)
    with pytest.raises(errors.UnsupportedArrayError, match="pass array") as error:
        xpyramid.downsample(array, 2)
    advice = str(error.value).rpartition("; pass ")[2]
    (level,) = xpyramid.downsample(eval(advice, {"array": array}), 2)
    np.testing.assert_array_equal(level, [[0.5, 0], [0, 0.5]])


def test_an_array_on_a_gpu_is_fetched_by_the_call_that_is_advised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnDevice(Stranger):
        def get(self) -> np.ndarray[Any, Any]:
            return self.data

    monkeypatch.setattr(OnDevice, "__module__", "cupy._core")
    with pytest.raises(errors.UnsupportedArrayError, match=r"pass array\.get\(\)$"):
        xpyramid.downsample(OnDevice(np.zeros((4, 4))), 2)
    with pytest.raises(errors.UnsupportedArrayError, match=r"call .*, or \.chunk\(\.\.\.\)$"):
        field(OnDevice(np.zeros((4, 4)))).pyramid.build(2)


class Stranger:
    """An array of some other package, by the protocols that xarray asks for."""

    def __init__(self, data: np.ndarray[Any, Any]) -> None:
        self.data, self.shape, self.ndim, self.dtype = data, data.shape, data.ndim, data.dtype

    def __array_function__(self, *_: Any) -> Any:
        return NotImplemented

    def __array_ufunc__(self, *_: Any) -> Any:
        return NotImplemented

    def __getitem__(self, key: Any) -> Any:
        return type(self)(self.data[key])


def test_anything_else_is_a_typed_error() -> None:
    array = field(Stranger(np.zeros((4, 4))))
    with pytest.raises(errors.UnsupportedArrayError, match=r"Stranger; accepted: NumPy.*as_numpy"):
        array.pyramid.build(2)
    assert isinstance(errors.UnsupportedArrayError(""), TypeError)


def test_the_blocks_of_a_gpu_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnDevice(Stranger):
        def get(self) -> np.ndarray[Any, Any]:
            return self.data

    monkeypatch.setattr(OnDevice, "__module__", "cupy._core")
    values = np.arange(16.0).reshape(4, 4)
    data = da.from_array(values, chunks=2).map_blocks(OnDevice, meta=OnDevice(np.empty((0, 0))))
    p = field(data).pyramid.build(2, factor=2)
    np.testing.assert_array_equal(p[1], [[2.5, 4.5], [10.5, 12.5]])
    with pytest.raises(errors.UnsupportedArrayError, match="cupy"):
        field(OnDevice(values)).pyramid.build(2)
