"""Names for the dimensions of what does not name them, or names them wrongly."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import xarray as xr

from xpyramid.errors import SourceError
from xpyramid.messages import say

#: Dimensions of an array that does not name them: the last ones of these.
BY_RANK = ("t", "c", "z", "y", "x")


def by_rank(ndim: int) -> tuple[str, ...]:
    """Return the names of the dimensions of an array without any metadata.

    Raises
    ------
    SourceError
        For more dimensions than there are names.

    Examples
    --------
    >>> by_rank(3)
    ('z', 'y', 'x')
    """
    if ndim > len(BY_RANK):
        raise SourceError(f"the array has {ndim} dimensions", accepted=f"up to {len(BY_RANK)}")
    return BY_RANK[len(BY_RANK) - ndim :]


@contextmanager
def may_repeat() -> Iterator[None]:
    """Have xarray not warn of dimensions of the same name, which `name_dims` renames or refuses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate dimension names", UserWarning)
        yield


def name_dims(array: xr.DataArray, dims: Sequence[str] | None, source: str) -> xr.DataArray:
    """Return an array whose dimensions have the names that the caller gives.

    Parameters
    ----------
    array : xarray.DataArray
    dims : sequence of str, optional
        Default: those that it has.
    source : str
        For messages.

    Raises
    ------
    SourceError
        If they do not name each dimension once; without any, if those of the array do not.
    """
    old = [str(dim) for dim in array.dims]
    is_unique = len(set(old)) == len(old)
    if dims is None:
        if is_unique:
            return array
        raise SourceError(
            f"{source!r} has the dimensions {', '.join(old)}, some of the same name",
            fix=say("give each its own with {open_source.dims}", dims=...)
            + f", as in {','.join(by_rank(len(old)))}",
        )
    if len(dims) != array.ndim or len(set(dims)) < array.ndim:
        raise SourceError(
            f"{source!r} has the shape {array.shape}",
            fix=f"{','.join(dims)!r} does not name each of its {array.ndim} dimensions once",
        )
    if is_unique:
        return array.rename({a: b for a, b in zip(array.dims, dims, strict=True) if a != b})
    return _rename_duplicates(array, dims)


def _rename_duplicates(array: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Rename dimensions of which some have the same name, which `rename` cannot tell apart."""
    counts = Counter(array.dims)
    kept = {
        name: coordinate.variable
        for name, coordinate in array.coords.items()
        if not any(dim in counts for dim in coordinate.dims)
    }
    for old, new in zip(array.dims, dims, strict=True):
        if old in array.coords:
            kept[new] = _with_dims(array.coords[old].variable, [new])
    dataset = xr.Dataset({"array": _with_dims(array.variable, dims)}, kept)
    return dataset["array"].rename(array.name)


def _with_dims(variable: xr.Variable, dims: Sequence[str]) -> xr.Variable:
    renamed = variable.to_base_variable().copy(deep=False)
    renamed.dims = tuple(dims)
    return renamed
