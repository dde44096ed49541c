"""What Zarr and xarray do not bring back by themselves: noted in the metadata, undone on opening.

xarray decodes a coordinate whose attributes speak of an encoding ("days since 2000-01-01", a scale
factor), whether or not the one that was written had been decoded; and it keeps in ``encoding`` what
other readers look for among the attributes. Zarr v3 has no byte order, and JSON no NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xpyramid._compat import FillValueCoder
from xpyramid.errors import AttributeValueError
from xpyramid.geometry.bounds import BOUNDS
from xpyramid.geometry.coordinates import REFERENCES
from xpyramid.geometry.ranges import range_of
from xpyramid.ngff import Multiscale
from xpyramid.store.json_attributes import ARRAY, Holder, json_attributes, nonfinite, restore
from xpyramid.store.level_array import read_as, stored_variable
from xpyramid.store.names import StoredNames
from xpyramid.store.path import ZarrArray
from xpyramid.types import Attrs, DType, Json

#: In notes by the names of coordinates, the name of the array itself.
ARRAY_NOTE = ""

#: What readers compute with.
_SCALING = {"scale_factor", "add_offset"}


def references(variable: xr.Variable | xr.DataArray) -> dict[str, str]:
    """Return what a variable names of others in its encoding, and not in its attributes."""
    encoded = {key: variable.encoding.get(key) for key in REFERENCES if key not in variable.attrs}
    return {key: text for key, text in encoded.items() if isinstance(text, str) and text}


def stored_attributes(
    variable: xr.Variable | xr.DataArray, names: StoredNames, holder: Holder = ARRAY
) -> dict[str, Json]:
    """Return the attributes that a variable has in the store, references among them.

    Raises
    ------
    AttributeValueError
        For attributes that JSON cannot hold.
    """
    for key in _SCALING & variable.attrs.keys():
        json_attributes({key: variable.attrs[key]}, holder, finite=True)
    attributes = json_attributes(variable.attrs, holder)
    if attributes.get("image-label") == {}:  # which says no more than the image's metadata
        del attributes["image-label"]
    referenced = references(variable)
    if listed := referenced.pop("coordinates", ""):  # readers want all of them, or none
        stored_names = [names.coords[word] for word in listed.split() if word in names.coords]
        attributes |= {"coordinates": " ".join(stored_names)} if stored_names else {}
    attributes |= {key: names.in_text(text) for key, text in referenced.items()}
    for key in dangling({**variable.encoding, **variable.attrs}, names):
        attributes.pop(key, None)
    return attributes


def dangling(attrs: Attrs, names: StoredNames) -> dict[str, str]:
    """Return references to what is not stored, of which xarray would warn when it opens a level."""
    unresolved = {}
    for key in set(REFERENCES) - {"coordinates", "ancillary_variables"}:
        text = attrs.get(key)
        words = text.split() if isinstance(text, str) else []
        if key == "grid_mapping":
            words = [word.rstrip(":") for word in words]
        if any(not word.endswith(":") and word not in names.coords for word in words):
            unresolved[key] = str(text)
    return unresolved


def array_attributes(
    base: xr.DataArray, attrs: Attrs, names: StoredNames, zarr_format: int
) -> dict[str, Json]:
    """Return the attributes of the array of a level in the store.

    Parameters
    ----------
    base : xarray.DataArray
        Level 0.
    attrs : mapping
        Of the level.
    names : StoredNames
    zarr_format : {2, 3}

    Raises
    ------
    AttributeValueError
        For attributes that JSON cannot hold, and a fill value that xarray could not read.
    """
    level = xr.Variable((), 0, attrs, base.encoding)
    attributes = stored_attributes(level, names)
    if "_FillValue" in attributes:
        encoded = _encoded_fill(attrs["_FillValue"], base.dtype)
        if zarr_format == 3:
            attributes["_FillValue"] = encoded
    return attributes


def _encoded_fill(fill_value: Any, dtype: DType) -> Json:
    """Return a ``_FillValue`` as xarray stores it in Zarr v3."""
    value = np.asarray(fill_value)
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            cast = value.astype(dtype)
        if dtype.kind in "iu" and (value != cast).any():
            raise ValueError(fill_value)  # which would be stored as another number
        if dtype.kind == "f" and np.isfinite(cast).all():
            value = cast  # as samples have it: 1e20 is not a float32
        encoded: Json = FillValueCoder.encode(
            value.item() if value.size == 1 else fill_value, dtype
        )
        return encoded
    except (TypeError, ValueError, OverflowError) as error:
        raise AttributeValueError(
            f"attribute '_FillValue' of the array is {fill_value!r}, and the array has dtype "
            f"{dtype}",
            accepted="a value that it can have",
            fix="change it, or drop it with del array.attrs['_FillValue']",
        ) from error


def dims_of(node: ZarrArray) -> tuple[str, ...]:
    """Return the dimensions that an array names; none if some have no name."""
    named: object = node.attrs.get("_ARRAY_DIMENSIONS")
    if node.metadata.zarr_format == 3:
        named = node.metadata.dimension_names
    if isinstance(named, list | tuple) and all(isinstance(dim, str) for dim in named):
        return tuple(named)
    return ()


def open_raw(arrays: Mapping[str, ZarrArray], left_out: Collection[str]) -> dict[str, xr.Variable]:
    """Open the arrays of a group as xarray does, lazily, not decoded.

    Where some of them do not name their dimensions, which others may have written, xarray opens
    none; here, all others are opened.

    Parameters
    ----------
    arrays : mapping
        All that are in the group, by name.
    left_out : collection of str
        Names of those that are not opened.
    """
    chosen = {
        name: array for name, array in arrays.items()
        if name not in left_out and (dims_of(array) or not array.ndim)
    }  # fmt: skip
    return {name: stored_variable(array, dims_of(array), attributes_back(array))
            for name, array in chosen.items()}  # fmt: skip


def attributes_back(array: ZarrArray, *, is_flat: bool = False) -> dict[str, object]:
    """Return the attributes of an array without a group around it, as `array_attributes` got them.

    What is noted of them is not undone.

    Parameters
    ----------
    array : zarr.Array
    is_flat : bool
        Whether it is a level that no group holds, which xarray never opens. Its fill value in Zarr
        v2, mostly 0, says nothing of missing samples, unless JSON has no number for it.
    """
    attrs: dict[str, object] = {k: v for k, v in array.attrs.items() if k != "_ARRAY_DIMENSIONS"}
    if array.metadata.zarr_format == 2 and array.fill_value is not None:
        if not (is_flat and np.isfinite(array.fill_value)):
            attrs["_FillValue"] = array.fill_value
    elif array.metadata.zarr_format == 3:
        encoded = attrs.get("_FillValue")
        if isinstance(encoded, str | list):
            attrs["_FillValue"] = FillValueCoder.decode(encoded, array.dtype)
    return attrs


def note(
    image: Multiscale, base: xr.DataArray, coordinates: xr.Dataset, names: StoredNames
) -> Multiscale:
    """Return the metadata of an image with notes on what would not come back.

    Parameters
    ----------
    image : Multiscale
    base : xarray.DataArray
        Level 0.
    coordinates : xarray.Dataset
        Those of level 0.
    names : StoredNames
    """
    of_name = {names.coords[str(name)]: v for name, v in coordinates.variables.items()}
    variables: dict[str, xr.Variable] = {**of_name, ARRAY_NOTE: base.variable}
    lost = {name: nonfinite(_without_fill(v)) for name, v in variables.items()}
    moved = {name: references(v) for name, v in variables.items()}
    absent = {name: dangling(v.attrs, names) for name, v in variables.items()}
    possible_notes = {
        "undecoded": sorted(name for name, v in of_name.items() if _is_changed(v)),
        "nonfinite": {name: paths for name, paths in lost.items() if paths},
        "encoding": {name: texts for name, texts in moved.items() if texts},
        "absent": {name: texts for name, texts in absent.items() if texts},
        "renamed": names.renamed,
        "ranges": [str(dim) for dim in base.dims if range_of(coordinates, dim) is not None],
    }
    notes: dict[str, object] = {key: value for key, value in possible_notes.items() if value}
    if base.name is not None and names.array != str(base.name):
        notes["variable"] = str(base.name)
    if not base.dtype.isnative:
        notes["dtype"] = base.dtype.str
    return replace(image, metadata={**image.metadata, **notes})


class Decoded(NamedTuple):
    """A level: its samples, its coordinates by name, and the attributes of its group."""

    samples: xr.Variable
    coords: dict[str, xr.Variable]
    attrs: Attrs


def decode(
    stored: Mapping[str, xr.Variable],
    name: str,
    metadata: Mapping[str, object],
    larger: Collection[str],
    attrs: Attrs = MappingProxyType({}),
) -> Decoded:
    """Return a level as it was written, under the names that it is stored with.

    No indexes are made, which takes longer than all else.

    Parameters
    ----------
    stored : mapping of str to xarray.Variable
        The level, not decoded, with all that belongs to it.
    name : str
        Of its array, which is stored as it is; coordinates are stored as xarray encodes them.
    metadata : mapping
        Of the image, with its notes.
    larger : collection of str
        Dimensions along which the cells are larger than those of level 0.
    attrs : mapping
        Of the group.
    """
    listed = metadata.get("undecoded")
    undecoded = listed if isinstance(listed, list) else []
    beside = {key: variable for key, variable in stored.items() if key != name}
    encoded = {key: variable for key, variable in beside.items() if key not in undecoded}
    variables, attributes, _ = xr.conventions.decode_cf_variables(
        encoded, dict(attrs), concat_characters=False
    )
    coords = {str(key): variable for key, variable in variables.items()}
    coords |= {key: variable for key, variable in beside.items() if key in undecoded}
    samples = as_noted(stored[name], metadata.get("dtype"))
    for key, variable in {**coords, ARRAY_NOTE: samples}.items():
        restore_attributes(variable, key, metadata, larger)
    return Decoded(samples, coords, attributes)


def restore_attributes(
    variable: xr.Variable | xr.DataArray,
    name: str,
    metadata: Mapping[str, object],
    larger: Collection[str],
) -> None:
    """Put attributes back to what they were before they were written, by the notes on them.

    The bounds of cells are those of level 0, and of no larger ones that have none stored.
    """
    variable.attrs = restore(variable.attrs, _noted(metadata, "nonfinite").get(name))
    if variable.dtype.kind in "fc":  # no text can be missing from numbers
        variable.attrs = restore(variable.attrs, [["_FillValue"]])
    is_larger = name != ARRAY_NOTE and not {*larger}.isdisjoint(map(str, variable.dims))
    gone = {key for key in BOUNDS if is_larger and key not in variable.attrs}
    restorable = {*REFERENCES} - gone
    for note_of, holder in (("encoding", variable.encoding), ("absent", variable.attrs)):
        texts = _noted(metadata, note_of).get(name)
        for key, text in texts.items() if isinstance(texts, Mapping) else ():
            if key in restorable and isinstance(text, str):
                variable.attrs.pop(key, None)
                holder[key] = text


def _noted(metadata: Mapping[str, object], key: str) -> Mapping[str, object]:
    noted = metadata.get(key)
    return noted if isinstance(noted, Mapping) else {}


def _without_fill(variable: xr.Variable) -> Attrs:
    """Return the attributes that are stored as JSON; xarray has a way for the fill value."""
    return {key: value for key, value in variable.attrs.items() if key != "_FillValue"}


def _is_changed(variable: xr.Variable) -> bool:
    """Whether xarray would open a variable as something else than was written."""
    if variable.dtype.kind not in "iufb" or not variable.attrs:
        return False
    # Two: before xarray 2026, one value of a range is without its dimension.
    sample = xr.Variable(variable.dims, variable[(slice(0, 2),) * variable.ndim], variable.attrs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it does
            decoded = xr.conventions.decode_cf_variable("", sample)
    except (ValueError, OverflowError, TypeError):  # what only looks like an encoding
        return True
    return bool(decoded.attrs != variable.attrs)


def as_noted(variable: xr.Variable, dtype: object) -> xr.Variable:
    """Return a variable in the byte order that was noted, if any."""
    native = variable.dtype.newbyteorder("=")
    if dtype not in (native.newbyteorder(order).str for order in "<>"):
        return variable
    return read_as(variable, np.dtype(str(dtype)))
