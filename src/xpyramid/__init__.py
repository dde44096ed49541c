"""A ``.pyramid`` accessor for xarray, and an OME-Zarr pyramid writer whose numbers are exact."""

import importlib
from typing import TYPE_CHECKING

from xpyramid import accessor as _accessor  # registers .pyramid
from xpyramid import errors
from xpyramid._version import __version__

if TYPE_CHECKING:
    from xpyramid.example import example_field
    from xpyramid.existing import Appender, add_levels, drop_levels
    from xpyramid.existing.repair import repair
    from xpyramid.existing.update import update
    from xpyramid.in_memory import downsample
    from xpyramid.opening import open_pyramid, open_pyramids
    from xpyramid.pyramid import Pyramid
    from xpyramid.pyramids import Pyramids
    from xpyramid.sources import open_source
    from xpyramid.verifier.verify import verify

__all__ = [
    "Appender",
    "Pyramid",
    "Pyramids",
    "__version__",
    "add_levels",
    "downsample",
    "drop_levels",
    "errors",
    "example_field",
    "open_pyramid",
    "open_pyramids",
    "open_source",
    "repair",
    "update",
    "verify",
]

#: Where the public names are, which are imported when they are asked for.
_HOMES = {
    "Appender": "existing",
    "Pyramid": "pyramid",
    "Pyramids": "pyramids",
    "add_levels": "existing",
    "downsample": "in_memory",
    "drop_levels": "existing",
    "example_field": "example",
    "open_pyramid": "opening",
    "open_pyramids": "opening",
    "open_source": "sources",
    "repair": "existing",
    "update": "existing",
    "verify": "verifier",
}

del _accessor


def __getattr__(name: str) -> object:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
