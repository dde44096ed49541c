"""The root of a store that holds several images lists them, so that viewers find them there."""

from __future__ import annotations

from dataclasses import dataclass

import zarr
from zarr.buffer import default_buffer_prototype

from xpyramid import ngff
from xpyramid._compat import sync
from xpyramid.errors import NotAPyramidError
from xpyramid.ngff import ome_xml
from xpyramid.store.listing import children
from xpyramid.store.path import Node, NodePath, is_image, is_name, takes_nodes_only

#: How many groups are looked into for images that nobody has listed yet, and how deep.
_MOST, _DEEPEST = 1000, 3


@dataclass(frozen=True)
class ImageCollection:
    """The root of a store, and an image that is to be listed there.

    Attributes
    ----------
    root : NodePath
    path : str
        Of the image.
    version : str
    """

    root: NodePath
    path: str
    version: str

    @classmethod
    def around(cls, image: NodePath, version: str) -> ImageCollection | None:
        """Return where an image is listed with others, None for one that is the root itself."""
        if image.outside or not image.path:
            return None
        return cls(NodePath(image.store, ""), image.path, version)

    def missing(self) -> list[str]:
        """Return the images that are to be listed and are not; none where there is one alone."""
        root, group = self.root.node(), (self.root / ngff.OME_GROUP).node()
        attrs = dict(root.attrs) if isinstance(root, zarr.Group) else {}
        if root is None or not ngff.may_list_images(attrs):
            return []
        listed = ngff.series_of(dict(group.attrs)) if isinstance(group, zarr.Group) else None
        if listed is not None and ngff.says_collection(attrs):
            return [path for path in (self.path,) if path not in listed]
        stored_images, holds_arrays = look_around(self.root)
        images = sorted({*stored_images, self.path})
        return [] if holds_arrays or len(images) == 1 else images

    def is_outdated(self) -> bool:
        """Whether an image is to be listed, or the OME-XML says something else of it."""
        return bool(self.missing()) or self.says_otherwise()

    def says_otherwise(self) -> bool:
        """Whether the OME-XML of the store says something else of the image, if there is one."""
        if not isinstance((self.root / ngff.OME_GROUP).node(), zarr.Group):
            return False
        document = self._document(self.root)
        return document is not None and self._described(document, [self.path]) != document

    def add(self, place: NodePath) -> None:
        """List what is missing, in the root or what stands for it."""
        missing = self.missing()
        root = zarr.open_group(place.store, path=place.path, mode="r+")
        group = root.require_group(ngff.OME_GROUP)
        self._add_to_xml(place, missing or [self.path])
        if not missing:
            return
        attrs = dict(group.attrs)
        series = list(dict.fromkeys([*(ngff.series_of(attrs) or []), *missing]))
        group.attrs.update(ngff.list_series(attrs, self.version, series))
        root.attrs.update(ngff.collection(dict(root.attrs), self.version))

    def _add_to_xml(self, place: NodePath, paths: list[str]) -> None:
        """Name images in the OME-XML too, which some viewers go by."""
        if takes_nodes_only(self.root.store):
            return
        document = self._document(place)
        described = self._described(document, paths)
        if described not in (None, document):
            added = default_buffer_prototype().buffer.from_bytes(described)
            sync(place.store.set(_xml_in(place), added))

    def _document(self, place: NodePath) -> bytes | None:
        """Return the OME-XML in the root, or what stands for it."""
        if takes_nodes_only(place.store):
            return None
        stored = sync(place.store.get(_xml_in(place), default_buffer_prototype()))
        return None if stored is None else stored.to_bytes()

    def _described(self, document: bytes | None, paths: list[str]) -> bytes | None:
        """Return an OME-XML that names images; the same where it is not ours to change."""
        new = [pixels for path in paths if (pixels := self._pixels(path))]
        return ome_xml.add_images(document, new) or document if new else document

    def _pixels(self, path: str) -> ome_xml.Pixels | None:
        """Return what OME-XML says of an image, None where it cannot be read."""
        group = _node(self.root / path)
        if not isinstance(group, zarr.Group):
            return None
        try:
            image = ngff.parse(dict(group.attrs))
        except NotAPyramidError:
            return None
        array = group.get(image.datasets[0].path)
        if not isinstance(array, zarr.Array) or array.ndim != len(image.axes):
            return None
        names = [axis.name for axis in image.axes]
        return ome_xml.Pixels(path, dict(zip(names, array.shape, strict=True)), array.dtype)


def look_around(root: NodePath) -> tuple[list[str], bool]:
    """Return the images in a store, and whether its root is a Dataset, with arrays of its own.

    What is below the images, and what is too much or too deep, is not looked into.
    """
    images: list[str] = []
    holds_arrays, looked, waiting = False, 0, [""]
    while waiting and looked < _MOST:
        here = waiting.pop(0)
        for name in filter(is_name, children(root / here)):
            path = f"{here}/{name}".lstrip("/")
            node = _node(root / path)
            looked += 1
            holds_arrays = holds_arrays or (isinstance(node, zarr.Array) and not here)
            if not isinstance(node, zarr.Group):
                continue
            if is_image(node):
                images.append(path)
            elif path.count("/") + 1 < _DEEPEST:
                waiting.append(path)
    return images, holds_arrays


def _xml_in(root: NodePath) -> str:
    return (root / ngff.OME_GROUP / ome_xml.DOCUMENT).path


def _node(place: NodePath) -> Node | None:
    """Return what lies beside an image, None where it is damaged."""
    try:
        return place.node()
    except OSError:
        raise
    except Exception:  # zarr trips over damaged documents in many ways
        return None
