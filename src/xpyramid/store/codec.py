"""How chunks are bytes, where that is simple: numbers in C order with zstd, blosc or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numcodecs import Blosc, Zstd
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from xpyramid._compat import ArrayV2Metadata
from xpyramid.geometry.tiles import Lengths
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array, DType

#: What the index of a shard says of a chunk that is not stored.
ABSENT = 2**64 - 1

_SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


@dataclass(frozen=True)
class Codec:
    """How a chunk is bytes: its samples in C order, compressed or not.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the stored samples, in their byte order.
    compressor : numcodecs.Zstd, numcodecs.Blosc or None
    """

    dtype: DType
    compressor: Zstd | Blosc | None

    def encode(self, chunk: Array) -> bytes:
        """Return the bytes of a chunk."""
        samples = np.ascontiguousarray(chunk, self.dtype).reshape(-1)
        if self.compressor is None:
            return samples.tobytes()
        return bytes(self.compressor.encode(samples))

    def decode(self, data: bytes, shape: Lengths) -> Array:
        """Return the chunk that bytes hold, which must be as large as that."""
        samples = data if self.compressor is None else self.compressor.decode(data)
        return np.frombuffer(samples, self.dtype).reshape(shape)


def is_regular(array: ZarrArray) -> bool:
    """Whether all stored objects have one shape, which newer releases of zarr do not demand."""
    try:
        return len(array.shards or array.chunks) == array.ndim
    except NotImplementedError:
        return False


def fill_of(array: ZarrArray, codec: Codec) -> np.generic:
    """Return what is read where nothing is stored."""
    fill = array.metadata.fill_value
    value: np.generic = codec.dtype.type(0 if fill is None else fill)
    return value


def codec_of(array: ZarrArray) -> Codec | None:
    """Return how an array's chunks are bytes, None where that takes more than a `Codec`."""
    metadata, kind = array.metadata, array.dtype.kind
    if kind not in "biufcmM" or (kind in "mM" and metadata.fill_value is None):
        return None
    if isinstance(metadata, ArrayV2Metadata):
        simple = metadata.order == "C" and not metadata.filters
        is_known_codec = isinstance(metadata.compressor, Zstd | Blosc | None)
        return Codec(array.dtype, metadata.compressor) if simple and is_known_codec else None
    match metadata.codecs:
        case (ShardingCodec(codecs=codecs, index_codecs=index, index_location=location),):
            match index:
                case (BytesCodec(endian=endian), Crc32cCodec()):
                    is_default_index = _word(endian) == "little" and _word(location) == "end"
                    return _bytes_codec(array.dtype, codecs) if is_default_index else None
            return None
        case codecs:
            return _bytes_codec(array.dtype, codecs)


def _bytes_codec(dtype: DType, codecs: Sequence[object]) -> Codec | None:
    match codecs:
        case (BytesCodec(endian=endian), *compressors):
            stored = dtype.newbyteorder(">" if _word(endian) == "big" else "<")
        case _:
            return None
    match compressors:
        case []:
            return Codec(stored, None)
        case [ZstdCodec() as zstd]:
            return Codec(stored, Zstd(zstd.level, zstd.checksum))
        case [BloscCodec(cname=cname, clevel=level, shuffle=shuffle, blocksize=size)]:
            return Codec(stored, Blosc(_word(cname), level, _SHUFFLES[_word(shuffle)], size))
    return None


def _word(option: object) -> Any:
    """Return a codec's option as its metadata have it: newer releases of zarr have no enums."""
    return getattr(option, "value", option)
