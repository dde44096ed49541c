"""Under which names the parts of a level lie in its group, and how they come back.

A group knows each name once, and what is called as a dimension is an index to xarray. An array that
is called ``t``, or a coordinate ``y`` beside a latitude that becomes y, needs another name there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import xarray as xr

from xpyramid.geometry.axes import AxisSpec
from xpyramid.options.types import Names

T = TypeVar("T")

#: Whose names the dimensions of stored arrays have: those that viewers know, or xarray's.


def name_of(array: xr.DataArray, otherwise: str) -> str:
    """Return the name of an array as text, or another where it has none."""
    return otherwise if array.name in (None, "") else str(array.name)


@dataclass(frozen=True)
class StoredNames:
    """The names of the parts of a level in its group.

    Attributes
    ----------
    array : str
        Of the array itself.
    dims : mapping of str to str
        From each dimension to the one that is stored.
    coords : mapping of str to str
        From each coordinate to the array that it is stored as. The coordinate of a dimension is
        called as this is stored: it is its index.
    """

    array: str
    dims: Mapping[str, str]
    coords: Mapping[str, str]

    @property
    def renamed(self) -> dict[str, str]:
        """From stored coordinates to those that they are, where the dimensions do not say it."""
        return {
            stored: name
            for name, stored in self.coords.items()
            if name not in self.dims and name != stored
        }

    def in_text(self, text: str) -> str:
        """Return a list of coordinates, as CF has it, with their stored names."""
        words = ((word.rstrip(":"), ":" * word.endswith(":")) for word in text.split())
        return " ".join(self.coords.get(word, word) + colon for word, colon in words)


def choose_names(
    array: str, axes: Iterable[AxisSpec], coords: Collection[str], names: Names
) -> StoredNames:
    """Return the names under which a level is stored.

    Parameters
    ----------
    array : str
        Name of the array.
    axes : iterable of AxisSpec
    coords : collection of str
        Names of its coordinates.
    names : {"ome", "source"}
        Whether dimensions get the names that viewers know, or keep their own.
    """
    dims = {axis.dim: axis.name if names == "ome" else axis.dim for axis in axes}
    taken = {*dims.values()}
    others = {name: _listable(name) for name in coords if name not in dims}
    stored = {name: name for name in others if others[name] == name and name not in taken}
    taken |= stored.keys()
    for name, wish in others.items():
        if name not in stored:
            stored[name] = _free(wish, taken)
            taken.add(stored[name])
    indexes = {name: dims[name] for name in coords if name in dims}
    return StoredNames(_free(_printable(array), taken), dims, indexes | stored)


def _printable(name: str) -> str:
    """Return a name that can be a path in metadata, which is to be read by people."""
    return "".join(character if character.isprintable() else "_" for character in name)


def _listable(name: str) -> str:
    """Return a name as xarray can list those of coordinates: with spaces between them."""
    return "_".join(_printable(name).split()) or "_"


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken, as near to a wish as can be."""
    while name in taken:
        name += "_"
    return name


def with_names(
    variables: Mapping[T, xr.Variable], dims: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, xr.Variable]:
    """Return variables under other names, along dimensions of other names.

    `xarray.Dataset.rename` refuses, or warns of, names that are given and taken at once.
    """
    renamed = {}
    for name, variable in variables.items():
        copied = variable.to_base_variable().copy(deep=False)
        copied.dims = tuple(dims.get(str(dim), str(dim)) for dim in variable.dims)
        if chunks := variable.encoding.get("preferred_chunks"):
            on_disk = {dims.get(str(dim), dim): n for dim, n in chunks.items()}
            copied.encoding = {**variable.encoding, "preferred_chunks": on_disk}
        renamed[names.get(str(name), str(name))] = copied
    return renamed


def names_back(metadata: Mapping[str, object], variables: Iterable[str]) -> dict[str, str]:
    """Return from stored coordinates to those that they are, as the metadata of an image say it.

    Invalid entries (missing names, or two for one) are left out.
    """
    noted = metadata.get("renamed")
    stored_names = {*variables}
    renamed: dict[str, str] = {}
    for stored, name in noted.items() if isinstance(noted, Mapping) else ():
        if stored in stored_names and isinstance(name, str) and name not in renamed.values():
            renamed[stored] = name
    return renamed


def own_name(metadata: Mapping[str, object], stored: str) -> str:
    """Return the name of the array that is stored under another, as the metadata say it."""
    name = metadata.get("variable")
    return name if isinstance(name, str) else stored
