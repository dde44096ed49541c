"""A ``.pyramid`` accessor for xarray, and an OME-Zarr pyramid writer whose numbers are exact."""

from xpyramid import accessor as _accessor  # registers .pyramid
from xpyramid import errors
from xpyramid._version import __version__
from xpyramid.downsample import downsample
from xpyramid.example import example_field
from xpyramid.existing import Appender, add_levels, drop_levels, repair, update
from xpyramid.opening import open_pyramid, open_pyramids
from xpyramid.pyramid import Pyramid
from xpyramid.pyramids import Pyramids
from xpyramid.sources import open_source
from xpyramid.verifier import verify

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

del _accessor
