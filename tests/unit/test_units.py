import pytest

from xpyramid import units

# https://ngff.openmicroscopy.org/0.5/#axes-md
SPACE = """angstrom attometer centimeter decimeter exameter femtometer foot gigameter
hectometer inch kilometer megameter meter micrometer mile millimeter nanometer parsec petameter
picometer terameter yard yoctometer yottameter zeptometer zettameter""".split()
TIME = """attosecond centisecond day decisecond exasecond femtosecond gigasecond hectosecond hour
kilosecond megasecond microsecond millisecond minute nanosecond petasecond picosecond second
terasecond yoctosecond yottasecond zeptosecond zettasecond""".split()


@pytest.mark.parametrize(("words", "kind"), [(SPACE, "space"), (TIME, "time")])
def test_the_words_of_ngff_are_their_own_spelling(words: list[str], kind: str) -> None:
    assert [units.to_ngff(word, kind) for word in words] == words
    assert len(words) == {"space": 26, "time": 23}[kind]


@pytest.mark.parametrize(
    ("spelling", "kind", "word"),
    [
        ("um", "space", "micrometer"),
        ("µm", "space", "micrometer"),  # micro sign
        ("μm", "space", "micrometer"),  # Greek mu
        ("micron", "space", "micrometer"),
        ("Micrometers", "space", "micrometer"),
        ("metres", "space", "meter"),
        ("m", "space", "meter"),
        ("mm", "space", "millimeter"),
        ("Mm", "space", "megameter"),
        ("nm", "space", "nanometer"),
        ("Å", "space", "angstrom"),
        ("ft", "space", "foot"),
        ("s", "time", "second"),
        ("ms", "time", "millisecond"),
        ("min", "time", "minute"),
        ("hours", "time", "hour"),
        ("d", "time", "day"),
        ("degrees_north", "space", None),
        ("degree", "space", None),
        ("m", "time", None),
        ("um", "channel", None),
        (None, "space", None),
        ("", "space", None),
        (3, "space", None),
    ],
)
def test_spellings(spelling: object, kind: str, word: str | None) -> None:
    assert units.to_ngff(spelling, kind) == word


def test_sizes_compare_units() -> None:
    assert units.size("micrometer") == 1e-6
    assert units.size("day") == 86400
    assert units.size("inch") == 0.0254
