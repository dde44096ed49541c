"""What no schema catches: metadata of an image against the headers of its arrays."""

from __future__ import annotations

import re
import reprlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xpyramid.errors import NotAPyramidError, PyramidError
from xpyramid.geometry import units
from xpyramid.ngff.geometry import check_geometry
from xpyramid.ngff.json_types import holder_of_multiscales, is_map, ome_metadata
from xpyramid.ngff.model import Multiscale
from xpyramid.ngff.omero import ends
from xpyramid.ngff.parser import is_published, parse, spec_version, version_of
from xpyramid.ngff.problems import Problem, recommended
from xpyramid.ngff.transforms import check_transforms
from xpyramid.ngff.versions import MultiscaleDocument
from xpyramid.types import DType

#: No array can be halved more often; the models take a millisecond for each level.
MOST_LEVELS = 256

_RANKS = {"time": 0, "space": 2}


@dataclass(frozen=True)
class Header:
    """What the metadata of an array say of it.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    names : tuple or None
        Of its dimensions.
    separator : str
        Between the numbers in the names of chunks.
    zarr_format : int
    """

    shape: tuple[int, ...]
    dtype: DType
    names: tuple[object, ...] | None
    separator: str
    zarr_format: int


def images_of(attrs: Mapping[str, object]) -> Iterator[tuple[Multiscale | None, list[Problem]]]:
    """Yield every image that attributes announce, and what is wrong with its metadata alone."""
    holder = holder_of_multiscales(attrs)
    inner = holder is not attrs
    entries = holder.get("multiscales")
    if not isinstance(entries, list) or not entries:
        yield (
            None,
            [
                Problem(
                    "metadata", "", f"multiscales is {_short(entries)}; expected a list of images"
                )
            ],
        )
        return
    for entry in entries:
        datasets = entry.get("datasets") if is_map(entry) else None
        if isinstance(datasets, list) and len(datasets) > MOST_LEVELS:
            message = f"{len(datasets)} datasets; expected at most {MOST_LEVELS}"
            yield None, [Problem("metadata", "", message)]
            continue
        single_image: dict[str, object] = {**holder, "multiscales": [entry]}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is a problem here
                image = parse({**attrs, "ome": single_image} if inner else single_image)
        except (
            PyramidError,
            AttributeError,
            LookupError,
            ArithmeticError,
            RecursionError,
        ) as error:
            yield None, [Problem("metadata", "", " ".join(str(error).split()))]
        else:
            problems = [*_check_announcement(entry, holder, str(image.version), inner=inner)]
            problems += check_version(version_of(attrs) or "")
            problems += _check_axes(image)
            if image.version == "0.6" and "dev" not in str(version_of(attrs)):
                problems += check_transforms(entry)
            yield image, problems


def check_version(declared: str) -> Iterator[Problem]:
    """Yield a warning for a version that was not published, but begins as one that was."""
    published = spec_version(declared)
    if published is not None and not is_published(declared):
        yield Problem("metadata", "", f"version {declared!r}; expected {published!r}", "warning")


def _check_announcement(
    entry: MultiscaleDocument, holder: Mapping[str, object], version: str, *, inner: bool
) -> Iterator[Problem]:
    """Yield what is wrong with an entry of ``multiscales`` that makes an image."""
    if inner and "version" not in holder and "version" not in entry:
        yield Problem("metadata", "", "no version beside multiscales; expected ome.version")
    placed = any(is_map(d) and "coordinateTransformations" in d for d in entry["datasets"])
    if version in ("0.1", "0.2", "0.3"):
        axes = entry.get("axes")
        if placed or (isinstance(axes, list) and any(map(is_map, axes))):
            message = f"version {version!r}, with axes or transformations that it does not know"
            yield Problem("metadata", "", f"{message}; expected '0.4'")
    else:
        keys = ["name", "type", "metadata", *(["version"] if version == "0.4" else [])]
        yield from recommended("the image", entry, keys)
    if version in ("0.4", "0.5"):
        for dataset in entry["datasets"]:
            transforms = dataset["coordinateTransformations"]
            yield from _check_kinds(transforms, dataset["path"])
        above = entry.get("coordinateTransformations")
        leading = isinstance(above, list) and any(is_map(t) and "output" in t for t in above)
        if isinstance(above, list) and above and not leading:
            yield from _check_kinds(above, "")


