"""Arrays of other packages (pint, sparse, cupy) as arrays of NumPy or dask."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from xpyramid._compat import da, is_dask_array, lazy_data, map_blocks, meta_of, package_of
from xpyramid.errors import UnsupportedArrayError
from xpyramid.geometry.chunks import default_chunks
from xpyramid.types import Array, DType

#: Packages whose arrays NumPy does not take as they are: the call that makes one of NumPy.
_TO_NUMPY = {
    "sparse": "array.todense()",
    "scipy": "array.toarray()",
    "cupy": "array.get()",
    "cupyx": "array.toarray().get()",
}


def as_plain_array(array: xr.DataArray) -> xr.DataArray:
    """Return an array whose data are NumPy's, dask's, or still in a file.

    Parameters
    ----------
    array : xarray.DataArray
        Units of pint become the attribute ``units`` of the array and of its coordinates, sparse
        arrays are made dense block by block, and blocks on a GPU are fetched. Masked samples are
        NaN or NaT, as newer releases of xarray have made of them already.

    Raises
    ------
    UnsupportedArrayError
        For arrays of any other package.
    """
    if any(type(index).__name__ == "PintIndex" for index in array.xindexes.values()):
        array = array.pint.dequantify()  # of pint-xarray, which made the index
    array = _without_units(array)
    data = lazy_data(array)
    if isinstance(data, np.ndarray) or _is_in_a_file(data):
        return array
    if is_dask_array(data):
        return array.copy(data=_plain_blocks(data))
    if package_of(data) == "sparse":
        lengths = default_chunks(array.shape, [True] * array.ndim)
        blocks = da.from_array(data, chunks=lengths, asarray=False, name=False)
        return array.copy(data=_plain_blocks(blocks))
    raise _unsupported(data)


def check_numpy(array: object) -> None:
    """Refuse arrays that `numpy.asarray` would take something from.

    Raises
    ------
    UnsupportedArrayError
    """
    if hasattr(array, "magnitude") and hasattr(array, "units"):
        raise UnsupportedArrayError(
            "an array of pint would lose its unit",
            accepted="NumPy arrays",
            fix="pass array.magnitude",
        )
    if (call := _TO_NUMPY.get(package_of(array))) is not None:
        raise UnsupportedArrayError(
            f"an array of the type {_kind(array)}", accepted="arrays of NumPy", fix=f"pass {call}"
        )


def _is_in_a_file(data: object) -> bool:
    """Whether data are xarray's own wrapper around what it has opened, or an index."""
    return package_of(data) == "xarray"


def _is_quantity(data: object) -> bool:
    return hasattr(data, "magnitude") and hasattr(data, "units")


def _without_units(array: xr.DataArray) -> xr.DataArray:
    """Return an array with units of pint as attributes."""
    coords = {
        name: (
            coord.dims,
            lazy_data(coord).magnitude,
            {**coord.attrs, "units": str(lazy_data(coord).units)},
        )
        for name, coord in array.coords.items()
        if _is_quantity(lazy_data(coord))
    }
    array = array.assign_coords(coords) if coords else array
    data = lazy_data(array)
    meta = meta_of(data) if is_dask_array(data) else None
    if meta is not None and _is_quantity(meta):
        unit = str(meta.units)
        return array.copy(data=map_blocks(data, _magnitude, dtype=data.dtype)).assign_attrs(
            units=unit
        )
    if _is_quantity(data):
        return array.copy(data=data.magnitude).assign_attrs(units=str(data.units))
    return array


def _magnitude(block: Any) -> object:
    return block.magnitude


def _plain_blocks(data: da.Array) -> da.Array:
    """Return a dask array whose blocks are NumPy's."""
    meta = meta_of(data)
    if type(meta) is np.ndarray:
        return data
    if package_of(meta) == "sparse":
        return map_blocks(data, _dense, dtype=data.dtype)
    if package_of(meta) == "cupy":
        return map_blocks(data, _fetched, dtype=data.dtype)
    if isinstance(meta, np.ma.MaskedArray):
        return map_blocks(data, _unmasked, dtype=_promoted(data.dtype))
    if isinstance(meta, np.ndarray):  # a subclass that adds nothing to its samples
        return data
    raise _unsupported(meta)


def _unmasked(block: Array) -> Array:
    """Return samples with NaN or NaT for the masked ones."""
    dims = [f"dim_{i}" for i in range(block.ndim)]
    return xr.Variable(dims, block).to_numpy().astype(_promoted(block.dtype), copy=False)


def _promoted(dtype: DType) -> DType:
    """Return the dtype that xarray has for samples of which some are masked."""
    promoted: DType = xr.Variable((), np.ma.masked_array(np.zeros((), dtype), True)).dtype
    return promoted


def _dense(block: object) -> object:
    return block.todense() if hasattr(block, "todense") else block


def _fetched(block: object) -> object:
    return block.get() if hasattr(block, "get") else block


def _kind(data: object) -> str:
    return f"{type(data).__module__}.{type(data).__qualname__}"


def _unsupported(data: object) -> UnsupportedArrayError:
    or_chunk = ", or .chunk(...)" if package_of(data) == "cupy" else ""
    return UnsupportedArrayError(
        f"an array of the type {_kind(data)}; accepted: NumPy, dask, and what xarray opens lazily; "
        f"call array.as_numpy() first{or_chunk}"
    )
