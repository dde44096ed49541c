import pytest

from xpyramid.geometry import units

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
        ("\u212b", "space", "angstrom"),  # angstrom sign
        ("A\u030a", "space", "angstrom"),  # A and a ring
        ("AA", "space", "angstrom"),  # astropy
        (r"\u00B5m", "space", "micrometer"),  # as ImageJ escapes it
        ("[um]", "space", "micrometer"),
        ("1e-6 m", "space", "micrometer"),
        ("10^-9 m", "space", "nanometer"),
        ("0.001 mm", "space", "micrometer"),
        ("1E-10 m", "space", "angstrom"),
        ("1 micrometer", "space", "micrometer"),
        ("100 nm", "space", None),
        ("1e999999999 m", "space", None),
        ("9" * 100_000, "space", None),
        ("60 s", "time", "minute"),
        ("msec", "time", "millisecond"),
        ("usec", "time", "microsecond"),
        ("millis", "time", "millisecond"),
        ("mins", "time", "minute"),
        ("days since 2000-01-01 00:00:00", "time", "day"),
        ("Seconds Since 1970-01-01T00:00:00Z", "time", "second"),
        ("days since 2000-01-01", "space", None),
        ("months since 2000-01-01", "time", None),
        ("dam", "space", None),
        ("das", "time", None),
        ("pixel", "space", None),
        ("reference frame", "space", None),
        ("US_survey_foot", "space", None),
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


# The enumerations UnitsLength and UnitsTime of OME-XML (2016-06), in the order of NGFF's words.
OME_XML = {
    "space": "Å am cm dm Em fm ft Gm hm in km Mm m µm mi mm nm pc Pm pm Tm yd ym Ym zm Zm",
    "time": "as cs d ds Es fs Gs hs h ks Ms µs ms min ns Ps ps s Ts ys Ys zs Zs",
}


@pytest.mark.parametrize(("words", "kind"), [(SPACE, "space"), (TIME, "time")])
def test_every_unit_in_the_spellings_people_use(words: list[str], kind: str) -> None:
    assert [units.to_ngff(symbol, kind) for symbol in OME_XML[kind].split()] == words
    for word in words:
        plural = {"inch": "inches", "foot": "feet"}.get(word, word + "s")
        british = word.replace("meter", "metre")
        for spelling in (plural, word.upper(), word.title(), british, f"1.0 {word}", f" {word} "):
            assert units.to_ngff(spelling, kind) == word
        other = {"space": "time", "time": "space"}[kind]
        assert units.to_ngff(word, other) is None


class Measured:
    """A unit as pint and astropy have them: an object that prints itself."""

    dimensionality = physical_type = "length"

    def __str__(self) -> str:
        return "1 micrometer"


def test_objects_that_are_units() -> None:
    assert units.to_ngff(Measured(), "space") == "micrometer"
    assert units.as_text(Measured()) == "1 micrometer"
    assert units.as_text(3) == 3


def test_units_of_pint() -> None:
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry()
    for kind, words in [("space", SPACE), ("time", TIME)]:
        for word in words:
            for unit in (registry.Unit(word), registry.Quantity(1, word)):
                assert units.to_ngff(unit, kind) == word
                assert units.to_ngff(f"{unit:~}", kind) == word


def test_sizes_compare_units() -> None:
    assert units.size("micrometer") == 1e-6
    assert units.size("day") == 86400
    assert units.size("inch") == 0.0254
