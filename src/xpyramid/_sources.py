"""What the command line reads: Zarr arrays, Zarr groups, ``.npy`` files and pictures."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from xpyramid import ngff
from xpyramid.errors import PyramidError, SourceError
from xpyramid.io.store.confined import resolve_confined
from xpyramid.io.store.target import Place, resolve
from xpyramid.io.store.tree import Tree, listed_in

if TYPE_CHECKING:
    from PIL.Image import Image

#: Dimensions of an array that does not name them: the last ones of these.
BY_RANK = ("t", "c", "z", "y", "x")

#: Groups that are looked into for images: a plate of 1536 wells with 9 images each has 15 360.
MAX_GROUPS = 50_000

_BANDS = {"R": "red", "G": "green", "B": "blue", "L": "grey", "A": "alpha"}


def open_source(
    source: str,
    *,
    variable: str | None = None,
    dims: Sequence[str] | None = None,
    name: str | None = None,
) -> xr.DataArray:
    """Open what a pyramid is to be made of.

    Parameters
    ----------
    source : str
        Path or URL of a Zarr array or group, or path of a ``.npy`` file, a TIFF file, or a picture
        in a format that Pillow reads. All but pictures are read lazily.
    variable : str, optional
        Of a group; default: the only one.
    dims : sequence of str, optional
        Names of the dimensions, for a source that does not name them, or names them wrongly.
        Default: what the source says, else t, c, z, y, x by rank.
    name : str, optional
        Name of the array, for a source that has no name of its own. Default: the file's name
        without its suffix.

    Raises
    ------
    SourceError
        For what is not there, what no reader understands, and a choice of variable or dimensions
        that does not fit.
    """
    with reading(source):
        if "://" in source or Path(source).expanduser().is_dir():
            place = resolve(source, read_only=True)
            node = place.node()
            if isinstance(node, zarr.Group):
                return _open_variable(place, node, source, variable, dims)
            if node is None:
                raise SourceError(f"there is no Zarr array or group at {source!r}")
            array = _open_zarr_array(node)
        else:
            array = _open_file(Path(source).expanduser())
    if variable is not None:
        raise SourceError(f"{source!r} is one array; accepted with variable=: a Zarr group")
    return _with_dims(array, dims, source).rename(name or _stem(source))


def find_images(location: str, group: str | None = None) -> list[str]:
    """Return the paths of the OME-Zarr images in a store, "" where ``group`` itself is one.

    Metadata are read, data are not. What is below an image (its levels, its labels) is not listed.
    What cannot be read is listed too, and what a plate lists where nothing is there: opening it
    says what is wrong.

    Parameters
    ----------
    location : str
        Path or URL of a Zarr store.
    group : str, optional
        Where in the store to look. Default: everywhere.

    Raises
    ------
    NotAPyramidError
        If there is no store.
    SourceError
        If its metadata cannot be read.
    """
    with reading(location):
        place = resolve_confined(location) / (group or "").strip("/")
        return sorted(_images(place)) if isinstance(place.node(), zarr.Group) else []


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn whatever a reader raises into a SourceError.

    Readers of foreign files raise what happens to go wrong first: OSError, ValueError, KeyError,
    struct.error, SyntaxError (Pillow), IndexError (tifffile) and more.
    """
    try:
        yield
    except PyramidError:
        raise
    except Exception as error:
        raise SourceError(f"cannot read {source!r}: {type(error).__name__}: {error}") from error


def _images(root: Place) -> Iterator[str]:
    """Yield the paths of the images in a group; links may make it look endless.

    Of what a plate lists and is not there, the path is yielded too, as is that of what is damaged.
    """
    tree, known, visited = Tree(root), {""}, 0
    todo = [("", False)]  # paths, and whether a plate or a well lists them
    while todo:
        path, is_listed = todo.pop()
        kind, attributes = tree.look(path)
        if kind == "nothing" and not is_listed:
            continue
        visited += 1
        if visited > MAX_GROUPS:
            raise SourceError(
                f"more than {MAX_GROUPS} groups; accepted: a part of the store, as in --group "
                f"{path!r}"
            )
        if kind == "damaged" or ngff.version_of(attributes) is not None:
            yield path
        elif path.count("/") < 16:
            listed = listed_in(attributes)
            names = tree.names(path) if kind != "array" else []
            if is_listed and kind != "group" and not names:
                yield path
            members = {f"{path}/{name}".lstrip("/"): name in listed for name in (*listed, *names)}
            todo += [(member, mark) for member, mark in members.items() if member not in known]
            known.update(members)


def _open_variable(
    place: Place, group: zarr.Group, source: str, variable: str | None, dims: Sequence[str] | None
) -> xr.DataArray:
    """Open a variable of a group, with its coordinates and its own name."""
    if dims is not None:
        raise SourceError(f"{source!r} is a group, and names the dimensions of its variables")
    found = _open_dataset(place, group, source).data_vars
    listed = ", ".join(
        sorted(f"{name} ({', '.join(map(str, v.dims))})" for name, v in found.items())
    )
    if not listed:
        raise SourceError(f"the group {source!r} has no variables{_members(group, source)}")
    if variable is None and len(found) > 1:
        raise SourceError(f"{source!r} has several variables, choose one: {listed}")
    chosen = next(iter(found)) if variable is None else variable
    if chosen not in found:
        raise SourceError(f"{source!r} has no variable {variable!r}; it has {listed}")
    return found[chosen]


