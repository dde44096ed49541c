"""Units: from the spellings people use to the words OME-NGFF allows.

NGFF 0.4 and 0.5 (section "axes" metadata) recommend the UDUNITS-2 names of 26 units of length and
23 units of time, spelled in full. Anything else makes some viewers refuse the whole store.
"""

from __future__ import annotations

from fractions import Fraction

_PREFIXES = {
    "yotta": ("Y", 24), "zetta": ("Z", 21), "exa": ("E", 18), "peta": ("P", 15), "tera": ("T", 12),
    "giga": ("G", 9), "mega": ("M", 6), "kilo": ("k", 3), "hecto": ("h", 2), "": ("", 0),
    "deci": ("d", -1), "centi": ("c", -2), "milli": ("m", -3), "micro": ("u", -6),
    "nano": ("n", -9), "pico": ("p", -12), "femto": ("f", -15), "atto": ("a", -18),
    "zepto": ("z", -21), "yocto": ("y", -24),
}  # fmt: skip

#: Units that are not a power of ten of the base unit: size in metres or seconds, other spellings.
_OTHER_LENGTHS = {
    "angstrom": (Fraction(1, 10**10), ("Å", "Å", "ångström", "ångstrom", "Ang")),
    "inch": (Fraction(254, 10**4), ("in", "inches")),
    "foot": (Fraction(3048, 10**4), ("ft", "feet")),
    "yard": (Fraction(9144, 10**4), ("yd", "yards")),
    "mile": (Fraction(1609344, 10**3), ("mi", "miles")),
    "parsec": (Fraction(30856775814913673), ("pc", "parsecs")),
}
_OTHER_TIMES = {
    "minute": (Fraction(60), ("min", "mins", "minutes")),
    "hour": (Fraction(3600), ("h", "hr", "hrs", "hours")),
    "day": (Fraction(86400), ("d", "days")),
}


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
        letters = ("u", "µ", "μ") if letter == "u" else (letter,)
        spellings |= dict.fromkeys([e + symbol for e in letters], unit)
        spellings |= dict.fromkeys([prefix + word for word in words], unit)
    for unit, (size, spelled) in others.items():
        sizes[unit] = size
        spellings |= dict.fromkeys((unit, *spelled), unit)
    return sizes, spellings


_LENGTHS, _LENGTH_SPELLINGS = _vocabulary(
    "meter", "m", ("meter", "meters", "metre", "metres"), _OTHER_LENGTHS
)
_TIMES, _TIME_SPELLINGS = _vocabulary(
    "second", "s", ("second", "seconds", "sec", "secs"), _OTHER_TIMES
)
_LENGTH_SPELLINGS |= {"micron": "micrometer", "microns": "micrometer"}

_SPELLINGS = {"space": _LENGTH_SPELLINGS, "time": _TIME_SPELLINGS}
_SIZES = _LENGTHS | _TIMES


def to_ngff(unit: object, axis_type: str) -> str | None:
    """Return the NGFF word for a unit, or None where NGFF has none.

    Parameters
    ----------
    unit : object
        A unit as CF, UDUNITS, pint or people write it: ``"um"``, ``"µm"``, ``"Micrometers"``,
        ``"seconds"``. Symbols are case-sensitive (``mm`` is not ``Mm``), words are not.
    axis_type : str
        ``"space"`` or ``"time"``; other axes have no units in NGFF.

    Examples
    --------
    >>> to_ngff("µm", "space"), to_ngff("ms", "time"), to_ngff("degrees_north", "space")
    ('micrometer', 'millisecond', None)
    """
    text = str(unit).strip() if unit is not None else ""
    spellings = _SPELLINGS.get(axis_type, {})
    return spellings.get(text) or (spellings.get(text.lower()) if len(text) > 3 else None)


def size(unit: str) -> float:
    """Return the size of an NGFF unit in metres or seconds."""
    return float(_SIZES[unit])
