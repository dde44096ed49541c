"""What an image is made of before it has data: groups, coordinates, empty arrays, attributes.

All of it is made in memory first. What cannot be stored shows before anything is touched, and the
documents, few and small, are then copied in one go.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
import zarr
from zarr.abc.buffer import Buffer
from zarr.api.asynchronous import create_array
from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning
from zarr.storage import MemoryStore

from xpyramid import engine, ngff
from xpyramid._compat import ArrayConfigParams, da, sync
from xpyramid.errors import ResumeError
from xpyramid.geometry.plan import Level
from xpyramid.messages import say
from xpyramid.store.documents import (
    Documents,
    as_buffer,
    get_document,
    is_document,
    new_group,
    parse_document,
)
from xpyramid.store.listing import Contents, children, list_keys
from xpyramid.store.manifest import (
    KeptRecords,
    manifest_of,
    records_kept,
    with_manifest,
    without_manifest,
)
from xpyramid.store.path import NodePath, ZarrArray, is_name, level_names
from xpyramid.store.transaction import Transaction
from xpyramid.types import DType, Json
from xpyramid.writer import documents
from xpyramid.writer.compression import STORE_EMPTY, ZarrFormat, with_checksums
from xpyramid.writer.coordinates import coordinate_documents, lazy_part
from xpyramid.writer.object_tables import table_of
from xpyramid.writer.windows import Windows


@dataclass(frozen=True)
class MetadataTemplate:
    """The documents of an image, by their keys below it.

    Attributes
    ----------
    documents : dict
        Those of the levels, and of their coordinates.
    own : dict
        Those of the image's own group, which make an image of the levels.
    lazy : dict
        Coordinates that are yet to be computed, by their group.
    """

    documents: dict[str, Buffer]
    own: dict[str, Buffer]
    lazy: dict[str, xr.Dataset]


@dataclass(frozen=True)
class TemplateSpec:
    """What a template is made from.

    Attributes
    ----------
    paths : sequence of str
        Of the level arrays.
    levels : sequence of Level
    objects : sequence of tuple of int
        Shape of the stored objects of each level: chunks, or shards.
    coordinates : sequence of xarray.Dataset
        Of each level, see `prepare_coordinates`; not used for levels that are arrays alone.
    dtype : numpy.dtype
    dims : sequence of str
        As they are stored.
    attributes : sequence of mapping
        Of each level array.
    group_attributes : mapping
        Of the image's own group.
    zarr_format : {2, 3}
    compressor
        As zarr takes it.
    form : mapping
        What else zarr is to make arrays with.
    """

    paths: Sequence[str]
    levels: Sequence[Level]
    objects: Sequence[tuple[int, ...]]
    coordinates: Sequence[xr.Dataset]
    dtype: DType
    dims: Sequence[str]
    attributes: Sequence[Mapping[str, Json]]
    group_attributes: Mapping[str, object]
    zarr_format: ZarrFormat
    compressor: object
    form: Mapping[str, object] = field(default_factory=dict)


def make_template(spec: TemplateSpec) -> MetadataTemplate:
    """Make the documents of an image.

    Raises
    ------
    AxisError
        For coordinates that xarray cannot store.
    """
    written: Documents = {}
    sync(_make_arrays(MemoryStore(written), spec))
    written |= new_group(spec.zarr_format, spec.group_attributes)
    lazy = {}
    level_documents = coordinate_documents(spec.coordinates, spec.zarr_format)
    for k, path in enumerate(spec.paths):
        group, _, _ = path.rpartition("/")
        if group:
            written |= {
                f"{group}/{key}": document for key, document in next(level_documents).items()
            }
            lazy[group] = lazy_part(spec.coordinates[k])
            documents.consolidate(written, group)
    own = {key: document for key, document in written.items() if "/" not in key}
    return MetadataTemplate(
        {k: document for k, document in written.items() if k not in own}, own, lazy
    )


def group_documents(
    template: MetadataTemplate,
    transaction: Transaction,
    written: engine.Written,
    windows: Windows | None = None,
    *,
    build: str = "",
    before: Mapping[str, object] | None = None,
) -> tuple[dict[str, Buffer], dict[str, Buffer]]:
    """Return the documents of the image's own group, with a record of all that is stored now.

    They have copies of all metadata in the group, labels and others that stay there included: who
    opens the group sees these from the moment on when it is an image.

    Parameters
    ----------
    template : MetadataTemplate
    transaction : Transaction
        Of the image, which is complete.
    written : mapping
        Records of the objects that tasks have written, by the paths of their arrays.
    windows : Windows, optional
        Of channels, which became known only now.
    build : str
        What no other build has, where tasks run later.
    before : mapping, optional
        Attributes with a record of levels that stay, where the group has none now.

    Returns
    -------
    tables : dict
        What belongs to the record and is stored beside the arrays, before the documents.
    documents : dict

    Raises
    ------
    StorageError
        If an object that was written is not there any more.
    ResumeError
        If a level is gone that was to stay.
    """
    image = transaction.location
    documents_of_all = {**template.documents, **template.own}
    attributes = documents.attributes_of(documents_of_all)
    if windows is not None:
        attributes = ngff.with_metadata(attributes, "omero", windows.metadata)
    parsed = {
        key: documents.parse(documents_of_all[key])
        for key in sorted(documents_of_all)
        if is_document(key)
    }
    levels = sorted({key.split("/")[0] for key in template.documents})
    keys = [f"{name}/{key}" for name in levels for key in list_keys(image / name)]
    contents = Contents(image, keys, parsed, {})
    tables = {
        path: table_of(contents, path, template.documents, written)
        for path, is_array in contents.nodes().items()
        if is_array
    }
    kept = _records_kept(transaction, before)
    if transaction.kept:  # whose group has attributes, some perhaps since the levels were begun
        now = without_manifest(transaction.target.attributes())
        attributes = ngff.with_image(now, attributes)
    entry = None if windows is None else windows.entry
    names = documents.node_documents(template.own)
    beside = _documents_beside(transaction, {*levels}, names)
    attributes, objects = with_manifest(
        contents, attributes, tables, build, kept, entry, documents.arrays_in(beside)
    )
    objects |= {} if windows is None else windows.values
    documents_of_all |= beside
    documents.consolidate(documents_of_all, attributes=attributes)
    own = {key: document for key, document in documents_of_all.items() if "/" not in key}
    return {key: as_buffer(data) for key, data in objects.items()}, own


def _records_kept(transaction: Transaction, before: Mapping[str, object] | None) -> KeptRecords:
    """Return what is recorded of the levels that are in their place already."""
    image = transaction.target
    listed = {name: list_keys(image / name) for name in transaction.kept}
    if gone := [name for name, keys in listed.items() if not keys]:
        raise ResumeError(
            f"{gone} of {image}, beside which other levels were to come, are not there any more",
            fix=say("start over with {mode}", mode="w"),
        )
    keys = sorted(f"{name}/{key}" for name, inside in listed.items() for key in inside)
    raw = {key: get_document(image / key) for key in keys if is_document(key)}
    contents = Contents(
        image, keys, {key: parse_document(text) for key, text in raw.items() if text}, {}
    )
    now = image.attributes()
    return records_kept(contents, now if manifest_of(now) is not None or not before else before)


def _documents_beside(
    transaction: Transaction, levels: Set[str], names: Sequence[str]
) -> Documents:
    """Return the documents of nodes in an image's group that stay when it is replaced.

    Parameters
    ----------
    transaction : Transaction
    levels : set of str
        Names of what is new there.
    names : sequence of str
        Of the documents of a node. What is damaged, or of the other Zarr format, is left out.
    """
    image = transaction.target
    node = image.node()
    replaced = level_names(node) if isinstance(node, zarr.Group) else set()
    replaced -= {*transaction.kept}
    beside: Documents = {}
    waiting = [n for n in children(image) if is_name(n) and n not in replaced and n not in levels]
    if not image.store.supports_consolidated_metadata:  # nobody would keep copies of others right
        waiting = [name for name in waiting if name in transaction.kept]
    while waiting:
        path = waiting.pop()
        raw = {name: get_document(image / path / name) for name in names}
        stored = {name: as_buffer(text) for name, text in raw.items() if text is not None}
        kind = documents.kind_of(stored)
        if kind is not None:
            beside |= {f"{path}/{name}": document for name, document in stored.items()}
        if kind == "group":
            waiting += [f"{path}/{name}" for name in children(image / path) if is_name(name)]
    return beside


def write_lazy(template: MetadataTemplate, image: NodePath) -> None:
    """Compute and store the coordinates that a template leaves open."""
    for group, dataset in template.lazy.items():
        for name, variable in dataset.variables.items():
            stored = xr.conventions.encode_cf_variable(variable)
            array: Any = empty_array(template, f"{group}/{name}", image, {})
            da.store(stored.data, array, lock=False)


async def _make_arrays(store: MemoryStore, spec: TemplateSpec) -> None:
    """Make the empty arrays of all levels, in one go: zarr's event loop is asked once."""
    for k, path in enumerate(spec.paths):
        await create_array(
            store, name=path, zarr_format=spec.zarr_format, **_array_options(k, spec)
        )


