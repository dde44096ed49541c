"""Options that there are not: the words of other tools, and typing errors."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import ParamSpec, TypeVar

from xpyramid.errors import OptionError

P = ParamSpec("P")
R = TypeVar("R")

#: From what we write to what other tools call the same.
_OTHER_WORDS = {
    "factor": "scale_factor scale_factors downsample_factor downsample_factors downsampling_factor "
    "downscale downscale_factor coarsening_factor coarsen_factor scaling_factor",
    "spacing": "voxel_size voxelsize voxel_sizes voxelspacing voxel_spacing pixel_size pixel_sizes "
    "pixelsize resolution resolutions scale scales physical_pixel_sizes physical_scale",
    "origin": "translation translations translate offset offsets voxel_offset",
    "units": "unit axis_units space_unit length_unit",
    "mode='w'": "overwrite replace clobber force delete_existing",
    "levels": "max_layer max_layers max_levels n_levels num_levels nlevels n_scales num_scales "
    "num_mips max_mip n_layers level_count",
    "chunks": "chunk_size chunk_sizes chunk_shape chunksize chunk",
    "shards": "shard_shape shard_size chunks_per_shard shard",
    "method": "downsample_method downsampling_method reduction resampling resampling_method func "
    "coarsen_method aggregation reducer agg how interpolation",
    "dims": "dim axes axis",
    "version": "fmt format ngff_version ome_zarr_version ome_version zarr_format zarr_version",
    "compressor": "compression compressors codec codecs",
    "ignore": "nodata no_data fill_value sparse background ignore_value",
    "skipna": "skip_na nan_aware ignore_nan",
    "omero": "channels channel_names channel_colors contrast_limits",
    "labels_of": "label_of image_of",
    "group": "path component",
    "memory": "memory_limit max_memory memory_budget",
    "progress": "progress_bar progressbar show_progress",
}
_OURS = {theirs: ours for ours, words in _OTHER_WORDS.items() for theirs in words.split()}

#: The calls that follow each other, whose options are taken for each other's.
_NEIGHBOURS = {".pyramid.build()": "to_ome_zarr()", "to_ome_zarr()": ".pyramid.build()"}

#: Options of the calls that `explains_options` has seen.
_ACCEPTED: dict[str, list[str]] = {}


def check_options(given: Collection[str], accepted: Collection[str], call: str) -> None:
    """Refuse options that a call does not have, and name those that are meant.

    Parameters
    ----------
    given : collection of str
    accepted : collection of str
    call : str
        For the message, as in ``"to_ome_zarr()"``.

    Raises
    ------
    OptionError
    """
    unknown = [name for name in given if name not in accepted]
    if unknown:
        neighbour = _NEIGHBOURS.get(call, "")
        elsewhere = _ACCEPTED.get(neighbour, [])
        hints = [
            hint
            for name in unknown
            if (hint := suggest(name, accepted) or _belongs(name, elsewhere, neighbour))
        ]
        raise OptionError(
            f"{call} has no option {', '.join(f'{name}=' for name in unknown)}; "
            + "; ".join(hints or [f"accepted: {', '.join(accepted)}"])
        )


def suggest(name: str, accepted: Collection[str]) -> str:
    """Return which option is meant by another name; empty where none is like it."""
    ours = _OURS.get(name.lower(), "")
    if ours and ours.partition("=")[0] in accepted:
        return f"for {name!r}, write {ours if '=' in ours else ours + '='}"
    if ours:
        return ""
    near = difflib.get_close_matches(name.lower(), accepted, 1, 0.7)
    return f"for {name!r}, the nearest is {near[0]}=" if near else ""


def _belongs(name: str, accepted: Collection[str], call: str) -> str:
    """Say which option of another call is meant; empty where none is."""
    ours = name if name in accepted else _OURS.get(name.lower(), "")
    near = difflib.get_close_matches(name.lower(), accepted, 1, 0.7)
    if not ours and near:
        return f"for {name!r}, the nearest is {near[0]}= of {call}"
    if ours.partition("=")[0] not in accepted:
        return ""
    return f"for {name!r}, pass {ours if '=' in ours else ours + '='} to {call}"


def explains_options(call: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that has unknown keywords refused by `check_options`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        accepted = [name for name in parameters if name != "self"]
        _ACCEPTED.setdefault(call, accepted)

        @wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            check_options(tuple(kwargs), accepted, call)
            return function(*args, **kwargs)

        return wrapped

    return decorate
