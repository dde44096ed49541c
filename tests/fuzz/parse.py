"""Fuzz the parser of metadata with atheris, on demand.

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

import atheris

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
    try:
        image = ngff.parse(attrs)
        shape = (64,) * len(image.axes)
        shapes = [tuple(n >> k for n in shape) for k in range(len(image.datasets))]
        image = ngff.place(image, ngff.recover(image, shapes), shapes)
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
