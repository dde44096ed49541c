"""Whether an array can be stored, and what a store or a viewer would make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from xpyramid.errors import (
    AttributeValueError,
    AxisError,
    DtypeError,
    InvalidNameError,
    PlanError,
    ViewerWarning,
)
from xpyramid.geometry.plan import Plan
from xpyramid.inputs.kinds import AVERAGING, averaged_labels
from xpyramid.messages import Message, code, literal, say
from xpyramid.store.names import StoredNames
from xpyramid.store.path import check_name, is_text
from xpyramid.types import Attrs, DType
from xpyramid.warn import warn
from xpyramid.writer.request import ImageSource

#: Bytes of a chunk that codecs and viewers can still count: they use signed 32-bit integers.
CHUNK_BYTES = 2**31 - 1

#: Characters that the name of an axis may have.
MOST_CHARACTERS = 200

#: Attributes that make an OME-Zarr image, or a part of one, of the group that has them.
_ANNOUNCING = {"ome", "multiscales", "plate", "well", "bioformats2raw.layout", "labels"}

#: Who refuses a dtype, and the nearest that is shown by all.
_REFUSED = {
    "bool": ("neuroglancer and vizarr", "uint8"),
    "int64": ("neuroglancer", "int32"),
    "float16": ("neuroglancer and vizarr", "float32"),
    "float64": ("neuroglancer", "float32"),
    "uint64": ("vizarr", "uint32"),
}


def check_chunks(plan: Plan) -> None:
    """Refuse chunks that codecs or viewers cannot hold.

    Raises
    ------
    PlanError
        For chunks of 2 GiB or more.
    """
    for k, level in enumerate(plan.levels):
        size = plan.dtype.itemsize * math.prod(level.chunks)
        if size > CHUNK_BYTES:
            raise PlanError(
                f"chunks {level.chunks} of level {k} have {size:,} bytes each",
                accepted="less than 2 GiB, better some MB",
                fix=say("pass smaller ones to {build.chunks}"),
            )


def check_levels(image: ImageSource, *, is_of_labels: bool) -> None:
    """Refuse arrays whose levels OME-NGFF has no place for, and labels that are averaged."""
    base = image.levels[0]
    if image.reducer is not None and len(image.levels) > 1 and image.reducer.dtype != base.dtype:
        raise DtypeError(
            f"turns dtype {base.dtype} into {image.reducer.dtype}, and the levels of "
            "an OME-Zarr image have one dtype",
            option="method",
            value=image.plan.method,
            fix=Message("call ", code(f".astype('{image.reducer.dtype}')"), " before .pyramid"),
        )
    _check_method(image, is_of_labels=is_of_labels)


def _check_method(image: ImageSource, *, is_of_labels: bool) -> None:
    """Refuse labels of which coarser levels are, or would be, averages."""
    method, is_copy = image.plan.method, image.reducer is None
    if method not in AVERAGING or len(image.levels) == 1 or image.plan.dtype.kind == "f":
        return
    if is_copy and "image-label" in image.document:
        return  # somebody's labels, whatever they call how they were made
    if image.plan.kind == "labels" or is_of_labels:
        raise averaged_labels(method)


def check_names(array: xr.DataArray) -> None:
    """Refuse names of dimensions and coordinates that cannot be stored.

    Raises
    ------
    AxisError
        For empty ones, control characters, and names that cannot be those of Zarr nodes.
    """
    for dim in array.dims:
        if not str(dim) or not is_text(str(dim)):
            raise AxisError(
                f"dimension {dim!r} has no proper name",
                fix=Message("call ", code(f".rename({{{dim!r}: 'x'}})")),
            )
    for name in array.coords:
        if not isinstance(name, str):
            raise AxisError(
                f"coordinate {name!r} has a name that is not text",
                fix=Message("call ", code(f".rename({{{name!r}: {str(name)!r}}})")),
            )
        try:
            check_name(str(name), nested=False)
        except InvalidNameError as error:
            raise AxisError(
                f"coordinate {str(name)[:60]!r} cannot be stored: its name must be 1 to "
                "200 bytes without slashes or control characters, and not a Zarr file "
                "name",
                fix=say("rename it, or drop it with `.drop_vars(...)`"),
            ) from error


def check_axis_names(names: StoredNames) -> None:
    """Refuse names of dimensions that cannot be those of axes.

    Raises
    ------
    AxisError
        For slashes, characters that cannot be printed, and more than 200 of them.
    """
    for dim, name in names.dims.items():
        if "/" in name or not name.isprintable() or len(name) > MOST_CHARACTERS:
            raise AxisError(
                f"and the dimension {dim[:60]!r}",
                option="names",
                value="source",
                accepted=f"up to {MOST_CHARACTERS} characters that can be printed, and no slash",
                fix=say("pass {names}, or rename it", names="ome"),
            )


def warn_of_packing(array: xr.DataArray) -> None:
    """Say that numbers which were packed where they come from are stored as they are decoded."""
    encoding, dtype = array.encoding, array.encoding.get("dtype")
    scaling = {key: encoding[key] for key in ("scale_factor", "add_offset") if key in encoding}
    from_integers = _is_integer(dtype) and array.dtype.kind == "f"
    if not scaling and not from_integers:
        return
    was = [str(np.dtype(dtype))] if from_integers else []
    hint = "; to store it packed, as readers unpack it, pass dtype='source'"
    was += [f"{key}={literal(value)}" for key, value in scaling.items()]
    warn(
        f"{array.name!r} is packed in its file ({', '.join(was)}), and stored unpacked, as "
        f"{array.dtype}{hint if from_integers and '_Unsigned' not in encoding else ''}"
    )


def _is_integer(dtype: object) -> bool:
    """Whether what an encoding has for a dtype is one of integers."""
    try:
        return dtype is not None and np.dtype(cast("DTypeLike", dtype)).kind in "iu"
    except TypeError:
        return False


def dataset_attributes(attrs: Attrs) -> Attrs:
    """Return the attributes of a Dataset that a level's group may have.

    Those that xpyramid itself keeps at levels are left out: they are about another store.

    Raises
    ------
    AttributeValueError
        For those that would make an image of the level's group.
    """
    if taken := _ANNOUNCING & {key for key in attrs if isinstance(key, str)}:
        raise AttributeValueError(
            f"attributes {sorted(taken)} of the Dataset have a meaning in OME-Zarr, "
            "and levels would be taken for images",
            fix="drop them with dataset.drop_attrs(deep=False) or del dataset.attrs["
            f"{min(taken)!r}]",
        )
    return {key: value for key, value in attrs.items() if key != "xpyramid"}


def warn_of_dtypes(dtypes: Mapping[str, DType]) -> None:
    """Say once which arrays some viewer refuses, and what to do.

    Parameters
    ----------
    dtypes : mapping
        Of the arrays, by name.
    """
    refused = {name: dtype.name for name, dtype in dtypes.items() if dtype.name in _REFUSED}
    if not refused:
        return
    messages = []
    for dtype in dict.fromkeys(refused.values()):
        names = [name for name, other in refused.items() if other == dtype]
        viewers, alternative = _REFUSED[dtype]
        messages.append(
            f"{viewers} cannot show dtype {dtype} ({', '.join(map(repr, names))}); to show it "
            f"there, call .astype({alternative!r}) before .pyramid"
        )
    warn("; ".join(messages), ViewerWarning)
