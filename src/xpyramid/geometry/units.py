"""Units: from the spellings people use to the words OME-NGFF allows.

NGFF 0.4 and 0.5 (section "axes" metadata) recommend the UDUNITS-2 names of 26 units of length and
23 units of time, spelled in full. Anything else makes some viewers refuse the whole store.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from fractions import Fraction

_PREFIXES = {
    "yotta": ("Y", 24), "zetta": ("Z", 21), "exa": ("E", 18), "peta": ("P", 15), "tera": ("T", 12),
    "giga": ("G", 9), "mega": ("M", 6), "kilo": ("k", 3), "hecto": ("h", 2), "": ("", 0),
    "deci": ("d", -1), "centi": ("c", -2), "milli": ("m", -3), "micro": ("u", -6),
    "nano": ("n", -9), "pico": ("p", -12), "femto": ("f", -15), "atto": ("a", -18),
    "zepto": ("z", -21), "yocto": ("y", -24),
}  # fmt: skip
#: What stands for micro: people's u, the Greek letter (the micro sign becomes it), and pint's own.
_MICRO = ("u", "μ", "mu", "mc")

#: Units that are not a power of ten of the base unit: size in metres or seconds, other spellings.
_OTHER_LENGTHS = {
    "angstrom": (Fraction(1, 10**10), ("Å", "AA", "Ang", "ångström", "ångstrom")),
    "inch": (Fraction(254, 10**4), ("in", "inches", "international_inch")),
    "foot": (Fraction(3048, 10**4), ("ft", "feet", "international_foot", "international_feet")),
    "yard": (Fraction(9144, 10**4), ("yd", "international_yard")),
    "mile": (Fraction(1609344, 10**3), ("mi", "international_mile")),
    "parsec": (Fraction(30856775814913673), ("pc",)),
}
_OTHER_TIMES = {
    "minute": (Fraction(60), ("min", "mins")),
    "hour": (Fraction(3600), ("h", "hr", "hrs")),
    "day": (Fraction(86400), ("d",)),
}

#: Angles, and samples counted, which lie in space though NGFF has no word for them; in lower case.
_ANGLES = frozenset(
    re.findall(
        r"\S+",
        "degree degrees deg ° degree_north degrees_north degree_n degrees_n degree_east "
        "degrees_east degree_e degrees_e radian radians rad rads mrad milliradian arcsec arcsecs "
        "arcsecond arcseconds arcmin arcmins arcminute arcminutes mas pixel pixels px voxel voxels",
    )
)

#: Lengths that NGFF has no word for, in metres: exact by definition.
_IN_METERS = (
    (Fraction(149597870700), ("AU", "au", "ua", "astronomical_unit", "astronomical unit")),
    (Fraction(9460730472580800), ("ly", "lyr", "light_year", "light-year", "light year")),
    (Fraction(1852), ("nmi", "nautical_mile", "nautical mile", "international_nautical_mile")),
)

#: Letters of a symbol, whose case counts; of words, it does not.
_SYMBOL = 3

#: A number and a unit: "1e-6 m", "10^-6 m", "1 micrometer" (how pint prints a quantity).
_SCALED = re.compile(
    r"(?:10\^(?P<power>[-+]?\d+)|(?P<number>\d*\.?\d+(?:[eE][-+]?\d+)?))[ .*]*(?P<unit>[^\W\d].*)"
)

#: How much of a word must be right where another one is meant.
_ALIKE = 0.8

#: No unit is as large or as small as to need more; what strangers write must not take long.
_MOST_DIGITS = 60
_MOST_CHARACTERS = 100


def _vocabulary(
    base: str,
    symbol: str,
    words: tuple[str, ...],
    others: dict[str, tuple[Fraction, tuple[str, ...]]],
) -> tuple[dict[str, Fraction], dict[str, str]]:
    """Return the size of each NGFF unit, and the NGFF unit of each spelling."""
    sizes: dict[str, Fraction] = {}
    spellings: dict[str, str] = {}
    for prefix, (letter, power) in _PREFIXES.items():
        unit = prefix + base
        sizes[unit] = Fraction(10) ** power
        for start in (prefix, *(_MICRO if letter == "u" else (letter,))):
            spelled = [symbol, *words, *(word + "s" for word in words)]
            spellings |= dict.fromkeys([start + word for word in spelled], unit)
    for unit, (size, also) in others.items():
        sizes[unit] = size
        spellings |= dict.fromkeys((unit, unit + "s", *also), unit)
    return sizes, spellings


_LENGTHS, _LENGTH_SPELLINGS = _vocabulary("meter", "m", ("meter", "metre"), _OTHER_LENGTHS)
_TIMES, _TIME_SPELLINGS = _vocabulary("second", "s", ("second", "sec"), _OTHER_TIMES)
_LENGTH_SPELLINGS |= dict.fromkeys(("micron", "microns", "μ"), "micrometer")

_SPELLINGS = {"space": _LENGTH_SPELLINGS, "time": _TIME_SPELLINGS}
_SIZES = _LENGTHS | _TIMES
_OF_SIZE = {
    "space": {size: unit for unit, size in _LENGTHS.items()},
    "time": {size: unit for unit, size in _TIMES.items()},
}


def to_ngff(unit: object, axis_type: str) -> str | None:
    """Return the NGFF word for a unit, or None where NGFF has none.

    Parameters
    ----------
    unit : object
        A unit as CF, UDUNITS, pint, OME-XML or people write it: ``"um"``, ``"µm"``,
        ``"Micrometers"``, ``"1e-6 m"``, ``"seconds since 2000-01-01"``, or a unit or a quantity of
        pint or astropy. Symbols are case-sensitive (``mm`` is not ``Mm``), words are not.
    axis_type : str
        ``"space"`` or ``"time"``; other axes have no units in NGFF.

    Examples
    --------
    >>> to_ngff("µm", "space"), to_ngff("ms", "time"), to_ngff("degrees_north", "space")
    ('micrometer', 'millisecond', None)
    """
    if axis_type not in _SPELLINGS or unit is None:
        return None
    text = str(unit)[:_MOST_CHARACTERS].replace("\\u00B5", "µ")  # ImageJ escapes it
    text = unicodedata.normalize("NFKC", text).strip(" []()")
    if axis_type == "time":
        text = re.split(r"\s+since\s", text, maxsplit=1, flags=re.IGNORECASE)[0].rstrip()
    if (scaled := _SCALED.fullmatch(text)) is None:
        return _ngff_word(text, axis_type)
    word = _ngff_word(scaled["unit"], axis_type)
    number = (scaled["number"] or f"1e{scaled['power']}").lower()
    if word is None or abs(int(number.partition("e")[2] or 0)) > _MOST_DIGITS:
        return None
    return _OF_SIZE[axis_type].get(Fraction(number) * _SIZES[word])


def nearest(unit: object, axis_type: str) -> str | None:
    """Return the spelling that a unit which nobody knows was probably meant to be, if there is one.

    Parameters
    ----------
    unit : object
        One for which `to_ngff` has no word.
    axis_type : str
        ``"space"`` or ``"time"``.

    Examples
    --------
    >>> [nearest(unit, "space") for unit in ("mikron", "mikrometer", "degrees_north")]
    ['micron', 'micrometer', None]
    """
    text = str(unit).strip(" []()").lower()
    if len(text) <= _SYMBOL or len(text) > _MOST_CHARACTERS or is_length_or_angle(unit):
        return None
    words = [word for word in _SPELLINGS.get(axis_type, ()) if len(word) > _SYMBOL]
    return next(iter(get_close_matches(text, words, 1, _ALIKE)), None)


def is_length_or_angle(unit: object) -> bool:
    """Whether a unit says that something lies in space, be it one of OME-NGFF or not.

    Examples
    --------
    >>> [is_length_or_angle(unit) for unit in ("um", "degrees_north", "kpc", "K", None)]
    [True, True, True, False, False]
    """
    unit = as_text(unit)
    if to_ngff(unit, "space") is not None or exact(unit, "space") is not None:
        return True
    return str(unit).strip(" []()").lower() in _ANGLES


def exact(unit: object, axis_type: str) -> tuple[str, Fraction] | None:
    """Return the NGFF word for what a unit is a multiple of, and the multiple, if that is exact.

    Parameters
    ----------
    unit : object
        One for which `to_ngff` has no word.
    axis_type : str
        ``"space"`` or ``"time"``.

    Examples
    --------
    >>> exact("kpc", "space"), exact("nautical_mile", "space"), exact("degrees", "space")
    (('parsec', Fraction(1000, 1)), ('meter', Fraction(1852, 1)), None)
    """
    if axis_type not in _SPELLINGS or unit is None or to_ngff(unit, axis_type) is not None:
        return None
    text = unicodedata.normalize("NFKC", str(unit)[:_MOST_CHARACTERS]).strip(" []()")
    number, scaled = Fraction(1), _SCALED.fullmatch(text)
    if scaled is not None:
        digits = (scaled["number"] or f"1e{scaled['power']}").lower()
        if abs(int(digits.partition("e")[2] or 0)) > _MOST_DIGITS:
            return None
        number, text = Fraction(digits), scaled["unit"]
    word = _ngff_word(text, axis_type)
    multiple = (word, Fraction(1)) if word is not None else _multiples(axis_type).get(text)
    if multiple is None and len(text) > _SYMBOL:
        multiple = _multiples(axis_type).get(text.lower().removesuffix("s"))
    return None if multiple is None or not number else (multiple[0], multiple[1] * number)


def _multiples(axis_type: str) -> dict[str, tuple[str, Fraction]]:
    """Return the units that are an exact multiple of one of NGFF's, by their spellings."""
    if axis_type == "time":
        return dict.fromkeys(("week", "wk"), ("day", Fraction(7)))
    parsecs = {
        spelled: ("parsec", Fraction(10) ** power)
        for prefix, (letter, power) in _PREFIXES.items()
        if prefix
        for spelled in (f"{letter}pc", f"{prefix}parsec")
    }
    return parsecs | {spelled: ("meter", size) for size, also in _IN_METERS for spelled in also}


def as_text(unit: object) -> object:
    """Return a unit or a quantity of pint or astropy as text, anything else as it is."""
    measured = hasattr(unit, "dimensionality") or hasattr(unit, "physical_type")
    return str(unit) if measured else unit


def size(unit: str) -> float:
    """Return the size of an NGFF unit in metres or seconds."""
    return float(_SIZES[unit])


def _ngff_word(text: str, axis_type: str) -> str | None:
    spellings = _SPELLINGS[axis_type]
    return spellings.get(text) or (spellings.get(text.lower()) if len(text) > 2 else None)
