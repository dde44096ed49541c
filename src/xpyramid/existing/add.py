"""Levels beside a level 0 that is in a store already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
from dask.delayed import Delayed

from xpyramid import ngff
from xpyramid.build import build
from xpyramid.errors import (
    AxisError,
    DtypeError,
    NotAPyramidError,
    PlanError,
    PyramidError,
)
from xpyramid.existing.base import StoredBase, find_base
from xpyramid.existing.form import compressor_of, version_of, warn_of_form, with_base
from xpyramid.existing.kept import kept_levels
from xpyramid.lazy.label_geometry import ImageGeometry
from xpyramid.messages import say
from xpyramid.options import (
    AddOptions,
    BuildOptions,
    LevelOptions,
    WriteOptions,
    only,
    resolve_options,
    takes_options,
)
from xpyramid.pyramid import Pyramid
from xpyramid.reader import image_of_labels
from xpyramid.reducers.registry import METHODS
from xpyramid.store.listing import children
from xpyramid.store.path import Node, NodePath, Store, is_image, is_name
from xpyramid.warn import warn
from xpyramid.writer import ImageSource, write


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
    version = version_of(base, write_options["version"])
    of, name = _labels_of(base)
    pyramid = _build(base, options, image_of_labels(store, of))
    kept = kept_levels(store, base, pyramid, options)
    writing: Any = {
        **write_options,
        "version": version,
        "layout": "groups" if base.has_group else "arrays",
        "labels_of": of,
        "shards": base.node.shards if write_options["shards"] is None else write_options["shards"],
        "compressor": compressor_of(base, write_options["compressor"]),
    }
    if kept is None:
        _warn_of_unused(options, base)
        return Addition(store, base, pyramid, None, writing)
    warn_of_form(base, version)
    if ngff.is_geozarr(base.attributes) and not write_options["conventions"]:
        writing["conventions"] = ["geozarr"]
    plan, reducer = with_base(pyramid.plan, base), pyramid._reducer
    image = ImageSource(
        pyramid.levels, plan, reducer, name, base.dataset_attrs, base.document, kept
    )
    return Addition(store, base, replace(pyramid, plan=plan), image, writing)


def _check_samples(base: StoredBase) -> None:
    """Refuse an image whose level 0 does not hold what its levels are made from."""
    method = _recorded(base).get("method")
    if method in ("std", "count"):
        raise NotAPyramidError(
            f"{base.place} is an image of method {method!r}, and its level 0 does not hold the "
            "samples that levels are made from",
            fix="make it anew from these, with .pyramid.to_ome_zarr()",
        )


def _recorded(base: StoredBase) -> Mapping[str, object]:
    """Return what an image says of how its levels were made; nothing where there is no image."""
    return ngff.parse(base.attributes).metadata if base.document else {}


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


def _labels_of(base: StoredBase) -> tuple[str | None, str]:
    """Return the image that a group of labels lies in, and the path of the group from there."""
    *above, parent, name = ["", *base.group.split("/")]
    image = "/".join(above[1:])
    if parent == "labels":
        node = NodePath(
            base.place.store, base.place.path.removesuffix(f"labels/{name}").strip("/")
        ).node()
        if is_image(node):
            return image, name
    return None, base.group


def _is_among_labels(base: StoredBase) -> bool:
    """Whether level 0 is in the place of labels, beside that of an image which is none yet."""
    *_, parent, name = ["", "", *base.group.split("/")]
    if parent != "labels" or base.node.dtype.kind not in "iu":
        return False
    image = NodePath(base.place.store, base.place.path.removesuffix(f"labels/{name}").strip("/"))
    return (image / "0").node() is not None


def _build(base: StoredBase, options: AddLevelsOptions, image: ImageGeometry | None) -> Pyramid:
    """Build the pyramid of level 0, which must be what is in the store."""
    building = only(BuildOptions, options)
    recorded = _recorded(base)
    method = str(recorded.get("method")) if recorded.get("library") == "xpyramid" else ""
    is_open = building.get("method") is None and building.get("kind") is None
    if is_open and method in METHODS and options.get("mode") != "w":
        building["method"] = method  # as the levels that are there, or were
    if building.get("kind") is None and _is_among_labels(base):
        building["kind"] = "labels"
    if base.node.shards is not None and building.get("chunks") is None:
        building["chunks"] = base.node.chunks
    pyramid = build(base.array, options.get("levels"), image=image, bounds=base.bounds, **building)
    if pyramid._samples is not None:
        raise PlanError(
            "beside the samples, which are no level 0 of its image",
            option="method",
            value=pyramid.method,
            fix=say("copy them with `.pyramid.to_ome_zarr()`"),
        )
    built = pyramid.levels[0]
    if built.dims != base.array.dims:
        raise AxisError(
            f"level 0 has the dimensions {', '.join(map(str, base.array.dims))}, and an image has "
            f"them in the order {', '.join(map(str, built.dims))}",
            fix="copy it with .pyramid.to_ome_zarr(), which transposes it",
        )
    if built.dtype != base.node.dtype:
        raise DtypeError(
            f"level 0 has the dtype {base.node.dtype}, and its levels would have {built.dtype}",
            fix="copy it with .pyramid.to_ome_zarr(), which stores all levels alike",
        )
    stored = [name for name in base.array.coords if base.has_group and name in built.coords]
    for name in stored:
        if not np.array_equal(base.array.coords[name], built.coords[name]):
            raise PlanError(
                f"level 0 has the coordinate {str(name)!r} in its group, which stays as it is, and "
                "the options say something else of it",
                fix=say("leave out {spacing} and {origin}", spacing=..., origin=...),
            )
    return pyramid
