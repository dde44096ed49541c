"""The types of options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AxisType = Literal["time", "channel", "space", "other"]
Boundary = Literal["pad", "trim", "exact"]
Convention = Literal["geozarr"]
Dtype = Literal["source"]
Irregular = Literal["error", "approximate"]
Kind = Literal["labels", "image"]
Layout = Literal["groups", "arrays", "datasets"]
Mode = Literal["w-", "w"]
Names = Literal["ome", "source"]
Version = Literal["0.5", "0.4", "0.6"]

#: The name of a method, or a user-supplied reduction.
Method = str | Callable[..., object]

#: Several of them, under their own names or others.
Methods = Sequence[Method] | Mapping[str, Method]

#: For all dimensions, for some, or for each in the order of the array.
StepFactor = int | Mapping[str, int] | tuple[int, ...]
Factor = StepFactor | Sequence[StepFactor] | NDArray[np.integer]

#: For the space dimensions, for some, or for each in the order of the array.
Chunks = int | Mapping[str, int] | Sequence[int]
PerDim = float | Mapping[str, float] | Sequence[float | None]
Units = str | Mapping[str, str] | Sequence[str | None]
