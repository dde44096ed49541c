"""The levels of a pyramid, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

import xarray as xr

from xpyramid.messages import as_html, literal, one_line


class Levels(Sequence[xr.DataArray]):
    """Arrays that are made at first use: the graph of a large one takes seconds to make.

    Parameters
    ----------
    makers : sequence of callable
        Each returns a level.
    coordinates : sequence of xarray.Dataset
        Of each level; they are there without making it.
    """

    def __init__(
        self, makers: Sequence[Callable[[], xr.DataArray]], coordinates: Sequence[xr.Dataset]
    ) -> None:
        self._makers = tuple(makers)
        self._made: dict[int, xr.DataArray] = {}
        self.coordinates = tuple(coordinates)

    @classmethod
    def from_arrays(
        cls, levels: Sequence[xr.DataArray], extra_coordinates: Sequence[xr.Dataset] = ()
    ) -> Levels:
        """Return levels that are there already, with what lies beside their coordinates."""
        makers = [partial(_same, level) for level in levels]
        coordinates = [level.coords.to_dataset() for level in levels]
        for k, extra in enumerate(extra_coordinates):
            if extra.coords:
                coordinates[k] = coordinates[k].assign_coords(extra.coords)
        return cls(makers, coordinates)

    def as_dataset(self, k: int, name: str) -> xr.Dataset:
        """Return a level with all its coordinates, those that a DataArray has no room for too."""
        level, all_of_it = self[k], self.coordinates[k]
        extra_names = [n for n in all_of_it.coords if n not in level.coords and n != name]
        if not extra_names:
            return level.to_dataset(name=name)
        variables = {n: all_of_it.variables[n] for n in extra_names}
        return level.to_dataset(name=name).assign_coords(xr.Coordinates(variables, indexes={}))

    def with_coordinates(self, coordinates: Sequence[xr.Dataset]) -> Levels:
        """Return the levels with coordinates in place of those of the same name, one set each."""
        added = [
            dataset.drop_vars(new.coords, errors="ignore").assign_coords(new.coords)
            for dataset, new in zip(self.coordinates, coordinates, strict=True)
        ]
        makers = [partial(_assigned, self, k, coords) for k, coords in enumerate(coordinates)]
        return Levels(makers, added)

    def made(self, k: int) -> xr.DataArray | None:
        """Return a level if it is there already."""
        return self._made.get(k)

    def __repr__(self) -> str:
        lines = []
        for k, dataset in enumerate(self.coordinates):
            level = self.made(k)
            sizes = dataset.sizes if level is None else level.sizes
            lengths = ", ".join(f"{dim}: {n}" for dim, n in sizes.items())
            what = "made at first use" if level is None else str(level.dtype)
            lines.append(one_line(f"{k}  ({lengths}) {what}"))
        return "\n".join([f"<xpyramid: {len(self)} levels>", *lines])

    def _repr_html_(self) -> str:
        return as_html(self)

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int | str) -> xr.DataArray: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[xr.DataArray, ...]: ...

    def __getitem__(self, index: int | str | slice) -> xr.DataArray | tuple[xr.DataArray, ...]:
        """Return a level, or a tuple of them."""
        if isinstance(index, slice):
            return tuple(self[k] for k in range(len(self))[index])
        k = self.position(index)
        if k not in self._made:
            self._made[k] = self._makers[k]()
        return self._made[k]

    def position(self, level: int | str) -> int:
        """Return which level is meant; negative ones count from the coarsest.

        Texts are names of levels, as a DataTree has them.

        Raises
        ------
        IndexError
            If there is no such level.
        TypeError
            If it is no integer.
        """
        positions = range(len(self))
        available = f"the levels 0 to {positions[-1]}" if len(positions) > 1 else "level 0 alone"
        number: Any = int(level) if isinstance(level, str) and level.isdecimal() else level
        try:
            return int(positions[number])
        except IndexError:
            raise IndexError(f"level {level}; this pyramid has {available}") from None
        except TypeError:
            raise TypeError(
                f"level {literal(level)[:80]}; accepted: integers (this pyramid has {available}), "
                "their names, as in '0', and slices"
            ) from None


def _assigned(levels: Levels, k: int, coordinates: xr.Dataset) -> xr.DataArray:
    level = levels[k].drop_vars(coordinates.coords, errors="ignore")
    return level.assign_coords(coordinates.coords)


def _same(level: xr.DataArray) -> xr.DataArray:
    return level
