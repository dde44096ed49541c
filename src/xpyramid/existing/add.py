"""Levels beside a level 0 that is in a store already."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import zarr
from dask.delayed import Delayed
from zarr.codecs import BytesCodec

from xpyramid import ngff
from xpyramid.build import build
from xpyramid.errors import (
    AxisError,
    DtypeError,
    NotAPyramidError,
    PlanError,
    PyramidError,
    TargetExistsError,
)
from xpyramid.existing.base import StoredBase, find_base
from xpyramid.geometry.plan import Plan
from xpyramid.messages import say
from xpyramid.options import (
    AddOptions,
    AxisOptions,
    BuildOptions,
    LevelOptions,
    WriteOptions,
    only,
    resolve_options,
    takes_options,
)
from xpyramid.pyramid import Pyramid, image_of_labels
from xpyramid.reader import StoredImage, open_levels
from xpyramid.store.listing import children
from xpyramid.store.manifest import open_array
from xpyramid.store.names import StoredNames, choose_names, name_of
from xpyramid.store.path import Node, NodePath, Store, is_name, level_names, local_path
from xpyramid.warn import warn
from xpyramid.writer import ImageSource, KeptLevels, write


class AddLevelsOptions(LevelOptions, BuildOptions, AddOptions, total=False):
    """Options of building levels and adding them."""


@takes_options(AddLevelsOptions, call="add_levels()")
def add_levels(
    store: Store,
    group: str | None = None,
    *,
    level0: str | None = None,
    **options: Unpack[AddLevelsOptions],
) -> Delayed | None:
    """Add levels to an array that is in a Zarr store already, and make an OME-Zarr image of it.

    Level 0 is the array at ``<group>/0``, or the one in the group ``<group>/0``. It stays as it is,
    to the last byte; levels 1, 2, ... are written beside it, in its Zarr format, layout, chunks and
    codec. They appear at once, when all of them are complete.

    An image of which levels are missing gets them: those that are there stay, if they were made in
    the same way. All of them are made from level 0.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        With level 0 in Zarr v2 or v3, in chunks, shards and codecs of any kind.
    group : str, optional
        Path of the group that holds level 0. Default: the store itself, or the only group in it
        that does.
    level0 : str, optional
        Path of level 0 in that group. Default: what the group announces, if it is an image, or
        else "0".
    **options
        Those of `BuildOptions` and `AddOptions` of `xpyramid.options`.

    Returns
    -------
    dask.delayed.Delayed or None
        With ``compute=False``, a Delayed that adds the levels when computed.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no level 0.
    xpyramid.errors.SourceError
        If there are several arrays, or the path is a file of another format.
    xpyramid.errors.TargetExistsError
        If there are levels that were made in another way, or something else has their names.
    xpyramid.errors.PyramidError
        As :meth:`xpyramid.Pyramid.to_ome_zarr` does.

    Examples
    --------
    >>> import numpy as np, xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> base = zarr.create_array(store, name="field/0", data=np.ones((300, 200), "uint16"),
    ...                          chunks=(64, 64), dimension_names=("y", "x"))
    >>> xpyramid.add_levels(store, "field", spacing=0.5, units="um")
    >>> [level.shape for level in xpyramid.open_pyramid(store, "field")]
    [(300, 200), (150, 100), (75, 50), (38, 25)]
    """
    return prepare_levels(store, group, level0, **options).write()


@dataclass(frozen=True)
class Addition:
    """Levels that are to be added.

    Attributes
    ----------
    store : str, path, URL, zarr store or zarr.Group
    base : StoredBase
    pyramid : Pyramid
        Of level 0.
    image : ImageSource or None
        What is to be written; None where all levels are there.
    options : WriteOptions
        How.
    """

    store: Store
    base: StoredBase
    pyramid: Pyramid
    image: ImageSource | None
    options: WriteOptions

    def write(self) -> Delayed | None:
        """Add the levels, and as many to the labels of the image."""
        if self.image is not None:
            delayed = write([self.image], self.store, self.options)
            if delayed is not None:
                self._warn_of_labels()
                return delayed
        for name in self._labels_with_fewer(_count_levels(self.base.place.node())):
            try:
                add_levels(self.store, f"{self.base.group}/labels/{name}".strip("/"), resume=True)
            except PyramidError as error:
                warn(f"the labels {name!r} have fewer levels than their image: {error}")
        return None

    def _warn_of_labels(self) -> None:
        """Say that labels get no levels later, when others have them."""
        count = len(self.pyramid)
        if names := list(self._labels_with_fewer(count)):
            call = f"xpyramid.add_levels(store, {self.base.group!r})"
            warn(
                f"the labels {names} will have fewer levels than their image, which gets "
                f"{count}; once it has them, call {call} again"
            )

    def _labels_with_fewer(self, count: int) -> Iterator[str]:
        """Yield the names of the labels that have fewer levels than their image."""
        place = self.base.place / "labels"
        for name in filter(is_name, children(place)):
            if 0 < _count_levels((place / name).node()) < count:
                yield name


def _count_levels(node: Node | None) -> int:
    """Return how many levels a group announces."""
    return 0 if node is None else len(ngff.dataset_paths(dict(node.attrs)))


def prepare_levels(
    store: Store,
    group: str | None,
    level0: str | None,
    **options: Unpack[AddLevelsOptions],
) -> Addition:
    """Return what `add_levels` would write; nothing is touched."""
    write_options = resolve_options(AddOptions, only(AddOptions, options))
    base = find_base(store, group, level0)
    _check_samples(base)
    store = base.store
    version = _version(base, write_options["version"])
    of, name = _labels_of(base)
    pyramid = _build(base, options, image_of_labels(store, of))
    kept = _kept(store, base, pyramid, options)
    writing: Any = {
        **write_options,
        "version": version,
        "layout": "groups" if base.has_group else "arrays",
        "labels_of": of,
        "shards": base.node.shards if write_options["shards"] is None else write_options["shards"],
        "compressor": _compressor(base, write_options["compressor"]),
    }
    if kept is None:
        _warn_of_unused(options, base)
        return Addition(store, base, pyramid, None, writing)
    _warn_of_form(base, version)
    if ngff.is_geozarr(base.attributes) and not write_options["conventions"]:
        writing["conventions"] = ["geozarr"]
    plan, reducer = _with_base(pyramid.plan, base), pyramid._reducer
    image = ImageSource(
        pyramid.levels, plan, reducer, name, base.dataset_attrs, base.document, kept,
        pyramid._samples,
    )  # fmt: skip
    return Addition(store, base, replace(pyramid, plan=plan), image, writing)


def _check_samples(base: StoredBase) -> None:
    """Refuse an image whose level 0 does not hold what its levels are made from."""
    method = ngff.parse(base.attributes).metadata.get("method") if base.document else None
    if method in ("std", "count"):
        raise NotAPyramidError(
            f"{base.place} is an image of method {method!r}, and its level 0 does not hold the "
            "samples that levels are made from",
            fix="make it anew from these, with .pyramid.to_ome_zarr()",
        )


def _version(base: StoredBase, version: str | None) -> str:
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


def _warn_of_unused(options: AddLevelsOptions, base: StoredBase) -> None:
    """Warn of what was asked for an image that has all levels, and so stays as it is."""
    unused = [name for name in ("omero", "conventions") if options.get(name)]
    version = options.get("version")
    if version is not None and version != ngff.version_of(base.attributes):
        unused.append("version")
    if unused:
        warn(
            f"{base.place} has all levels and stays as it is, without {', '.join(unused)}; "
            + say("make its levels anew with {mode}", mode="w")
        )


def _warn_of_form(base: StoredBase, version: str) -> None:
    """Warn of what OME-NGFF has otherwise, and is left as it is."""
    said = []
    if version != "0.4" and not base.stored_dims:
        said.append(f"has no dimension_names, which OME-NGFF {version} demands")
    if base.separator != "/" and base.node.ndim > 1:
        said.append(f"has {base.separator!r} in the names of its chunks, for which '/' is usual")
    path = local_path(base.place / base.path.split("/")[0])
    if path is not None and path.is_symlink():
        said.append("is behind a symbolic link, which verify() and other tools do not follow")
    if said:
        warn(f"level 0 stays as it is: {base.place / base.path} {', and '.join(said)}")


def _labels_of(base: StoredBase) -> tuple[str | None, str]:
    """Return the image that a group of labels lies in, and the path of the group from there."""
    *above, parent, name = ["", *base.group.split("/")]
    image = "/".join(above[1:])
    if parent == "labels":
        node = NodePath(
            base.place.store, base.place.path.removesuffix(f"labels/{name}").strip("/")
        ).node()
        if node is not None and ngff.version_of(dict(node.attrs)) is not None:
            return image, name
    return None, base.group


def _build(base: StoredBase, options: AddLevelsOptions, image: Any) -> Pyramid:
    """Build the pyramid of level 0, which must be what is in the store."""
    building: dict[str, Any] = {**only(BuildOptions, options)}
    if base.node.shards is not None and building.get("chunks") is None:
        building["chunks"] = base.node.chunks
    pyramid = build(base.array, options.get("levels"), image=image, bounds=base.bounds, **building)
    made = pyramid.levels[0]
    if made.dims != base.array.dims:
        raise AxisError(
            f"level 0 has the dimensions {', '.join(map(str, base.array.dims))}, and an image has "
            f"them in the order {', '.join(map(str, made.dims))}",
            fix="copy it with .pyramid.to_ome_zarr(), which transposes it",
        )
    if made.dtype != base.node.dtype:
        raise DtypeError(f"level 0 has the dtype {base.node.dtype}, which {made.dtype} stands for")
    stored = [name for name in base.array.coords if base.has_group and name in made.coords]
    for name in stored:
        if not np.array_equal(base.array.coords[name], made.coords[name]):
            raise PlanError(
                f"level 0 has the coordinate {str(name)!r} in its group, which stays as it is, and "
                "the options say something else of it",
                fix=say("leave out {spacing} and {origin}", spacing=..., origin=...),
            )
    return pyramid


def _kept(
    store: Store, base: StoredBase, pyramid: Pyramid, options: AddLevelsOptions
) -> KeptLevels | None:
    """Return the levels that stay; None if all are there."""
    node = base.node
    stored = (node.shards or node.chunks,)
    announced = ngff.dataset_paths(base.attributes)
    names = _names(base, pyramid)
    form = {"chunk_key_encoding": base.chunk_keys, "fill_value": node.fill_value, **_filters(base)}
    first = KeptLevels((base.path,), stored, names, base.attributes, form)
    others = announced[1:]
    if not others:
        return None if announced and _is_alone(store, base, pyramid, options) else first
    group = base.place.node()
    listed = level_names(group) if isinstance(group, zarr.Group) else set()
    levels = sorted(listed - {*first.children})
    if options.get("mode") == "w":
        return replace(first, replaced=tuple(levels))
    nodes = {path: (base.place / path).sound_node() for path in others}
    if missing := [path for path, node in nodes.items() if not isinstance(node, zarr.Array)]:
        raise TargetExistsError(
            f"{base.place} announces the levels {missing}, and they are not there",
            fix=say("make all of them anew with {mode}", mode="w"),
        )
    there = _open(store, base)
    if there is None or not _is_alike(there.plan, pyramid.plan, base):
        how = "" if there is None else _how(there.plan, pyramid.plan)
        raise TargetExistsError(
            f"{base.place} already has the levels {levels}{how}, which were made in another way",
            fix=say("replace them with {mode}", mode="w"),
        )
    _check_axes(there.plan, pyramid.plan, options, base)
    if len(pyramid.plan.levels) <= len(announced):
        return None
    arrays = [open_array(base.place / path) for path in others]
    objects = [array.shards or array.chunks for array in arrays]
    return replace(first, paths=tuple(announced), objects=(*stored, *objects))


def _is_alone(store: Store, base: StoredBase, pyramid: Pyramid, options: AddLevelsOptions) -> bool:
    """Whether an image of one level is what it is to be."""
    if len(pyramid) > 1 or options.get("mode") == "w" or _says_axes(options):
        return False
    there = _open(store, base)
    return there is not None and _is_alike(there.plan, pyramid.plan, base)


def _open(store: Store, base: StoredBase) -> StoredImage | None:
    """Open what is there; None where that cannot be done."""
    try:
        return open_levels(store, base.group or None)
    except PyramidError:
        return None


def _is_alike(there: Plan, plan: Plan, base: StoredBase) -> bool:
    """Whether levels that are there were made as those of a plan are."""
    if ngff.parse(base.attributes).metadata.get("library") != "xpyramid":
        return False
    common = min(len(there.steps), len(plan.steps))
    shapes = [[level.shape for level in one.levels] for one in (there, plan)]
    return (
        there.steps[:common] == plan.steps[:common]
        and all(old == new for old, new in zip(*shapes, strict=False))
        and (there.method, there.boundary) == (plan.method, plan.boundary)
        and _comparable(there.options) == _comparable(plan.options)
    )


def _how(there: Plan, plan: Plan) -> str:
    """Say how levels that are there were made, where that is known and differs from a plan."""
    pairs = {name: (getattr(there, name), getattr(plan, name)) for name in ("method", "boundary")}
    for name in sorted({*there.options, *plan.options}):
        pairs[name] = there.options.get(name), plan.options.get(name)
    differ = [f"{name}={old!r}" for name, (old, new) in pairs.items() if repr(old) != repr(new)]
    return f" ({', '.join(differ)})" if differ else ""


def _check_axes(there: Plan, plan: Plan, options: AddLevelsOptions, base: StoredBase) -> None:
    """Refuse to say something else of the axes than levels that stay do."""
    if not _says_axes(options):
        return
    for axis, other in zip(there.axes, plan.axes, strict=True):
        for what in ("type", "unit", "spacing", "origin"):
            old, new = getattr(axis, what), getattr(other, what)
            numbers = isinstance(old, float | int) and isinstance(new, float | int)
            if not (math.isclose(old, new, rel_tol=1e-6, abs_tol=1e-12) if numbers else old == new):
                raise TargetExistsError(
                    f"the levels of {base.place} have the {what} {old} along {axis.dim!r}, and the "
                    f"options say {new}",
                    fix=say("leave that out, or replace them with {mode}", mode="w"),
                )


def _says_axes(options: AddLevelsOptions) -> bool:
    """Whether the options say what the axes are."""
    return any(value is not None for value in only(AxisOptions, options).values())


def _comparable(options: Mapping[str, object]) -> dict[str, object]:
    """Return options that compare equal where they are: NaN too."""
    return {key: repr(value) for key, value in options.items() if value is not None}


def _names(base: StoredBase, pyramid: Pyramid) -> StoredNames:
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


def _with_base(plan: Plan, base: StoredBase) -> Plan:
    """Return a plan whose level 0 has the chunks that are in the store."""
    return replace(
        plan, levels=(replace(plan.levels[0], chunks=base.node.chunks), *plan.levels[1:])
    )


def _filters(base: StoredBase) -> dict[str, object]:
    """Return what level 0 is encoded with before it is compressed, as far as nothing gets lost."""
    filters: list[Any] = []
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


def _compressor(base: StoredBase, compressor: object) -> object:
    """Return what levels are compressed with: what level 0 is, unless something else is said."""
    if compressor != "source":
        return compressor
    codecs = list(base.node.compressors)
    if base.node.metadata.zarr_format == 2:
        return codecs[0] if codecs else None
    return codecs or None
