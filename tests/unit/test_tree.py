"""From trees of levels back to pyramids: factors, spacings and positions."""

import numpy as np
import pytest
import xarray as xr

import xpyramid
from xpyramid.errors import PlanError


def of_length(n: int, *, coords: bool) -> xr.DataArray:
    """Return an image with a short dimension."""
    array = xr.DataArray(np.zeros((n, 96)), dims=("y", "x"), name="f")
    return array.assign_coords(y=np.arange(n) * 3.0, x=np.arange(96) * 3.0) if coords else array


@pytest.mark.parametrize("coords", [False, True])
@pytest.mark.parametrize(("boundary", "factor"), [("pad", 2), ("trim", 2), ("pad", 3)])
@pytest.mark.parametrize("n", [3, 5, 9, 13, 27])
def test_short_dimensions_keep_their_geometry(
    n: int, boundary: str, factor: int, coords: bool
) -> None:
    made = of_length(n, coords=coords).pyramid.build(3, factor=factor, boundary=boundary)
    back = made.to_datatree().pyramid
    assert back.factors == made.factors
    for k in range(len(made)):
        assert back.plan.scale(k) == pytest.approx(made.plan.scale(k))
        assert back.plan.translation(k) == pytest.approx(made.plan.translation(k))


def test_what_no_dataset_of_a_tree_holds_is_refused() -> None:
    fields = of_length(96, coords=True).to_dataset(name="a")
    several = fields.pyramid.build(2, method={"a": ["mean", "max"]})
    with pytest.raises(PlanError, match=r"'a/mean', 'a/max'.* slashes"):
        several.to_datatree("datasets")
    with pytest.raises(PlanError, match="without pyramids"):
        xpyramid.Pyramids({}).to_datatree("datasets")
