"""Everything that can be known before anything is written, and all that can be refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from xpyramid import ngff
from xpyramid._compat import FillValueCoder
from xpyramid._version import __version__
from xpyramid.errors import PlanError
from xpyramid.geometry.bounds import forget_bounds
from xpyramid.geometry.coordinate_kinds import check_storable
from xpyramid.geometry.coordinates import level_attributes, reference_system
from xpyramid.messages import option, say
from xpyramid.options import WriteOptions
from xpyramid.options.types import Convention
from xpyramid.store import flat_layout, label_groups
from xpyramid.store.collection import ImageCollection
from xpyramid.store.encoding import array_attributes, note
from xpyramid.store.json_attributes import DATASET, json_attributes
from xpyramid.store.names import StoredNames, choose_names, name_of
from xpyramid.store.passed_chunks import StoredSamples, source_samples
from xpyramid.store.path import NodePath, check_name, is_root
from xpyramid.store.transaction import transaction_for
from xpyramid.types import Attrs
from xpyramid.writer import omero
from xpyramid.writer.array_checks import (
    check_axis_names,
    check_chunks,
    check_levels,
    check_names,
    dataset_attributes,
    warn_of_packing,
)
from xpyramid.writer.compression import compressor_of, is_default
from xpyramid.writer.coordinates import prepare_coordinates
from xpyramid.writer.request import ImageSource, PreparedImage
from xpyramid.writer.source_guard import Location, check_source
from xpyramid.writer.target_checks import check_above, check_writable
from xpyramid.writer.template import TemplateSpec, make_template
from xpyramid.writer.windows import LevelZero, as_before, with_sections

LIBRARY = {"library": "xpyramid", "version": __version__}


def prepare_image(
    image: ImageSource, root: NodePath, options: WriteOptions, read: Sequence[Location]
) -> PreparedImage:
    """Make all documents of an image; refuse what cannot be written, and touch nothing.

    Whether the place is free is another question, see `check_target`.

    Parameters
    ----------
    image : ImageSource
    root : NodePath
        The store.
    options : WriteOptions
    read : sequence of Location
        What is read, and must not be written to.
    """
    _check_options(options)
    zarr_format, base = ngff.VERSIONS[options["version"]].zarr_format, image.levels[0]
    check_names(base)
    if options["layout"] != "arrays":
        check_storable(base)
    check_chunks(image.plan)
    named = None if base.name is None else check_name(str(base.name), nested=False)
    group = "" if is_root(image.group) else check_name(image.group or named)
    name = named or check_name(group.split("/")[-1] or None)
    check_levels(image, is_of_labels=options["labels_of"] is not None)
    warn_of_packing(base)
    names = _stored_names(image, name, options)
    group, labels_group = label_groups.place_in_image(
        root, options["labels_of"], group, base.dtype, len(image.levels), options["version"]
    )
    paths, kept = image.paths(names, options["layout"]), image.kept
    if labels_group is not None and options["omero"] not in (None, False):
        raise PlanError(
            "for labels", option="omero", value=options["omero"], accepted="None, False",
            fix="colours of labels are those of attrs['image-label']",
        )  # fmt: skip
    transaction = transaction_for((root / group).as_image(), () if kept is None else kept.children)
    new = [path.split("/")[0] for path in paths[len(kept.paths) :]] if kept is not None else [""]
    check_source(read, [transaction.target / name for name in new])
    check_writable(transaction.target)
    was_recovered = transaction.recover()
    check_above(transaction.target, zarr_format, is_label=labels_group is not None)
    spec = _template_spec(image, paths, group, names, labels_group, options)
    if options["mode"] == "w" and labels_group is None:
        label_groups.warn_of_misfits(transaction.target, spec.group_attributes, base.shape)
    is_label = labels_group is not None
    objects = (*(() if kept is None else kept.objects), *spec.objects)
    return PreparedImage(
        transaction=transaction,
        was_recovered=was_recovered,
        levels=image.levels,
        objects=objects,
        plan=image.plan,
        reducer=image.reducer,
        paths=tuple(paths),
        template=make_template(spec),
        zarr_format=zarr_format,
        omero=None if is_label else _omero(image, objects[0], options),
        labels_group=labels_group,
        collection=None
        if is_label
        else ImageCollection.around(transaction.target, options["version"]),
        kept=0 if kept is None else len(kept.paths),
        replaced=() if kept is None else kept.replaced,
        interim={} if kept is None else kept.interim(zarr_format),
        before={} if kept is None else kept.attributes,
        samples=image.samples,
        passes_through=not is_default(options["compressor"]),
        by_graph=image.by_graph,
    )


def _omero(
    image: ImageSource, stored: tuple[int, ...], options: WriteOptions
) -> omero.OmeroRequest | None:
    """Return what to show of an image, whose level 0 is in stored objects of such a shape."""
    if options["layout"] == "datasets":  # of one image, in a group of several
        return None
    plan = image.plan
    request = omero.omero_request(image.levels[0], plan, options["omero"], image.document)
    if request is None:
        return None
    if image.kept is not None and options["omero"] is None:
        request = as_before(request, image.kept.attributes)
    if image.samples is not None:
        return replace(request, of_base=False)
    zero = LevelZero(plan.levels[0].shape, stored, plan.levels[-1].factors, plan.dtype)
    return with_sections(request, zero)


def _copied(image: ImageSource) -> StoredSamples | None:
    """Return what level 0 is, where it is stored already, and would only be copied."""
    if image.samples is not None or image.kept is not None:
        return None
    return source_samples(image.levels[0])


def _template_spec(
    image: ImageSource,
    paths: Sequence[str],
    group: str,
    names: StoredNames,
    labels_group: label_groups.LabelsGroup | None,
    options: WriteOptions,
) -> TemplateSpec:
    """Return what the documents of an image are made from."""
    zarr_format, base = ngff.VERSIONS[options["version"]].zarr_format, image.levels[0]
    attrs = json_attributes(dataset_attributes(image.attrs), DATASET)
    new = slice(0 if image.kept is None else len(image.kept.paths), None)
    coordinates = list(image.levels.coordinates)[new]
    lengths, factors = image.plan.levels[0].shape, image.plan.levels[-1].factors
    growing = [  # by single steps: in time, or slices of which there is one yet
        axis.dim
        for axis, n, factor in zip(image.plan.axes, lengths, factors, strict=True)
        if (axis.type == "time" and axis.dim not in image.plan.coarsened) or (n == 1 and factor > 1)
    ]
    attributes = [
        array_attributes(base, attrs, names, zarr_format) for attrs in list(_attributes(image))[new]
    ]
    return TemplateSpec(
        paths=paths[new],
        levels=image.plan.levels[new],
        objects=image.plan.objects(options["shards"])[new],
        coordinates=[prepare_coordinates(c, names, attrs, growing) for c in coordinates],
        dtype=image.plan.dtype,
        dims=list(names.dims.values()),
        attributes=attributes,
        group_attributes=_group_attributes(image, paths, group, names, labels_group, options),
        zarr_format=zarr_format,
        compressor=compressor_of(options["compressor"], zarr_format, _copied(image)),
        form=_form(image, attributes, options),
    )


def _form(
    image: ImageSource, attributes: Sequence[Attrs], options: WriteOptions
) -> Mapping[str, object]:
    """Return what the arrays of an image have, beyond what follows from its plan.

    Readers of maps (GDAL, OpenLayers) take the fill value of an array for missing samples.
    """
    if image.kept is not None:
        return image.kept.form
    if not options["conventions"]:
        return {}
    stored: Any = attributes[0].get("_FillValue")
    missing = image.plan.options.get("ignore")
    if stored is not None:
        missing = FillValueCoder.decode(stored, image.plan.dtype)
    elif missing is None and image.plan.dtype.kind in "fc":
        missing = np.nan
    return {} if missing is None else {"fill_value": missing}


def _check_options(options: WriteOptions) -> None:
    """Refuse options that do not go together."""
    version, conventions = options["version"], options["conventions"]
    if any(name not in get_args(Convention) for name in conventions or ()):
        raise PlanError(option="conventions", value=conventions, accepted="['geozarr']")
    if ngff.VERSIONS[version].zarr_format == 2 and options["shards"] is not None:
        raise PlanError(
            say("with {version}, which is Zarr v2", version=version),
            option="shards",
            value=options["shards"],
            accepted=option("version", "0.5"),
        )
    if ngff.VERSIONS[version].zarr_format == 2 and conventions:
        raise PlanError(
            say("with {version}, whose 'multiscales' is in the same place", version=version),
            option="conventions",
            value=conventions,
            accepted=option("version", "0.5"),
        )
    if options["layout"] == "datasets":
        _check_datasets(options)


def _check_datasets(options: WriteOptions) -> None:
    """Refuse options that are for the only image of a group."""
    if ngff.VERSIONS[options["version"]].zarr_format == 2:
        raise PlanError(
            say("with {version}, whose 'multiscales' is in the same place as that of the groups",
                version=options["version"]),
            option="layout", value="datasets", accepted=option("version", "0.5"),
        )  # fmt: skip
    for name in ("omero", "labels_of"):
        if options[name] not in (None, False):
            raise PlanError(
                "for a group of several variables, which is for one image",
                option=name, value=options[name], accepted=option("layout", "groups"),
            )  # fmt: skip


def _stored_names(image: ImageSource, name: str, options: WriteOptions) -> StoredNames:
    """Return the names in the level groups: those that maps are read by are the source's."""
    if image.kept is not None:
        return image.kept.names
    read_by_xarray = options["conventions"] or options["layout"] == "datasets"
    names = options["names"] or ("source" if read_by_xarray else "ome")
    coords = [str(coord) for coord in image.levels.coordinates[0].coords]
    stored = choose_names(name, image.plan.axes, coords, names)
    check_axis_names(stored)
    return stored


