"""A stored image that grows by one call after the other, while nobody else changes it.

What is known of the image is kept from one call to the next. So a call costs what is new, however
long the image is: it is not opened again, and the table of all sizes and checksums, which grows
with it, is stored at the end.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import xarray as xr

from xpyramid import engine
from xpyramid.geometry.passes import Limits
from xpyramid.growth.documents import Ledger, announced, announcement, documents_below
from xpyramid.growth.image import open_growing
from xpyramid.growth.plan import about_nothing, plan_growth
from xpyramid.growth.session import begin, complete, finish_levels, note, publish, transaction_of
from xpyramid.growth.windows import GrowingWindows, count_again
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
    irregular : {"error", "approximate"}
        What to do about a gap in an even coordinate.

    Raises
    ------
    NotAPyramidError
        If there is no image, or it is not known how its levels were made.
    PlanError
        If it has no such dimension.
    TargetBusyError
        If somebody else changes it.
    """

    def __init__(
        self, place: NodePath, dim: str | None, limits: Limits, irregular: Irregular = "error"
    ) -> None:
        check_main_module()
        complete(place)
        self._limits, self._irregular = limits, irregular
        self.image = open_growing(place, dim)
        self._transaction = transaction_of(self.image.levels)
        check_writable(self._transaction.target)
        self._locks = ExitStack()
        self._locks.enter_context(self._transaction.lock())
        self.image = open_growing(place, dim)  # as nobody else can change it now
        self._ledger, self._windows = Ledger.of(self.image), GrowingWindows.of(self.image)
        self._documents = documents_below(place)
        self._build = ""

    def append(self, array: xr.DataArray) -> None:
        """Append samples; the image is whole when this returns."""
        growth = plan_growth(
            self.image, array, xr.Dataset(), self._transaction, self._limits, self._irregular
        )
        if growth is None:
            return
        record, jobs = begin(growth, self._limits, self._windows, journal=False)
        summaries = engine.run(jobs, progress=False)
        written = engine.join(summary.written for summary in summaries)
        regions, rows = finish_levels(growth, written, self._limits, progress=False)
        longer = self.image.longer(growth.growth.total)
        if self._ledger is not None:
            self._ledger.add(self.image, longer, regions, rows)
        ledger = None if self._ledger is None else self._ledger.without_tables()
        windows = self._windows
        if windows is not None:
            shape = longer[self.image.levels.paths[0]].shape
            count = partial(count_again, self.image, windows, self._limits)
            windows.add(summaries[0].statistics, count, shape)
        made = announcement(
            growth.growth, self._documents, longer, ledger, record.build,
            None if windows is None else windows.made(shape, is_kept=False),
        )  # fmt: skip
        publish(self._transaction, self.image.place, made)
        self.image, self._documents = growth.growth.grown(made.attributes), made.after
        self._build = record.build

    def close(self) -> None:
        """Record all sizes and checksums, and let others change the image."""
        with self._locks:
            if not self._build:
                return
            image, windows = self.image, self._windows
            self._build = note(self._transaction, self._limits, about_nothing(image)).build
            made = announced(
                image.place, image.attributes, self._documents, dict(self._documents),
                image.arrays, self._ledger, self._build, identity_of(image.attributes),
                None if windows is None else windows.made(image.levels.base.shape),
            )  # fmt: skip
            publish(self._transaction, image.place, made)
            self._transaction.close()
            consolidate_above(self._transaction)
