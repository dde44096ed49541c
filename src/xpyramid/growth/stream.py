"""A stored image that grows by one call after the other, while nobody else changes it.

What is known of the image is kept from one call to the next. So a call costs what is new, however
long the image is: it is not opened again, and the table of all sizes and checksums, which grows
with it, is stored at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpyramid import engine
from xpyramid.geometry.passes import Limits
from xpyramid.growth.documents import announced
from xpyramid.growth.image import GrowingImage, open_growing
from xpyramid.growth.plan import PreparedGrowth, about_nothing, plan_growth
from xpyramid.growth.rollback import roll_back, settle
from xpyramid.growth.session import Known, begin, complete, note, publish, tidy
from xpyramid.options.types import Irregular
from xpyramid.runtime.cluster import check_main_module
from xpyramid.store.identity import identity_when_longer
from xpyramid.store.path import NodePath
from xpyramid.writer.session import renew_around
from xpyramid.writer.target_checks import check_writable


@dataclass(frozen=True)
class _State:
    """An image as it is, and what is known of it.

    Attributes
    ----------
    image : GrowingImage
    known : Known
    coordinates : mapping
        Values that change with each call, as they are stored, by path.
    """

    image: GrowingImage
    known: Known
    coordinates: Mapping[str, NDArray[np.generic]]

    @classmethod
    def of(cls, image: GrowingImage) -> _State:
        """Return the state of an image as it is stored."""
        beside = {path: a for arrays in image.beside for path, a in arrays.items()}
        changing = beside if image.is_coarsened else {}
        values = {path: np.asarray(array[...]) for path, array in changing.items()}
        return cls(_with_read_coordinates(image), Known.of(image), values)


@dataclass(frozen=True)
class _Begun:
    """What has been begun, of a state that is another one once it has ended."""

    state: _State
    growth: PreparedGrowth


class Stream:
    """See the module.

    A call that breaks off, wherever that is, leaves the state as it was before. What it has stored
    is taken back by the next call: the storage that failed may not take it now.

    Parameters
    ----------
    place : NodePath
        Of the image's group, in a store that can be written to.
    dim : str or None
        The dimension that grows; None is that of time.
    limits : Limits

    Raises
    ------
    NotAPyramidError
        If there is no image, or it is not known how its levels were made.
    PlanError
        If it has no such dimension.
    TargetBusyError
        If somebody else changes it.
    """

    def __init__(self, place: NodePath, dim: str | None, limits: Limits) -> None:
        check_main_module()
        complete(place)
        self._limits = limits
        self._transaction = open_growing(place, dim).levels.transaction()
        check_writable(self._transaction.target)
        with ExitStack() as locks:
            locks.enter_context(self._transaction.lock())
            if self._transaction.noted() is not None:
                tidy(place, self._transaction.kept)
            self._state = _State.of(open_growing(place, dim))  # as nobody else changes it now
            self._locks = locks.pop_all()
        self._begun: _Begun | None = None
        self._has_grown = False

    @property
    def image(self) -> GrowingImage:
        """The image as it is."""
        return self._state.image

    def append(self, array: xr.DataArray, irregular: Irregular = "error") -> None:
        """Append samples; the image is whole when this returns.

        Parameters
        ----------
        array : xarray.DataArray
        irregular : {"error", "approximate"}
            What to do about a gap in an even coordinate.
        """
        self._roll_back()
        state = self._state
        growth = plan_growth(
            state.image, array, xr.Dataset(), self._transaction, self._limits, irregular
        )
        if growth is None:
            return
        known = state.known.copy()
        self._begun = _Begun(state, growth)
        self._has_grown = True
        record, jobs = begin(growth, self._limits, known.windows, journal=False)
        announcement = known.announcement(
            growth, engine.run(jobs, progress=False), record, self._limits, False, is_last=False
        )
        publish(self._transaction, state.image.place, announcement)
        known.documents = announcement.after
        changing = growth.growth.encoded if state.image.is_coarsened else {}
        self._state = _State(growth.growth.grown(announcement.attributes), known, changing)

    def _roll_back(self) -> bool:
        """Undo what a call has left that broke off; return whether there was one."""
        begun = self._begun
        if begun is None or begun.state is not self._state:
            return False
        roll_back(begun.growth, begun.state.known.documents, begun.state.coordinates)
        return True

    def close(self) -> None:
        """Record all sizes and checksums, and let others change the image."""
        with self._locks:
            if not self._has_grown:
                return
            is_undone = self._roll_back()
            image, known = self._state.image, self._state.known.copy()
            if is_undone:
                settle(image, known.ledger, self._limits)
            record = note(self._transaction, self._limits, about_nothing(image))
            windows = known.windows
            identity = identity_when_longer(image.attributes, record.build)
            announcement = announced(
                image.place, image.attributes, known.documents, dict(known.documents),
                image.arrays, known.ledger, record.build, identity,
                None if windows is None else windows.made(image.levels.base.shape),
            )  # fmt: skip
            publish(self._transaction, image.place, announcement)
            self._transaction.close()
            renew_around(self._transaction)


def _with_read_coordinates(image: GrowingImage) -> GrowingImage:
    """Return an image of which the coordinates are read that change while it grows."""
    base, *coarser = image.coordinates
    read = {name: v.load() for name, v in base.variables.items() if image.dim in v.dims}
    variables = {**base.variables, **read}
    return replace(image, coordinates=(xr.Dataset(coords=variables), *coarser))
