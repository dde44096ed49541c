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


def listed_images(document: bytes | None) -> list[str]:
    """Return the paths of the images that a document names; none where it is no OME-XML."""
    root = _parse(document)
    ids = [element.get("ID", "") for element in root if element.tag.endswith("Image")]
    return [one.removeprefix("Image:") for one in ids]


def add_images(document: bytes | None, images: Sequence[Pixels]) -> bytes:
    """Return a document that names more images."""
    root = _parse(document)
    for image in images:
        name = image.path.rpartition("/")[2]
        element = _add(root, "Image", ID=f"Image:{image.path}", Name=name)
        sizes = {f"Size{axis}": str(image.sizes.get(axis.lower(), 1)) for axis in "XYZCT"}
        kind = _TYPES.get(image.dtype.name, image.dtype.name)
        pixels = _add(
            element, "Pixels", ID=f"Pixels:{image.path}", DimensionOrder="XYZCT", Type=kind, **sizes
        )
        _add(pixels, "MetadataOnly")
    ElementTree.register_namespace("", _NAMESPACE)
    written: bytes = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    return written


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{_NAMESPACE}}}{tag}", attributes)


def _parse(document: bytes | None) -> ElementTree.Element:
    """Return the root of a document; a new one where there is none that is ours to read."""
    if document is not None and b"<!DOCTYPE" not in document:  # which may expand without end
        try:
            root = ElementTree.fromstring(document)
        except ElementTree.ParseError:
            root = None
        if root is not None and root.tag.endswith("OME"):
            return root
    return ElementTree.Element(f"{{{_NAMESPACE}}}OME")
