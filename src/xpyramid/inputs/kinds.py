"""Labels or an image: what the samples of an array are, and which methods suit them.

The mean of two labels is another label, so labels are never averaged. They are recognised by what
the array says of itself; where an array says nothing and may well be labels, a warning asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import get_args

import xarray as xr

from xpyramid.errors import KindWarning, PlanError
from xpyramid.messages import Message, code, option, say
from xpyramid.options.types import Kind, Method
from xpyramid.types import Attrs
from xpyramid.warn import warn

#: Attributes of label images: CF conventions, section 3.5, and OME-NGFF.
LABEL_ATTRS = frozenset({"flag_values", "flag_meanings", "flag_masks", "image-label"})

#: Attributes of measured quantities.
_QUANTITY_ATTRS = frozenset(
    {"units", "unit", "standard_name", "scale_factor", "add_offset", "omero"}
)

#: Words in the names of label arrays, and words that make something else of them.
_LABEL_WORDS = frozenset(
    re.findall(
        r"\S+",
        "annotation annotations annot id ids instance instances label labelimage labelled "
        "labels labelmap labeled landcover mask masks roi rois seg segment segmentation "
        "segmentations segmented segments segs supervoxel supervoxels",
    )
)
_QUANTITY_WORDS = frozenset(
    re.findall(
        r"\S+",
        "area confidence count counts density distance entropy error fraction intensities "
        "intensity loss mean prob probabilities probability score scores std volume weight "
        "weights",
    )
)

#: Methods whose result may be a value that no sample has, or that means nothing for labels.
AVERAGING = ("mean", "median", "sum", "std")
FOR_LABELS = "'mode', 'nearest', 'min', 'max', or a callable"


@dataclass(frozen=True)
class Choice:
    """What an array is taken for, and how it is reduced.

    Attributes
    ----------
    kind : {"labels", "image"}
    method : str or callable
    reason : str
        Why it is taken for that; empty where nothing speaks against an image.
    """

    kind: Kind
    method: Method
    reason: str = ""


def choose(
    array: xr.DataArray,
    kind: Kind | None,
    method: Method | None,
    labels_of: str | None = None,
    *,
    is_variable: bool = False,
) -> Choice:
    """Return what an array is, and the method that suits it, from what the caller says of both.

    Parameters
    ----------
    array : xarray.DataArray
        Its name, dtype and attributes are looked at, its samples are not.
    kind, method
        As in :meth:`xpyramid.accessor.ArrayAccessor.build`.
    labels_of : str, optional
        Path of the image that these are labels of: then they are labels, unless ``kind`` says
        something else.
    is_variable : bool
        Whether it is one of the variables of a Dataset, of which options speak by name.

    Raises
    ------
    PlanError
        For an unknown kind, and for labels that would be averaged.
    """
    if kind is not None and kind not in get_args(Kind):
        raise PlanError(option="kind", value=kind, accepted="'labels', 'image'")
    if method == "count" and labels_of is None:
        return Choice("image", method)  # counts are no labels, whatever they are of
    reason = label_reason(array)
    if kind is None and labels_of is None:
        return _choose_by_method(array, method, reason, is_variable=is_variable)
    option_message = Message(
        option("labels_of", labels_of) if kind is None else option("kind", kind)
    )
    if (kind or "labels") == "labels" and method in (*AVERAGING, "count"):
        variable = str(array.name) if is_variable else None
        raise averaged_labels(str(method), may_be_image=kind is not None, variable=variable)
    default_method = "mean" if kind == "image" else "mode"
    return Choice(kind or "labels", default_method if method is None else method, option_message)


def _choose_by_method(
    array: xr.DataArray, method: Method | None, reason: str, *, is_variable: bool
) -> Choice:
    """Return what `choose` does, where the caller does not say the kind."""
    if method is None and reason:
        return Choice("labels", "mode", reason)
    if method is None:
        _warn_if_unknown(array, is_variable=is_variable)
        return Choice("image", "mean")
    if method == "mode":
        return Choice("labels", "mode", say("{method}", method="mode"))
    return (
        Choice("labels", method, reason)
        if reason and method not in AVERAGING
        else (Choice("image", method))
    )


def averaged_labels(
    method: str, *, may_be_image: bool = False, variable: str | None = None
) -> PlanError:
    """Return an error that says that a method is not for labels, those of a variable perhaps."""
    other = say(", or {kind}", kind=_of("image", variable)) if may_be_image else ""
    return PlanError(
        "of labels, which makes up new labels",
        option="method",
        value=_of(method, variable),
        accepted=FOR_LABELS,
        fix=Message("pass ", option("method", _of("mode", variable)), other),
    )


def _of(value: str, variable: str | None) -> str | dict[str, str]:
    """Return the value of an option for an array, or for one of the variables of a Dataset."""
    return value if variable is None else {variable: value}


#: Attributes that are about the values of samples; others say where they are from and what of.
_OF_VALUES = frozenset(
    {"_FillValue", "missing_value", "valid_min", "valid_max", "valid_range", "actual_range",
     "add_offset", "_Unsigned", "omero", *LABEL_ATTRS}
)  # fmt: skip


def attributes_for(method: str, attrs: Attrs) -> Attrs:
    """Return the attributes that are true of the levels of "std" and "count" as of the samples.

    A standard deviation has the unit of the samples, and their scale factor. Counts have neither,
    and are no such quantity.
    """
    gone = set(_OF_VALUES)
    if method == "count":
        gone |= _QUANTITY_ATTRS
    return {key: value for key, value in attrs.items() if key not in gone}


def label_reason(array: xr.DataArray) -> str:
    """Return what says that an array holds labels; empty where nothing does.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> label_reason(xr.DataArray(np.zeros(3, "uint8"), name="cell_ids"))
    "its name, 'cell_ids'"
    """
    if array.dtype.kind == "b":
        return "dtype bool"
    if array.encoding.get("kind") == "labels" and array.dtype.kind in "iu":
        return "the image that it comes from"
    if label_attrs := sorted(LABEL_ATTRS & array.attrs.keys()):
        return f"its attribute {label_attrs[0]!r}"
    if array.dtype.kind in "iu" and _names_labels(array.name):
        return f"its name, {str(array.name)[:60]!r}"
    return ""


def _names_labels(name: object) -> bool:
    words = _words(name)
    return bool(words & _LABEL_WORDS) and not words & _QUANTITY_WORDS


def _words(name: object) -> set[str]:
    """Return the words of a name, in lower case: those of ``cellIDs`` are cell and ids."""
    text = re.sub("IDs?(?![a-z])", lambda match: "_" + match[0].lower(), str(name or ""))
    text = re.sub("(?i)land[ _-]?cover", "landcover", text)
    return set(map(str.lower, re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)))


def _warn_if_unknown(array: xr.DataArray, *, is_variable: bool) -> None:
    """Ask what an array is that may well be labels, and is about to be averaged."""
    named = "" if array.name is None else f" {str(array.name)[:60]!r}"
    labels, image = option("method", "mode"), option("method", "mean")
    if is_variable:
        labels, image = (option("kind", {str(array.name): kind}) for kind in ("labels", "image"))
    may_be_labels = array.dtype.itemsize >= 4 or bool(_words(array.name) & _LABEL_WORDS)
    if array.dtype.kind in "iu" and may_be_labels:
        if not _QUANTITY_ATTRS & array.attrs.keys():
            warn(
                Message(
                    f"the array{named} of dtype {array.dtype} is taken for an image, and "
                    "averaged; if it holds labels, pass ",
                    labels,
                    "; if not, ",
                    image,
                ),
                KindWarning,
            )
    elif array.dtype.kind == "f" and _names_labels(array.name):
        warn(
            Message(
                f"the array{named} of dtype {array.dtype} is taken for an image, and "
                "averaged; if it holds labels, call ",
                code(".astype('uint32')"),
                " before .pyramid; if not, pass ",
                image,
            ),
            KindWarning,
        )
