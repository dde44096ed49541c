"""Stored images as pyramids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xpyramid.errors import NotAPyramidError
from xpyramid.lazy.levels import Levels
from xpyramid.pyramid import Pyramid
from xpyramid.pyramids import Pyramids
from xpyramid.reader import DaskChunks, StoredImage, find_images, open_levels
from xpyramid.store.path import Store
from xpyramid.warn import warn


def open_pyramids(
    store: Store, group: str | None = None, *, chunks: DaskChunks | None = None
) -> Pyramids:
    """Open all OME-Zarr images of a store, lazily.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        As for :func:`open_pyramid`.
    group : str, optional
        Where in the store to look; default: everywhere. A plate is also a group of images.
    chunks : int, {dim: int}, "auto" or None, optional
        As for :func:`open_pyramid`; of all images.

    Returns
    -------
    Pyramids
        A mapping from the path of each image, below ``group``, to its pyramid; if the group is
        itself an image, its key is its name. Where a group announces several images, as with
        ``layout="datasets"``, their names are the last parts of the keys. Unreadable images are
        left out, with a warning.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no image, or none that can be read.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> fields = xpyramid.example_field((300, 200)).to_dataset(name="a")
    >>> fields.assign(b=fields.a).pyramid.to_ome_zarr(store, levels=2)
    >>> list(xpyramid.open_pyramids(store))
    ['a', 'b']
    """
    opened = open_images(store, group, chunks)
    return Pyramids({path or p.name or "image": p for path, p in opened.items()})


def open_images(
    store: Store, group: str | None = None, chunks: DaskChunks | None = None
) -> dict[str, Pyramid]:
    """Open all images of a store, by their paths, "" where ``group`` itself is one.

    Raises
    ------
    NotAPyramidError
        If there is no image, or none that can be read.

    Warns
    -----
    UserWarning
        Of those that cannot be read, and are left out.
    """
    opened: dict[str, Pyramid] = {}
    failures: list[NotAPyramidError] = []
    prefix = f"{group.strip('/')}/" if group else ""
    for path in find_images(store, group) or [""]:
        place = f"{prefix}{path}".strip("/") or None
        try:
            stored = open_levels(store, place, 0, chunks)
            members = [_pyramid(stored)]
            members += [
                _pyramid(open_levels(store, place, i, chunks))
                for i, _ in enumerate(stored.others, 1)
            ]
        except NotAPyramidError as error:
            failures.append(error)
        else:
            opened |= {path: members[0]} if len(members) == 1 else _by_name(path, members)
    if not opened:
        raise failures[0]
    for failure in failures:
        warn(f"an image is left out: {failure}")
    return opened


def open_pyramid(
    store: Store,
    group: str | None = None,
    *,
    multiscale: int | str = 0,
    chunks: DaskChunks | None = None,
) -> Pyramid:
    """Open a stored OME-Zarr image of any version from 0.1 to 0.6, lazily.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        A directory, or a ``.zip`` or ``.ozx`` file.
    group : str, optional
        Path of the image in the store. Default: the store itself, or the only image in it.
    multiscale : int or str, optional
        Position or name of the image, if the metadata of the group announce several.
    chunks : int, {dim: int}, "auto" or None, optional
        As for :func:`xarray.open_zarr`. By default the levels are indexed lazily, without dask:
        what is selected is read when its samples are asked for, and nothing is kept. With ``{}``
        they are dask arrays in the stored chunks; other lengths are those of dask's chunks.

    Returns
    -------
    Pyramid
        An image that xpyramid wrote has its original dimensions, coordinates and attributes; for
        other images, coordinates are computed from the coordinate transformations. Reading a level
        raises a ReadError where a chunk or shard is missing, or has another size than xpyramid
        recorded, and a ReplacedError where the image was replaced since it was opened.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no complete OME-Zarr image, or its metadata are invalid or lead out of the
        store. The message names what is there instead: the images one level below, the
        wells of a plate, labels.
    xpyramid.errors.PlanError
        If ``chunks`` are invalid.
    xpyramid.errors.ReadError
        If a stored coordinate is missing, or has another size than recorded.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=2)
    >>> xpyramid.open_pyramid(store, "field")[1].dims
    ('y', 'x')
    """
    stored = open_levels(store, group, multiscale, chunks)
    return _pyramid(stored, others=stored.others if multiscale == 0 else ())


def _by_name(path: str, members: Sequence[Pyramid]) -> dict[str, Pyramid]:
    """Return several images of one group by the path of the group and their names.

    Of label images that lie in such a group nobody says whose they are.
    """
    names = [p.name or "image" for p in members]
    keys = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names)]
    prefix = f"{path}/" if path else ""
    return {prefix + key: replace(p, labels=()) for key, p in zip(keys, members, strict=True)}


def _pyramid(opened: StoredImage, others: tuple[str, ...] = ()) -> Pyramid:
    return Pyramid(
        Levels.from_arrays(opened.levels, opened.bounds),
        opened.plan,
        labels=opened.labels,
        _metadata=opened.metadata,
        _others=others,
    )