def _array_options(k: int, spec: TemplateSpec) -> dict[str, Any]:
    """Return what makes the empty array of a level."""
    level, stored = spec.levels[k], spec.objects[k]
    attributes = dict(spec.attributes[k])
    form: dict[str, object] = {"dimension_names": list(spec.dims)}
    if spec.zarr_format == 2:
        # xarray takes a fill value for missing data; without one, empty chunks must be stored.
        attributes["_ARRAY_DIMENSIONS"] = list(spec.dims)
        # That is the only place for one that JSON has no number for.
        nonfinite = attributes.get("_FillValue") in ("NaN", "Infinity", "-Infinity")
        form = {
            "fill_value": float(str(attributes.pop("_FillValue"))) if nonfinite else None,
            "config": STORE_EMPTY,
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    form |= spec.form
    return {
        "shape": level.shape,
        "chunks": level.chunks,
        "shards": None if stored == level.chunks else stored,
        "dtype": spec.dtype,
        "compressors": spec.compressor,
        "attributes": attributes,
        **form,
    }


def empty_array(
    template: MetadataTemplate, path: str, image: NodePath, config: ArrayConfigParams = STORE_EMPTY
) -> ZarrArray:
    """Return an array of an image as `make_template` made it."""
    return with_checksums(documents.array_of(template.documents, path, image / path), config)


def consolidate(place: NodePath) -> None:
    """Copy the metadata of all children into a group: one read opens them, and xarray looks for it.

    What changes a shape or an attribute later has to do this again.
    """
    with warnings.catch_warnings():
        for category in (ZarrUserWarning, UnstableSpecificationWarning):
            warnings.simplefilter("ignore", category)  # not in the v3 specification yet
        zarr.consolidate_metadata(place.store, path=place.path)
