"""OME-NGFF 0.4, on Zarr v2.

https://ngff.openmicroscopy.org/0.4/:

"Metadata about an image can be found under the "multiscales" key in the group-level metadata."
"""

from __future__ import annotations

from typing import Any

from ome_zarr_models.v04.axes import Axis
from ome_zarr_models.v04.image import ImageAttrs
from ome_zarr_models.v04.multiscales import Dataset, Multiscale

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
        version="0.4",  # optional in the text, but neuroglancer refuses an image without it
    )
    return ImageAttrs(multiscales=[multiscale]).model_dump(mode="json", exclude_none=True)
