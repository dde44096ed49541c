"""The form in which level 0 is stored, and what levels beside it take over of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zarr.codecs import BytesCodec

from xpyramid import ngff
from xpyramid.errors import PlanError
from xpyramid.existing.base import StoredBase
from xpyramid.geometry.plan import Plan
from xpyramid.pyramid import Pyramid
from xpyramid.store.names import StoredNames, choose_names, name_of
from xpyramid.store.path import local_path
from xpyramid.warn import warn


def version_of(base: StoredBase, version: str | None) -> str:
    """Return the version of the metadata, which must suit the Zarr format of level 0."""
    zarr_format = base.node.metadata.zarr_format
    fitting = [name for name, v in ngff.VERSIONS.items() if v.zarr_format == zarr_format]
    if version is None:
        now = ngff.version_of(base.attributes)
        return now if now in fitting else "0.5" if "0.5" in fitting else fitting[0]
    if version not in fitting:
        raise PlanError(
            f"for level 0, which is in Zarr v{zarr_format}",
            option="version", value=version, accepted=", ".join(map(repr, fitting)),
        )  # fmt: skip
    return version


def warn_of_form(base: StoredBase, version: str) -> None:
    """Warn of what OME-NGFF has otherwise, and is left as it is."""
    differences = []
    if version != "0.4" and not base.stored_dims:
        differences.append(f"has no dimension_names, which OME-NGFF {version} demands")
    if not base.stored_dims and not base.document and base.node.ndim > 3:
        dims = ", ".join(map(str, base.array.dims))
        differences.append(f"is taken to have the dimensions {dims}, by their number")
    if base.separator != "/" and base.node.ndim > 1:
        differences.append(
            f"has {base.separator!r} in the names of its chunks, for which '/' is usual"
        )
    path = local_path(base.place / base.path.split("/")[0])
    if path is not None and path.is_symlink():
        differences.append(
            "is behind a symbolic link, which verify() and other tools do not follow"
        )
    if differences:
        warn(f"level 0 stays as it is: {base.place / base.path} {', and '.join(differences)}")


def names_of(base: StoredBase, pyramid: Pyramid) -> StoredNames:
    """Return the names of the parts of level 0 in the store."""
    own = tuple(map(str, base.array.dims))
    coords = [str(name) for name in pyramid.levels.coordinates[0].coords]
    name, axes = base.path.rpartition("/")[2], pyramid.plan.axes
    names = choose_names(name, axes, coords, "source" if base.stored_dims == own else "ome")
    if not base.has_group:
        name = name_of(base.array, name)
    if not base.stored_dims:
        return replace(names, array=name)
    dims = dict(zip(own, base.stored_dims, strict=True))
    indexes = {coord: dims[coord] for coord in coords if coord in dims}
    return StoredNames(name, dims, {**names.coords, **indexes})


def with_base(plan: Plan, base: StoredBase) -> Plan:
    """Return a plan whose level 0 has the chunks that are in the store."""
    return replace(
        plan, levels=(replace(plan.levels[0], chunks=base.node.chunks), *plan.levels[1:])
    )


def filters_of(base: StoredBase) -> dict[str, object]:
    """Return what level 0 is encoded with before it is compressed, as far as nothing gets lost."""
    filters: list[object] = []
    codec: Any
    for codec in base.node.filters:
        name = getattr(codec, "codec_id", None) or codec.to_dict().get("name")
        is_exact = base.node.dtype.kind in "iu" and str(name).endswith("delta")
        if is_exact or name == "transpose":
            filters.append(codec)
    form: dict[str, object] = {"filters": filters} if filters else {}
    if isinstance(base.node.serializer, BytesCodec):
        form["serializer"] = base.node.serializer
    return form


def compressor_of(base: StoredBase, compressor: object) -> object:
    """Return what levels are compressed with: what level 0 is, unless something else is said."""
    if compressor != "source":
        return compressor
    codecs = list(base.node.compressors)
    if base.node.metadata.zarr_format == 2:
        return codecs[0] if codecs else None
    return codecs or None
