from typing import Any

import numpy as np
import pytest

from xpyramid.errors import PlanError
from xpyramid.geometry.axes import AXIS_TYPES, AxisSpec
from xpyramid.geometry.chunks import default_chunks, parse_chunks, stored_chunks
from xpyramid.geometry.plan import Plan, make_plan


def plan(
    shape: tuple[int, ...],
    chunks: int = 64,
    spacing: tuple[float, ...] | None = None,
    units: tuple[str | None, ...] | None = None,
    **options: Any,
) -> Plan:
    dims = "tczyx"[-len(shape) :]
    axes = tuple(
        AxisSpec(dim, dim, AXIS_TYPES[dim], unit, step)
        for dim, step, unit in zip(
            dims, spacing or (1.0,) * len(shape), units or (None,) * len(shape), strict=True
        )
    )
    return make_plan(axes, shape, np.dtype("u1"), (chunks,) * len(shape), **options)


def shapes(result: Plan) -> list[tuple[int, ...]]:
    return [level.shape for level in result.levels]


def test_until_the_top_fits_into_one_chunk() -> None:
    assert shapes(plan((197, 233, 189))) == [(197, 233, 189), (99, 117, 95), (50, 59, 48)]
    assert shapes(plan((64, 64))) == [(64, 64)]
    assert shapes(plan((65, 10))) == [(65, 10), (33, 5)]


def test_only_space_is_coarsened_by_default() -> None:
    assert plan((5, 4, 200, 200, 200)).steps == ((1, 1, 2, 2, 2), (1, 1, 2, 2, 2))


def test_anisotropic_samples_become_isotropic_first() -> None:
    em = plan((500, 4000, 4000), spacing=(40.0, 4.0, 4.0))
    assert em.steps[:5] == ((1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    mixed = plan(
        (500, 4000, 4000), spacing=(0.04, 4.0, 4.0), units=("micrometer", *["nanometer"] * 2)
    )
    assert mixed.steps == em.steps
    unknown = plan((500, 500, 500), spacing=(40.0, 4.0, 4.0), units=("micrometer", None, None))
    assert unknown.steps[0] == (2, 2, 2)
    assert plan((200, 200), spacing=(1.4, 1.0)).steps[0] == (2, 2)
    assert plan((200, 200), spacing=(-1.5, 1.0)).steps[0] == (1, 2)


def test_one_sample_is_left_alone() -> None:
    assert plan((1, 300, 300)).steps[0] == (1, 2, 2)
    assert plan((1, 300, 300), factor=2).steps[0] == (1, 2, 2)
    assert plan((1, 300, 300), factor=[2]).steps[0] == (2, 2, 2)


def test_a_chunk_of_one_sample_does_not_ask_for_a_top_of_one() -> None:
    slices = plan((100, 4096, 4096), levels=None, chunks=1)
    assert slices.levels[-1].shape == (2, 64, 64)


def test_factors() -> None:
    assert plan((50, 60, 70), factor={"x": 3}, levels=3).steps == ((1, 1, 3), (1, 1, 3))
    assert plan((50, 60, 70), factor=[{"z": 2}, 3]).steps == ((2, 1, 1), (3, 3, 3))
    listed = plan((50, 60, 70), factor=[2, {"x": 5}])
    assert listed.levels[2].factors == (2, 2, 10)
    assert listed.levels[2].shape == (25, 30, 7)
    assert plan((50, 60), dims="x", levels=2).steps == ((1, 2),)
    assert plan((6, 50, 60), dims=("z", "x"), factor=3, levels=2).steps == ((3, 1, 3),)


def test_scale_is_the_exact_factor_and_translation_the_centre_of_the_window() -> None:
    axes = (
        AxisSpec("x", "x", "space", None, 0.5, 10.0),
        AxisSpec("y", "y", "space", None, -2.0, 0.0),
    )
    got = make_plan(axes, (65, 65), np.dtype("f4"), (8, 8), factor=2, levels=4)
    assert got.scale(3) == (4.0, -16.0)
    assert got.translation(3) == (10 + 0.5 * 3.5, -2 * 3.5)
    assert got.levels[3].shape == (9, 9)  # the ratio of shapes would be 7.2


def test_boundaries() -> None:
    assert shapes(plan((7, 9), levels=3, boundary="pad"))[1:] == [(4, 5), (2, 3)]
    assert shapes(plan((7, 9), levels=3, boundary="trim"))[1:] == [(3, 4), (1, 2)]
    assert shapes(plan((8, 12), levels=3, boundary="exact"))[1:] == [(4, 6), (2, 3)]
    with pytest.raises(PlanError, match=r"length 9 along 'x' is not a multiple of the factor 2"):
        plan((8, 9), levels=2, boundary="exact")
    with pytest.raises(PlanError, match=r"length 2 along 'x' is shorter than the factor 3"):
        plan((8, 2), factor=[3], boundary="trim")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0}, "factor=0 along 'z'"),
        ({"factor": -2}, "factor=-2 along 'z'"),
        ({"factor": 1}, "does not make a coarser level"),
        ({"factor": 2.0}, "factor=2.0"),
        ({"factor": True}, "factor=True"),
        ({"factor": "2"}, "factor='2'"),
        ({"factor": {"x": 1.5}}, "factor=1.5 along 'x'"),
        ({"factor": {"w": 2}}, r"no dimension \['w'\]"),
        ({"factor": {"x": 2}, "dims": "y"}, r"names \['x'\], which dims"),
        ({"factor": [2, 0]}, "factor=0 along 'z'"),
        ({"factor": [2, 2], "levels": 5}, "makes 3 levels"),
        ({"dims": "w"}, r"no dimension \['w'\]"),
        ({"dims": ()}, "no space dimension"),
        ({"levels": 0}, "levels=0"),
        ({"levels": 2.5}, "levels=2.5"),
        ({"levels": 20}, "accepted: levels <= 9"),
        ({"boundary": "reflect"}, "accepted: pad, trim, exact"),
    ],
)
def test_refusals_name_the_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan((100, 200, 200), **options)


