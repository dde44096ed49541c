"""Settings that all tests share."""

import os

from hypothesis import settings

settings.register_profile("xpyramid", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("xpyramid")
