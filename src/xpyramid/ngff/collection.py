"""A store of several images: how its root says so, which viewers look for.

https://ngff.openmicroscopy.org/0.5/, section "bioformats2raw.layout":

"If the special group "OME" exists ... the attributes of the "OME" group MAY contain ... "series":
its value MUST be a list of string objects, each of which is a path to an image group."
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xpyramid.ngff.json_types import map_in, ome_metadata
from xpyramid.types import Json

#: The group that lists the images.
GROUP = "OME"

_LAYOUT = "bioformats2raw.layout"

#: What a root that is something else says of itself.
_OTHERS = ("multiscales", "plate", "well", "labels", "scene")


def may_list_images(attrs: Mapping[str, object]) -> bool:
    """Whether the root of a store can list images, as it is not an image, a plate or the like."""
    return not any(key in ome_metadata(attrs) for key in _OTHERS)


def says_collection(attrs: Mapping[str, object]) -> bool:
    """Whether the attributes of a root say that it holds images."""
    return _LAYOUT in ome_metadata(attrs)


def series_of(attrs: Mapping[str, object]) -> list[str] | None:
    """Return the images that the attributes of the group ``OME`` list, None where they do not."""
    series = ome_metadata(attrs).get("series")
    if not isinstance(series, list) or not all(isinstance(path, str) for path in series):
        return None
    return series


def collection(attrs: Mapping[str, Json], version: str) -> dict[str, Json]:
    """Return the attributes of a root that holds images."""
    if version == "0.4":
        return {_LAYOUT: 3}
    return {"ome": {"version": version, **map_in(attrs, "ome"), _LAYOUT: 3}}


def list_series(attrs: Mapping[str, Json], version: str, series: Sequence[str]) -> dict[str, Json]:
    """Return the attributes of the group ``OME`` with a list of images."""
    if version == "0.4":
        return {"series": list(series)}
    return {"ome": {"version": version, **map_in(attrs, "ome"), "series": list(series)}}
