"""Zarr stores: OME-Zarr images and their levels, groups that xarray opens, bare arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import xarray as xr
import zarr

from xpyramid import ngff
from xpyramid._compat import da
from xpyramid.display import listed
from xpyramid.errors import PyramidError, SourceError
from xpyramid.messages import say
from xpyramid.opening import open_pyramid
from xpyramid.pyramid import Pyramid
from xpyramid.reader import find_images
from xpyramid.sources.datasets import choose_variable
from xpyramid.sources.dims import by_rank
from xpyramid.store.confined import resolve_confined
from xpyramid.store.encoding import dims_of
from xpyramid.store.path import NodePath, ZarrArray, expanded, is_image, is_name, resolve
from xpyramid.warn import warn

#: How many directories above an array its image may be: ``image/0``, ``image/0/image``.
_HIGHEST = 4

_ARCHIVES = {".zip", ".ozx"}


def is_store(source: str) -> bool:
    """Whether a source is a URL, a directory, or an archive."""
    path = expanded(source)
    return "://" in source or path.is_dir() or path.suffix.lower() in _ARCHIVES


def open_store(source: str, variable: str | None) -> xr.DataArray:
    """Open level 0 of an image, a level of it, a variable of a group, or an array.

    Parameters
    ----------
    source : str
        Path or URL.
    variable : str, optional
        Of a group.

    Raises
    ------
    SourceError
        If there is nothing, or several arrays and none was chosen.
    """
    is_archive = Path(source).suffix.lower() in _ARCHIVES and not Path(source).is_dir()
    place = resolve_confined(source) if is_archive else resolve(source, read_only=True)
    node = place.node()
    if node is None:
        hint = "; files of other formats are read by path, not by URL" if "://" in source else ""
        raise SourceError(f"there is no Zarr array or group at {source!r}{hint}")
    attributes = dict(node.attrs)
    if variable is not None and ngff.count_images(attributes) > 1:
        return _take(open_pyramid(source, multiscale=_named(attributes, variable, source)), 0)
    level = _open_level(source)
    if level is None and isinstance(node, zarr.Group):
        image = source if is_image(node) else None
        if image is None and variable is None:
            image = _only_image(source, node)
        level = None if image is None else _take(open_pyramid(image), 0)
    if level is not None:
        if variable is not None:
            deepest = (ngff.dataset_paths(dict(node.attrs)) or ["1"])[-1]
            raise SourceError(
                f"{source!r} is an OME-Zarr image",
                fix=say("accepted with {variable}")
                + ": a Zarr group that is not an image. A level is opened by its path, as in "
                f"{source.rstrip('/')}/{deepest}",
            )
        return level
    if isinstance(node, zarr.Group):
        return _open_variable(place, node, source, variable)
    if variable is not None:
        raise SourceError(
            f"{source!r} is one array",
            fix=say("accepted with {variable}: a Zarr group"),
        )
    return _open_array(node)


def _named(attributes: Mapping[str, object], variable: str, source: str) -> str:
    """Return the name of one of the images that a group announces.

    Raises
    ------
    SourceError
    """
    names = [image.name for image, _ in ngff.images_of(attributes) if image and image.name]
    if variable not in names:
        raise SourceError(
            f"no image of {source!r}", option="variable", value=variable, accepted=", ".join(names)
        )
    return variable


def _open_level(source: str) -> xr.DataArray | None:
    """Open the level of an OME-Zarr image that a path names; None where it names none."""
    for above, path in _above(source):
        try:
            node = resolve(above, read_only=True).node()
        except Exception as error:
            warn(
                f"{above!r} cannot be read, and may be an image of which {source!r} is a level; "
                f"coordinates are left out: {type(error).__name__}: {error}"
            )
            return None
        attrs = dict(node.attrs) if isinstance(node, zarr.Group) else {}
        if ngff.version_of(attrs) is None:
            continue
        # Levels of ours are groups, which hold the array.
        announced = [
            dataset_path == path or dataset_path.startswith(f"{path}/")
            for dataset_path in ngff.dataset_paths(attrs)
        ]
        if sum(announced) != 1:
            return None
        return _open_announced(above, attrs, announced.index(True))
    return None


def _open_announced(image: str, attrs: Mapping[str, object], position: int) -> xr.DataArray:
    """Open a dataset by its position among all that the images of a group announce."""
    dataset_path = ngff.dataset_paths(attrs)[position]
    which = 0
    while True:
        paths = [dataset.path for dataset in ngff.parse(attrs, which).datasets]
        if dataset_path in paths:
            return _take(open_pyramid(image, multiscale=which), paths.index(dataset_path))
        which += 1


def _above(source: str) -> list[tuple[str, str]]:
    """Return the places above a source, from the nearest on, and its path in each."""
    if "::" in source:  # URLs in URLs, of fsspec
        return []
    remote, _, path = source.rpartition("://")
    start = f"{remote}://" if remote else ""
    parts = path.rstrip("/").split("/") if remote else list(expanded(path).absolute().parts)
    max_depth = len(parts) - (2 if remote.startswith("http") else 1)  # the host is no image
    parents = []
    for depth in range(1, min(_HIGHEST, max_depth) + 1):
        head, tail = parts[:-depth], parts[-depth:]
        above = start + "/".join(head) if remote else str(Path(*head))
        parents.append((above, "/".join(tail)))
    return parents


def _only_image(source: str, group: zarr.Group) -> str | None:
    """Return the only image in a group; None without one, or if xarray has arrays to open."""
    if any(isinstance(node, zarr.Array) for _, node in group.members()):
        return None
    images = find_images(source)
    base = source.rstrip("/")
    if len(images) > 1:
        image_paths = ", ".join(f"{base}/{path}" for path in images[:20])
        ellipsis = f" and {len(images) - 20} more" if len(images) > 20 else ""
        raise SourceError(
            f"{source!r} holds several images", fix=f"give the path of one: {image_paths}{ellipsis}"
        )
    return f"{base}/{images[0]}" if images else None


def _take(pyramid: Pyramid, level: int) -> xr.DataArray:
    """Return a level, with what the image says of its channels or labels."""
    array = pyramid[level].copy(deep=False)
    metadata = {
        key: pyramid.metadata[key] for key in ("omero", "image-label") if key in pyramid.metadata
    }
    array.attrs = {**array.attrs, **metadata}
    others = f"; other images of the group: {listed(pyramid._others)}" if pyramid._others else ""
    array.encoding["format"] = f"OME-Zarr, level {level} of {len(pyramid)}{others}"
    # Names of others may hold slashes, or nothing.
    return array if is_name(str(array.name)) else array.rename(None)


def _open_variable(
    place: NodePath, group: zarr.Group, source: str, variable: str | None
) -> xr.DataArray:
    """Open a variable of a group, with its coordinates and its own name."""
    # xarray cannot make a Dataset of an array with two dimensions of one name and several lengths.
    bare = {
        name: node for name, node in group.arrays() if len(set(dims_of(node))) < len(dims_of(node))
    }
    dataset = _open_dataset(place, group, source, list(bare))
    variables = {str(name): array for name, array in dataset.data_vars.items()}
    variables |= {name: _open_array(node).rename(name) for name, node in bare.items()}
    if not variables:
        raise SourceError(f"the group {source!r} has no variables{_members(group, source)}")
    array = choose_variable(variables, variable, source)
    array.encoding["format"] = "Zarr"
    return array


def _open_dataset(
    place: NodePath, group: zarr.Group, source: str, left_out: list[str]
) -> xr.Dataset:
    """Open a group as xarray does, or say which of its arrays could be opened instead."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the metadata are not consolidated
            dataset: xr.Dataset = xr.open_zarr(
                place.store, group=place.path, chunks=None, drop_variables=left_out
            )
    except PyramidError:
        raise
    except Exception as error:
        raise SourceError(
            f"xarray cannot open the group {source!r}: {error}{_members(group, source)}"
        ) from error
    return dataset


def _members(group: zarr.Group, source: str) -> str:
    names = sorted(
        name
        for name, node in group.members()
        if name != ngff.OME_GROUP or isinstance(node, zarr.Array)  # else it lists images
    )
    base = source.rstrip("/")
    return "; choose from " + ", ".join(f"{base}/{name}" for name in names) if names else ""


def _open_array(node: ZarrArray) -> xr.DataArray:
    """Wrap a Zarr array of any format."""
    attrs = {key: value for key, value in node.attrs.items() if key != "_ARRAY_DIMENSIONS"}
    dims = dims_of(node) or by_rank(node.ndim)
    array = xr.DataArray(da.from_zarr(node), dims=dims, attrs=attrs).rename(None)
    array.encoding["format"] = "Zarr"
    return array