def _open_dataset(place: Place, group: zarr.Group, source: str) -> xr.Dataset:
    """Open a group as xarray does, or say which of its arrays could be opened instead."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the metadata are not consolidated
            dataset: xr.Dataset = xr.open_zarr(place.store, group=place.path, chunks=None)
    except Exception as error:
        raise SourceError(
            f"xarray cannot open the group {source!r}: {error}{_members(group, source)}"
        ) from error
    return dataset


def _members(group: zarr.Group, source: str) -> str:
    names = sorted(name for name, _ in group.members())
    base = source.rstrip("/")
    return "; choose from " + ", ".join(f"{base}/{name}" for name in names) if names else ""


def _open_zarr_array(node: zarr.Array[Any]) -> xr.DataArray:
    """Wrap a Zarr array of any format."""
    attrs = dict(node.attrs)
    named = attrs.pop("_ARRAY_DIMENSIONS", None)
    if node.metadata.zarr_format == 3:
        named = node.metadata.dimension_names
    if not isinstance(named, list | tuple) or not all(isinstance(dim, str) for dim in named):
        named = None  # some dimensions may be named null
    dims = _by_rank(node.ndim) if named is None else tuple(named)
    return xr.DataArray(da.from_zarr(node), dims=dims, attrs=attrs)


def _open_file(path: Path) -> xr.DataArray:
    if not path.exists():
        raise SourceError(f"there is nothing at {str(path)!r}")
    openers = {".npy": _open_npy, ".tif": _open_tiff, ".tiff": _open_tiff}
    return openers.get(path.suffix.lower(), _open_picture)(path)


def _open_npy(path: Path) -> xr.DataArray:
    """Map a ``.npy`` file into memory."""
    data = np.load(path, mmap_mode="r")
    return xr.DataArray(_lazy(data), dims=_by_rank(data.ndim))


def _open_tiff(path: Path) -> xr.DataArray:
    """Map a TIFF file into memory; a compressed one is unpacked into a temporary file.

    skimage.io would read the numbers too, but it guesses which axis holds the colours, and takes a
    stack of three planes for a colour picture. The file says what its axes are.
    """
    import tifffile  # noqa: PLC0415  # comes with scikit-image; reading Zarr needs none of it

    # It logs what it also raises; without a handler that goes to stderr.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    with tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise SourceError(f"{str(path)!r} holds no picture")
        series = tiff.series[0]  # others are thumbnails and labels
        axes, data = series.axes, series.asarray(out="memmap")
    dims = _tiff_dims(axes)
    if len(set(dims)) < len(dims) or len(dims) > len(BY_RANK):
        raise SourceError(
            f"{str(path)!r} has the axes {axes}; accepted: {', '.join(BY_RANK)}, each at most once"
        )
    array = xr.DataArray(_lazy(data), dims=dims)
    return array.transpose(*[dim for dim in BY_RANK if dim in dims])


def _tiff_dims(axes: str) -> tuple[str, ...]:
    """Return dimensions for TIFF axis letters: samples are channels, unknown letters by rank.

    Examples
    --------
    >>> _tiff_dims("YXS"), _tiff_dims("QQYX")
    (('y', 'x', 'c'), ('c', 'z', 'y', 'x'))
    """
    dims = [axis.lower().replace("s", "c") for axis in axes]
    free = [dim for dim in BY_RANK if dim not in dims]
    for i in reversed(range(len(dims))):
        if dims[i] not in BY_RANK and free:
            dims[i] = free.pop()
    return tuple(dims)


def _open_picture(path: Path) -> xr.DataArray:
    """Read a picture, colours first."""
    from PIL import Image  # noqa: PLC0415  # comes with scikit-image

    # The limit protects servers from pictures that strangers send. This one was asked for by name,
    # and pictures that need a pyramid are large.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format != "MPO":  # a JPEG with a preview beside the picture
                raise SourceError(f"{str(path)!r} holds {frames} pictures; accepted: 1, or a TIFF")
            return _picture_array(picture)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _picture_array(picture: Image) -> xr.DataArray:
    if picture.mode in {"P", "PA"}:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    elif picture.mode in {"CMYK", "YCbCr", "LAB", "HSV"}:
        picture = picture.convert("RGB")
    data = np.asarray(picture)
    if data.ndim == 2:
        return xr.DataArray(data, dims=("y", "x"))
    names = [_BANDS.get(band, band) for band in picture.getbands()]
    return xr.DataArray(np.moveaxis(data, -1, 0), dims=("c", "y", "x"), coords={"c": names})


def _lazy(data: np.ndarray[Any, Any]) -> da.Array:
    """Wrap memory-mapped data; xarray by itself would have dask read all of it for a name."""
    array: da.Array = da.from_array(data, chunks="auto")
    return array


def _by_rank(ndim: int) -> tuple[str, ...]:
    if ndim > len(BY_RANK):
        raise SourceError(f"the array has {ndim} dimensions; accepted: up to {len(BY_RANK)}")
    return BY_RANK[len(BY_RANK) - ndim :]


def _with_dims(array: xr.DataArray, dims: Sequence[str] | None, source: str) -> xr.DataArray:
    """Name the dimensions of an array."""
    if dims is None:
        return array
    if len(dims) != array.ndim or len(set(dims)) < array.ndim:
        raise SourceError(
            f"{source!r} has the shape {array.shape}; {','.join(dims)!r} does not name each of its "
            f"{array.ndim} dimensions once"
        )
    return array.rename(dict(zip(array.dims, dims, strict=True)))


def _stem(source: str) -> str:
    """Return the last part of a path or URL without its suffix."""
    if "://" in source:
        stem = source.rstrip("/").rpartition("/")[2].rpartition(".")
        return stem[0] or stem[2]
    return Path(source).expanduser().resolve().stem.removesuffix(".ome")
