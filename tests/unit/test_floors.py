"""The oldest versions that pyproject.toml allows, which .ci/minimum installs and tests with."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT: dict[str, Any] = tomllib.loads(
    Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8")
)["project"]


def expanded(lines: list[str]) -> dict[str, Requirement]:
    """Return requirements by name, with those of our own extras in place of the extras."""
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, lines):
        if requirement.name == PROJECT["name"]:
            for extra in sorted(requirement.extras):
                found |= expanded(PROJECT["optional-dependencies"][extra])
        else:
            found[requirement.name] = requirement
    return found


NEEDED = expanded([*PROJECT["dependencies"], f"{PROJECT['name']}[test]"])


def floor(requirement: Requirement) -> Version:
    (lowest,) = (one.version for one in requirement.specifier if one.operator == ">=")
    return Version(lowest)


@pytest.mark.parametrize("name", NEEDED)
def test_everything_has_a_floor_that_is_tested_with(name: str) -> None:
    lowest, installed = floor(NEEDED[name]), Version(version(name))
    assert installed >= lowest
    if os.environ.get("XPYRAMID_MINIMUM"):  # .ci/minimum
        assert installed.release[: len(lowest.release)] == lowest.release
