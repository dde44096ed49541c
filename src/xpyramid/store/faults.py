"""What is wrong with the document of an array that zarr cannot open, in words of ours."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeGuard

from numcodecs import get_codec
from zarr.registry import get_codec_class

from xpyramid._compat import ArrayV2Metadata, ArrayV3Metadata, get_data_type_from_json
from xpyramid.errors import NotAPyramidError
from xpyramid.store.documents import parse_document, read_documents
from xpyramid.store.path import NodePath

_Json = Mapping[str, object]

_NEEDED = {
    2: ("shape", "chunks", "dtype", "compressor", "fill_value", "order", "filters"),
    3: ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs"),
}

_INSTALL = "is there a package to install?"

_LENGTHS = "a list of integers of at least 0"


def find_fault(place: NodePath) -> str | None:
    """Return which document at a place is not a valid node, and why; None if nothing is wrong.

    Parameters
    ----------
    place : NodePath
        Of an array or a group.

    Raises
    ------
    ReadError
        If the store does not answer.
    """
    names = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
    try:
        raw = dict(zip(names, read_documents(place, names), strict=True))
    except NotAPyramidError:  # a link that leads out of the store
        return None
    for name in names if raw["zarr.json"] is None else names[:1]:
        if raw[name] is None:
            continue
        try:
            document = parse_document(raw[name])
        except ValueError as error:
            return f"{place / name}: {error}"
        if fault := fault_of(document, name):
            return f"{place / name}: {fault}"
    return None


def fault_of(document: object, name: str) -> str | None:
    """Return what is wrong with a document, None if nothing is.

    Parameters
    ----------
    document : object
        Parsed JSON.
    name : {"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}
    """
    if not isinstance(document, Mapping):
        return f"{reprlib.repr(document)}; expected a JSON object"
    if name == "zarr.json":
        return _fault_of_node(document)
    if name == ".zarray":
        return _fault_of_array(document, 2)
    return _fault_of_copies(document) if name == ".zmetadata" else None


def _fault_of_node(document: _Json) -> str | None:
    kind = document.get("node_type")
    if kind not in ("array", "group"):
        return f"node_type {_shown(document, 'node_type')}; expected 'array' or 'group'"
    if not isinstance(document.get("attributes", {}), Mapping):
        return f"attributes {_shown(document, 'attributes')}; expected a JSON object"
    if kind == "array":
        return _fault_of_array(document, 3)
    copies = document.get("consolidated_metadata")
    return None if copies is None else _fault_of_copies(copies)


def _fault_of_copies(holder: object) -> str | None:
    """Return the first fault of the documents that consolidated metadata are copies of."""
    copies = holder.get("metadata") if isinstance(holder, Mapping) else None
    if not isinstance(copies, Mapping):
        return f"consolidated metadata {reprlib.repr(holder)}; expected a mapping of documents"
    for path, copy in copies.items():
        name = path.rpartition("/")[2]
        document: object = copy
        if isinstance(copy, Mapping):  # copies of copies say nothing new
            document = {key: copy[key] for key in copy if key != "consolidated_metadata"}
        if fault := fault_of(document, name if name.startswith(".z") else "zarr.json"):
            return f"in the consolidated metadata, {path[:200]!r}: {fault}"
    return None


def _fault_of_array(document: _Json, zarr_format: int) -> str | None:
    """Return the first fault that is known, else what zarr says."""
    if missing := [key for key in _NEEDED[zarr_format] if key not in document]:
        return f"no {', '.join(missing)}; expected {', '.join(_NEEDED[zarr_format])}"
    if not _are_lengths(document["shape"], 0):
        return f"shape {_shown(document, 'shape')}; expected {_LENGTHS}"
    fault = (_fault_of_v2 if zarr_format == 2 else _fault_of_v3)(document)
    return fault or _fault_for_zarr(document, zarr_format)


def _fault_of_v2(document: _Json) -> str | None:
    if fault := _fault_of_chunks(document["chunks"], document["shape"], "chunks"):
        return fault
    if not _is_dtype({"name": _tuples(document["dtype"]), "object_codec_id": None}, 2):
        return f"dtype {_shown(document, 'dtype')} is not known to zarr"
    filters = document["filters"] or []
    for codec in [document["compressor"], *(filters if isinstance(filters, list) else [filters])]:
        try:
            if codec is not None:
                get_codec(dict(codec))
        except Exception:  # it raises what happens to go wrong
            return f"codec {reprlib.repr(codec)} is not known to zarr; {_INSTALL}"
    return None


def _fault_of_v3(document: _Json) -> str | None:
    grid, codecs = document["chunk_grid"], document["codecs"]
    configuration = grid.get("configuration") if isinstance(grid, Mapping) else None
    if not isinstance(grid, Mapping) or not isinstance(configuration, Mapping):
        return f"chunk_grid {_shown(document, 'chunk_grid')}; expected a name and a configuration"
    if grid.get("name") == "regular":
        chunks = configuration.get("chunk_shape")
        if fault := _fault_of_chunks(chunks, document["shape"], "chunk_shape"):
            return fault
    if not isinstance(codecs, list) or not codecs:
        return f"codecs {_shown(document, 'codecs')}; expected a list of one or more"
    if not _is_dtype(document["data_type"], 3):
        return f"data_type {_shown(document, 'data_type')} is not known to zarr"
    return _fault_of_codecs(codecs)


def _fault_of_codecs(codecs: list[object]) -> str | None:
    for codec in codecs:
        name = codec.get("name") if isinstance(codec, Mapping) else codec
        if not isinstance(name, str):
            return f"codec {reprlib.repr(codec)}; expected an object with a name"
        try:
            get_codec_class(name)
        except Exception:  # it has several ways to say that it does not know a name
            return f"codec {name[:80]!r} is not known to zarr; {_INSTALL}"
    return None


def _is_dtype(value: Any, zarr_format: Literal[2, 3]) -> bool:
    """Whether zarr knows a data type; codecs decide on some types of v2."""
    if zarr_format == 2 and "O" in str(value["name"]):
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of those without a specification
            get_data_type_from_json(value, zarr_format=zarr_format)
    except Exception:  # it has several ways to say that it does not know one
        return False
    return True


def _tuples(value: object) -> object:
    """Return a structured data type of JSON as zarr wants it."""
    return (
        [tuple(field) if isinstance(field, list) else field for field in value]
        if isinstance(value, list)
        else value
    )


def _fault_of_chunks(chunks: object, shape: object, key: str) -> str | None:
    right = _are_lengths(chunks, 1) and _are_lengths(shape, 0) and len(chunks) == len(shape)
    if not right:
        value = f"{key} {reprlib.repr(chunks)} of the shape {shape}"
        return f"{value[:200]}; expected as many integers of at least 1"
    return None


def _fault_for_zarr(document: _Json, zarr_format: int) -> str | None:
    kind: Any = ArrayV2Metadata if zarr_format == 2 else ArrayV3Metadata
    read: Callable[[dict[str, object]], object] = kind.from_dict
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of data types without a specification
            read(dict(document))
    except Exception as error:  # zarr raises what happens to go wrong first
        message = " ".join(str(error).split())[:200]
        return f"zarr cannot read it: {type(error).__name__}: {message}"
    return None


def _are_lengths(value: object, least: int) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and n >= least for n in value)


def _shown(document: _Json, key: str) -> str:
    return reprlib.repr(document[key]) if key in document else "is missing"
