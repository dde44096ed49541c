"""Chunks that cannot be decoded are named: codecs say what is wrong, and not where.

What a store cannot give is an error that names the place (`xpyramid.store.retrying`), and so is an
object of another size than recorded (`xpyramid.store.checked`). Bytes of the right size that are no
chunk are noticed by a codec alone, in words of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from zarr.storage import StorePath

from xpyramid._compat import store_path_of, wrap_pipeline
from xpyramid.errors import NotAPyramidError, PyramidError, ReadError
from xpyramid.messages import say
from xpyramid.store.path import NodePath, ZarrArray, as_prefix


@dataclass(frozen=True)
class NamingPipeline:
    """Around what decodes the chunks of an array.

    Attributes
    ----------
    inner : zarr.abc.codec.CodecPipeline
    path : str
        Of the array in its store.
    """

    inner: Any
    path: str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def read(
        self, chunks: Iterable[tuple[StorePath, object]], *args: object, **options: object
    ) -> object:
        """Read chunks, each of them given by its place, and by more that is zarr's.

        Raises
        ------
        ReadError
            For the first of them that cannot be read.
        """
        several = list(chunks)
        try:
            return await self.inner.read(several, *args, **options)
        except (PyramidError, MemoryError, NotImplementedError, Warning):
            raise
        except Exception as error:  # whatever a codec raises
            culprit, reason = several[0][0], error
            for chunk in several if several[1:] else ():
                try:
                    await self.inner.read([chunk], *args, **options)
                except Exception as own:
                    culprit, reason = chunk[0], own
                    break
            raise self._read_error(culprit, reason) from reason

    def _read_error(self, place: StorePath, reason: Exception) -> ReadError:
        key = str(place.path).removeprefix(as_prefix(self.path))
        text = " ".join(f"{type(reason).__name__}: {reason}".split())[:500]
        return ReadError(
            f"cannot read {NodePath(place.store, self.path)}, chunk {key}: it cannot be decoded, "
            f"and is damaged, or of a codec that is not at hand: {text}",
            fix=say("restore it from a copy; `xpyramid.verify()` says what else is damaged"),
        )


def name_damage(array: ZarrArray) -> ZarrArray:
    """Have an array that was opened to be read name the chunks that it cannot decode."""
    path = store_path_of(array).path
    wrap_pipeline(array, lambda inner: NamingPipeline(inner, path))
    return array


def check_codecs(array: ZarrArray, path: str) -> None:
    """Refuse what runs code when it is decoded.

    Raises
    ------
    NotAPyramidError
    """
    metadata = array.metadata
    if metadata.zarr_format == 2:
        codecs = [metadata.compressor, *(metadata.filters or ())]
        names = {str(getattr(codec, "codec_id", "")) for codec in codecs}
    else:
        names = {str(codec.to_dict().get("name")) for codec in metadata.codecs}
    if any("pickle" in name for name in names):
        raise NotAPyramidError(
            f"{path[:80]!r} holds pickled objects, which run code when they are read", fix="refused"
        )
