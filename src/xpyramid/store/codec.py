"""How chunks are bytes: numbers, perhaps transposed and filtered, then compressed.

numcodecs does the coding, as it does for zarr-python, whose event loop is not needed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import google_crc32c
import numcodecs
import numpy as np
from numcodecs.compat import ensure_bytes, ensure_ndarray
from zarr.abc.codec import Codec as ZarrCodec
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, TransposeCodec

from xpyramid._compat import ArrayV2Metadata
from xpyramid.geometry.tiles import Lengths
from xpyramid.store.path import ZarrArray
from xpyramid.types import Array, DType

#: What the index of a shard says of a chunk that is not stored.
ABSENT = 2**64 - 1

Shuffle = Literal["noshuffle", "shuffle", "bitshuffle"]

#: How Blosc shuffles, by the words of Zarr v3.
SHUFFLES: dict[Shuffle, int] = {
    "noshuffle": numcodecs.Blosc.NOSHUFFLE,
    "shuffle": numcodecs.Blosc.SHUFFLE,
    "bitshuffle": numcodecs.Blosc.BITSHUFFLE,
}

#: Codecs of numcodecs from samples to samples that take them one after the other.
_FILTERS = {"astype", "bitround", "delta", "fixedscaleoffset", "quantize"}

#: Those from bytes to bytes.
_COMPRESSORS = {
    "adler32", "blosc", "bz2", "crc32", "fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma",
    "shuffle", "zlib", "zstd",
}  # fmt: skip


#: What codecs take and return: samples, or bytes.
Coded = bytes | Array


#: What a codec is told beside its name.
Options = Mapping[str, object]


class Coder(Protocol):
    """What numcodecs has for each way of coding."""

    def encode(self, buf: Coded) -> Coded:
        """Return what is stored of something."""

    def decode(self, buf: Coded) -> Coded:
        """Return what is stored."""


@dataclass(frozen=True)
class Codec:
    """How a chunk is bytes.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the samples, in the byte order in which they are stored.
    compressor : Coder or None
    filters : tuple of Coder
        What is done to the samples before, the first of them first.
    order : tuple of int or None
        Of the axes as they are stored, the last of them fastest; None for C order.
    """

    dtype: DType
    compressor: Coder | None
    filters: tuple[Coder, ...] = ()
    order: Lengths | None = None

    @property
    def adds_crc32c(self) -> bool:
        """Whether bytes end with their own CRC-32C."""
        coders = (
            self.compressor.coders if isinstance(self.compressor, _Chain) else [self.compressor]
        )
        return any(isinstance(coder, _Crc32c) for coder in coders)

    def encode(self, chunk: Array) -> bytes:
        """Return the bytes of a chunk."""
        ordered = chunk if self.order is None else chunk.transpose(self.order)
        samples: Coded = np.ascontiguousarray(ordered, self.dtype).reshape(-1)
        for coder in self.filters:
            samples = coder.encode(samples)
        return _bytes(samples if self.compressor is None else self.compressor.encode(samples))

    def decode(self, data: bytes, shape: Lengths) -> Array:
        """Return the chunk that bytes hold, which must be as large as that."""
        samples: Coded = data if self.compressor is None else self.compressor.decode(data)
        for coder in reversed(self.filters):
            samples = coder.decode(samples)
        flat: Array = ensure_ndarray(samples).reshape(-1).view(self.dtype)
        if self.order is None:
            return flat.reshape(shape)
        stored = flat.reshape([shape[axis] for axis in self.order])
        return stored.transpose(np.argsort(self.order))


@dataclass(frozen=True)
class _Chain:
    """Several codecs from bytes to bytes, one after the other."""

    coders: tuple[Coder, ...]

    def encode(self, buf: Coded) -> Coded:
        for coder in self.coders:
            buf = coder.encode(buf)
        return buf

    def decode(self, buf: Coded) -> Coded:
        for coder in reversed(self.coders):
            buf = coder.decode(buf)
        return buf


class _Crc32c:
    """Bytes with their CRC-32C behind them, as Zarr v3 has it.

    https://zarr-specs.readthedocs.io/en/latest/v3/codecs/crc32c/
    """

    def encode(self, buf: Coded) -> bytes:
        data = _bytes(buf)
        checksum: bytes = google_crc32c.value(data).to_bytes(4, "little")
        return data + checksum

    def decode(self, buf: Coded) -> bytes:
        data, checksum = _bytes(buf)[:-4], _bytes(buf)[-4:]
        if google_crc32c.value(data).to_bytes(4, "little") != checksum:
            raise ValueError("the checksum is another one")
        return data


class _Gzip(numcodecs.GZip):  # type: ignore[misc]  # numcodecs ships no types
    """Gzip without the time in its header, so that equal samples are equal bytes.

    https://datatracker.ietf.org/doc/html/rfc1952#section-2.3: 0 is no time.
    """

    def encode(self, buf: Coded) -> bytes:
        data = _bytes(super().encode(buf))
        return data[:4] + bytes(4) + data[8:]


def _bytes(data: Coded) -> bytes:
    return bytes(ensure_bytes(data))


def shuffle_of(blosc: numcodecs.Blosc, codec: Codec) -> int:
    """Return how Blosc shuffles; left to itself, it depends on the size of samples."""
    if blosc.shuffle != numcodecs.Blosc.AUTOSHUFFLE:
        return int(blosc.shuffle)
    is_byte = codec.dtype.itemsize == 1
    return int(numcodecs.Blosc.BITSHUFFLE if is_byte else numcodecs.Blosc.SHUFFLE)


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
        filters, own = tuple(metadata.filters or ()), metadata.compressor
        names = {codec.codec_id for codec in (*filters, *([] if own is None else [own]))}
        compressor: Coder | None = _Gzip(own.level) if isinstance(own, numcodecs.GZip) else own
        if not names <= _FILTERS | _COMPRESSORS | {"packbits"}:
            return None
        order = None if metadata.order == "C" else tuple(reversed(range(array.ndim)))
        return Codec(array.dtype, compressor, filters, order)
    match metadata.codecs:
        case (ShardingCodec(codecs=codecs, index_codecs=index, index_location=location),):
            match index:
                case (BytesCodec(endian=endian), Crc32cCodec()):
                    is_default_index = _word(endian) == "little" and _word(location) == "end"
                    return _codec_v3(array.dtype, codecs) if is_default_index else None
            return None
        case codecs:
            return _codec_v3(array.dtype, codecs)


def _codec_v3(dtype: DType, codecs: Sequence[ZarrCodec]) -> Codec | None:
    """Return what codecs of Zarr v3 do: any to samples, one to bytes, any to bytes."""
    named = [name_and_options(codec) for codec in codecs]
    names = [name for name, _ in named]
    if names.count("bytes") != 1:
        return None
    at = names.index("bytes")
    stored = dtype.newbyteorder(">" if _word(named[at][1].get("endian")) == "big" else "<")
    before, after = named[:at], named[at + 1 :]
    order = None
    match codecs[:at]:
        case [TransposeCodec(order=axes)]:
            order, before = tuple(axes), []
    filters = _all_known(_filter(dtype, *codec_named) for codec_named in before)
    itemsize = None if before else stored.itemsize
    coders = _all_known(_compressor(itemsize, *codec_named) for codec_named in after)
    if filters is None or coders is None or (filters and not stored.isnative):
        return None
    compressor = None if not coders else coders[0] if len(coders) == 1 else _Chain(coders)
    return Codec(stored, compressor, filters, order)


def _all_known(coders: Iterable[Coder | None]) -> tuple[Coder, ...] | None:
    """Return codecs, None where one of them is none that is known here."""
    listed = list(coders)
    known = tuple(coder for coder in listed if coder is not None)
    return known if len(known) == len(listed) else None


def name_and_options(codec: ZarrCodec) -> tuple[str, Options]:
    """Return the name and the options of a codec of Zarr v3."""
    document = codec.to_dict()
    options = document.get("configuration")
    return str(document["name"]), options if isinstance(options, Mapping) else {}


def _filter(dtype: DType, name: str, options: Options) -> Coder | None:
    """Return a codec from samples to samples, as zarr-python completes its options."""
    own = name.removeprefix("numcodecs.")
    if own not in _FILTERS or own == name:
        return None
    missing = {"astype": "decode_dtype", "fixedscaleoffset": "dtype", "quantize": "dtype"}.get(own)
    return _coder(own, {missing: dtype.str, **options} if missing else options)


def _compressor(itemsize: int | None, name: str, options: Options) -> Coder | None:
    """Return a codec from bytes to bytes, which are samples of some size, if that is known."""
    own = name.removeprefix("numcodecs.")
    if own == "shuffle" != name:
        options = {"elementsize": itemsize, **options}
    if own != name:
        return _coder(own, options) if own in _COMPRESSORS else None
    match name:
        case "crc32c":
            return _Crc32c()
        case "zstd" | "gzip":
            return _coder(name, options)
        case "blosc":
            own_words: dict[str, object] = {
                key: _word(options[key]) for key in ("cname", "clevel", "blocksize")
            }
            return _coder(
                name, {**own_words, "shuffle": SHUFFLES[cast("Shuffle", _word(options["shuffle"]))]}
            )
    return None


def _coder(name: str, options: Options) -> Coder | None:
    """Return a codec of numcodecs, None where its options are not what it expects."""
    try:
        coder: Coder = numcodecs.get_codec({"id": name, **options})
    except (TypeError, ValueError):
        return None
    return _Gzip(coder.level) if isinstance(coder, numcodecs.GZip) else coder


def _word(option: object) -> object:
    """Return a codec's option as its metadata have it: newer releases of zarr have no enums."""
    return getattr(option, "value", option)
