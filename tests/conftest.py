"""Settings that all tests share."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("helpers")  # so that what fails in there is explained, too

#: Looking for cycles as often as by default takes a tenth of the time, of which little is found.
gc.set_threshold(10_000, 20, 20)

#: What notes what is said, see `helpers.said`.
_RECORDER = pytest.StashKey[Any]()

settings.register_profile("xpyramid", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("xpyramid")


@pytest.fixture(scope="module")
def compiled_kernels() -> Iterator[None]:
    """Have kernels compiled, however little there is to do, for tests of what they compute."""
    from xpyramid.kernels import choice

    with choice.only("compiled"):
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option that has a table made of all errors and warnings."""
    parser.addoption("--messages", metavar="FILE", help="write what errors and warnings say")


def pytest_configure(config: pytest.Config) -> None:
    """Note what is said, in each process that runs tests."""
    if config.getoption("--messages"):
        from helpers.said import Recorder

        config.stash[_RECORDER] = recorder = Recorder()
        recorder.install()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Save what was said; the process that began last puts it together."""
    recorder = config.stash.get(_RECORDER, None)
    if recorder is None:
        return
    from helpers.said import load, table

    target = Path(config.getoption("--messages")).absolute()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    recorder.save(target.with_suffix(f".{worker}.json"))
    if worker == "main":
        parts = sorted(target.parent.glob(f"{target.stem}.*.json"))
        target.write_text(table(load(iter(parts))), encoding="utf-8")
