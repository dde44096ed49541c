"""Zarr's documents in memory, by their keys: what a group consists of, copied into the group.

zarr-python does this through a store and its event loop, which takes longer than some images do;
what is made here is the same, byte for byte.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import zarr
from zarr.abc.buffer import Buffer
from zarr.storage import StorePath

from xpyramid._compat import ArrayV2Metadata, ArrayV3Metadata
from xpyramid.store.documents import Documents, as_document, get_document, parse_document
from xpyramid.store.path import NodePath, ZarrArray, as_prefix

#: What a group has that is in another one's copy of it, in the place of its own copies.
_NO_COPIES = {"kind": "inline", "must_understand": False, "metadata": {}}

_NODES = ("zarr.json", ".zgroup", ".zarray")


def parse(document: Buffer) -> Any:
    """Return the content of a document."""
    return json.loads(document.to_bytes())


def attributes_of(documents: Mapping[str, Buffer]) -> dict[str, object]:
    """Return the attributes of the group at the root."""
    if "zarr.json" in documents:
        return dict(parse(documents["zarr.json"])["attributes"])
    return dict(parse(documents[".zattrs"]))


def node_documents(group: Mapping[str, Buffer]) -> Sequence[str]:
    """Return the names of the documents of nodes in the Zarr format of a group."""
    return ("zarr.json",) if "zarr.json" in group else (".zgroup", ".zarray", ".zattrs")


def arrays_in(documents: Mapping[str, Buffer]) -> list[str]:
    """Return the paths of the arrays that some documents are of."""
    split = ((key.rpartition("/"), document) for key, document in documents.items())
    return [path for (path, _, name), document in split if kind_of({name: document}) == "array"]


def kind_of(node: Mapping[str, Buffer]) -> Literal["group", "array"] | None:
    """Return what a node is by its own documents, None for those that are none or are damaged."""
    try:
        parsed = {name: parse_document(raw.to_bytes()) for name, raw in node.items()}
    except ValueError:
        return None
    if not all(isinstance(content, dict) for content in parsed.values()):
        return None
    own = parsed.get("zarr.json")
    if isinstance(own, dict):
        kind = own.get("node_type")
        return kind if kind in ("group", "array") and own.get("zarr_format") == 3 else None
    return "array" if ".zarray" in node else "group" if ".zgroup" in node else None


def consolidate(
    documents: Documents, path: str = "", attributes: Mapping[str, object] | None = None
) -> None:
    """Copy the metadata of all that lies in a group into it, as `zarr.consolidate_metadata` does.

    Parameters
    ----------
    documents : dict
        The group is changed in place.
    path : str
        Of the group.
    attributes : mapping, optional
        That the group is to have, instead of those it has.
    """
    prefix = as_prefix(path)
    inside = sorted(_inside(documents, prefix), key=_order)
    if f"{prefix}zarr.json" in documents:
        own = parse(documents[f"{prefix}zarr.json"])
        if attributes is not None:
            own["attributes"] = dict(attributes)
        copies = {name: _copy(parse(documents[f"{prefix}{name}/zarr.json"])) for name in inside}
        documents[f"{prefix}zarr.json"] = as_document(_with_copies(own, copies))
        return
    if attributes is not None:
        documents[f"{prefix}.zattrs"] = as_document(dict(attributes))
    metadata = {".zgroup": {"zarr_format": 2}, ".zattrs": parse(documents[f"{prefix}.zattrs"])}
    for name in inside:
        here = f"{prefix}{name}"
        attrs = documents.get(f"{here}/.zattrs")
        metadata[f"{name}/.zattrs"] = {} if attrs is None else parse(attrs)
        if f"{here}/.zarray" in documents:
            metadata[f"{name}/.zarray"] = parse(documents[f"{here}/.zarray"])
        else:
            empty = {key: _NO_COPIES[key] for key in reversed(_NO_COPIES)}
            group = {"zarr_format": 2, "consolidated_metadata": empty}
            metadata[f"{name}/.zgroup"] = group
    whole = {"metadata": metadata, "zarr_consolidated_format": 1}
    documents[f"{prefix}.zmetadata"] = as_document(whole, compact=True)


def _inside(documents: Mapping[str, Buffer], prefix: str) -> Iterator[str]:
    """Yield the paths of the nodes in a group, relative to it."""
    for key in documents:
        path, _, name = key.rpartition("/")
        if name in _NODES and key.startswith(prefix) and len(path) >= len(prefix) and path:
            yield path[len(prefix) :]


def _order(path: str) -> tuple[int, str, str]:
    return path.count("/"), unicodedata.normalize("NFKC", path).casefold(), path


def _copy(node: dict[str, object]) -> dict[str, object]:
    return _with_copies(node, {}) if node["node_type"] == "group" else node


def _with_copies(group: dict[str, object], copies: Mapping[str, object]) -> dict[str, object]:
    return {
        "attributes": group.get("attributes", {}),
        "zarr_format": 3,
        "consolidated_metadata": {**_NO_COPIES, "metadata": dict(copies)},
        "node_type": "group",
    }


def with_attributes(group: NodePath, attributes: Mapping[str, object]) -> Documents:
    """Return the documents of a group as they are now, with other attributes."""
    raw = get_document(group / "zarr.json")
    if raw is not None:
        content: Any = parse_document(raw)
        return {"zarr.json": as_document({**content, "attributes": dict(attributes)})}
    changed = {".zattrs": as_document(dict(attributes))}
    if (copies := get_document(group / ".zmetadata")) is not None:
        content = parse_document(copies)
        content["metadata"][".zattrs"] = dict(attributes)
        changed[".zmetadata"] = as_document(content, compact=True)
    return changed


def array_of(documents: Mapping[str, Buffer], path: str, place: NodePath) -> ZarrArray:
    """Return an array by its documents, which are not read again from where it is.

    Parameters
    ----------
    documents : mapping
    path : str
        Of the array among them.
    place : NodePath
        Where it is.
    """
    metadata: ArrayV2Metadata | ArrayV3Metadata
    if f"{path}/zarr.json" in documents:
        metadata = ArrayV3Metadata.from_dict(parse(documents[f"{path}/zarr.json"]))
    else:
        own, attributes = (parse(documents[f"{path}/{n}"]) for n in (".zarray", ".zattrs"))
        metadata = ArrayV2Metadata.from_dict({**own, "attributes": attributes})
    return zarr.Array(zarr.AsyncArray(metadata, StorePath(place.store, place.path)))
