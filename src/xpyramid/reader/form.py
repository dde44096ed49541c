"""In which form an image is stored: version, codec, shards, and how many objects of which size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import zarr
from zarr.codecs import ShardingCodec

from xpyramid import ngff
from xpyramid._compat import ArrayV2Metadata
from xpyramid.errors import NotAPyramidError
from xpyramid.reader.open import typed_errors
from xpyramid.store.chunk_grid import grid_of_array
from xpyramid.store.codec import name_and_options
from xpyramid.store.confined import check_path, resolve_confined
from xpyramid.store.manifest import object_records, tables_of
from xpyramid.store.object_table import ObjectTable
from xpyramid.store.path import NodePath, Store, ZarrArray
from xpyramid.store.presence import expected

#: What is said of each codec, beside its name, by the names of its options.
_OPTIONS = {"cname": "{}", "level": "level {}", "clevel": "level {}", "shuffle": "{}"}

#: How Blosc of Zarr v2 shuffles.
_SHUFFLES: Mapping[object, str] = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle", -1: "autoshuffle"}


@dataclass(frozen=True)
class StoredLevel:
    """How a level is stored.

    Attributes
    ----------
    path : str
        Of its array, in the group of the image.
    chunks : tuple of int
    shards : tuple of int or None
    objects : int
        How many chunks, or shards where there are any, it has.
    stored_objects : int or None
        How many of them are stored, where that is recorded: those of fill value alone are not.
    stored_bytes : int or None
        Their size, where that is recorded.
    codec : str
        How chunks are compressed, for people; empty where they are not.
    """

    path: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    objects: int
    stored_objects: int | None
    stored_bytes: int | None
    codec: str = ""


@dataclass(frozen=True)
class StoredForm:
    """How an image is stored.

    Attributes
    ----------
    version : str
        Of OME-NGFF.
    zarr_format : int
    layout : {"groups", "arrays", "datasets"}
    codec : str
        How chunks of level 0 are compressed, for people; empty where they are not.
    levels : tuple of StoredLevel
    """

    version: str
    zarr_format: int
    layout: str
    codec: str
    levels: tuple[StoredLevel, ...]

    @property
    def stored_bytes(self) -> int | None:
        """Size of all levels as they are stored, None where that is not recorded."""
        sizes = [level.stored_bytes for level in self.levels]
        return None if None in sizes else sum(filter(None, sizes))


def stored_form(store: Store, group: str | None = None, multiscale: int = 0) -> StoredForm:
    """Return in which form an image is stored; metadata are read, chunks are not.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
    group : str, optional
        Path of the image in the store.
    multiscale : int
        Position of the image among those that the group announces.

    Raises
    ------
    NotAPyramidError
        If there is no image.
    """
    place = resolve_confined(store) / (group or "").strip("/")
    with typed_errors(place):
        return _form(place, multiscale)


def _form(place: NodePath, multiscale: int) -> StoredForm:
    node = place.node()
    attributes = dict(node.attrs) if isinstance(node, zarr.Group) else {}
    version = ngff.version_of(attributes)
    if version is None:
        raise NotAPyramidError("there is no image", accepted="the group of an OME-Zarr image")
    several = ngff.count_images(attributes) > 1
    paths = [check_path(path) for path in ngff.dataset_paths(attributes, multiscale)]
    arrays = [zarr.open_array(place.store, path=(place / path).path, mode="r") for path in paths]
    try:
        tables = tables_of(place, attributes)
    except (TypeError, ValueError):  # damaged, which verify says
        tables = {}
    records = object_records(attributes)
    levels = tuple(
        _level(path, array, tables.get(path), records.get(path))
        for path, array in zip(paths, arrays, strict=True)
    )
    nested = all("/" in path for path in paths)
    layout = ("datasets" if several else "groups") if nested else "arrays"
    return StoredForm(
        version, arrays[0].metadata.zarr_format, layout, codec_words(arrays[0]), levels
    )


def _level(path: str, array: ZarrArray, table: ObjectTable | None, record: object) -> StoredLevel:
    objects = grid_of_array(array).total
    stored_objects = stored_bytes = None
    if table is not None:
        stored_objects, stored_bytes = int(table.stored.sum()), int(table.sizes.sum())
    elif isinstance(record, Mapping):
        with suppress(ValueError):  # damaged, too
            mask = expected(record, objects)
            stored_objects = None if mask is None else int(mask.sum())
    return StoredLevel(
        path, array.chunks, array.shards, objects, stored_objects, stored_bytes, codec_words(array)
    )


def codec_words(array: ZarrArray) -> str:
    """Say how the chunks of an array are compressed; empty where they are not.

    Examples
    --------
    >>> import zarr
    >>> from zarr.codecs import BloscCodec
    >>> array = zarr.create_array({}, shape=(4,), dtype="u2", compressors=BloscCodec(clevel=3))
    >>> codec_words(array)
    'blosc zstd level 3 shuffle'
    """
    metadata = array.metadata
    if isinstance(metadata, ArrayV2Metadata):
        used = [*(metadata.filters or ()), *filter(None, [metadata.compressor])]
        return _codecs_in_words((codec.codec_id, codec.get_config()) for codec in used)
    codecs = metadata.codecs
    match codecs:
        case (ShardingCodec(codecs=codecs),):
            pass
    return _codecs_in_words(map(name_and_options, codecs))


def _codecs_in_words(codecs: Iterable[tuple[str, Mapping[str, object]]]) -> str:
    """Return codecs with the options that people ask for."""
    words = []
    for name, options in codecs:
        if name == "bytes":
            continue
        options_in_words = [
            text.format(_SHUFFLES.get(options[key], options[key]) if key == "shuffle" else word)
            for key, text in _OPTIONS.items()
            if (word := getattr(options.get(key), "value", options.get(key))) is not None
        ]
        words.append(" ".join([name.removeprefix("numcodecs."), *options_in_words]))
    return ", then ".join(words)
