"""Pictures of pyramids."""

from xpyramid.plotting.plot import Plot

__all__ = ["Plot"]
