"""Which module speaks which version."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from xpyramid.errors import NotAPyramidError
from xpyramid.ngff.model import Axis, Dataset, Multiscale


@dataclass(frozen=True)
class Version:
    """An OME-NGFF version: its module, imported at first use, and its Zarr format."""

    module: str
    zarr_format: Literal[2, 3]

    def attributes(self, image: Multiscale) -> dict[str, Any]:
        """Return the group attributes that announce an image."""
        found: dict[str, Any] = importlib.import_module(self.module).attributes(image)
        return found


VERSIONS: Mapping[str, Version] = {
    "0.4": Version("xpyramid.ngff.v04", 2),
    "0.5": Version("xpyramid.ngff.v05", 3),
    "0.6": Version("xpyramid.ngff.v06", 3),
}


def version_of(attrs: Mapping[str, Any]) -> str | None:
    """Return the version that a group's attributes speak, None if they announce no image."""
    ome = attrs.get("ome")
    if isinstance(ome, Mapping) and "multiscales" in ome:
        return str(ome.get("version"))
    multiscales = attrs.get("multiscales")
    if isinstance(multiscales, list) and multiscales and isinstance(multiscales[0], Mapping):
        return str(multiscales[0].get("version", "0.4")) if "datasets" in multiscales[0] else None
    return None


def parse(attrs: Mapping[str, Any]) -> Multiscale:
    """Read the first multiscale image that a group's attributes announce.

    Raises
    ------
    NotAPyramidError
        If there is none, or its version is not known, or it breaks the specification.
    """
    version = version_of(attrs)
    if version is None:
        raise NotAPyramidError("the group's attributes announce no multiscale image")
    if version not in VERSIONS:
        raise NotAPyramidError(f"OME-NGFF version {version!r}; accepted: {', '.join(VERSIONS)}")
    try:
        found = importlib.import_module(VERSIONS[version].module).parse(attrs)
    except (ValueError, TypeError, LookupError) as error:  # the models trip over some of it
        raise NotAPyramidError(f"the OME-NGFF {version} metadata are not valid: {error}") from error
    return Multiscale(
        axes=tuple(Axis(a.name, a.type, a.unit) for a in found.axes),
        datasets=tuple(_dataset(d, len(found.axes)) for d in found.datasets),
        name=found.name,
        type=found.type,
        metadata=found.metadata if isinstance(found.metadata, Mapping) else {},
    )


def _dataset(dataset: Any, ndim: int) -> Dataset:
    transforms = {t.type: t for t in dataset.coordinateTransformations}
    scale = tuple(getattr(transforms["scale"], "scale", ()))
    moved = transforms.get("translation")
    shift = (0.0,) * ndim if moved is None else tuple(moved.translation)
    if len(scale) != ndim or len(shift) != ndim:
        raise NotAPyramidError(
            f"dataset {dataset.path!r}: scale {scale}, translation {shift}, and {ndim} axes"
        )
    return Dataset(dataset.path, scale, shift)
