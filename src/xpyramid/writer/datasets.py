"""Images of several variables in one group, so that a level of all of them is one Dataset.

That is how ndpyramid and topozarr lay out levels. To OME-NGFF it is a group that announces several
images, one for each variable, whose datasets are ``"k/<variable>"``. They come to their place
together: there is one transaction, and one record of what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import xarray as xr
from zarr.abc.buffer import Buffer

from xpyramid import ngff
from xpyramid.errors import PlanError
from xpyramid.geometry.plan import Plan
from xpyramid.messages import say
from xpyramid.store.documents import Documents, new_group
from xpyramid.writer import documents
from xpyramid.writer.request import PreparedImage
from xpyramid.writer.template import MetadataTemplate


def in_one_group(images: Sequence[PreparedImage]) -> PreparedImage:
    """Return images that lie in one group as one of them, with the others as its members.

    Parameters
    ----------
    images : sequence of PreparedImage
        Each prepared as if it were the only one there.

    Raises
    ------
    PlanError
        If their levels are not coarser by the same factors, two have one name, or what lies beside
        their arrays, such as coordinates, is not the same.
    """
    names = [image.paths[0].partition("/")[2] for image in images]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PlanError(
            f"several of the arrays are called {twice[0]!r}, as those of several methods are",
            option="layout", value="datasets", accepted="one array of each name",
            fix=say("leave out {layout}, for one group an image"),
        )  # fmt: skip
    largest = check_factors({n: image.plan for n, image in zip(names, images, strict=True)})
    leading = next(image for image in images if image.plan is largest)
    template = _merged(images, leading)
    first, *others = (replace(image, template=template) for image in images)
    return replace(first, members=tuple(others))


def check_factors(plans: Mapping[str, Plan]) -> Plan:
    """Return the plan with the most dimensions, of those of several variables.

    Raises
    ------
    PlanError
        If there are none, or a level would not be as coarse for all of them.
    """
    if not plans:
        raise PlanError(
            "without pyramids", option="layout", value="datasets", accepted="one or more"
        )
    largest = max(plans.values(), key=lambda plan: len(plan.dims))
    others = _factors(largest)
    for name, plan in plans.items():
        own = _factors(plan)
        if own != [{d: row[d] for d in plan.dims if d in row} for row in others]:
            raise PlanError(
                f"{name!r} has the factors {own}, and others have {others}",
                option="layout", value="datasets", accepted="variables with the same levels",
                fix=say("build all of them with the same {levels} and {factor}"),
            )  # fmt: skip
    return largest


def _factors(plan: Plan) -> list[dict[str, int]]:
    """Return the factors of each level, by dimension."""
    return [dict(zip(plan.dims, level.factors, strict=True)) for level in plan.levels]


def _merged(images: Sequence[PreparedImage], leading: PreparedImage) -> MetadataTemplate:
    """Return the documents of a group of several images, with copies of all metadata in levels.

    Conventions beside OME-NGFF speak of the group, as those of the leading image do.
    """
    levels = [path.partition("/")[0] for path in leading.paths]
    groups = {f"{level}/zarr.json" for level in levels}  # which have copies of what is in them
    merged: Documents = {}
    for image in images:
        for key, document in image.template.documents.items():
            if key not in groups and key in merged and not _is_same(document, merged[key]):
                raise _differs(key, image.paths[0].partition("/")[2])
            merged.setdefault(key, document)
    for level in levels:
        documents.consolidate(merged, level)
    own = new_group(leading.zarr_format, _announced(images, leading))
    lazy: dict[str, xr.Dataset] = {}
    for image in images:
        for level, coordinates in image.template.lazy.items():
            lazy[level] = coordinates.assign(lazy[level]) if level in lazy else coordinates
    return MetadataTemplate(merged, own, lazy)


def _is_same(document: Buffer, other: Buffer) -> bool:
    return document.to_bytes() == other.to_bytes()


def _differs(key: str, variable: str) -> PlanError:
    level, _, inside = key.partition("/")
    return PlanError(
        f"{inside.split('/')[0]!r} of {variable!r} differs from that of the variables before "
        f"it, at level {level}",
        option="layout", value="datasets", accepted="variables with the same coordinates",
        fix=say("leave out {layout}, for one group an image"),
    )  # fmt: skip


def _announced(images: Sequence[PreparedImage], leading: PreparedImage) -> dict[str, object]:
    """Return the attributes that announce all images of a group, in their order."""
    announced = [documents.attributes_of(image.template.own) for image in images]
    entries = [entry for attributes in announced for entry in _multiscales(attributes)]
    attributes = documents.attributes_of(leading.template.own)
    return ngff.with_metadata(attributes, "multiscales", entries)


def _multiscales(attributes: Mapping[str, object]) -> Sequence[object]:
    entries = ngff.ome_metadata(attributes)["multiscales"]
    return entries if isinstance(entries, list) else []
