"""Options that there are not: the words of other tools, and typing errors."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from types import MappingProxyType

from xpyramid.errors import OptionError
from xpyramid.messages import Message, joined, option

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


def check_names(
    passed: Collection[str],
    accepted: Collection[str],
    call: str,
    elsewhere: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> None:
    """Refuse options that a call does not have, and name those that are meant.

    Parameters
    ----------
    passed : collection of str
    accepted : collection of str
    call : str
        For the message, as in ``"to_ome_zarr()"``.

    Raises
    ------
    OptionError
    """
    unknown = [name for name in passed if name not in accepted]
    if unknown:
        hints = [
            hint
            for name in unknown
            if (hint := suggest(name, accepted) or _suggest_elsewhere(name, elsewhere))
        ]
        names = ", ".join(f"{name}=" for name in unknown)
        raise OptionError(
            f"{call} has no option {names}",
            accepted="" if hints else ", ".join(accepted),
            fix=joined("; ", hints),
        )


def suggest(name: str, accepted: Collection[str]) -> Message:
    """Return which option is meant by another name; empty where none is like it."""
    ours = _OURS.get(name.lower(), "")
    if ours and ours.partition("=")[0] in accepted:
        part = option("mode", "w") if "=" in ours else option(ours)
        return Message(f"for {name!r}, write ", part)
    if ours:
        return Message()
    matches = difflib.get_close_matches(name.lower(), accepted, 1, 0.7)
    return Message("did you mean ", option(matches[0]), f" for {name!r}?") if matches else Message()


def _suggest_elsewhere(name: str, elsewhere: Mapping[str, Collection[str]]) -> Message:
    """Return which option of another call is meant; empty where none is."""
    for call, accepted in elsewhere.items():
        ours = name if name in accepted else _OURS.get(name.lower(), "")
        if ours.partition("=")[0] in accepted:
            part = option("mode", "w") if "=" in ours else option(ours)
            return Message(f"for {name!r}, pass ", part, f" to {call}")
        if matches := difflib.get_close_matches(name.lower(), accepted, 1, 0.7):
            return Message("did you mean ", option(matches[0]), f" of {call} for {name!r}?")
    return Message()
