"""The coordinates that are stored beside a level, for xarray's eyes.

xarray knows how to store them, but takes a long time for it. Mostly the levels of an image differ
in length and numbers only; then the documents of one level are made from those of a finer one.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
import xarray as xr
from zarr.errors import UnstableSpecificationWarning
from zarr.storage import MemoryStore

from xpyramid.errors import AxisError
from xpyramid.geometry.ranges import lazy_labels, transform_of
from xpyramid.messages import say
from xpyramid.store.documents import Documents, as_buffer, as_document, new_group
from xpyramid.store.encoding import stored_attributes
from xpyramid.store.json_attributes import coordinate
from xpyramid.store.local_chunks import only_chunk
from xpyramid.store.names import StoredNames, with_names
from xpyramid.store.path import NodePath
from xpyramid.types import DType
from xpyramid.warn import warn
from xpyramid.writer.compression import ZarrFormat, compressor_of, with_checksums
from xpyramid.writer.documents import array_of, parse

#: Coordinates up to so many bytes are computed at once, where they are lazy.
_SMALL = 2**20

#: So many times are stored in one chunk, also where there are fewer of them yet.
_TIMES = 1024

#: What times are counted from.
_TIME_UNITS = ("units", "calendar")

#: Attributes by which xarray stores other numbers than it is given.
_CODING = {"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype"}


def prepare_coordinates(
    coordinates: xr.Dataset,
    names: StoredNames,
    attrs: Mapping[str, object],
    growing: Collection[str] = (),
) -> xr.Dataset:
    """Return what is stored beside a level: its coordinates, under their stored names.

    Parameters
    ----------
    coordinates : xarray.Dataset
    names : StoredNames
    attrs : mapping
        Of the level's group.
    growing : collection of str
        Dimensions along which images grow by single steps: their coordinates are stored in chunks
        that have room.

    Raises
    ------
    AttributeValueError
        For attributes that JSON cannot hold.
    """
    dataset = _with_long_ones_as_dask(coordinates.copy()).assign_attrs(attrs)
    for name, variable in dataset.variables.items():
        if variable.chunks is None:
            continue
        if variable.nbytes <= _SMALL:
            dataset[name] = variable.compute()
        else:  # xarray stores even chunks only
            even = {dim: max(sizes) for dim, sizes in variable.chunksizes.items()}
            dataset[name] = variable.chunk(even)
    for name, variable in dataset.variables.items():
        attributes = stored_attributes(variable, names, coordinate(name))
        if "_FillValue" in variable.attrs:  # xarray has a way to store it
            attributes["_FillValue"] = variable.attrs["_FillValue"]
        kept = _time_encoding(variable, str(name))
        if variable.dtype.kind in "fc" and "_FillValue" not in variable.attrs:
            kept["_FillValue"] = None  # xarray would write NaN, as an attribute
        if variable.dims in [(dim,) for dim in growing] and variable.size < _TIMES:
            kept["chunks"] = (_TIMES,)
        variable.attrs, variable.encoding = attributes, kept
    stored = with_names(dataset.variables, names.dims, names.coords)
    return xr.Dataset(coords=xr.Coordinates(stored, indexes={}), attrs=dataset.attrs)


def _with_long_ones_as_dask(dataset: xr.Dataset) -> xr.Dataset:
    """Return coordinates of which long ones that xarray would make are left to dask."""
    for dim in list(dataset.dims):
        if dim not in dataset.coords or dataset[dim].nbytes <= _SMALL:
            continue
        if (transform := transform_of(dataset, dim)) is not None:
            labels = lazy_labels(dataset[dim].variable, transform)
            lazy = xr.Coordinates({dim: labels}, indexes={})
            dataset = dataset.drop_vars([dim]).assign_coords(lazy)
    return dataset


def _time_encoding(times: xr.Variable, name: str) -> dict[str, object]:
    """Return how times are counted: in the units that they came with, where these give them back.

    Where they do not, xarray counts from a date of its own choice.
    """
    counted = {key: times.encoding[key] for key in _TIME_UNITS if key in times.encoding}
    if not counted or times.dtype.kind not in "mMO":
        return counted
    for dtype in _number_types(times):
        encoding: dict[str, object] = counted if dtype is None else {**counted, "dtype": dtype}
        if dtype is not None and dtype.kind == "f":
            encoding["_FillValue"] = None  # xarray would write NaN, as an attribute
        if _survive_round_trip(times, encoding):
            return encoding
    if "units" in counted:
        warn(
            f"the times of {name!r} cannot be counted exactly in {str(counted['units'])[:80]!r}; "
            "they are stored in other units, which xarray chooses"
        )
    return {}


def _number_types(times: xr.Variable) -> Iterator[DType | None]:
    """Yield the types of numbers to count times in, the best first; None leaves it to xarray."""
    if times.dtype.kind == "m" or "units" not in times.encoding:
        yield None
        return
    with suppress(TypeError):  # an encoding that names no dtype
        encoding_dtype = np.dtype(times.encoding.get("dtype"))
        if encoding_dtype.kind in "iuf":
            yield encoding_dtype
    yield np.dtype(np.int64)
    yield np.dtype(np.float64)


def _survive_round_trip(times: xr.Variable, encoding: Mapping[str, object]) -> bool:
    """Whether times are the same when they have been encoded and decoded."""
    original = xr.Variable(times.dims, times.data, encoding=encoding)
    as_dates = xr.coders.CFDatetimeCoder(use_cftime=times.dtype.kind == "O")
    with warnings.catch_warnings():
        if times.dtype.kind != "m":  # of those it warns of fractions too
            warnings.simplefilter("error")  # of units too coarse
        else:
            warnings.simplefilter("ignore")
        try:
            encoded = xr.conventions.encode_cf_variable(original)
            decoded = xr.conventions.decode_cf_variable("", encoded, decode_times=as_dates)
            same = (decoded == original) | (decoded.isnull() & original.isnull())
            return bool(same.all())
        except (Warning, ValueError, OverflowError, TypeError):
            return False


def lazy_part(dataset: xr.Dataset) -> xr.Dataset:
    """Return the coordinates of which only the documents are made, and not the values."""
    return dataset.drop_vars([name for name, v in dataset.variables.items() if v.chunks is None])


def coordinate_documents(
    levels: Sequence[xr.Dataset], zarr_format: ZarrFormat
) -> Iterator[Documents]:
    """Yield the documents of the group of each level, relative to it, and those of its coordinates.

    Raises
    ------
    AxisError
        For coordinates that xarray cannot store.
    """
    earlier: list[tuple[xr.Dataset, Documents]] = []
    for dataset in levels:
        candidates = (_adapt_documents(dataset, *other) for other in reversed(earlier))
        level_documents = next(
            (documents for documents in candidates if documents is not None), None
        )
        if level_documents is None:
            level_documents = _by_xarray(dataset, zarr_format)
            earlier.append((dataset, level_documents))
        yield level_documents


def _adapt_documents(
    dataset: xr.Dataset, other: xr.Dataset, documents: Documents
) -> Documents | None:
    """Return the documents of coordinates, made from those of others; None if that cannot be."""
    if dataset.variables.keys() != other.variables.keys():
        return None
    adapted = dict(documents)
    for name, variable in dataset.variables.items():
        example = other.variables[name]
        if not _are_alike(variable, example):
            return None
        if variable.identical(example):
            continue
        if not (_is_plain(variable) and _put_numbers(adapted, str(name), variable)):
            return None
    return adapted


def _are_alike(variable: xr.Variable, other: xr.Variable) -> bool:
    """Whether variables differ in length and values only."""
    if variable.chunks is not None or other.chunks is not None:
        return False
    both = ((v.dims, v.dtype, v.attrs, v.encoding) for v in (variable, other))
    return next(both) == next(both)


def _is_plain(variable: xr.Variable) -> bool:
    """Whether xarray stores values as they are."""
    is_number = variable.dtype.kind in "iuf" and _CODING.isdisjoint(variable.attrs)
    return is_number and not any(variable.encoding.values())


def _put_numbers(documents: Documents, name: str, variable: xr.Variable) -> bool:
    """Put numbers in the place of others, if both fit into one chunk."""
    key = next(key for key in (f"{name}/zarr.json", f"{name}/.zarray") if key in documents)
    node = parse(documents[key])
    grid = node if "chunks" in node else node["chunk_grid"]["configuration"]
    length = "chunks" if "chunks" in node else "chunk_shape"
    pairs = zip(variable.shape, node["shape"], strict=True)
    if grid[length] != node["shape"] or not all(0 < n <= old for n, old in pairs):
        return False
    if node["fill_value"] is None and not variable.values.any():  # which zarr does not store
        return False
    node["shape"] = grid[length] = list(variable.shape)
    documents[key] = as_document(node)
    array = with_checksums(array_of(documents, name, NodePath(MemoryStore(), name)), {})
    data = only_chunk(array, variable.values)
    if data is None:
        return False
    chunk = f"{name}/{array.metadata.encode_chunk_key((0,) * variable.ndim)}"
    documents.pop(chunk, None)
    documents.update({chunk: as_buffer(b"".join(data))} if data else {})
    return True


def _by_xarray(dataset: xr.Dataset, zarr_format: ZarrFormat) -> Documents:
    """Make a group that xarray can open, with checksummed coordinates."""
    if not (dataset.variables or dataset.attrs):  # which xarray takes longer to say
        return new_group(zarr_format)
    stored: Documents = {}
    codecs = {"compressors": compressor_of("default", zarr_format)}
    try:
        with warnings.catch_warnings():
            # Zarr v3 has no final word on strings and datetimes.
            warnings.simplefilter("ignore", UnstableSpecificationWarning)
            # Whether durations come back has been tried.
            warnings.filterwarnings("ignore", "Timedeltas can't be serialized faithfully")
            dataset.to_zarr(
                MemoryStore(stored),
                mode="w-",
                consolidated=False,
                compute=False,
                zarr_format=zarr_format,
                # What is given here takes the place of the variable's own.
                encoding={name: {**v.encoding, **codecs} for name, v in dataset.variables.items()},
            )
    except (TypeError, ValueError, NotImplementedError) as error:
        several = [name for name in dataset.variables if len(dataset.variables) > 1]
        for name in several:  # to name the one that is meant
            _by_xarray(xr.Dataset({name: dataset.variables[name]}), zarr_format)
        what = f"coordinates {list(dataset.variables)}"
        if not several:
            (name,) = dataset.variables
            what = f"coordinate {name!r} of dtype {dataset.variables[name].dtype}"
        raise AxisError(
            f"{what} cannot be stored: {error}",
            fix=say("change it, or drop it with `.drop_vars(...)`"),
        ) from error
    return stored
