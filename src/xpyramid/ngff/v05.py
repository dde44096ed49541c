"""OME-NGFF 0.5, on Zarr v3.

https://ngff.openmicroscopy.org/0.5/:

"OME-Zarr Metadata is stored in the various zarr.json files ... under the namespaced key "ome"."
"""

from __future__ import annotations

from typing import Any

from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.multiscales import Dataset, Multiscale

from xpyramid.ngff import model


def attributes(image: model.Multiscale) -> dict[str, Any]:
    """Return the group attributes that announce an image."""
    multiscale = Multiscale(
        axes=[Axis(name=a.name, type=a.type, unit=a.unit) for a in image.axes],
        datasets=tuple(
            Dataset.build(path=d.path, scale=d.scale, translation=d.translation)
            for d in image.datasets
        ),
        name=image.name,
        type=image.type,
        metadata=dict(image.metadata),
    )
    attrs = ImageAttrs(version="0.5", multiscales=[multiscale])
    return {"ome": attrs.model_dump(mode="json", exclude_none=True)}
