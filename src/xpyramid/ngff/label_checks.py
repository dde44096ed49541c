"""What OME-NGFF asks of the ``image-label`` metadata of a label image, and what it recommends.

https://ngff.openmicroscopy.org/0.5/#label-md, and the same section of 0.4 and 0.6.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping

from xpyramid.ngff.json_types import is_count, is_map
from xpyramid.ngff.problems import Problem

_Json = Mapping[str, object]


def check_image_label(label: _Json) -> Iterator[Problem]:
    """Yield what is wrong with the metadata of a label image.

    Parameters
    ----------
    label : mapping
        What is under "image-label".
    """
    for key in ("colors", "properties"):
        if key in label:
            yield from _check_entries(key, label[key])
    colors = label.get("colors")
    for i, color in enumerate(colors if isinstance(colors, list) else ()):
        rgba = color.get("rgba", [0] * 4) if is_map(color) else [0] * 4
        if not isinstance(rgba, list) or len(rgba) != 4 or not all(map(_is_byte, rgba)):
            yield _wrong(f"colors[{i}].rgba", rgba, "four integers from 0 to 255")
    source = label.get("source", {})
    if not is_map(source) or not isinstance(source.get("image", ""), str):
        yield _wrong("source", source, "an object with the path of an image")


def _check_entries(key: str, entries: object) -> Iterator[Problem]:
    """Check a list of what is said of labels, one by one."""
    if entries == []:
        yield Problem("metadata", "", f"{key} of image-label is empty; leave it out")
    elif not isinstance(entries, list) or not all(map(is_map, entries)):
        yield _wrong(key, entries, "a list of objects")
    else:
        values = [entry.get("label-value") for entry in entries]
        for i, value in enumerate(values):
            if not is_count(value, None):
                yield _wrong(f"{key}[{i}].label-value", value, "an integer")
        numbers = [value for value in values if isinstance(value, int | float)]
        if twice := [value for value, count in Counter(numbers).items() if count > 1]:
            yield _wrong(key, twice, "each label-value once")


def _is_byte(value: object) -> bool:
    return is_count(value, 0) and value <= 255


def _wrong(where: str, value: object, expected: str) -> Problem:
    return Problem(
        "metadata", "", f"image-label.{where} {reprlib.repr(value)}; expected {expected}"
    )
