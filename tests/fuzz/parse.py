"""Fuzz the parser and the checks of metadata with atheris, on demand.

    pip install atheris
    mkdir new
    python tests/fuzz/parse.py -max_total_time=60 -timeout=5 new/ tests/fuzz/corpus

``new/`` takes what is found to be interesting. A crash is any exception
that is not of xpyramid, numbers that are none, more than 5 s, or more than 2 GB.
"""

import json
import math
import sys
import warnings
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["xpyramid.ngff"]):
    from xpyramid import errors, ngff


def try_document(text: bytes) -> None:
    """Check a document, parse it, and recover factors where it is valid."""
    try:
        attrs = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(attrs, dict):
        return
    ngff.check_document(attrs)  # answers whatever it is given
    for length in (64, 1, 0):
        try_arrays(attrs, length)
        try_image(attrs, length)


def try_arrays(attrs: dict[str, Any], length: int) -> None:
    """Check metadata against arrays, and images against each other as labels."""
    for image, _ in ngff.images_of(attrs) if ngff.version_of(attrs) else ():
        if image is None:
            continue
        shapes = [(length >> k,) * len(image.axes) for k in range(len(image.datasets))]
        headers = {
            dataset.path: ngff.Header(shape, np.dtype("u1"), None, "/", 3)
            for dataset, shape in zip(image.datasets, shapes, strict=True)
        }
        list(ngff.check_image(image, headers, attrs))
        list(ngff.check_label(image, shapes[0], image, shapes[-1]))


def try_image(attrs: dict[str, Any], length: int) -> None:
    """Read an image."""
    try:
        image = ngff.parse(attrs)
        shape = (length,) * len(image.axes)
        shapes = [tuple(n >> k for n in shape) for k in range(len(image.datasets))]
        image = ngff.fill_transforms(image, ngff.recover(image, shapes), shapes)
    except errors.NotAPyramidError:
        return
    for dataset in image.datasets:
        assert len(dataset.scale) == len(dataset.translation) == len(image.axes)
        assert all(math.isfinite(v) for v in dataset.scale + dataset.translation)
        assert all(s > 0 for s in dataset.scale)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, try_document)
    atheris.Fuzz()
