"""Everything that can be said of one image, from one listing of it."""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from xpyramid import ngff
from xpyramid.messages import HOW_TO_FINISH
from xpyramid.ngff import Problem
from xpyramid.store import build_in_group, manifest, value_counts
from xpyramid.store.documents import attributes_of, get_document
from xpyramid.store.listing import Contents
from xpyramid.store.object_table import digest_of
from xpyramid.store.path import GROUP_FIELDS, as_prefix
from xpyramid.verifier.arrays import (
    Stored,
    check_foreign,
    check_objects,
    check_unexpected,
    open_all,
)
from xpyramid.verifier.copies import is_same
from xpyramid.verifier.objects import Tables, check_checksums, check_sizes, load_tables
from xpyramid.verifier.recompute import decode, fitting, recompute

#: How many problems of one kind an image may have; another one says how many more there are.
MOST = 1000

#: An image, and the shape of its level 0 if that can be opened.
Base = tuple[ngff.Multiscale, tuple[int, ...] | None]


class Checks(NamedTuple):
    """What is done beside reading metadata and listing objects.

    Attributes
    ----------
    checksums : bool
        Every stored object is read.
    deep : bool
        Every stored object is decoded, and the levels are computed again.
    """

    checksums: bool = False
    deep: bool = False


def inspect(contents: Contents, checks: Checks, notes: list[str]) -> list[Problem]:
    """Return what is wrong with an image, and with its labels.

    Parameters
    ----------
    contents : Contents
        Of the image's group.
    checks : Checks
    notes : list of str
        Gets what is worth knowing.
    """
    attributes = attributes_of(contents.documents)
    problems = [*_check_documents(contents)]
    if is_unfinished(attributes):
        return [*problems, unfinished("")]
    if ngff.version_of(attributes) is None and "" in contents.nodes():
        message = "no multiscales metadata can be read; expected those of an OME-Zarr image"
        problems.append(Problem("metadata", "", message))
    arrays = open_all(contents, ngff.dataset_paths(attributes), problems)
    headers = {path: stored.header for path, stored in arrays.items()}
    images = []
    for image, image_problems in ngff.images_of(attributes) if ngff.version_of(attributes) else ():
        problems += image_problems
        if image is not None:
            images.append(image)
            problems += ngff.check_image(image, headers, attributes)
    problems += ngff.check_others(attributes)
    problems += _check_stale(contents, ngff.dataset_paths(attributes))
    problems += _check_consolidated(contents)
    records = manifest.object_records(attributes)
    tables = load_tables(contents.place, arrays, records, problems, notes)
    problems += _check_record(contents, attributes, arrays, images, tables, notes)
    changed = dict(check_sizes(arrays, tables, [] if checks.checksums or checks.deep else notes))
    if checks.checksums or checks.deep:
        check_checksums(contents.place, arrays, tables, changed)
    values = _check_values(arrays, images, records, tables, changed, notes) if checks.deep else []
    problems += [*changed.values(), *values]
    problems += _check_labels(contents, _base(images, headers), checks, notes)
    return list(_bounded(problems))


def inspect_arrays(
    contents: Contents, checks: Checks, notes: list[str]
) -> tuple[list[Problem], int]:
    """Return what is wrong with arrays that belong to no image, and how many there are.

    Parameters
    ----------
    contents : Contents
        Of an array, or of a group of arrays and groups.
    checks : Checks
    notes : list of str
        Gets what is worth knowing.
    """
    problems = [*_check_documents(contents), *_check_consolidated(contents)]
    arrays = open_all(contents, [], problems)
    for stored in arrays.values():
        problems += check_unexpected(stored, None)
    problems += check_foreign(arrays, notes)
    if checks.deep:
        problems += decode(arrays.values(), {})[0]
    elif checks.checksums:
        notes.append("no checksums are recorded; deep=True decodes everything")
    return list(_bounded(problems)), sum(contents.nodes().values())


