"""From (plan, levels) to a store: check everything, write every chunk once, announce last."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import dask.array as da
import numcodecs
import numpy as np
import xarray as xr
import zarr
from dask.delayed import delayed
from zarr.codecs import ZstdCodec
from zarr.errors import UnstableSpecificationWarning, ZarrUserWarning

from xpyramid import ngff
from xpyramid._version import __version__
from xpyramid.chunks import align
from xpyramid.coarsen import as_dask
from xpyramid.errors import AttributeValueError, AxisError, DtypeError, PlanError
from xpyramid.io.target import Place, Store, check_free, check_name, resolve
from xpyramid.plan import Plan

LIBRARY = {"library": "xpyramid", "version": __version__}


@dataclass(frozen=True)
class Image:
    """What to write.

    Attributes
    ----------
    levels : tuple of xarray.DataArray
    plan : Plan
    group : str or None
        Path in the store; None is the name of the array.
    attrs : mapping
        Of the Dataset that the array comes from; kept on every level's group.
    """

    levels: tuple[xr.DataArray, ...]
    plan: Plan
    group: str | None = None
    attrs: Mapping[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """An image whose checks have passed."""

    place: Place
    levels: tuple[xr.DataArray, ...]
    plan: Plan
    name: str
    attributes: dict[str, Any]
    dataset_attributes: dict[str, Any]
    announcement: dict[str, Any]
    zarr_format: Literal[2, 3]


def write(
    images: Sequence[Image],
    store: Store,
    *,
    version: str,
    irregular: ngff.Irregular,
    compute: bool,
) -> Any:
    """Write images; see :meth:`xpyramid.pyramid.Pyramid.to_ome_zarr`.

    Everything that can be refused is refused before anything is touched. All images are computed
    together; each stored chunk is written once, by one task.
    """
    root = resolve(store, read_only=False)
    jobs = [_check(image, root, version, irregular) for image in images]
    sources: list[da.Array] = []
    targets: list[Any] = []
    for job in jobs:
        for k, array in enumerate(_create(job)):
            sources.append(_aligned(job.levels[k], job.plan.levels[k].chunks))
            targets.append(array)
    if not compute:
        stored = da.store(sources, targets, lock=False, compute=False, return_stored=False)
        return delayed(_announce)(jobs, after=stored)
    da.store(sources, targets, lock=False)
    return _announce(jobs)


def _check(image: Image, root: Place, version: str, irregular: ngff.Irregular) -> _Job:
    """Refuse what cannot be written; touch nothing."""
    if version not in ngff.VERSIONS:
        raise PlanError(f"version={version!r}; accepted: {', '.join(ngff.VERSIONS)}")
    base = image.levels[0]
    group = check_name(image.group or (None if base.name is None else str(base.name)))
    name = check_name(group.split("/")[-1] if base.name is None else str(base.name))
    if odd := {str(level.dtype) for level in image.levels[1:] if level.dtype != base.dtype}:
        raise DtypeError(
            f"method={image.plan.method!r} turns dtype {base.dtype} into {', '.join(odd)}, and the "
            "levels of an OME-Zarr image have one dtype; call "
            f".astype({next(iter(odd))!r}) before .pyramid"
        )
    if name in base.coords or name in base.dims:
        raise AxisError(
            f"{name!r} is the name of the array and of a coordinate; rename one of them"
        )
    paths = [f"{k}/{name}" for k in range(len(image.levels))]
    described = ngff.describe(image.plan, paths, group.split("/")[-1], irregular, LIBRARY)
    taken = {axis.name for axis in image.plan.axes} & {
        str(coord) for coord in base.coords if coord not in base.dims
    }
    if taken:
        raise AxisError(
            f"coordinate {sorted(taken)} has the name of an OME-NGFF axis of this array; rename it"
        )
    spoken = ngff.VERSIONS[version]
    place = root / group
    check_free(place, spoken.zarr_format)
    return _Job(
        place=place,
        levels=image.levels,
        plan=image.plan,
        name=name,
        attributes=json_attributes(base.attrs),
        dataset_attributes=json_attributes(image.attrs),
        announcement=spoken.attributes(described),
        zarr_format=spoken.zarr_format,
    )


def _create(job: _Job) -> list[zarr.Array[Any]]:
    """Create the groups, coordinates and empty arrays of an image."""
    for place in [*job.place.parents(), job.place]:
        zarr.open_group(place.store, path=place.path, mode="a", zarr_format=job.zarr_format)
    return [_create_level(job, k) for k in range(len(job.levels))]


def _create_level(job: _Job, k: int) -> zarr.Array[Any]:
    """Create one level: a group that xarray can open, with its coordinates and an empty array."""
    level, geometry = job.levels[k], job.plan.levels[k]
    place = job.place / str(k)
    names = {axis.dim: axis.name for axis in job.plan.axes}
    with warnings.catch_warnings():
        # Zarr v3 has no final word on strings and datetimes; coordinates are for xarray's eyes.
        warnings.simplefilter("ignore", UnstableSpecificationWarning)
        coordinates = level.coords.to_dataset().assign_attrs(job.dataset_attributes)
        with_viewer_names(coordinates, names).to_zarr(
            place.store,
            group=place.path,
            mode="w-",
            consolidated=False,
            zarr_format=job.zarr_format,
        )
    group = zarr.open_group(place.store, path=place.path, mode="r+", zarr_format=job.zarr_format)
    dims = [names[str(dim)] for dim in level.dims]
    if job.zarr_format == 2:
        # No fill value: xarray would take it for missing data.
        return group.create_array(
            job.name,
            shape=geometry.shape,
            chunks=geometry.chunks,
            dtype=level.dtype,
            compressors=numcodecs.Zstd(level=1, checksum=True),
            fill_value=None,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            attributes={**job.attributes, "_ARRAY_DIMENSIONS": dims},
        )
    return group.create_array(
        job.name,
        shape=geometry.shape,
        chunks=geometry.chunks,
        dtype=level.dtype,
        compressors=ZstdCodec(level=1, checksum=True),
        dimension_names=dims,
        attributes=job.attributes,
    )


def with_viewer_names(dataset: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Rename dimensions; their coordinates keep their own names, as coordinates along them."""
    for dim, name in names.items():
        if dim != name and dim in dataset.dims:
            rename = dataset.swap_dims if dim in dataset.coords else dataset.rename_dims
            dataset = rename({dim: name})
    return dataset


