"""Stored objects of coarser levels that are missing or damaged, made again from level 0."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from xpyramid import ngff
from xpyramid.errors import NotAPyramidError, ReadError
from xpyramid.geometry.passes import Limits
from xpyramid.geometry.plan import budget
from xpyramid.geometry.tiles import Region
from xpyramid.ngff import Problem
from xpyramid.reader.open import typed_errors
from xpyramid.runtime.cluster import workers
from xpyramid.store.chunk_grid import grid_at
from xpyramid.store.documents import is_document
from xpyramid.store.listing import peek
from xpyramid.store.path import NodePath, Store, as_prefix, resolve
from xpyramid.verifier import Report, verify
from xpyramid.writer.record import UNRECORDED, doubt_of_base, renew_record
from xpyramid.writer.stored_levels import StoredLevels, stored_levels
from xpyramid.writer.update import restore, restore_as_recorded

#: What is wrong with stored objects that can be made again.
_KINDS = {"missing", "changed", "unreadable", "values", "size", "checksum"}

#: What is left to do where level 0 itself is damaged.
_ANEW = "restore level 0 from a copy, or build the image anew"

#: What may be wrong with the record of an image alone.
_OF_RECORDS = {"record", "changed", "missing", "consolidated", "extra"}

#: Names of what belongs to the record, beside documents.
_TABLES = ("objects.xpyramid", "values.xpyramid")

#: What to do where level 0 may be wrong.
_WAYS_OUT = (
    "restore level 0 from a copy, or, where it is right as it is, make the levels fit it with "
    "xpyramid.update(), of the region above which they are wrong, or all of them anew with "
    "xpyramid.add_levels(..., mode='w')"
)


def repair(
    store: Store,
    group: str | None = None,
    *,
    deep: bool = False,
    record: bool = False,
    memory: int | str | None = None,
    progress: bool | None = None,
) -> Report:
    """Make stored objects of coarser levels again that :func:`verify` calls missing or damaged.

    They are made from level 0, and are the same as before, to the last byte. Level 0 itself is
    never invented: what is wrong with it stays, and is named. Nothing is made of a level 0 of which
    any byte differs from what was recorded. Where nothing is recorded of it, as of one that
    :func:`add_levels` found, an object is made again only if it is the one that was recorded.

    Parameters
    ----------
    store : str, path, URL, zarr store or zarr.Group
    group : str, optional
        Path of an image, or of a group of images, in the store; default: the store itself.
    deep : bool
        Whether values are compared, too, as by ``verify(deep=True)``. Sizes and checksums always
        are.
    record : bool
        Whether the record of an image is made anew, from what is stored now, where it is all that
        is wrong: missing, damaged, or of metadata that were edited since. Everything is decoded for
        that, and the levels must be those of level 0, to the last bit.
    memory : int or str, optional
        What all workers together may hold; see :meth:`Pyramid.to_ome_zarr`.
    progress : bool, optional
        Whether to show a bar; default: in terminals and notebooks.

    Returns
    -------
    list of Problem
        What is wrong afterwards, as of :func:`verify`. Its ``notes`` say what was made again, and
        what was not, and why.

    Raises
    ------
    xpyramid.errors.NotAPyramidError
        If there is nothing at all.
    xpyramid.errors.ResumeError
        If a build or an update of the image is unfinished.
    xpyramid.errors.NotWritableError
        If the store cannot be written to.

    Examples
    --------
    >>> import xpyramid, zarr
    >>> objects = {}
    >>> store = zarr.storage.MemoryStore(objects)
    >>> xpyramid.example_field((300, 200)).pyramid.to_ome_zarr(store, levels=3)
    >>> del objects["field/1/field/c/0/0"]
    >>> report = xpyramid.repair(store)
    >>> report, report.notes
    ([], ['field: 1 stored object of levels above 0 was made again'])
    """
    deep = deep or record
    report = verify(store, group, deep, checksums=True)
    root = resolve(store, read_only=False) / (group or "").strip("/")
    limits, notes = Limits(workers(), budget(memory)), list[str]()
    tried = [
        _restore(root, path, own, limits, progress, notes, tells=not record)
        for path, own in _by_image(root, report)
    ]
    if any(tried):
        report = verify(store, group, deep, checksums=True)
    if record:
        tried = [_renew(root, path, own, notes) for path, own in _by_image(root, report)]
        if any(tried):
            report = verify(store, group, deep, checksums=True)
    report.notes[:0] = notes
    return report


def _by_image(root: NodePath, report: Report) -> list[tuple[str, list[Problem]]]:
    """Return what is wrong with each image, by its path."""
    by_image: dict[str, list[Problem]] = defaultdict(list)
    for problem in report:
        if (image := _image_of(root, problem.where)) is not None:
            by_image[image].append(problem)
    return list(by_image.items())


def _restore(
    root: NodePath,
    path: str,
    problems: Sequence[Problem],
    limits: Limits,
    progress: bool | None,
    notes: list[str],
    *,
    tells: bool,
) -> bool:
    """Make objects of an image again; return whether that was tried.

    ``tells`` is whether to say where level 0 alone is damaged, of which nothing can be made.
    """
    damaged = [problem.where for problem in problems if problem.kind in _KINDS]
    levels = _levels(root / path)
    if isinstance(levels, str):
        notes += [_note(path, f"nothing was made again: {levels}")] if damaged else []
        return False
    prefix = as_prefix(path)
    objects = _objects(levels, [where.removeprefix(prefix) for where in damaged])
    if not objects:
        if tells and (doubt := _doubt(levels, [p for p in problems if p.kind in _KINDS], prefix)):
            notes.append(_note(path, f"nothing was made again: {doubt}; {_ANEW}"))
        return False
    # Of what is wrong with level 0, not all may be listed.
    number = total = sum(map(len, objects.values()))
    doubt = _doubt(levels, problems, prefix) or doubt_of_base(levels)
    if doubt == UNRECORDED:
        number = restore_as_recorded(levels, objects, limits, progress)
    elif doubt:
        number = 0
    else:
        restore(levels, objects, limits, progress)
    if number < total:
        some = f"{total - number} of {total} were not" if number else "nothing was"
        notes.append(_note(path, f"{some} made again: {doubt}; {_WAYS_OUT}"))
    if not number:
        return False
    plural, was = ("s", "were") if number > 1 else ("", "was")
    notes.append(_note(path, f"{number} stored object{plural} of levels above 0 {was} made again"))
    return True


def _levels(image: NodePath) -> StoredLevels | str:
    """Return the levels of an image, or why they cannot be made again."""
    try:
        with typed_errors(image):
            return stored_levels(image)
    except (NotAPyramidError, ReadError) as error:
        return str(error)


def _note(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _doubt(levels: StoredLevels, problems: Iterable[Problem], prefix: str) -> str:
    """Say what is wrong with level 0, from which nothing right can be made then."""
    of_base = [p for p in problems if p.where.startswith(f"{prefix}{levels.paths[0]}/")]
    return f"{of_base[0].where}: {of_base[0].message}" if of_base else ""


def _renew(root: NodePath, path: str, problems: Sequence[Problem], notes: list[str]) -> bool:
    """Make the record of an image anew where nothing else is wrong; return whether it was."""
    if not any(problem.kind in _OF_RECORDS for problem in problems):
        return False
    others = [p for p in problems if p.severity == "error" and not _is_of_record(p, path)]
    levels = _levels(root / path)
    if isinstance(levels, str):
        notes.append(_note(path, f"the record was not made anew: {levels}"))
        return False
    if others:
        notes.append(_note(path, f"the record was not made anew, as more is wrong: {others[0]}"))
        return False
    renew_record(levels)
    notes.append(_note(path, "the record was made anew"))
    return True


def _is_of_record(problem: Problem, path: str) -> bool:
    """Whether a problem is one of the record, and not of samples or coordinates."""
    name = problem.where.rpartition("/")[2]
    if problem.kind == "missing":
        return name in _TABLES
    if problem.kind == "changed":  # attributes have no document's name
        return name in _TABLES or is_document(problem.where) or problem.where == path
    return problem.kind in _OF_RECORDS


def _image_of(root: NodePath, where: str) -> str | None:
    """Return the path of the image that something lies in, or is, None without one."""
    parts = where.split("/")
    for depth in range(len(parts), -1, -1):
        path = "/".join(parts[:depth])
        if ngff.version_of(peek(root / path).attributes) is not None:
            return path
    return None


def _objects(levels: StoredLevels, keys: Iterable[str]) -> dict[int, list[Region]]:
    """Return the cells of the objects of coarser levels among some keys, by level."""
    objects: dict[int, list[Region]] = defaultdict(list)
    grids = [grid_at(levels.place / path) for path in levels.paths]
    for key in dict.fromkeys(keys):
        for level, path in enumerate(levels.paths):
            if level and key.startswith(f"{path}/"):
                position = grids[level].position(key[len(path) + 1 :])
                if position >= 0:
                    objects[level].append(grids[level].region(position))
    return dict(objects)