def _base(images: list[ngff.Multiscale], headers: Mapping[str, ngff.Header]) -> Base | None:
    """Return the first image and the shape of its level 0, None without an image."""
    header = headers.get(images[0].datasets[0].path) if images else None
    return (images[0], header.shape if header else None) if images else None


def is_unfinished(attributes: Mapping[str, object]) -> bool:
    """Whether attributes are those of a build that has not come to its end."""
    own = attributes.get(manifest.KEY)
    return isinstance(own, Mapping) and build_in_group.UNFINISHED in own


def unfinished(path: str) -> Problem:
    """Say that a build has not come to its end."""
    message = "unfinished: a build began here and did not end; " + HOW_TO_FINISH
    return Problem("unfinished", path, message)


def is_image(attributes: Mapping[str, object]) -> bool:
    """Whether attributes are, or were, those of an image."""
    has_metadata = (
        ngff.version_of(attributes) is not None or manifest.manifest_of(attributes) is not None
    )
    return has_metadata or is_unfinished(attributes)


def check_group(documents: Mapping[str, object], path: str = "") -> Iterator[Problem]:
    """Yield what is wrong with the documents of a group, beside its attributes."""
    prefix = as_prefix(path)
    node = documents.get(f"{prefix}zarr.json")
    if isinstance(node, dict):
        if node.get("zarr_format") != 3 or node.get("node_type") not in ("group", "array"):
            message = (
                f"zarr_format {node.get('zarr_format')!r}, node_type {node.get('node_type')!r}"
            )
            yield Problem("metadata", f"{prefix}zarr.json", f"{message[:200]}; expected 3, 'group'")
        elif not isinstance(node.get("attributes", {}), dict):
            message = f"attributes {reprlib.repr(node['attributes'])}; expected a JSON object"
            yield Problem("metadata", f"{prefix}zarr.json", message)
        elif node["node_type"] == "group" and (unknown := set(node) - GROUP_FIELDS):
            message, expected = f"unknown fields {sorted(unknown)}"[:200], sorted(GROUP_FIELDS)
            yield Problem("metadata", f"{prefix}zarr.json", f"{message}; expected {expected}")
    old = documents.get(f"{prefix}.zgroup", {"zarr_format": 2})
    if old != {"zarr_format": 2}:
        message = f"{str(old)[:80]}; expected {{'zarr_format': 2}}"
        yield Problem("metadata", f"{prefix}.zgroup", message)


def _check_documents(contents: Contents) -> Iterator[Problem]:
    if "" not in contents.nodes():
        message = "the document of the image's group is missing: .zgroup, or zarr.json"
        yield Problem("missing", "", message)
    for key, message in contents.damaged.items():
        if not key.startswith("labels/"):
            yield Problem("unreadable", key, message)
    for key, document in contents.documents.items():
        if not key.startswith("labels/") and not isinstance(document, dict):
            message = f"{reprlib.repr(document)}; expected a JSON object"
            yield Problem("unreadable", key, message)
    for path in contents.links:
        yield Problem("link", path, "a symbolic link, which is not followed", "warning")
    for path in contents.nodes():
        if not path.startswith("labels/"):
            yield from check_group(contents.documents, path)


def _check_stale(contents: Contents, announced: list[str]) -> Iterator[Problem]:
    """Yield what looks like a level, by its name, and is not announced."""
    tops = {path.split("/")[0] for path in announced}
    forms = {re.sub(r"\d+", "#", top) for top in tops}
    nodes = contents.nodes()
    for path in sorted({path.split("/")[0] for path in nodes} - tops - {"", "labels"}):
        if re.sub(r"\d+", "#", path) in forms and "#" in re.sub(r"\d+", "#", path):
            message = "looks like a level and is not announced: of an earlier pyramid, perhaps"
            yield Problem("stale", path, message, "warning")


