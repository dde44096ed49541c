"""What OME-NGFF asks of a plate and of a well, and what it recommends.

https://ngff.openmicroscopy.org/0.5/#plate-md, and the same section of 0.4 and 0.6, which differ in
the names that a field of view may have.
"""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from xpyramid.ngff.json_types import is_count, is_map
from xpyramid.ngff.problems import Problem, recommended

_Json = Mapping[str, object]

_ALPHANUMERIC = re.compile("[A-Za-z0-9]+")

#: Names of fields of view in 0.6: those of Zarr nodes that every store can hold.
_NODE = re.compile(r"(?!\.+$)(?!__)[A-Za-z0-9_.-]+")


def check_plate(plate: _Json, version: str) -> Iterator[Problem]:
    """Yield what is wrong with the metadata of a plate.

    Parameters
    ----------
    plate : mapping
        What is under "plate".
    version : {"0.4", "0.5", "0.6"}
    """
    rows, columns = list[str](), list[str]()
    for key, names in (("rows", rows), ("columns", columns)):
        yield from _check_names(plate, key, names)
    wells = list(_entries(plate, "wells"))
    yield from _check_list(plate, "wells")
    for where, well in wells:
        yield from _check_place(well, where, rows, columns)
    paths = [well.get("path") for _, well in wells]
    yield from _check_twice("wells", "path", paths)
    yield from _check_acquisitions(plate)
    if "field_count" in plate and not is_count(plate["field_count"], 1):
        yield _wrong("", plate, "field_count", "an integer of at least 1")
    yield from _check_text(plate, "", ("name", "version"))
    yield from recommended("the plate", plate, ("name", *(["version"] if version == "0.4" else [])))


def check_well(well: _Json, version: str) -> Iterator[Problem]:
    """Yield what is wrong with the metadata of a well.

    Parameters
    ----------
    well : mapping
        What is under "well".
    version : {"0.4", "0.5", "0.6"}
    """
    pattern, accepted = _ALPHANUMERIC, "letters and digits"
    if version == "0.6":
        pattern, accepted = _NODE, "letters, digits, '_', '.' and '-', not dots alone or '__' first"
    yield from _check_list(well, "images", "well")
    images = list(_entries(well, "images"))
    for where, image in images:
        if not _matches(pattern, image.get("path")):
            yield _wrong(where, image, "path", accepted, "well")
        if "acquisition" in image and not is_count(image["acquisition"], None):
            yield _wrong(where, image, "acquisition", "an integer", "well")
    paths = [image.get("path") for _, image in images]
    yield from _check_twice("images", "path", paths, "well")
    if version == "0.4":
        yield from recommended("the well", well, ("version",))


def listed_paths(holder: object, key: str) -> list[object]:
    """Return the paths of the wells of a plate, or of the images of a well, whatever they are."""
    return [entry.get("path") for _, entry in _entries(holder, key)] if is_map(holder) else []


def _check_names(plate: _Json, key: str, names: list[str]) -> Iterator[Problem]:
    """Check the names of rows or columns, which are put into a list."""
    yield from _check_list(plate, key)
    for where, entry in _entries(plate, key):
        name = entry.get("name")
        if _matches(_ALPHANUMERIC, name):
            names.append(str(name))
        else:
            yield _wrong(where, entry, "name", "letters and digits")
    yield from _check_twice(key, "name", names)
    spellings = Counter(name.lower() for name in set(names))
    if ambiguous := sorted(name for name in set(names) if spellings[name.lower()] > 1):
        message = (
            f"{key} {ambiguous[:10]} of the plate differ by their case alone; some disks cannot"
        )
        yield Problem("recommended", "", f"{message} tell them apart", "warning")


def _check_place(well: _Json, where: str, rows: list[str], columns: list[str]) -> Iterator[Problem]:
    """Check that path and indices of a well lead to the same row and column."""
    path, indexed = well.get("path"), list[str]()
    for key, names in (("rowIndex", rows), ("columnIndex", columns)):
        index: object = well.get(key)
        if is_count(index, 0) and index < len(names):
            indexed.append(names[int(index)])
        elif not is_count(index, 0):
            yield _wrong(where, well, key, "an integer of at least 0")
        elif names:  # else they are what is wrong
            yield _wrong(where, well, key, f"less than {len(names)}, the number of names")
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 2 or not all(_matches(_ALPHANUMERIC, part) for part in parts):
        yield _wrong(where, well, "path", "the name of a row, '/', and that of a column")
    elif len(indexed) == 2 and parts != indexed:
        yield _wrong(where, well, "path", f"{'/'.join(indexed)!r}, as its indices say")


def _check_acquisitions(plate: _Json) -> Iterator[Problem]:
    if "acquisitions" not in plate:
        return
    if not isinstance(plate["acquisitions"], list):
        yield _wrong("", plate, "acquisitions", "a list of objects")
        return
    acquisitions = list(_entries(plate, "acquisitions"))
    if len(acquisitions) < len(plate["acquisitions"]):
        yield _wrong("", plate, "acquisitions", "a list of objects")
    for where, acquisition in acquisitions:
        if not is_count(acquisition.get("id"), 0):
            yield _wrong(where, acquisition, "id", "an integer of at least 0")
        for key, least in (("maximumfieldcount", 1), ("starttime", 0), ("endtime", 0)):
            if key in acquisition and not is_count(acquisition[key], least):
                yield _wrong(where, acquisition, key, f"an integer of at least {least}")
        yield from _check_text(acquisition, where, ("name", "description"))
        yield from recommended(f"plate.{where}", acquisition, ("name", "maximumfieldcount"))
    yield from _check_twice(
        "acquisitions", "id", [acquisition.get("id") for _, acquisition in acquisitions]
    )


def _check_list(holder: _Json, key: str, of: str = "plate") -> Iterator[Problem]:
    entries = holder.get(key)
    if not isinstance(entries, list) or not entries or not all(map(is_map, entries)):
        yield _wrong("", holder, key, "a list of one or more objects", of)


def _check_twice(
    key: str, field: str, values: Sequence[object], of: str = "plate"
) -> Iterator[Problem]:
    comparable = [value for value in values if isinstance(value, str | int)]
    if twice := [value for value, count in Counter(comparable).items() if count > 1]:
        message = f"{field} {reprlib.repr(twice)} in {of}.{key} more than once; expected once each"
        yield Problem("metadata", "", message)


def _check_text(holder: _Json, where: str, keys: tuple[str, ...]) -> Iterator[Problem]:
    for key in keys:
        if key in holder and not isinstance(holder[key], str):
            yield _wrong(where, holder, key, "text")


def _entries(holder: _Json, key: str) -> Iterator[tuple[str, _Json]]:
    """Yield the objects of a list, and where they are."""
    entries = holder.get(key)
    for i, entry in enumerate(entries if isinstance(entries, list) else ()):
        if is_map(entry):
            yield f"{key}[{i}]", entry


def _wrong(where: str, holder: _Json, key: str, expected: str, of: str = "plate") -> Problem:
    place = ".".join(part for part in (of, where, key) if part)
    value = reprlib.repr(holder[key]) if key in holder else "is missing"
    return Problem("metadata", "", f"{place} {value}; expected {expected}")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and bool(pattern.fullmatch(value))
