"""What geospatial tools look for, beside ``ome``: the zarr-conventions of GeoZarr.

https://github.com/zarr-conventions/multiscales: which levels there are, relative to level 0;
https://github.com/zarr-conventions/spatial: where each lies. Its transformations count from the
corner of the first cell, those of OME-NGFF from its centre, and they may descend;
https://github.com/zarr-conventions/proj: the coordinate reference system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypedDict

from xpyramid.errors import AxisError
from xpyramid.geometry.axes import AxisSpec
from xpyramid.geometry.plan import Level, Plan, centre
from xpyramid.ngff.json_types import is_map
from xpyramid.types import Attrs

_CONVENTIONS = {
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    "proj": (
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
}

#: The last identifier of a WKT text is that of the whole system.
_CODE = re.compile(r'(?:ID|AUTHORITY)\["EPSG",\s*"?(\d+)"?\]\s*\]\s*$')


#: What the convention calls the methods.
_RESAMPLING = {"mean": "average"}


class _Grid(TypedDict):
    """How the samples of a level lie in those of level 0."""

    scale: list[float]
    translation: list[float]


#: A level; two of the keys are no names.
_Entry = TypedDict(
    "_Entry",
    {
        "asset": str,
        "derived_from": str,
        "transform": _Grid,
        "spatial:shape": list[int],
        "spatial:transform": list[float],
    },
    total=False,
)


class _Levels(TypedDict):
    layout: list[_Entry]
    resampling_method: str


class MultiscalesDocument(TypedDict):
    """Attributes of a group that announce levels below it."""

    zarr_conventions: list[dict[str, str]]
    multiscales: _Levels


def is_geozarr(attributes: Mapping[str, object]) -> bool:
    """Whether the attributes of a group announce levels in the words of these conventions."""
    return "zarr_conventions" in attributes and is_map(attributes.get("multiscales"))


def geozarr(
    plan: Plan, paths: Sequence[str], crs: Attrs, names: Mapping[str, str]
) -> dict[str, object]:
    """Return the attributes of an image's group.

    Parameters
    ----------
    plan : Plan
    paths : sequence of str
        Of the level arrays.
    crs : mapping
        Attributes of the CF grid mapping; empty where there is none.
    names : mapping of str to str
        From each dimension to its name in the store.

    Raises
    ------
    AxisError
        If the array is not a map: y or x is missing.
    """
    axes = {axis.name: (i, axis) for i, axis in enumerate(plan.axes)}
    if not {"y", "x"} <= set(axes):
        raise AxisError(
            f"for dimensions {plan.dims}",
            option="conventions",
            value=["geozarr"],
            fix="it needs y and x",
        )
    document = multiscales([path.split("/")[0] for path in paths], plan)
    layout = document["multiscales"]["layout"]
    for entry, level in zip(layout, plan.levels, strict=True):
        across, down = (_corner(axes[name], level, plan.sampled) for name in ("x", "y"))
        entry["spatial:shape"] = [level.shape[axes[name][0]] for name in ("y", "x")]
        entry["spatial:transform"] = [across[0], 0.0, across[1], 0.0, down[0], down[1]]
    projection = _projection(crs)
    conventions = ["spatial", *(["proj"] if projection else [])]
    return {
        "zarr_conventions": [*document["zarr_conventions"], *map(_convention, conventions)],
        "multiscales": document["multiscales"],
        "spatial:dimensions": [names[axes[name][1].dim] for name in ("y", "x")],
        "spatial:bbox": _bounds(layout[0]),
        "spatial:registration": "pixel",
        **projection,
    }


def multiscales(assets: Sequence[str], plan: Plan) -> MultiscalesDocument:
    """Return what the convention ``multiscales`` says of levels, in a map or not.

    Parameters
    ----------
    assets : sequence of str
        Of the groups of levels, beside the document.
    plan : Plan
        Of one of the arrays in them.
    """
    layout: list[_Entry] = []
    for asset, level in zip(assets, plan.levels, strict=True):
        entry: _Entry = {"asset": asset}
        if asset != assets[0]:
            entry["derived_from"] = assets[0]  # every level is made from level 0
        entry["transform"] = {
            "scale": [float(f) for f in level.factors],
            "translation": [0.0] * len(level.factors),
        }
        layout.append(entry)
    method = _RESAMPLING.get(plan.method, plan.method)
    return {
        "zarr_conventions": [_convention("multiscales")],
        "multiscales": {"layout": layout, "resampling_method": method},
    }


def _corner(indexed_axis: tuple[int, AxisSpec], level: Level, sampled: bool) -> tuple[float, float]:
    """Return the signed size of a level's cells along an axis, and where the first one begins."""
    i, axis = indexed_axis
    factor = level.factors[i]
    middle = axis.origin + axis.spacing * centre(factor, sampled)
    return axis.spacing * factor, middle - axis.spacing * factor / 2


def _bounds(entry: _Entry) -> list[float]:
    """Return [x minimum, y minimum, x maximum, y maximum] of what the cells of a level cover."""
    (height, width), transform = entry["spatial:shape"], entry["spatial:transform"]
    across = sorted((transform[2], transform[2] + width * transform[0]))
    down = sorted((transform[5], transform[5] + height * transform[4]))
    return [across[0], down[0], across[1], down[1]]


def _projection(crs: Attrs) -> dict[str, str]:
    """Return the reference system as the convention has it."""
    text = crs.get("crs_wkt", crs.get("spatial_ref"))
    if not isinstance(text, str) or not text:
        return {}
    code = _CODE.search(text)
    return ({"proj:code": f"EPSG:{code[1]}"} if code else {}) | {"proj:wkt2": text}


def _convention(name: str) -> dict[str, str]:
    uuid, description = _CONVENTIONS[name]
    where = f"zarr-conventions/{name}"
    return {
        "schema_url": f"https://raw.githubusercontent.com/{where}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/{where}/blob/v0.1/README.md",
        "uuid": uuid,
        "name": name,
        "description": description,
    }
