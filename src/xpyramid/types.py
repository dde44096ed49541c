"""The names of types that all layers share; loads no more than numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Any dtype.
DType = np.dtype[Any]

#: An array of any dtype and rank.
Array = NDArray[Any]

#: Bytes that lie one after the other.
Parts = Sequence[bytes | memoryview]

#: What JSON can hold; booleans are integers to Python.
Json = int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

#: Attributes, as xarray has them: by names that are mostly, but not always, text.
Attrs = Mapping[Any, object]

#: What is selected, as xarray takes it: from dimensions to places, indexes or slices.
Indexers = Mapping[Any, object]
