"""The oldest versions that pyproject.toml allows, which .ci/minimum installs and tests with."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
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


IS_MINIMUM = bool(os.environ.get("XPYRAMID_MINIMUM"))  # .ci/minimum
INSTALLED = {
    canonicalize_name(name) for names in packages_distributions().values() for name in names
}
NEEDED = expanded([*PROJECT["dependencies"], f"{PROJECT['name']}[test]"])


def floor(requirement: Requirement) -> Version:
    (lowest,) = (one.version for one in requirement.specifier if one.operator == ">=")
    return Version(lowest)


@pytest.mark.parametrize("name", NEEDED)
def test_everything_has_a_floor_that_is_tested_with(name: str) -> None:
    lowest = floor(NEEDED[name])
    if not IS_MINIMUM and name not in INSTALLED:
        pytest.skip("pip install 'xpyramid[test]'")
    installed = Version(version(name))
    assert installed >= lowest
    if IS_MINIMUM:
        assert installed.release[: len(lowest.release)] == lowest.release
