"""What is wrong with a metadata document by itself: an image's, a plate's, a well's, a scene's."""

from __future__ import annotations

import importlib
import reprlib
import warnings
from collections.abc import Iterator, Mapping

from xpyramid.ngff.checks import check_image, check_version, images_of
from xpyramid.ngff.json_types import is_map, ome_metadata
from xpyramid.ngff.label_checks import check_image_label
from xpyramid.ngff.parser import READABLE, spec_version
from xpyramid.ngff.plates import check_plate, check_well
from xpyramid.ngff.problems import Problem, recommended
from xpyramid.ngff.transforms import check_listed
from xpyramid.ngff.versions import VERSIONS

#: Metadata whose form is checked here.
_OWN = ("plate", "well", "image-label", "series")

#: Metadata that announce something else than an image, and the models that know their form.
_OTHER = {
    "labels": ("labels", "LabelsAttrs"),
    "scene": ("scene", "BaseSceneAttrs"),
    "bioformats2raw.layout": ("bioformats2raw", "BioFormats2RawAttrs"),
}


def check_document(document: object) -> list[Problem]:
    """Return what is wrong with a metadata document by itself, without its arrays.

    Parameters
    ----------
    document : object
        A parsed ``zarr.json`` or ``.zattrs``, or the attributes of one.
    """
    if not is_map(document):
        return [Problem("metadata", "", f"{reprlib.repr(document)}; expected a JSON object")]
    attrs = document.get("attributes") if "zarr_format" in document else document
    if not is_map(attrs):
        return [
            Problem("metadata", "", f"attributes {reprlib.repr(attrs)}; expected a JSON object")
        ]
    problems: list[Problem] = []
    if "multiscales" in ome_metadata(attrs):
        for image, image_problems in images_of(attrs):
            problems += image_problems
            if image is not None:
                problems += check_image(image, {}, attrs)
    elif not has_others(attrs):
        problems.append(Problem("metadata", "", "no OME-NGFF metadata; expected multiscales"))
    return problems + list(check_others(attrs))


def has_others(attrs: Mapping[str, object]) -> bool:
    """Whether attributes announce something of OME-NGFF other than an image."""
    return bool({*_OTHER, *_OWN} & ome_metadata(attrs).keys())


def check_others(attrs: Mapping[str, object]) -> Iterator[Problem]:
    """Yield what is wrong with a plate, a well, a list of labels or a collection."""
    content = ome_metadata(attrs)
    keys = [key for key in (*_OWN, *_OTHER) if key in content]
    if keys and content is not attrs and "version" not in content and "multiscales" not in content:
        yield Problem("metadata", "", f"no version beside {keys[0]}; expected ome.version")
    for key in keys:
        value = content[key]
        inside = value if is_map(value) else content
        default = "0.4" if content is attrs else "0.5"
        declared = str(content.get("version", inside.get("version", default)))[:200]
        published = spec_version(declared) or ""
        is_older = (
            published in READABLE and published not in VERSIONS and key in ("labels", "image-label")
        )
        version = "0.4" if is_older else published  # labels have hardly changed
        if version not in VERSIONS:
            message = f"OME-NGFF version {declared!r}; expected {list(VERSIONS)}"
            yield Problem("metadata", "", message)
            continue
        if "multiscales" not in content:
            yield from check_version(declared)
        if key in _OWN:
            yield from _check_own(key, content, version)
            if key == "image-label" and not is_older:
                yield from _check_label(content, version)
            continue
        if key == "scene":
            yield from check_listed(inside.get("coordinateTransformations"), inside)
        try:
            _validate(key, content, version)
        except (ValueError, TypeError, LookupError) as error:
            yield Problem("metadata", "", " ".join(f"{key} is not valid: {error}".split()))


def _check_own(key: str, content: Mapping[str, object], version: str) -> Iterator[Problem]:
    """Check what has a form of ours."""
    value = content[key]
    if key == "series":
        paths = value if isinstance(value, list) else [None]
        if "version" in content and not all(isinstance(path, str) for path in paths):
            message = f"series is {reprlib.repr(value)}; expected a list of paths"
            yield Problem("metadata", "", message)
    elif not is_map(value):
        yield Problem("metadata", "", f"{key} is {reprlib.repr(value)}; expected an object")
    elif key == "image-label":
        yield from check_image_label(value)
    else:
        yield from (check_plate if key == "plate" else check_well)(value, version)


def _check_label(content: Mapping[str, object], version: str) -> Iterator[Problem]:
    """Yield what is recommended of a label image; ours knows no colours that it was not given."""
    images = content.get("multiscales")
    first = images[0] if isinstance(images, list) and images else {}
    metadata = first.get("metadata") if is_map(first) else None
    label = content["image-label"]
    if is_map(label) and not (is_map(metadata) and metadata.get("library") == "xpyramid"):
        keys = ("colors", "version") if version == "0.4" else ("colors",)
        yield from recommended("image-label", label, keys)


def _validate(key: str, content: Mapping[str, object], version: str) -> None:
    """Validate by the models of a version."""
    module, name = _OTHER[key]
    for model_version in (version, "0.5") if key != "scene" else (version,):
        # Models for Python 3.11 do not know 0.6, which has left the others as they are in 0.5.
        try:
            models = importlib.import_module(
                f"ome_zarr_models.v{model_version.replace('.', '')}.{module}"
            )
            model = getattr(models, name)
        except (ImportError, AttributeError):
            continue
        whole = {**content, key: _as(model_version, content[key])}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may be left out
            model.model_validate(_as(model_version, whole))
        return


def _as(version: str, value: object) -> object:
    """Return a mapping that says its version as one of this version."""
    return {**value, "version": version} if is_map(value) and "version" in value else value