def _check_consolidated(contents: Contents) -> Iterator[Problem]:
    """Yield copies of metadata, in groups above, that are not what they are copies of."""
    for key, document in contents.documents.items():
        path, _, name = key.rpartition("/")
        prefix = as_prefix(path)
        if prefix.startswith("labels/") or not isinstance(document, dict):
            continue
        if name == "zarr.json" and document.get("consolidated_metadata") is not None:
            holder, fields = (
                document["consolidated_metadata"],
                {"metadata", "kind", "must_understand"},
            )
        elif name == ".zmetadata":
            holder, fields = document, {"metadata", "zarr_consolidated_format"}
        else:
            continue
        copies = holder.get("metadata") if isinstance(holder, dict) else None
        if not isinstance(copies, dict) or set(holder) - fields:
            actual = list(holder) if isinstance(holder, dict) else holder
            message = f"consolidated metadata with the fields {str(actual)[:100]}"
            yield Problem("consolidated", key, f"{message}; expected {sorted(fields)}")
            continue
        for below, copy in copies.items():
            original = f"{prefix}{below}/zarr.json" if name == "zarr.json" else f"{prefix}{below}"
            truth = contents.documents.get(original, {} if original.endswith(".zattrs") else None)
            if original not in contents.damaged and not is_same(copy, truth, original):
                subject = "the consolidated copy of this document in"
                yield Problem(
                    "consolidated", original, f"{subject} {key!r} is another; consolidate again"
                )
        yield from _check_left_out(contents, prefix, name, key, copies)


def _check_left_out(
    contents: Contents, prefix: str, name: str, key: str, copies: Mapping[str, object]
) -> Iterator[Problem]:
    """Yield arrays that readers of consolidated metadata would not see.

    Where there are none, labels that are added later are not copied either.
    """
    is_used = contents.place.store.supports_consolidated_metadata
    for path, is_array in contents.nodes().items():
        if is_array and path.startswith(prefix) and (is_used or not path.startswith("labels/")):
            below = path.removeprefix(prefix)
            if (below if name == "zarr.json" else f"{below}/.zarray") not in copies:
                message = f"is not in the consolidated metadata of {key!r}; consolidate again"
                yield Problem("consolidated", path, message)


def _check_record(
    contents: Contents,
    attributes: Mapping[str, object],
    arrays: Mapping[str, Stored],
    images: list[ngff.Multiscale],
    tables: Tables,
    notes: list[str],
) -> Iterator[Problem]:
    """Compare what is stored with what was recorded at the end, where it was."""
    record = manifest.manifest_of(attributes)
    objects = manifest.object_records(attributes)
    values = manifest.values_of(attributes)
    for path, stored in arrays.items():
        yield from check_unexpected(stored, objects.get(path), values)
    yield from _check_values_kept(contents, values)
    if record is None:
        if any(image.metadata.get("library") == "xpyramid" for image in images):
            message = (
                "no record of what is stored, which xpyramid writes; expected attributes.xpyramid"
            )
            yield Problem("record", "", message, "warning")
        levels = {d.path for image in images for d in image.datasets}
        yield from check_foreign({p: s for p, s in arrays.items() if p in levels}, notes)
        return
    own = contents.documents.get("zarr.json")
    inline = isinstance(own, dict) and "consolidated_metadata" in own
    if not inline and ".zmetadata" not in {**contents.documents, **contents.damaged}:
        where = ".zmetadata" if ".zgroup" in contents.documents else "zarr.json"
        message = "the metadata are not consolidated any more; consolidate again"
        yield Problem("consolidated", where, message)
    for key, what in manifest.modified_documents(contents, attributes):
        message = f"{what} is not what was written: damaged, or changed since by something else"
        yield Problem("changed", key, message)
    beside = manifest.arrays_beside(attributes)
    for path, stored in arrays.items():
        if path in objects:
            yield from check_objects(stored, objects[path], tables.get(path))
        elif path not in beside:
            message = "an array that was not there when the image was complete"
            yield Problem("extra", path, message, "warning")


