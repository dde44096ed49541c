"""Settings that all tests share."""

import os

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("helpers")  # so that what fails in there is explained, too

settings.register_profile("xpyramid", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("xpyramid")
