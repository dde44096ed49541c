"""What is read of a region of the base."""

from __future__ import annotations

from typing import NamedTuple

from xpyramid.reducers import Array


class Samples(NamedTuple):
    """Samples of a region.

    Attributes
    ----------
    values : ndarray
    stored : object
        The same as they are stored where they come from, for sinks that may store them so; None
        where they are not.
    """

    values: Array
    stored: object = None
