"""The version, for the package and for what it writes: that of the tag, or of the commits since."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("xpyramid")
except PackageNotFoundError:  # the folder alone is on the path
    __version__ = "0+unknown"
