"""Stored objects of coarser levels that are missing or damaged, made again from level 0."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import zarr

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import budget
from xpyramid.geometry.tiles import Region
from xpyramid.ngff import Problem
from xpyramid.runtime.cluster import workers
from xpyramid.store.chunk_grid import grid_at
from xpyramid.store.path import NodePath, Store, resolve
from xpyramid.verifier import Report, verify
from xpyramid.writer.stored_levels import StoredLevels, stored_levels
from xpyramid.writer.update import restore

#: What is wrong with stored objects that can be made again.
_KINDS = {"missing", "changed", "unreadable", "values", "size", "checksum"}


def repair(
    store: Store,
    group: str | None = None,
    *,
    deep: bool = False,
    memory: int | str | None = None,
    progress: bool | None = None,
) -> Report:
    """Make stored objects of coarser levels again that :func:`verify` calls missing or damaged.

    They are made from level 0, and are the same as before, to the last byte. Level 0 itself is
    never invented: what is wrong with it stays, and is named.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
    group : str, optional
        Path of an image, or of a group of images, in the store; default: the store itself.
    deep : bool
        Whether values are compared, too, as by ``verify(deep=True)``. Sizes and checksums always
        are.
    memory : int or str, optional
        What all workers together may hold; see :meth:`Pyramid.to_ome_zarr`.
    progress : bool, optional
        Whether to show a bar; default: in terminals and notebooks.

    Returns
    -------
    list of Problem
        What is wrong afterwards, as of :func:`verify`.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is nothing at all.
    xpyramid.errors.ResumeError
        If a build or an update of the image is unfinished.
    xpyramid.errors.NotWritableError
        If the store cannot be written to.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> objects = {}
    >>> store = zarr.storage.MemoryStore(objects)
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=3)
    >>> del objects["field/1/field/c/0/0"]
    >>> xpyramid.repair(store)
    []
    """
    report = verify(store, group, deep, checksums=True)
    root = resolve(store, read_only=False) / (group or "").strip("/")
    by_image: dict[str, list[Problem]] = defaultdict(list)
    for problem in report:
        if problem.kind in _KINDS and (image := _image_of(root, problem.where)) is not None:
            by_image[image].append(problem)
    limits, tried = Limits(workers(), budget(memory)), False
    for path, problems in by_image.items():
        try:
            levels = stored_levels(root / path)
        except NotAPyramidError:  # of others: it is not known how its levels were made
            continue
        prefix = f"{path}/" if path else ""
        objects = _objects(levels, [p.where.removeprefix(prefix) for p in problems])
        if objects and not _is_base_damaged(levels, problems, prefix):
            restore(levels, objects, limits, progress)
            tried = True
    return verify(store, group, deep, checksums=True) if tried else report


def _image_of(root: NodePath, where: str) -> str | None:
    """Return the path of the image that an object lies in, None without one."""
    parts = where.split("/")
    for depth in range(len(parts) - 1, -1, -1):
        path = "/".join(parts[:depth])
        node = (root / path).node()
        if isinstance(node, zarr.Group) and ngff.version_of(dict(node.attrs)) is not None:
            return path
    return None


def _objects(levels: StoredLevels, keys: Iterable[str]) -> dict[int, list[Region]]:
    """Return the cells of the objects of coarser levels among some keys, by level."""
    objects: dict[int, list[Region]] = defaultdict(list)
    grids = [grid_at(levels.place / path) for path in levels.paths]
    for key in dict.fromkeys(keys):
        for level, path in enumerate(levels.paths):
            if level and key.startswith(f"{path}/"):
                position = grids[level].position(key[len(path) + 1 :])
                if position >= 0:
                    objects[level].append(grids[level].region(position))
    return dict(objects)


def _is_base_damaged(levels: StoredLevels, problems: Iterable[Problem], prefix: str) -> bool:
    """Whether something is wrong with level 0, from which nothing right can be made then."""
    return any(p.where.startswith(f"{prefix}{levels.paths[0]}/") for p in problems)