def _attributes(image: ImageSource) -> Iterator[Attrs]:
    """Yield the attributes of the array of each level."""
    if image.reducer is None:  # each level has its own
        yield from (omero.attributes_without_omero(level.attrs) for level in image.levels)
        return
    base, count = image.levels[0], range(len(image.levels))
    attributes = omero.attributes_without_omero(base.attrs)
    yield from (level_attributes(attributes, base, image.plan, k) for k in count)


def _group_attributes(
    image: ImageSource,
    paths: Sequence[str],
    group: str,
    names: StoredNames,
    labels_group: label_groups.LabelsGroup | None,
    options: WriteOptions,
) -> dict[str, object]:
    """Return the attributes that make an image of a group, as far as they are known."""
    base, plan = image.levels[0], image.plan
    is_member = options["layout"] == "datasets"
    name = names.array if is_member else group.rpartition("/")[2] or str(base.name)
    if image.kept is not None and image.document:
        name = ngff.parse(image.kept.attributes).name or name
    about: dict[str, object] = dict(LIBRARY)
    coordinates = image.levels.coordinates[0]
    if options["layout"] == "arrays":
        base = forget_bounds(base, coordinates)
        coordinates = base.coords.to_dataset()
        about |= flat_layout.remember(base, plan.axes, name_of(base, name), plan.coarsened)
    described = ngff.describe_image(plan, paths, name, options["irregular"], about, names.dims)
    described = ngff.in_known_units(described, plan, ngff.multiples_of(base, plan.axes))
    described = note(described, base, coordinates, names)
    attributes = ngff.VERSIONS[options["version"]].attributes(described)
    crs = reference_system(base)
    if options["conventions"]:
        attributes |= ngff.geozarr(plan, paths, crs, names.dims)
    elif is_member:
        attributes |= ngff.multiscales([path.split("/")[0] for path in paths], plan)
    label: Mapping[str, object] = {}
    if labels_group is not None:
        label = labels_group.metadata(base.attrs, image.document)
    elif plan.kind == "labels" and base.dtype.kind in "iu" and not is_member:
        label = ngff.image_label(base.attrs, options["version"], None, image.document)
    if label:
        label = json_attributes(label, finite=True)
        attributes = ngff.with_metadata(attributes, "image-label", label)
    return attributes
