"""Label images inside the image that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import zarr

from xpyramid import ngff
from xpyramid.errors import (
    DtypeError,
    NotAPyramidError,
    PlanError,
    PyramidError,
    check_kind,
)
from xpyramid.messages import say
from xpyramid.store.listing import children
from xpyramid.store.path import NodePath, check_name, is_name, is_root
from xpyramid.types import Attrs, DType
from xpyramid.warn import warn


@dataclass(frozen=True)
class LabelsGroup:
    """The ``labels`` group of an image, and what is to be listed there.

    Attributes
    ----------
    place : NodePath
    path : str
        Of the label image in it.
    version : str
    """

    place: NodePath
    path: str
    version: str

    def metadata(self, attrs: Attrs, document: Mapping[str, object]) -> dict[str, object]:
        """Return the ``image-label`` metadata of an array, or of a stored image that is copied."""
        depth = 2 + self.path.count("/")
        return ngff.image_label(attrs, self.version, depth, document)

    def check_image(self, dtype: DType, levels: int) -> None:
        """Check again that labels can be put into the image, see `labels_group_in`."""
        image = replace(self.place, path=self.place.path.rpartition("/")[0])
        labels_group_in(image, self.path, dtype, levels, self.version)

    def is_listed(self) -> bool:
        """Whether the label image is in the list, and in its consolidated copies."""
        for node in (self.place.node(), *map(self.place.seen_from, self.place.parents())):
            attrs = dict(node.attrs) if isinstance(node, zarr.Group) else {}
            if {**attrs, **ngff.add_to_list(attrs, self.version, self.path)} != attrs:
                return False
        return True

    def add(self, place: NodePath) -> None:
        """List the label image in a group, which is the ``labels`` group or stands for it."""
        group = zarr.open_group(place.store, path=place.path, mode="r+")
        group.attrs.update(ngff.add_to_list(dict(group.attrs), self.version, self.path))


def place_in_image(
    root: NodePath, image: str | None, group: str, dtype: DType, levels: int, version: str
) -> tuple[str, LabelsGroup | None]:
    """Return the path of an image, and where it is listed if it holds the labels of another.

    Parameters
    ----------
    root : NodePath
        The store.
    image : str or None
        Path of the other one.
    group : str
        Path of what is written, if it were none of labels.
    dtype, levels, version
        As `labels_group_in` takes them.
    """
    if image is None:
        return group, None
    check_name(group or None)
    of = check_image_path(image)
    listed = labels_group_in(root / of, group, dtype, levels, version)
    return f"{of}/labels/{group}".strip("/"), listed


def unlisted(image: NodePath) -> Iterator[LabelsGroup]:
    """Yield what is to be listed of the labels that were in an image before it was one."""
    place = image / "labels"
    node = place.node()
    version = ngff.version_of(image.attributes()) if isinstance(node, zarr.Group) else None
    if not isinstance(node, zarr.Group) or version is None:
        return
    listed = ngff.ome_metadata(dict(node.attrs)).get("labels")
    for name in sorted(filter(is_name, children(place))):
        own = (place / name).attributes()
        is_label = ngff.version_of(own) == version and "image-label" in ngff.ome_metadata(own)
        if is_label and not (isinstance(listed, list) and name in listed):
            yield LabelsGroup(place, name, version)


def check_image_path(path: object) -> str:
    """Return the path of an image that labels are of.

    Raises
    ------
    PlanError, InvalidNameError
        If it cannot be the path of an image.
    """
    check_kind("labels_of", path, str, "text, as in 'lab/field'")
    return "" if is_root(path) else check_name(str(path).strip("/"))


def labels_group_in(
    image: NodePath, path: str, dtype: DType, levels: int, version: str
) -> LabelsGroup:
    """Check that labels can be put into an image.

    Raises
    ------
    NotAPyramidError
        If there is no image.
    DtypeError
        If the labels are no integers.
    PlanError
        If the image is of another version, or has another number of levels.
    """
    image_version, multiscale = _image(image)
    if dtype.kind not in "iu":
        raise DtypeError(
            f"labels of dtype {dtype}",
            accepted="integers",
            fix=say("call `.astype('uint8')`"),
        )
    if image_version != version:
        raise PlanError(
            f"for labels of {image}, which is {image_version}",
            option="version",
            value=version,
            fix=say("pass {version}", version=image_version),
        )
    if levels != len(multiscale.datasets):
        raise PlanError(
            f"{levels} levels of labels, and {image} has {len(multiscale.datasets)}",
            accepted=say("as many: {build.levels}", levels=len(multiscale.datasets)),
        )
    return LabelsGroup(image / "labels", path, version)


def warn_of_misfits(image: NodePath, attrs: Mapping[str, object], shape: tuple[int, ...]) -> None:
    """Warn of labels of an image that do not fit the one that is to replace it.

    Parameters
    ----------
    image : NodePath
    attrs : mapping
        Of the group of the new image.
    shape : tuple of int
        Of its level 0.
    """
    group = (image / "labels").node()
    listed = ngff.ome_metadata(dict(group.attrs)).get("labels") if group is not None else None
    new = ngff.parse(attrs)
    paths = [path for path in listed if _is_path(path)] if isinstance(listed, list) else []
    if unfit := [path for path in paths if not _lies_on_image(image / "labels" / path, new, shape)]:
        warn(
            f"the labels {', '.join(unfit)} of {image} stay, and do not fit the image "
            "that replaces it; write them again, with " + say("{labels_of} and {mode}", mode="w")
        )


def _is_path(path: object) -> bool:
    return isinstance(path, str) and all(map(is_name, path.split("/")))


def _lies_on_image(place: NodePath, image: ngff.Multiscale, shape: tuple[int, ...]) -> bool:
    """Whether a label image lies where an image does; also where it cannot be read."""
    try:
        _, label = _image(place)
        array = (place / label.datasets[0].path).node()
    except (PyramidError, ValueError):
        return True
    own = array.shape if isinstance(array, zarr.Array) else None
    same = own is None or len(label.datasets) == len(image.datasets)
    return same and not any(ngff.check_label(image, shape, label, own))


def _image(place: NodePath) -> tuple[str, ngff.Multiscale]:
    attrs = place.attributes()
    version = ngff.version_of(attrs)
    if version is None:
        raise NotAPyramidError(
            f"names {place}, where no OME-Zarr image is",
            option="labels_of",
        )
    return version, ngff.parse(attrs)
