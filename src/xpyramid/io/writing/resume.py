"""Whether a build can go on with what an earlier one has left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from xpyramid import engine
from xpyramid._version import __version__
from xpyramid.errors import ResumeError
from xpyramid.io.store.contents import read_documents
from xpyramid.io.store.staging import Staging
from xpyramid.io.writing.image import Checked
from xpyramid.io.writing.sinks import ZarrSink
from xpyramid.passes import Limits

#: Of what is noted of an unfinished build.
FORMAT = 3


def record_of(image: Checked, limits: Limits) -> dict[str, Any]:
    """Return what is noted of a build; its ``about`` must be the same where it is gone on with."""
    plan, documents = image.plan, {**image.draft.documents, **image.draft.announcement}
    digest = hashlib.sha256()
    for key in sorted(documents):
        digest.update(key.encode() + b"\0" + documents[key].to_bytes())
    return {
        "format": FORMAT,
        "workers": limits.workers,
        "children": sorted({path.split("/")[0] for path in image.paths}),
        "created": False,
        "about": {
            "library": __version__,
            "shape": list(plan.levels[0].shape),
            "dtype": plan.dtype.str,
            "method": plan.method,
            "boundary": plan.boundary,
            "factors": [list(level.factors) for level in plan.levels],
            "chunks": [list(level.chunks) for level in plan.levels],
            "stored objects": [list(shape) for shape in image.objects],
            "memory": limits.memory,
            "metadata, attributes and coordinates": digest.hexdigest(),
        },
    }


def check_same(found: Mapping[str, Any], record: Mapping[str, Any], staging: Staging) -> None:
    """Refuse to go on with another build, or with a copy of one, which may lack anything.

    Raises
    ------
    ResumeError
    """
    target = staging.target
    if found.get("format") != FORMAT:
        raise ResumeError(
            f"the unfinished build of {target} was begun by another version of xpyramid; "
            "begin anew with mode='w'"
        )
    if found["created"] and not staging.is_original(found):
        raise ResumeError(
            f"the unfinished build of {target} is a copy of one that was made elsewhere; whether "
            "it is all there cannot be known; begin anew with mode='w'"
        )
    old, new = found["about"], json.loads(json.dumps(record["about"]))
    differ = [
        f"{key} ({old.get(key)} then, {new[key]} now)" for key in new if old.get(key) != new[key]
    ]
    if differ:
        raise ResumeError(
            f"the unfinished build of {target} differs in {'; '.join(differ)}; call it as before, "
            "or begin anew with mode='w'"
        )


def check_documents(image: Checked) -> None:
    """Refuse to go on where the metadata of an unfinished build are not those that it began with.

    Raises
    ------
    ResumeError
    """
    documents = image.draft.documents
    stored = read_documents(image.staging.image, list(documents))
    for key, found in zip(documents, stored, strict=True):
        if found != documents[key].to_bytes():
            raise _damaged(image.staging, f"{key!r} is {'missing' if found is None else 'another'}")


def _damaged(staging: Staging, what: str) -> ResumeError:
    return ResumeError(
        f"the unfinished build of {staging.target} is damaged: {what}; begin anew with mode='w'"
    )


#: In how many places the input is compared with what an earlier run has stored of it.
_SAMPLES = 8


def check_input(job: engine.Job, image: Checked) -> None:
    """Refuse to go on with another input, as far as samples show.

    Raises
    ------
    ResumeError
    """
    output, tiling = job.work.outputs[0], job.work.tiling
    sink = output.sinks[0]
    done = sorted(node for node in output.done if node[0] == tiling.tile)
    if not isinstance(sink, ZarrSink):
        return
    for node in done[:: max(1, -(-len(done) // _SAMPLES))]:
        base = tiling.base_region(*node)
        pairs = zip(base, image.objects[0], strict=True)
        region = tuple(slice(b.start, min(b.stop, b.start + n)) for b, n in pairs)
        given = np.asarray(job.source.sample(region))
        try:
            stored = np.asarray(sink.array[region], given.dtype)
        except Exception as error:
            raise _damaged(image.staging, f"{type(error).__name__}: {error}") from error
        if given.tobytes() != stored.tobytes():
            raise ResumeError(
                f"the input of the unfinished build of {image.staging.target} was another: samples "
                f"{[(part.start, part.stop) for part in region]} differ from what is stored; "
                "begin anew with mode='w'"
            )
