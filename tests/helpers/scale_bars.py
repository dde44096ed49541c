"""What the scale bar of a viewer says, against what is drawn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

#: In micrometres.
_UNITS = {"nm": 1e-3, "µm": 1, "um": 1, "micrometer": 1, "mm": 1000}


def check_bar(text: str, pixels: float, per_pixel: float, width: int = 0) -> None:
    """Check that a bar is as long as it says.

    Parameters
    ----------
    text : str
        What stands beside it: "25 µm".
    pixels : float
        How long it is on the screen.
    per_pixel : float
        Micrometres of the image that is drawn, in each pixel.
    width : int
        By how many pixels its ends may reach beyond what it says.
    """
    said = re.fullmatch(r"([\d.]+) (\w+)", text)
    assert said is not None, text
    assert said[2] in _UNITS, text
    wanted = float(said[1]) * _UNITS[said[2]] / per_pixel
    assert pixels == pytest.approx(wanted, rel=0.04, abs=1 + width), text


def longest_white_run(pixels: Any) -> int:
    """Return how many white pixels there are side by side, at most."""
    longest = 0
    for row in (np.asarray(pixels)[..., :3] > 240).all(axis=-1):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        longest = max(longest, *(ends[1::2] - ends[::2]), 0)
    return int(longest)
