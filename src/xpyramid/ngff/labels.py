"""Label images: the ``image-label`` metadata, and the list of an image's labels.

https://ngff.openmicroscopy.org/0.5/:

"The `labels` group is nested within an image group, at the same level of the Zarr hierarchy as the
resolution levels for the original image."
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xpyramid.errors import AttributeValueError
from xpyramid.messages import literal
from xpyramid.ngff.json_types import (
    holder_of_multiscales,
    is_map,
    is_number,
    map_in,
    ome_metadata,
)
from xpyramid.ngff.omero import default_colors
from xpyramid.types import Attrs, Json

_KEYS = ("colors", "properties", "source")

#: What says the colour of a label.
_COLOR = ("label-value", "rgba")

#: What describes an image and its levels, in any version: another description takes its place.
_DESCRIBED = (
    "axes", "coordinateSystems", "coordinateTransformations", "datasets", "metadata", "type",
    "version",
)  # fmt: skip

#: What stands beside each other in the attributes of a group up to 0.4, and under "ome" since.
_OWN_KEYS = ("multiscales", "omero", "image-label")


def image_label(
    attrs: Attrs, version: str, depth: int | None, document: Mapping[str, object]
) -> dict[str, object]:
    """Return the metadata of a label image.

    Parameters
    ----------
    attrs : mapping
        Of the array. Its ``image-label`` gives colours, properties and source; without properties,
        the CF attributes ``flag_values`` and ``flag_meanings`` name the labels.
    version : str
    depth : int or None
        How many groups the label image lies under the image that it is of; None where it is of
        none.
    document : mapping
        Metadata of the stored image that is copied, if it is one: colours and properties that are
        there hold unless others are given.

    Raises
    ------
    AttributeValueError
        If the given colours or properties are not of labels.
    """
    label_attrs = attrs.get("image-label") or _stored(document)
    metadata = {
        key: label_attrs[key]
        for key in _KEYS
        if isinstance(label_attrs, Mapping) and key in label_attrs
    }
    for key in ("colors", "properties"):
        entries = metadata.get(key, [])
        if not isinstance(entries, list | tuple) or not all(
            _is_of_label(entry) for entry in entries
        ):
            raise AttributeValueError(
                f"attrs['image-label'][{key!r}] is {literal(entries)}",
                accepted="a list of mappings, each with an integer 'label-value'",
            )
        if not entries:  # an empty list is not allowed
            metadata.pop(key, None)
    values, meanings = attrs.get("flag_values"), attrs.get("flag_meanings")
    if values is not None and isinstance(meanings, str):
        pairs = zip(np.atleast_1d(np.asarray(values)).tolist(), meanings.split(), strict=False)
        properties = [{"label-value": int(value), "name": name} for value, name in pairs]
        if properties:
            metadata.setdefault("properties", properties)
    if "properties" in metadata:
        metadata |= _same_labels(metadata.get("colors", []), metadata["properties"])
    if depth is not None:
        metadata.setdefault("source", {"image": "../" * depth})
    return {"version": version, **metadata}


def _stored(document: Mapping[str, object]) -> dict[str, object]:
    """Return the colours and properties of a stored image that are of labels."""
    label = document.get("image-label")
    parts = {key: label.get(key) for key in ("colors", "properties")} if is_map(label) else {}
    return {
        key: entries
        for key, entries in parts.items()
        if isinstance(entries, list) and all(map(_is_of_label, entries))
    }


def label_colors(document: Attrs, attrs: Attrs) -> dict[int, tuple[int, ...]]:
    """Return red, green, blue and alpha, up to 255, of the labels that have colours.

    Anybody may have written them: what is no colour is left out.

    Parameters
    ----------
    document : mapping
        Metadata of the stored image, whose ``image-label`` comes first.
    attrs : mapping
        Of the array.
    """
    described = document.get("image-label") or attrs.get("image-label")
    colors = described.get("colors") if isinstance(described, Mapping) else None
    color_of = {}
    for color in colors if isinstance(colors, list) else ():
        value, rgba = (color.get(key) if isinstance(color, Mapping) else None for key in _COLOR)
        if not isinstance(value, int) or not isinstance(rgba, list | tuple):
            continue
        if len(rgba) in (3, 4) and all(map(is_number, rgba)):
            color_of[value] = tuple(int(part) & 255 for part in (*rgba, 255)[:4])
    return color_of


def _is_of_label(entry: object) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get("label-value"), int)


def _same_labels(
    colors: Sequence[Mapping[str, object]], properties: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """Return colours and properties of the same labels, which ome-zarr-models asks for."""
    colored = {color["label-value"]: color for color in colors}
    described = {entry["label-value"]: entry for entry in properties}
    values = list(dict.fromkeys([*described, *colored]))
    for value, color in zip(values, default_colors(len(values)), strict=True):
        is_visible = value != 0  # the background is transparent
        rgba = [*bytes.fromhex(color), 255] if is_visible else [0, 0, 0, 0]
        colored.setdefault(value, {"label-value": value, "rgba": rgba})
        described.setdefault(value, {"label-value": value})
    return {
        "colors": [colored[value] for value in values],
        "properties": [described[value] for value in values],
    }


def add_to_list(attrs: Mapping[str, Json], version: str, path: str) -> dict[str, Json]:
    """Return the attributes of a ``labels`` group with one more path in its list."""
    ome = attrs if version == "0.4" else map_in(attrs, "ome")
    paths = ome.get("labels")
    labels = list(dict.fromkeys([*(paths if isinstance(paths, list | tuple) else ()), path]))
    if version == "0.4":
        return {"labels": labels}
    return {"ome": {**ome, "version": version, "labels": labels}}


def with_image(
    attributes: Mapping[str, object], announcement: Mapping[str, object]
) -> dict[str, object]:
    """Return the attributes of a group that now announces an image; all others stay.

    So do those of the image that the announcement does not speak of.
    """
    old, new = holder_of_multiscales(attributes), holder_of_multiscales(announcement)
    entries = {"multiscales": [_with_others(new, old)]}
    before = ome if is_map(ome := attributes.get("ome")) else {}
    if not is_map(announced := announcement.get("ome")):
        kept = {key: value for key, value in attributes.items() if not (key == "ome" and before)}
        others = _without(before, (*_OWN_KEYS, "version"))
        return {**kept, **({"ome": others} if others else {}), **announcement, **entries}
    is_misplaced = isinstance(attributes.get("multiscales"), list)
    rest = _without(attributes, _OWN_KEYS) if is_misplaced else attributes
    return {**rest, **announcement, "ome": {**before, **announced, **entries}}


def _without(mapping: Mapping[str, object], keys: Sequence[str]) -> dict[str, object]:
    return {key: value for key, value in mapping.items() if key not in keys}


def _with_others(holder: Mapping[str, object], old: Mapping[str, object]) -> dict[str, object]:
    """Return the only image of a document, with what another says beside what images must say."""
    (image,), (before, *_) = (_maps(each, "multiscales") or [{}] for each in (holder, old))
    return {**_without(before, _DESCRIBED), **image, **_other_systems(image, before)}


def _other_systems(image: Mapping[str, object], old: Mapping[str, object]) -> dict[str, object]:
    """Return the coordinate systems of an image of 0.6 with those that another has beside its own.

    What leads from its own to them leads there still, though that may be called otherwise now.
    """
    (new, *_), systems = _maps(image, "coordinateSystems") or [{}], _maps(old, "coordinateSystems")
    names = {
        output.get("name")
        for dataset in _maps(old, "datasets")
        for transform in _maps(dataset, "coordinateTransformations")
        if is_map(output := transform.get("output"))
    }
    others = [s for s in systems if s.get("name") not in {*names, new.get("name")}]
    if not new or not others or len(names) != 1:
        return {}
    transforms = []
    for transform in _maps(old, "coordinateTransformations"):
        ends = {key: transform.get(key) for key in ("input", "output")}
        renamed = {
            key: {**end, "name": new["name"]}
            for key, end in ends.items()
            if is_map(end) and end.get("name") in names
        }
        transforms.append({**transform, **renamed})
    changed: dict[str, object] = {"coordinateSystems": [new, *others]}
    return changed | ({"coordinateTransformations": transforms} if transforms else {})


def _maps(holder: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    listed = holder.get(key)
    return [entry for entry in listed if is_map(entry)] if isinstance(listed, list) else []


def with_levels(attributes: Mapping[str, object], paths: Sequence[str]) -> dict[str, object]:
    """Return the attributes of a group whose image has only some of its levels, the first ones."""
    entries = ome_metadata(attributes).get("multiscales")
    kept = (
        [_with_levels(entry, paths) for entry in entries if is_map(entry)]
        if isinstance(entries, list)
        else []
    )
    return with_metadata(attributes, "multiscales", kept)


def _with_levels(image: Mapping[str, object], paths: Sequence[str]) -> dict[str, object]:
    datasets, about = image.get("datasets"), image.get("metadata")
    listed = [d for d in datasets if is_map(d)] if isinstance(datasets, list) else []
    first = {**image, "datasets": [d for d in listed if d.get("path") in paths]}
    if is_map(about) and isinstance(factors := about.get("factors"), list):
        first["metadata"] = {**about, "factors": factors[: len(paths)]}
    return first


def with_metadata(announcement: Mapping[str, object], key: str, value: object) -> dict[str, object]:
    """Return the attributes of an image with one more key beside ``multiscales``."""
    if is_map(ome := announcement.get("ome")):
        return {**announcement, "ome": {**ome, key: value}}
    return {**announcement, key: value}
