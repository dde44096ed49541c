"""The image that labels belong to: where it lies, for labels that say little themselves."""

from __future__ import annotations

from xpyramid.errors import NotAPyramidError
from xpyramid.lazy.label_geometry import ImageGeometry
from xpyramid.messages import Message
from xpyramid.reader.open import open_levels
from xpyramid.store.label_groups import check_image_path
from xpyramid.store.path import Store


def image_of_labels(store: Store, path: str | None) -> ImageGeometry | None:
    """Return the geometry of the image that labels belong to, None without one.

    Raises
    ------
    NotAPyramidError
        If there is no image at the path.
    """
    if path is None:
        return None
    path = check_image_path(path)
    try:
        opened = open_levels(store, path)
    except NotAPyramidError as error:
        raise NotAPyramidError(
            Message("names a place where no OME-Zarr image is: ", error.message),
            option="labels_of",
            value=path,
        ) from error
    coordinates = tuple(level.coords.to_dataset() for level in opened.levels)
    return ImageGeometry(path, opened.plan, coordinates)
