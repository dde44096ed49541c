"""A known version with something behind it is that version; nothing else is."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpyramid import errors, ngff
from xpyramid.ngff.parser import READABLE, is_published, spec_version

WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
SUFFIX = st.builds(
    lambda sign, words: sign + ".".join(words),
    st.sampled_from("-.+_"),
    st.lists(WORD, min_size=1, max_size=3),
)
PYTHON = st.builds(
    lambda kind, n: f"{kind}{n}", st.sampled_from(["dev", "rc", "a", "b", "alpha", "pre"]),
    st.integers(0, 99),
)  # fmt: skip
KNOWN = st.sampled_from(READABLE)


def parse(version: str) -> str | None:
    """Return the version of an image that declares one."""
    transform = [{"type": "scale", "scale": [1, 1]}]
    dataset = {"path": "0", "coordinateTransformations": transform}
    image = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [dataset]}
    return ngff.parse({"ome": {"version": version, "multiscales": [image]}}).version


@given(KNOWN, SUFFIX | PYTHON)
def test_a_suffix_changes_nothing_but_is_said(known: str, suffix: str) -> None:
    version = known + suffix
    assert spec_version(version) == known
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert parse(version) == known
    assert [version in str(warning.message) for warning in told] == [True] * (
        not is_published(version)
    )
    assert known == "0.6" or not is_published(version)


@given(KNOWN, st.integers(0, 999), st.sampled_from(["", "-dev", ".1"]))
def test_another_number_is_another_version(known: str, digits: int, suffix: str) -> None:
    assert spec_version(f"{known}{digits}{suffix}") is None
    assert spec_version(f"1{known}{suffix}") is None


@given(st.text(max_size=12))
def test_any_text(version: str) -> None:
    found = spec_version(version)
    assert found is None or (found in READABLE and version.startswith(found))
    if found is None:
        with pytest.raises(errors.NotAPyramidError, match=r"accepted: 0\.1"):
            parse(version)
