"""Look for faults in stored images; nothing is changed, and damage is listed, not raised."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError
from xpyramid.ngff import Problem
from xpyramid.store.confined import archive_at
from xpyramid.store.identity import TIMES, is_same_mark, marks_at
from xpyramid.store.listing import children, list_contents, peek
from xpyramid.store.path import (
    NodePath,
    Store,
    check_group_path,
    expanded,
    name_of_staged,
    path_named,
    resolve,
)
from xpyramid.store.transaction import is_unfinished, say_left_over
from xpyramid.store.tree import listed_in
from xpyramid.verifier.inspect import (
    Checks,
    check_group,
    inspect,
    inspect_arrays,
    is_image,
    label_images,
    unfinished,
)

#: How deep below the given place images are looked for: a plate has rows, columns and fields.
_DEEPEST = 5

#: How many entries of a directory without a Zarr document are looked at.
_MOST_PEEKS = 32


Paths = Sequence[str]


class Report(list[Problem]):
    """Problems, and notes on what is worth knowing but not wrong.

    Attributes
    ----------
    images, labels, arrays : int
        How many images were checked, how many label images that belong to them, and, where there is
        no image, how many arrays.
    notes : list of str
    """

    def __init__(self) -> None:
        super().__init__()
        self.images = self.labels = self.arrays = 0
        self.notes: list[str] = []


def verify(
    store: Store, group: str | None = None, deep: bool = False, *, checksums: bool = False
) -> Report:
    """Look for everything that is wrong with a stored pyramid, or with all pyramids of a store.

    Where there is no image, what is said is about arrays alone: damaged and contradictory metadata,
    chunks that are missing and have no fill value, what is no chunk, and, with ``deep=True``,
    chunks and indexes of shards that cannot be decoded.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
        As for :func:`xpyramid.open_pyramid`.
    group : str, optional
        Path of an image, or of a group of images, in the store; default: the store itself.
    deep : bool
        False reads metadata and lists stored objects; the listing tells their sizes, which are
        compared with those that xpyramid recorded. True also compares checksums, decodes every
        stored object and computes the levels again: those that xpyramid wrote must be the same to
        the last bit.
    checksums : bool
        True also reads every stored object, and compares its checksum with that which xpyramid
        recorded; nothing is decoded.

    Returns
    -------
    list of Problem
        Empty if nothing was found. Each problem has ``kind``, ``where``, ``message`` and
        ``severity`` ("error" or "warning"). The list has ``notes``: remarks, not problems.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is no Zarr group or array at all. Damaged and unfinished pyramids are listed as
        problems.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=3)
    >>> xpyramid.verify(store, deep=True)
    []
    """
    check_group_path(group)
    report = Report()
    if _is_unfinished_beside(store):
        report.append(unfinished(""))
        return report
    place = (archive_at(store) or resolve(store, read_only=True)) / (group or "").strip("/")
    kind = peek(place).kind
    name = place.path.rpartition("/")[2]
    above = NodePath(place.store, place.path.rpartition("/")[0])
    if kind == "nothing" and name and f".{name}.unfinished" in children(above):
        report.append(unfinished(""))
        return report
    if kind == "nothing" and (begun := list(filter(None, map(name_of_staged, children(place))))):
        report.extend(map(unfinished, begun))  # the first builds of a store, without its own group
        return report
    if kind == "array":
        _look_at_arrays(place, report, Checks(checksums, deep))
        return report
    if kind == "nothing" and not _has_nodes(place):
        raise NotAPyramidError(
            f"{place}: there is no Zarr group", accepted="an OME-Zarr image, an array, or a store"
        )
    _descend(place, "", report, Checks(checksums, deep))
    _note_left_over(place, report)
    if not report.images and is_image(peek(place).attributes):  # it has just been published
        _descend(place, "", report, Checks(checksums, deep))
    if not report.images and not report:
        _look_at_arrays(place, report, Checks(checksums, deep))
    if not (report.images or report or report.arrays or ngff.has_others(peek(place).attributes)):
        message = "no multiscales metadata here or below; expected an OME-Zarr image"
        report.append(Problem("metadata", "", message))
    return report


def _look_at_arrays(place: NodePath, report: Report, checks: Checks) -> None:
    """Inspect the arrays of a place where no image is."""
    contents, _ = list_contents(place).without_hidden()
    if any(contents.nodes().values()):
        problems, report.arrays = inspect_arrays(contents, checks, report.notes)
        report.extend(problems)
        report.notes.append("there is no OME-Zarr image here or below: arrays alone were looked at")


def _descend(
    place: NodePath, path: str, report: Report, checks: Checks, depth: int = 0, listed: Paths = ()
) -> None:
    """Inspect an image, or the images below a group.

    ``listed`` are the paths below it that the plate above lists; "" is the place itself.
    """
    node = peek(place)
    is_bare = node.kind == "nothing" and bool(listed)  # a row, or a well, without its document
    if not is_bare and (node.kind in ("damaged", "nothing") or is_image(node.attributes)):
        report.images += 1
        inspected = _inspect(place, checks)
        report.labels += len(inspected.labels)
        report.extend(problem.below(path) for problem in inspected.problems)
        report.notes.extend(f"{path}: {note}" if path else note for note in inspected.notes)
        for inside in inspected.hidden:
            _look_for_build(place, path, inside, report)
        return
    if is_bare:
        is_well = "" in listed
        message = f"no document of this {'well' if is_well else 'row'} of the plate; expected one"
        report.append(Problem("missing", path, message, "error" if is_well else "warning"))
    group_problems = (*check_group(node.documents), *ngff.check_others(node.attributes or {}))
    report.extend(problem.below(path) for problem in group_problems)
    members = listed_in(node.attributes)
    report.extend(problem.below(path) for problem in _missing(place, members))
    below = [*members, *filter(None, listed)]
    names = children(place) if depth < _DEEPEST else []
    begun = {image for name in names if (image := name_of_staged(name)) is not None}
    for name in names:
        inner = f"{path}/{name}".lstrip("/")
        if (image := name_of_staged(name)) is not None:
            _look_for_build(place, path, image, report)
        elif name in begun and peek(place / name).kind == "nothing":
            continue  # made at its place
        elif peek(place / name).kind in ("group", "damaged") or _has_nodes(place / name):
            parts = [member.partition("/") for member in below]
            subpaths = [subpath for first, _, subpath in parts if first == name]
            _descend(place / name, inner, report, checks, depth + 1, subpaths)


class _Inspection(NamedTuple):
    """What is said of an image.

    Attributes
    ----------
    problems : list of Problem
    notes : list of str
    labels : set of str
        Paths of its labels.
    hidden : list of str
        Images inside of it of which there are parts of builds.
    """

    problems: list[Problem]
    notes: list[str]
    labels: set[str]
    hidden: list[str]


def _inspect(place: NodePath, checks: Checks) -> _Inspection:
    """Inspect an image; if it, or labels of it, are replaced meanwhile, do so again."""
    labels: set[str] = set()
    for _ in range(TIMES):
        watched = [place, *(place / f"labels/{label}" for label in sorted(labels))]
        before = list(map(marks_at, watched))
        inspected, error = None, None
        try:
            inspected = _inspect_now(place, checks)
        except Exception as raised:  # whatever trips over what vanishes
            error = raised
        if inspected is not None and not inspected.problems:
            return inspected
        is_unchanged = all(map(is_same_mark, before, map(marks_at, watched)))
        if is_unchanged and error is not None:
            raise error
        in_labels = inspected is not None and any(
            problem.where.startswith("labels/") for problem in inspected.problems
        )
        if is_unchanged and inspected is not None and (inspected.labels <= labels or not in_labels):
            is_gone = peek(place).kind == "nothing" and is_unfinished(place.as_image())
            return inspected._replace(problems=[unfinished("")]) if is_gone else inspected
        labels |= inspected.labels if inspected is not None else set()
    message = (
        f"the image, or one in it, was replaced each of the {TIMES} times that it was looked at; "
        "verify it again when nobody writes"
    )
    return _Inspection([Problem("replaced", "", message)], [], labels, [])


def _inspect_now(place: NodePath, checks: Checks) -> _Inspection:
    notes: list[str] = []
    contents, hidden = list_contents(place).without_hidden()
    labels = label_images(contents.part("labels"))
    return _Inspection(inspect(contents, checks, notes), notes, labels, hidden)


def _look_for_build(place: NodePath, path: str, image: str, report: Report) -> None:
    """Say what the hidden directory of an image below a place is, which is at a path itself."""
    # Beside an image it may be what is left of one that has come to its place.
    if peek(place / image).kind == "nothing" or is_unfinished(place / image):
        report.append(unfinished(f"{path}/{image}".lstrip("/")))
    else:
        _note_left_over(place / image, report)


def _note_left_over(image: NodePath, report: Report) -> None:
    """Note what the build of an image has left which is at its place."""
    note = say_left_over(image)
    if note is not None and note not in report.notes:
        report.notes.append(note)


def _missing(place: NodePath, listed: Paths) -> Iterator[Problem]:
    """Yield the wells of a plate, or the fields of view of a well, that are not there."""
    for path in listed:
        if peek(place / path).kind == "nothing" and not _has_nodes(place / path):
            what = "a well of the plate" if "/" in path else "a field of view of the well"
            message = f"listed as {what}, but missing; expected it, or no entry"
            yield Problem("missing", path, message)


def _is_unfinished_beside(store: Store) -> bool:
    """Whether a path is that of an image which is being made, hidden beside it."""
    if not isinstance(store, str | os.PathLike) or "://" in (named := path_named(store)):
        return False
    path = expanded(named)
    return not path.exists() and path.with_name(f".{path.name}.unfinished").exists()


def _has_nodes(place: NodePath) -> bool:
    """Whether a place without a document has nodes below it: its own document is missing."""
    if peek(place).kind != "nothing":
        return False
    return any(peek(place / name).kind != "nothing" for name in children(place)[:_MOST_PEEKS])