def _check_kinds(transforms: Sequence[object], path: str) -> Iterator[Problem]:
    """Check that there is one scale, and at most one translation after it."""
    kinds = [t.get("type") if is_map(t) else None for t in transforms]
    if kinds not in (["scale"], ["scale", "translation"]):
        message = f"coordinateTransformations {_short(kinds)}; expected one scale, then at most one"
        yield Problem("transformation", path, f"{message} translation")


def image_names(attrs: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of all images that attributes announce, valid or not.

    Those that have none are named after their position.
    """
    entries = holder_of_multiscales(attrs).get("multiscales")
    names = [
        entry.get("name") if is_map(entry) else None
        for entry in (entries if isinstance(entries, list) else ())
    ]
    return tuple(str(name) if name else str(i) for i, name in enumerate(names))


def count_images(attrs: Mapping[str, object]) -> int:
    """Return how many images attributes announce, valid or not."""
    return len(image_names(attrs))


def check_single(attrs: Mapping[str, object], place: str) -> None:
    """Refuse to change the levels of a group that announces several images.

    Raises
    ------
    NotAPyramidError
    """
    if count_images(attrs) > 1:
        raise NotAPyramidError(
            f"{place} announces several images, and levels belong to one",
            fix="copy one: xpyramid.open_pyramid(..., multiscale=...).to_ome_zarr(...), or all: "
            "xpyramid.open_pyramids(...).to_ome_zarr(...)",
        )


def dataset_paths(attrs: Mapping[str, object], position: int | None = None) -> list[str]:
    """Return the paths of the datasets that attributes announce, also where they are not valid.

    Parameters
    ----------
    attrs : mapping
        Of the group.
    position : int, optional
        Of the image whose datasets they are. Default: those of all.
    """
    entries = holder_of_multiscales(attrs).get("multiscales")
    paths: list[str] = []
    chosen = slice(None) if position is None else slice(position, position + 1)
    for entry in entries[chosen] if isinstance(entries, list) else ():
        datasets = entry.get("datasets") if isinstance(entry, Mapping) else None
        for dataset in datasets if isinstance(datasets, list) else ():
            path = dataset.get("path") if isinstance(dataset, Mapping) else None
            if isinstance(path, str):
                paths.append(path)
    return list(dict.fromkeys(paths))


def check_image(
    image: Multiscale, headers: Mapping[str, Header], attrs: Mapping[str, object]
) -> Iterator[Problem]:
    """Yield what is wrong between the metadata of an image and its arrays.

    Parameters
    ----------
    image : Multiscale
    headers : mapping
        From a dataset's path to its header; those that are not there are left out.
    attrs : mapping
        Attributes of the image's group.
    """
    version = spec_version(version_of(attrs) or "") or ""
    names = tuple(axis.name for axis in image.axes)
    stored_headers = [(d.path, headers[d.path]) for d in image.datasets if d.path in headers]
    for path, header in stored_headers:
        yield from _check_header(path, header, names, version)
    for what, values in (
        ("dtype", [(path, str(header.dtype)) for path, header in stored_headers]),
        ("chunk separator", [(path, header.separator) for path, header in stored_headers]),
        ("Zarr format", [(path, str(header.zarr_format)) for path, header in stored_headers]),
    ):
        yield from _check_same(what, values)
    shapes = [
        h.shape if (h := headers.get(d.path)) and len(h.shape) == len(names) else None
        for d in image.datasets
    ]
    yield from check_geometry(image, shapes)
    yield from _check_omero(image, headers.get(image.datasets[0].path), attrs)


def _check_axes(image: Multiscale) -> Iterator[Problem]:
    names = [axis.name for axis in image.axes]
    types = [axis.type for axis in image.axes]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        yield Problem("axes", "", f"axes {names}: {twice} more than once; expected unique names")
    if any(types):
        ranks = [_RANKS.get(str(kind), 1) for kind in types]
        if ranks != sorted(ranks) or types.count("time") > 1:
            yield Problem(
                "axes", "", f"axis types {types}; expected at most one time, then channel, space"
            )
        if not 2 <= types.count("space") <= 3 and not (
            image.version == "0.6" and types.count("array") >= 2
        ):
            yield Problem("axes", "", f"axis types {types}; expected 2 or 3 of them to be space")
    for axis in image.axes:
        if axis.unit is None or axis.type not in ("space", "time"):
            continue
        word = units.to_ngff(axis.unit, axis.type)
        if word != axis.unit:
            meant = f"{word!r}" if word else f"a {axis.type} unit of OME-NGFF's list, or none"
            yield Problem(
                "unit", "", f"axis {axis.name!r} has the unit {axis.unit!r}; expected {meant}",
                "warning",
            )  # fmt: skip


def _check_header(
    path: str, header: Header, names: tuple[str, ...], version: str
) -> Iterator[Problem]:
    if len(header.shape) != len(names):
        yield Problem(
            "rank", path, f"shape {header.shape}; expected {len(names)} dimensions: {names}"
        )
    expected_format = 2 if version in ("0.1", "0.2", "0.3", "0.4") else 3
    if header.zarr_format != expected_format:
        yield Problem(
            "format",
            path,
            f"Zarr format {header.zarr_format} with OME-NGFF {version}; expected {expected_format}",
        )
    if header.names is None:
        if header.zarr_format == 3:
            yield Problem("names", path, f"no dimension_names; expected {list(names)}")
    elif header.names != names:
        where = "dimension_names" if header.zarr_format == 3 else "_ARRAY_DIMENSIONS"
        yield Problem("names", path, f"{where} {list(header.names)}; expected {list(names)}")
    if header.separator != "/" and len(header.shape) > 1 and version != "0.1":
        yield Problem(
            "separator",
            path,
            f"chunk separator {header.separator!r}; expected '/', as OME-NGFF recommends",
            "warning",
        )


def _check_same(what: str, values: Sequence[tuple[str, str]]) -> Iterator[Problem]:
    """All levels must have the same of something."""
    for path, value in values[1:]:
        if value != values[0][1]:
            yield Problem(
                what.rsplit(maxsplit=1)[-1],
                path,
                f"{what} {value}; expected {values[0][1]}, as {values[0][0]!r} has",
            )


def _check_omero(
    image: Multiscale, base: Header | None, attrs: Mapping[str, object]
) -> Iterator[Problem]:
    omero = ome_metadata(attrs).get("omero")
    if omero is None:
        return
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, list) or not all(isinstance(c, Mapping) for c in channels):
        yield Problem("omero", "", f"omero is {_short(omero)}; expected a list of channels")
        return
    at = [i for i, axis in enumerate(image.axes) if axis.type == "channel"]
    if base is not None and len(base.shape) == len(image.axes):
        count = base.shape[at[0]] if at else 1
        if len(channels) != count:
            yield Problem(
                "omero", "", f"omero has {len(channels)} channels; expected {count}, as the array"
            )
    for i, channel in enumerate(channels):
        if message := _check_channel(channel):
            yield Problem("omero", "", f"channel {i} of omero: {message}")
        elif message := _check_window(channel["window"], base):
            yield Problem("omero", "", f"channel {i} of omero: {message}", "warning")


def _check_channel(channel: Mapping[str, object]) -> str | None:
    """Return what the specification forbids."""
    color, window = channel.get("color"), channel.get("window")
    if not (isinstance(color, str) and re.fullmatch("[0-9A-Fa-f]{6}", color)):
        return f"color {_short(color)}; expected six hexadecimal digits"
    if len(ends(window)) < 4:
        return f"window {_short(window)}; expected numbers for min, start, end and max"
    return None


def _check_window(window: Mapping[str, object], base: Header | None) -> str | None:
    """Return what is wrong with a window."""
    low, start, end, high = ends(window)
    if not (low <= high and start <= end):
        return f"window {_short(window)}; expected min <= max and start <= end"
    if base is not None and base.dtype.kind in "iu":
        info = np.iinfo(base.dtype)
        if not info.min <= start <= end <= info.max:
            return (
                f"window {start} to {end}; expected {info.min} to {info.max}, as {base.dtype} has"
            )
    return None


def _short(value: object) -> str:
    return reprlib.repr(value)  # of bounded depth and length