def test_empty_arrays_have_one_level() -> None:
    assert shapes(plan((0, 5))) == [(0, 5)]
    assert shapes(plan((0, 5), factor=[2])) == [(0, 5), (0, 3)]


def test_stored_chunks() -> None:
    space = [True, True, True]
    big = (1000, 1000, 1000)
    assert default_chunks((3, 2000, 2000), [False, True, True]) == (1, 512, 512)
    assert stored_chunks(big, space, 2, None) == (64, 64, 64)
    assert stored_chunks(big, space, 2, (100, 128, 50)) == (100, 128, 50)
    assert stored_chunks(big, space, 2, big) == (64, 64, 64)  # one chunk is no chunking
    assert stored_chunks(big, space, 2, (1, 500, 1000)) == (1, 500, 1000)
    assert stored_chunks(big, space, 8, (500, 500, 500)) == (64, 64, 64)  # 1 GB


def test_parsing_chunks() -> None:
    dims, shape, base = ("y", "x"), (100, 200), (10, 20)
    space = (True, True)
    assert parse_chunks(64, dims, shape, base, space) == (64, 64)
    assert parse_chunks(64, dims, shape, base, (False, True)) == (10, 64)
    assert parse_chunks(64, dims, shape, base, (False, False)) == (64, 64)
    assert parse_chunks({"x": -1}, dims, shape, base, space) == (10, 200)
    assert parse_chunks((7, 500), dims, shape, base, space) == (7, 200)
    wrong: list[Any] = [0, -2, (1, 2, 3), {"w": 3}, 2.5, (4, "a")]
    for chunks in wrong:
        with pytest.raises(PlanError, match="chunks="):
            parse_chunks(chunks, dims, shape, base, space)


def test_an_integer_in_a_mixed_list_is_for_space_and_what_a_mapping_names() -> None:
    assert plan((4, 8, 50, 60), factor=[2, {"x": 3}]).steps == ((1, 2, 2, 2), (1, 1, 1, 3))
    assert plan((4, 4, 50, 60), factor=[{"c": 2}, 2]).steps == ((2, 1, 1, 1), (2, 2, 2, 2))
