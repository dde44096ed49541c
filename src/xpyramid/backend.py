"""The xarray engine ``ome-zarr``: images that anybody wrote, as Datasets and DataTrees.

xarray imports all engines when the first file is opened, whatever it is. So what reads an image is
imported when one is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from xpyramid.errors import PlanError

if TYPE_CHECKING:
    from xpyramid.pyramid import Pyramid
    from xpyramid.store.path import Store

#: How the names of OME-Zarr images end, where they say what they are.
_SUFFIXES = (".ozx", ".ome.zarr")


class OmeZarrBackend(BackendEntrypoint):
    """OME-Zarr images of any version from 0.1 to 0.6, for ``xarray.open_dataset`` and others.

    ``xr.open_dataset(path, engine="ome-zarr", level=1)`` opens a level of an image, and
    ``xr.open_datatree(path, engine="ome-zarr")`` all levels of all images in a store. Samples are
    read when they are asked for, without dask unless ``chunks`` are passed.
    """

    description = "Open OME-Zarr images: levels, coordinates, units, channels and labels"
    supports_groups = True
    open_dataset_parameters = (
        "filename_or_obj", "drop_variables", "group", "level", "resolution", "multiscale",
        "storage_options",
    )  # fmt: skip

    def open_dataset(
        self,
        filename_or_obj: object,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        level: int | str | None = None,
        resolution: float | str | Mapping[str, float | str] | None = None,
        multiscale: int | str = 0,
        storage_options: Mapping[str, object] | None = None,
    ) -> xr.Dataset:
        """Open a level of an image as a Dataset, with its coordinates.

        Parameters
        ----------
        filename_or_obj : str, path, URL, zarr store or zarr.Group
        drop_variables : str or iterable of str, optional
            Names of what is left out.
        group : str, optional
            Path of the image in the store; default: the store itself, or the only image in it.
        level : int or str, optional
            Default: 0, the base.
        resolution : number, str or mapping, optional
            Chooses the level instead; see :meth:`xpyramid.Pyramid.at`.
        multiscale : int or str, optional
            Position or name of the image, if the metadata of the group announce several.
        storage_options : mapping, optional
            What fsspec needs to know for a URL.

        Returns
        -------
        xarray.Dataset
            The samples are called as the array that was written, or as the image.

        Raises
        ------
        xpyramid.errors.NotAPyramidError
            If there is no image.
        xpyramid.errors.PlanError
            If both ``level`` and ``resolution`` are passed.
        """
        from xpyramid.geometry.resolution import level_of_resolution
        from xpyramid.opening import open_pyramid

        if level is not None and resolution is not None:
            raise PlanError(
                f"level={level!r} and resolution={resolution!r} are two ways to say the same",
                fix="pass one of them",
            )
        pyramid = open_pyramid(
            _store(filename_or_obj, storage_options), group, multiscale=multiscale
        )
        k = pyramid.levels.position(0 if level is None else level)
        if resolution is not None:
            k = level_of_resolution(pyramid.plan, resolution, pyramid.units)
        dataset = _dataset(pyramid, k)
        return dataset.drop_vars(drop_variables or [], errors="ignore")

    def open_groups_as_dict(
        self,
        filename_or_obj: object,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        storage_options: Mapping[str, object] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open all levels of all images in a store, by their paths; see `open_datatree`."""
        from xpyramid.opening import open_images

        store = _store(filename_or_obj, storage_options)
        groups: dict[str, xr.Dataset] = {}
        for path, pyramid in open_images(store, group).items():
            for place, image in _with_labels(store, group, path, pyramid):
                for k in range(len(image)):
                    opened = _dataset(image, k).drop_vars(drop_variables or [], errors="ignore")
                    groups[f"{place}/{k}"] = opened
        return groups

    def open_datatree(
        self,
        filename_or_obj: object,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        storage_options: Mapping[str, object] | None = None,
    ) -> xr.DataTree:
        """Open all levels of all images in a store as a tree.

        An image has the children ``0``, ``1``, and so on, and ``labels`` with those of its label
        images. ``tree.pyramid`` of an image is its :class:`xpyramid.Pyramid`.

        Parameters
        ----------
        filename_or_obj : str, path, URL, zarr store or zarr.Group
        drop_variables : str or iterable of str, optional
            Names of what is left out.
        group : str, optional
            Where in the store to look; default: everywhere.
        storage_options : mapping, optional
            What fsspec needs to know for a URL.

        Returns
        -------
        xarray.DataTree
            Of the store, or of ``group``.

        Raises
        ------
        xpyramid.errors.NotAPyramidError
            If there is no image that can be read.
        """
        return xr.DataTree.from_dict(
            self.open_groups_as_dict(
                filename_or_obj,
                drop_variables=drop_variables,
                group=group,
                storage_options=storage_options,
            )
        )

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Whether a path is unmistakably that of an OME-Zarr image.

        By its name, or as a local directory whose metadata say so.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        text = str(filename_or_obj).rstrip("/")
        if text.lower().endswith(_SUFFIXES):
            return True
        return "://" not in text and _is_image(Path(os.path.expanduser(text)))


def _is_image(directory: Path) -> bool:
    """Whether the metadata of a directory announce an image."""
    if not any((directory / name).is_file() for name in ("zarr.json", ".zattrs")):
        return False
    from xpyramid import ngff
    from xpyramid.store.path import resolve

    try:
        return ngff.version_of(resolve(str(directory), read_only=True).attributes()) is not None
    except Exception:  # damaged metadata announce nothing
        return False


def _store(source: Any, storage_options: Mapping[str, object] | None) -> Store:
    """Return what is opened."""
    if not storage_options:
        opened: Store = source
        return opened
    if not (isinstance(source, str) and "://" in source):
        raise PlanError(
            "are for URLs", option="storage_options", value=dict(storage_options),
            accepted="a URL with them, as in 's3://bucket/image.zarr'",
        )  # fmt: skip
    from zarr.storage import FsspecStore

    return FsspecStore.from_url(source, storage_options=dict(storage_options), read_only=True)


def _with_labels(
    store: Store, group: str | None, path: str, pyramid: Pyramid
) -> Iterable[tuple[str, Pyramid]]:
    """Yield an image and its label images, with their places in a tree."""
    from xpyramid.opening import open_pyramid

    yield f"/{path}".rstrip("/"), pyramid
    above = "/".join(part for part in ((group or "").strip("/"), path) if part)
    for name in pyramid.labels:
        labels = f"labels/{name}"
        own = open_pyramid(store, f"{above}/{labels}".lstrip("/"))
        yield f"/{path}/{labels}".replace("//", "/"), own


def _dataset(pyramid: Pyramid, k: int) -> xr.Dataset:
    return pyramid.levels.as_dataset(k, pyramid.name or "image")
