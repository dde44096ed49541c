"""An image as it would be stored, of which objects are made when somebody asks for them.

Documents and bytes come from the writer, so that what is looked at is what `to_ome_zarr` writes,
byte for byte. Two things are not known before all of it is made: the record of what is stored, and
windows of channels where an image is large, which are those of a part of it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
import xarray as xr
from zarr.storage import MemoryStore

from xpyramid import engine, ngff
from xpyramid.geometry.tiles import Lengths, Region
from xpyramid.lazy.direct import read_directly
from xpyramid.options import WriteOptions, resolve_options
from xpyramid.store.passed_chunks import PassedChunks, PassingReader, can_pass, stored_samples
from xpyramid.store.path import NodePath
from xpyramid.types import Array
from xpyramid.viewing.image import ViewedImage
from xpyramid.viewing.objects import MadeObjects
from xpyramid.writer import documents
from xpyramid.writer.packing import pack
from xpyramid.writer.prepare import prepare_image
from xpyramid.writer.request import PreparedImage
from xpyramid.writer.sinks import ZarrSink
from xpyramid.writer.template import empty_array


class VirtualImage(MadeObjects):
    """The objects of an image that is not stored, by their keys below it.

    Parameters
    ----------
    image : ViewedImage
    options : WriteOptions, optional
        How it would be written.

    Raises
    ------
    PyramidError
        If it could not be written like that.
    """

    def __init__(self, image: ViewedImage, options: WriteOptions | None = None) -> None:
        chosen = resolve_options(WriteOptions, {} if options is None else options)
        if chosen["dtype"] == "source":
            image = replace(image, source=pack(image.source))
        nowhere = NodePath(MemoryStore(), "")
        prepared = prepare_image(image.source, nowhere, chosen, ())
        self._cache = image.cache
        self._documents = self._with_attributes(image, prepared)
        self._arrays: dict[str, _Objects] = {}
        for k, path in enumerate(prepared.paths):
            array = empty_array(prepared.template, path, nowhere)
            self._arrays[path] = _level(prepared, k, ZarrSink(array, path, path))
        for group, dataset in prepared.template.lazy.items():
            for name, variable in dataset.variables.items():
                path = f"{group}/{name}"
                array = empty_array(prepared.template, path, nowhere, {})
                self._arrays[path] = _coordinate(variable, ZarrSink(array, path, path))

    @staticmethod
    def _with_attributes(image: ViewedImage, prepared: PreparedImage) -> dict[str, bytes]:
        """Return all documents, with windows of channels as far as they are known."""
        template = prepared.template
        by_key = {**template.documents, **template.own}
        attributes = documents.attributes_of(by_key)
        if prepared.omero is not None:
            windows = image.windows(prepared.omero)
            attributes = ngff.with_metadata(attributes, "omero", windows)
        documents.consolidate(by_key, attributes=attributes)
        return {key: document.to_bytes() for key, document in by_key.items()}

    def keys(self) -> list[str]:
        """Return the keys of all objects that there may be."""
        return [*self._documents, *chain.from_iterable(a.keys() for a in self._arrays.values())]

    def make(self, key: str) -> bytes | None:
        """Return an object; None where nothing is stored under a key."""
        if key in self._documents:
            return self._documents[key]
        array = next((a for path, a in self._arrays.items() if key.startswith(f"{path}/")), None)
        index = None if array is None else array.index_of(key)
        if array is None or index is None:
            return None
        return self._cache.get((self, key), partial(array.make, index))


@dataclass(frozen=True)
class _Objects:
    """The objects of an array.

    Attributes
    ----------
    sink : ZarrSink
        What would write them.
    read : callable
        Returns the samples of a region, and chunks of them that are stored so elsewhere; None in
        place of these has zarr-python encode everything.
    """

    sink: ZarrSink
    read: Callable[[Region], tuple[Array, PassedChunks | None]]

    def keys(self) -> list[str]:
        """Return the keys of all objects that there may be."""
        return [self.sink.key(index) for index in np.ndindex(*self.sink.counts)]

    def index_of(self, key: str) -> Lengths | None:
        """Return the place of an object, None for what is not the key of one."""
        array = self.sink.target
        numbers = re.findall(r"\d{1,18}", key[len(array.path) :])
        index = tuple(map(int, numbers))[: array.ndim]
        is_inside = len(index) == array.ndim and all(map(operator.lt, index, self.sink.counts))
        return index if is_inside and self.sink.key(index) == key else None

    def make(self, index: Lengths) -> bytes | None:
        """Return the bytes of an object, None where nothing is to be stored."""
        array = self.sink.target
        triples = zip(index, array.shards or array.chunks, array.shape, strict=True)
        region = tuple(slice(i * n, min((i + 1) * n, end)) for i, n, end in triples)
        (encoded,) = self.sink.encode(region, *self.read(region))
        return b"".join(encoded.parts) if encoded.parts else None


def _level(prepared: PreparedImage, k: int, sink: ZarrSink) -> _Objects:
    """Return the objects of a level; where its source has the same ones, they are those."""
    variable = prepared.levels[k].variable
    if k == 0 and prepared.passes_through and prepared.samples is None:
        variable = read_directly(prepared.levels[k]).variable
        samples = stored_samples(variable)
        if samples is not None and sink.form is not None and can_pass(samples, sink.target):
            return _Objects(sink, PassingReader(samples, sink.target, sink.form).read)
    source = engine.Source(variable, f"level {k}")
    return _Objects(sink, lambda region: (source.read(region), PassedChunks(sink.form)))


def _coordinate(variable: xr.Variable, sink: ZarrSink) -> _Objects:
    """Return the objects of a coordinate that is yet to be computed."""
    stored = xr.conventions.encode_cf_variable(variable)
    return _Objects(sink, lambda region: (np.asarray(stored.data[region]), None))
