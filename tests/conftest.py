"""Settings that all tests share."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("helpers")  # so that what fails in there is explained, too

#: Looking for cycles as often as by default takes a tenth of the time, of which little is found.
gc.set_threshold(10_000, 20, 20)

settings.register_profile("xpyramid", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("xpyramid")


@pytest.fixture(scope="module")
def compiled_kernels() -> Iterator[None]:
    """Have kernels compiled, however little there is to do, for tests of what they compute."""
    from xpyramid.kernels import choice

    with choice.only("compiled"):
        yield
