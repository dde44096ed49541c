"""What Zarr and xarray do not bring back by themselves: noted in the metadata, undone on opening.

xarray decodes a coordinate whose attributes speak of an encoding ("days since 2000-01-01", a scale
factor), whether or not the one that was written had been decoded; and Zarr v3 has no byte order.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends.zarr import FillValueCoder

from xpyramid.ngff import Multiscale


def note(image: Multiscale, coordinates: xr.Dataset, dtype: np.dtype[Any]) -> Multiscale:
    """Return the metadata of an image with notes on what would not come back.

    Parameters
    ----------
    image : Multiscale
    coordinates : xarray.Dataset
        Of level 0.
    dtype : numpy.dtype
        Of the levels.
    """
    notes: dict[str, Any] = {}
    if names := [str(name) for name, v in coordinates.variables.items() if _is_changed(v)]:
        notes["undecoded"] = sorted(names)
    if not dtype.isnative:
        notes["dtype"] = dtype.str
    return replace(image, metadata={**image.metadata, **notes})


def decode(stored: xr.Dataset, name: str, metadata: Mapping[str, Any]) -> xr.Dataset:
    """Return a level as it was written.

    Parameters
    ----------
    stored : xarray.Dataset
        The level, not decoded.
    name : str
        Of its array, which is stored as it is; coordinates are stored as xarray encodes them.
    metadata : mapping
        Of the image, with its notes.
    """
    listed = metadata.get("undecoded")
    left = [n for n in stored.variables if n != name and isinstance(listed, list) and n in listed]
    dataset = xr.decode_cf(stored.drop_vars([name, *left]))
    dataset = dataset.assign_coords({n: stored[n].variable for n in left})
    return dataset.assign({name: _as_noted(stored[name].variable, metadata.get("dtype"))})


def encode_fill_value(
    attrs: Mapping[Any, Any], dtype: np.dtype[Any], zarr_format: int
) -> dict[Any, Any]:
    """Return the attributes of an array with the value of missing data as xarray stores it.

    In Zarr v3 xarray opens no array of floats whose ``_FillValue`` is a number as JSON has it.
    """
    encoded = dict(attrs)
    if zarr_format == 3 and dtype.kind in "fc" and "_FillValue" in encoded:
        value = np.asarray(encoded["_FillValue"], dtype.newbyteorder("="))
        encoded["_FillValue"] = FillValueCoder.encode(value.item(), dtype)
    return encoded


def decode_fill_value(attrs: Mapping[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return attributes as they were before `encode_fill_value`; what it did not make stays."""
    decoded = dict(attrs)
    if dtype.kind in "fc" and isinstance(decoded.get("_FillValue"), str | list):
        with suppress(ValueError, TypeError, struct.error):
            decoded["_FillValue"] = FillValueCoder.decode(decoded["_FillValue"], dtype)
    return decoded


def _is_changed(variable: xr.Variable) -> bool:
    """Whether xarray would open a variable as something else than was written."""
    if variable.dtype.kind not in "iufb" or not variable.attrs:
        return False
    sample = xr.Variable(variable.dims, variable[(slice(0, 1),) * variable.ndim], variable.attrs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it does
            decoded = xr.conventions.decode_cf_variable("", sample)
    except (ValueError, OverflowError, TypeError):  # what only looks like an encoding
        return True
    return bool(decoded.attrs != variable.attrs)


def _as_noted(variable: xr.Variable, dtype: object) -> xr.Variable:
    """Return a variable in the byte order that was noted, if any."""
    native = variable.dtype.newbyteorder("=")
    if dtype not in (native.newbyteorder(order).str for order in "<>"):
        return variable
    noted: xr.Variable = variable.astype(dtype, keep_attrs=True)
    noted.encoding = dict(variable.encoding)
    return noted