def _aligned(level: xr.DataArray, chunks: tuple[int, ...]) -> da.Array:
    """Return the data in blocks of whole stored chunks, so that one task writes each."""
    data = as_dask(level, chunks)
    blocks = tuple(align(cs, c) for cs, c in zip(data.chunks, chunks, strict=True))
    aligned: da.Array = data.rechunk(blocks)
    return aligned


def _announce(jobs: Sequence[_Job], after: object = None) -> None:  # noqa: ARG001
    """Make images of what is complete now."""
    for job in jobs:
        group = zarr.open_group(job.place.store, path=job.place.path, mode="r+")
        group.attrs.update(job.announcement)
        for k in range(len(job.levels)):
            _consolidate(job.place / str(k))
        _consolidate(job.place)
        for above in job.place.parents():
            # Whoever consolidated a group above would not see the new image in it.
            node = above.node()
            if isinstance(node, zarr.Group) and node.metadata.consolidated_metadata is not None:
                _consolidate(above)


def _consolidate(place: Place) -> None:
    """Copy the metadata of all children into a group: one read opens them, and xarray looks for it.

    What changes a shape or an attribute later has to do this again.
    """
    with warnings.catch_warnings():
        for category in (ZarrUserWarning, UnstableSpecificationWarning):
            warnings.simplefilter("ignore", category)  # not in the v3 specification yet
        zarr.consolidate_metadata(place.store, path=place.path)


def json_attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Return attributes as strict JSON values; NumPy's scalars and arrays become numbers and lists.

    Raises
    ------
    AttributeValueError
        For what JSON cannot hold.
    """
    return {str(key): _json(value, str(key)) for key, value in attrs.items()}


def _json(value: Any, where: str) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_json(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _json(item, f"{where}.{key}") for key, item in value.items()}
    raise AttributeValueError(
        f"attribute {where!r} is {value!r}, which JSON cannot hold; accepted: text, finite "
        "numbers, booleans, None, lists and mappings of those; change it, or drop it with "
        f"del array.attrs[{where!r}]"
    )
