"""Which module speaks which version."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xpyramid.ngff.model import Multiscale


@dataclass(frozen=True)
class Version:
    """An OME-NGFF version: its module, imported at first use, and its Zarr format."""

    module: str
    zarr_format: Literal[2, 3]

    def attributes(self, image: Multiscale) -> dict[str, Any]:
        """Return the group attributes that announce an image."""
        found: dict[str, Any] = importlib.import_module(self.module).attributes(image)
        return found


VERSIONS: Mapping[str, Version] = {
    "0.4": Version("xpyramid.ngff.v04", 2),
    "0.5": Version("xpyramid.ngff.v05", 3),
    "0.6": Version("xpyramid.ngff.v06", 3),
}