def _check_values_kept(contents: Contents, values: Mapping[str, object]) -> Iterator[Problem]:
    """Compare the distributions of the values of level 0 with what is recorded of them."""
    if not values:
        return
    key = f"{values.get('path')}/{value_counts.KEY}"
    raw = get_document(contents.place / key)
    if raw is None or digest_of(raw) != values.get("digest"):
        what = "are missing" if raw is None else "are not those that were written"
        message = (
            f"the distributions of values by which update() makes windows {what}; it will "
            "read all of level 0 instead"
        )
        yield Problem("missing" if raw is None else "changed", key, message, "warning")


def _check_labels(
    contents: Contents, base: Base | None, checks: Checks, notes: list[str]
) -> Iterator[Problem]:
    """Compare the list of labels with what is there, and inspect each, beside its image."""
    inside = contents.part("labels")
    if not inside.keys:
        return
    listed = ngff.ome_metadata(attributes_of(inside.documents)).get("labels")
    if listed is None and not any("/" in key for key in inside.keys):
        return  # made for labels that are not there yet
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        message = f"labels is {str(listed)[:80]}; expected a list of names"
        yield Problem("labels", "labels", message)
        listed = []
    for key, message in inside.damaged.items():
        if "/" not in key:
            yield Problem("unreadable", f"labels/{key}", message)
    yield from (problem.below("labels") for problem in check_group(inside.documents))
    images = label_images(inside)
    for name in sorted(set(listed) - images):
        message = "listed among the labels, but there is no image; expected one, or no entry"
        yield Problem("labels", f"labels/{name[:100]}", message)
    for name in sorted(images):
        if name not in listed:
            message = f"not in the list of labels {str(listed)[:100]}; viewers will not find it"
            yield Problem("labels", f"labels/{name}", message, "warning")
        below: list[str] = []
        problems = inspect(inside.part(name), checks, below)
        notes.extend(f"labels/{name}: {note}" for note in below)
        yield from (problem.below(f"labels/{name}") for problem in problems)
        if base is not None:
            problems = list(_check_against(inside.part(name), base))
            yield from (problem.below(f"labels/{name}") for problem in problems)


def label_images(inside: Contents) -> set[str]:
    """Return the paths of the label images in what lies in the group ``labels`` of an image."""
    return {p for p in inside.nodes() if p and is_image(attributes_of(inside.documents, p))}


def _check_against(label: Contents, base: Base) -> Iterator[Problem]:
    """Compare a label image with the image that it is of."""
    attributes = attributes_of(label.documents)
    levels = len(ngff.dataset_paths(attributes))
    if levels != len(base[0].datasets):
        message = f"{levels} levels; expected {len(base[0].datasets)}, as the image has"
        yield Problem("labels", "", message, "warning")
    images = [image for image, _ in ngff.images_of(attributes) if image is not None]
    arrays = open_all(label, [], []) if images else {}
    own = _base(images, {path: stored.header for path, stored in arrays.items()})
    if own is not None:
        yield from ngff.check_label(*base, *own)


def _check_values(
    arrays: Mapping[str, Stored],
    images: list[ngff.Multiscale],
    records: Mapping[str, object],
    tables: Tables,
    changed: dict[str, Problem],
    notes: list[str],
) -> list[Problem]:
    """Decode everything, and compute the levels again."""
    problems, damaged = decode(arrays.values(), changed)
    for path, record in records.items():
        if path in arrays:
            damaged[path] += arrays[path].missing(record, tables.get(path))
    for image in images:
        levels = [arrays[d.path] for d in image.datasets if d.path in arrays]
        if len(levels) < len(image.datasets) or any(
            stored.array.ndim != len(image.axes) for stored in levels
        ):
            continue  # said already
        if image.metadata.get("library") == "xpyramid":
            problems += recompute(image, levels, damaged, notes)
        else:
            notes.extend(fitting(image, levels, damaged))
    return problems


def _bounded(problems: list[Problem]) -> Iterator[Problem]:
    """Yield problems, not too many of a kind."""
    counts = Counter(problem.kind for problem in problems)
    for kind in counts:
        yield from islice((p for p in problems if p.kind == kind), MOST)
        if counts[kind] > MOST:
            yield Problem(kind, "", f"and {counts[kind] - MOST} more of this kind")
