"""Where values go: the arrays of a store."""

from __future__ import annotations

from collections.abc import Sequence

from xpyramid.errors import StorageError
from xpyramid.runtime.retry import retried
from xpyramid.store.local_chunks import by_object
from xpyramid.store.path import NodePath, ZarrArray
from xpyramid.types import Array


class ZarrSink:
    """Puts values into a Zarr array.

    Attributes
    ----------
    array : zarr.Array
    name : str
        What the array is called in errors.
    """

    def __init__(self, array: ZarrArray, name: str) -> None:
        self.array = by_object(array) or array
        self.name = name

    def __call__(self, region: tuple[slice, ...], values: Array) -> None:
        """Store values in a region of whole chunks.

        Raises
        ------
        StorageError
            If that fails, and goes on to fail.
        """
        try:
            retried(lambda: self.array.__setitem__(region, values))
        except Exception as error:
            objects = self.array.shards or self.array.chunks
            raise StorageError(
                f"cannot write {self.name}, {_objects(region, objects)}: "
                f"{type(error).__name__}: {error}"
            ) from error


def open_sink(array: ZarrArray, final: NodePath, level: int) -> ZarrSink:
    """Return what writes to an array.

    Parameters
    ----------
    array : zarr.Array
    final : NodePath
        Where it will be.
    level : int
    """
    return ZarrSink(array, f"array {final}, level {level}")


def _objects(region: Sequence[slice], lengths: Sequence[int]) -> str:
    """Name the stored objects of a region by their indexes."""
    first = tuple(part.start // n for part, n in zip(region, lengths, strict=True))
    last = tuple((part.stop - 1) // n for part, n in zip(region, lengths, strict=True))
    return f"chunk {first}" if first == last else f"chunks {first} to {last}"
