"""A stored image that grows by one call after the other, while nobody else changes it.

What is known of the image is kept from one call to the next. So a call costs what is new, however
long the image is: it is not opened again, and the table of all sizes and checksums, which grows
with it, is stored at the end.
"""

from __future__ import annotations

from contextlib import ExitStack

import xarray as xr

from xpyramid import engine
from xpyramid.geometry.passes import Limits
from xpyramid.growth.documents import announced
from xpyramid.growth.image import open_growing
from xpyramid.growth.plan import about_nothing, plan_growth
from xpyramid.growth.session import Known, begin, complete, note, publish, tidy, transaction_of
from xpyramid.options.types import Irregular
from xpyramid.runtime.cluster import check_main_module
from xpyramid.store.identity import identity_of
from xpyramid.store.path import NodePath
from xpyramid.writer.session import consolidate_above
from xpyramid.writer.target_checks import check_writable


class Stream:
    """See the module.

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
        self.image = open_growing(place, dim)
        self._transaction = transaction_of(self.image.levels)
        check_writable(self._transaction.target)
        self._locks = ExitStack()
        self._locks.enter_context(self._transaction.lock())
        if self._transaction.noted() is not None:
            tidy(place, self._transaction.kept)
        self.image = open_growing(place, dim)  # as nobody else can change it now
        self._known, self._has_grown = Known.of(self.image), False

    def append(self, array: xr.DataArray, irregular: Irregular = "error") -> None:
        """Append samples; the image is whole when this returns.

        Parameters
        ----------
        array : xarray.DataArray
        irregular : {"error", "approximate"}
            What to do about a gap in an even coordinate.
        """
        growth = plan_growth(
            self.image, array, xr.Dataset(), self._transaction, self._limits, irregular
        )
        if growth is None:
            return
        record, jobs = begin(growth, self._limits, self._known.windows, journal=False)
        made = self._known.announcement(
            growth, engine.run(jobs, progress=False), record, self._limits, False, is_last=False
        )
        publish(self._transaction, self.image.place, made)
        self.image, self._known.documents = growth.growth.grown(made.attributes), made.after
        self._has_grown = True

    def close(self) -> None:
        """Record all sizes and checksums, and let others change the image."""
        with self._locks:
            if not self._has_grown:
                return
            image, known = self.image, self._known
            record = note(self._transaction, self._limits, about_nothing(image))
            windows = known.windows
            made = announced(
                image.place, image.attributes, known.documents, dict(known.documents),
                image.arrays, known.ledger, record.build, identity_of(image.attributes),
                None if windows is None else windows.made(image.levels.base.shape),
            )  # fmt: skip
            publish(self._transaction, image.place, made)
            self._transaction.close()
            consolidate_above(self._transaction)
