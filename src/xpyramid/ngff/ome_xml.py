"""The OME-XML of a store of several images, by which some viewers find them.

https://ngff.openmicroscopy.org/0.5/, section "bioformats2raw.layout": "The OME group ... MAY
contain ... METADATA.ome.xml". napari's plugin reads the paths of the images from the IDs there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

#: Key of the document, below the group ``OME``.
DOCUMENT = "METADATA.ome.xml"

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"

#: OME's words for dtypes; it has none for integers of 64 bits and floats of 16, which are the next.
_TYPES: Mapping[str, str] = {
    "bool": "bit", "float16": "float", "float32": "float", "float64": "double",
    "complex64": "complex", "complex128": "double-complex", "int64": "double", "uint64": "double",
}  # fmt: skip


@dataclass(frozen=True)
class Pixels:
    """What OME-XML says of an image.

    Attributes
    ----------
    path : str
        In the store.
    sizes : mapping
        Lengths of its axes, by the names x, y, z, c, t.
    dtype : numpy.dtype
    """

    path: str
    sizes: Mapping[str, int]
    dtype: np.dtype[np.generic]


def add_images(document: bytes | None, images: Sequence[Pixels]) -> bytes | None:
    """Return a document that names more images, None where there is one that is not ours to change.

    What a document said of an image with the same path is replaced.
    """
    root = ElementTree.Element(f"{{{_NAMESPACE}}}OME") if document is None else _parse(document)
    if root is None:
        return None
    for image in images:
        key, name = f"Image:{image.path}", image.path.rpartition("/")[2]
        element = next((child for child in root if child.get("ID") == key), None)
        if element is None:
            element = _add(root, "Image")
        element.clear()
        element.attrib |= {"ID": key, "Name": name}
        sizes = {f"Size{axis}": str(image.sizes.get(axis.lower(), 1)) for axis in "XYZCT"}
        kind = "double" if image.dtype.kind in "mM" else image.dtype.name
        kind = _TYPES.get(kind, kind)
        pixels = _add(
            element, "Pixels", ID=f"Pixels:{image.path}", DimensionOrder="XYZCT", Type=kind, **sizes
        )
        _add(pixels, "MetadataOnly")
    ElementTree.register_namespace("", _NAMESPACE)
    written: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return written


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{_NAMESPACE}}}{tag}", attributes)


def _parse(document: bytes) -> ElementTree.Element | None:
    """Return the root of a document in the namespace that we write, else None."""
    if b"<!DOCTYPE" in document:  # which may expand without end
        return None
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return None
    return root if root.tag == f"{{{_NAMESPACE}}}OME" else None
