"""Whether two metadata documents mean the same, however they are spelled.

Writers leave out what is the default, or spell it out: no attributes or ``{}``, no
``storage_transformers`` or an empty list, a codec with its configuration or without, a fill value
of ``0`` or ``0.0``. What zarr makes of two documents is what they mean.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

from zarr.buffer import default_buffer_prototype

from xpyramid._compat import ArrayV2Metadata, ArrayV3Metadata, GroupMetadata


def is_same(copy: object, truth: object, key: str) -> bool:
    """Whether a copy of a document means what the document does.

    Parameters
    ----------
    copy, truth : object
        Parsed JSON.
    key : str
        Of the document in the store: its name says of what kind it is.
    """
    return bool(copy == truth) or bool(_meaning(copy, key) == _meaning(truth, key))


def _meaning(document: object, key: str) -> object:
    """Return a document as zarr would write it, itself where zarr cannot read it."""
    if not isinstance(document, dict):
        return document
    plain = {k: v for k, v in document.items() if k != "consolidated_metadata"}
    name = key.rpartition("/")[2]
    if name == ".zattrs":
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of data types without a specification
            return _rewritten(
                plain, is_array=name == ".zarray" or plain.get("node_type") == "array"
            )
    except Exception:  # zarr trips over documents that are none in its own ways
        return plain


def _rewritten(document: dict[str, object], *, is_array: bool) -> dict[str, object]:
    """Return what zarr writes for a document that it read."""
    kind: Any = GroupMetadata
    if is_array:
        kind = ArrayV2Metadata if document.get("zarr_format") == 2 else ArrayV3Metadata
    written = kind.from_dict(dict(document)).to_buffer_dict(default_buffer_prototype())
    main = written.get("zarr.json") or written[".zarray" if is_array else ".zgroup"]
    rewritten: dict[str, object] = json.loads(main.to_bytes())
    return rewritten
