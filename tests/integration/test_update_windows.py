"""Windows of channels after an update: those of a full rebuild, from sections that are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from helpers.quick import quick_if, spread
from helpers.small_image import broken_off
from helpers.stores import KINDS, empty_store
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import xpyramid
from xpyramid import errors
from xpyramid.engine import statistics
from xpyramid.geometry import sections
from xpyramid.store.value_counts import ValueCounts

VALUES = "field/0/field/values.xpyramid"


@pytest.fixture
def small_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide images of a few samples, too."""
    monkeypatch.setattr(sections, "SAMPLES", 64)


def image(
    shape: tuple[int, ...] = (64, 48), dtype: Any = "u2", dims: str = "yx", seed: int = 0
) -> xr.DataArray:
    data = np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)
    return xr.DataArray(data, dims=tuple(dims), name="field")


def write(store: Any, array: xr.DataArray, **options: Any) -> None:
    array.pyramid.to_ome_zarr(store, levels=3, progress=False, **{"chunks": 8, **options})


def omero(store: Any) -> Any:
    return zarr.open_group(store, path="field", mode="r").attrs["ome"]["omero"]  # type: ignore[index]


def window(store: Any, channel: int = 0) -> Any:
    return omero(store)["channels"][channel]["window"]


def entry(store: Any) -> Any:
    own: Any = zarr.open_group(store, path="field", mode="r").attrs["xpyramid"]
    return own["sealed"]["omero"]


def change(store: Any, array: xr.DataArray, region: dict[str, slice], value: Any) -> None:
    """Write values into level 0 as other programs do."""
    array[region] = value
    index = tuple(region.get(str(dim), slice(None)) for dim in array.dims)
    zarr.open_array(store, path="field/0/field")[index] = array[region].values


REGION = {"y": slice(3, 9), "x": slice(40, 48)}

FORMS: dict[str, tuple[xr.DataArray, dict[str, Any]]] = {
    "integers": (image(), {}),
    "floats": (image(dtype="f4") / 7, {}),
    "signed": (image() .astype("i4") - 100, {}),
    "channels": (image((3, 64, 48), dims="cyx"), {}),
    "channels in one chunk": (image((3, 64, 48), dims="cyx"), {"chunks": {"c": 3, "y": 8, "x": 8}}),
    "a photograph": (image((3, 64, 48), dims="cyx").assign_coords(c=["r", "g", "b"]), {}),
    "time": (image((5, 64, 48), dims="tyx"), {}),
    "ignore": (image(), {"ignore": 0}),
    "percentiles": (image(), {"omero": {"percentiles": (5, 80)}}),
    "a window": (image((2, 64, 48), dims="cyx"), {"omero": {"windows": {"1": (3, 9)}}}),
    "shards": (image(), {"shards": 16}),
    "v2": (image(), {"version": "0.4"}),
    "arrays": (image(), {"layout": "arrays"}),
}  # fmt: skip


@pytest.mark.usefixtures("small_sections")
@pytest.mark.parametrize(("form", "value"), spread(3, [*FORMS], [7, 249, 30000]))
def test_windows_are_those_of_a_full_rebuild(form: str, value: int, tmp_path: Path) -> None:
    array, options = FORMS[form]
    array, build = array.copy(deep=True), {"ignore": 0} if "ignore" in options else {}
    how = {k: v for k, v in options.items() if k not in build}
    path = "field/0" if "layout" in how else "field/0/field"
    write(tmp_path / "a.zarr", array, **build, **how)
    array[REGION] = value
    zarr.open_array(tmp_path / "a.zarr", path=path)[..., 3:9, 40:48] = value
    xpyramid.update(tmp_path / "a.zarr", "field", REGION)
    write(tmp_path / "b.zarr", array, **build, **how)
    a, b = (dict(zarr.open_group(tmp_path / f"{c}.zarr/field").attrs) for c in "ab")
    own: list[Any] = [each.pop("xpyramid")["sealed"]["omero"] for each in (a, b)]  # type: ignore[index]
    assert a == b
    own_values = [each.pop("values") for each in own]
    assert own_values[0]["path"] == own_values[1]["path"] == path.removeprefix("field/")
    assert own[0] == own[1]
    report = xpyramid.verify(tmp_path / "a.zarr", deep=True)
    assert (report, report.notes) == ([], [])


@pytest.mark.filterwarnings("ignore::xpyramid.errors.MissingChunkWarning")  # zeros are not stored
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_many_updates_one_after_the_other(data: st.DataObject) -> None:
    """Quantiles leave the tails that are kept, and come back; the oracle sorts all values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "SAMPLES", 64)
        patch.setattr("xpyramid.writer.omero._SLACK", data.draw(st.sampled_from([0.0, 0.0125])))
        dtype = data.draw(st.sampled_from(["u2", "i2"]))
        array, store = image((40, 33), dtype), MemoryStore()
        write(store, array)
        for _ in range(data.draw(st.integers(1, 4))):
            y, x = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 32))
            region = {"y": slice(y, y + data.draw(st.integers(1, 40))), "x": slice(x, x + 9)}
            change(store, array, region, data.draw(st.integers(0, 1000)))
            xpyramid.update(store, "field", data.draw(st.sampled_from(["changed", region])))
        ordered = np.sort(array.values.ravel())
        low, high = (ordered[int(p * (ordered.size - 1))] for p in (0.001, 0.999))
        found = window(store)
        assert (found["min"], found["max"]) == (ordered[0], ordered[-1])
        if low < high:
            assert (found["start"], found["end"]) == (low, high)
    assert xpyramid.verify(store, deep=True) == []


@pytest.mark.usefixtures("small_sections")
@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_all_kinds(kind: str, tmp_path: Path) -> None:
    store, array = empty_store(kind, tmp_path), image()
    write(store, array)
    change(store, array, REGION, 900)
    xpyramid.update(store, "field", REGION)
    assert (window(store)["max"], "values" in entry(store)) == (900, kind != "icechunk")
    assert xpyramid.verify(store, deep=True) == []


def by_us(tmp_path: Path) -> xr.DataArray:
    array = image()
    write(tmp_path, array)
    return array


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[slice, ...]]:
    """Return a list that gets the regions whose values are counted from now on."""
    regions: list[tuple[slice, ...]] = []
    count = statistics.Observer.__call__

    def watched(self: Any, region: tuple[slice, ...], block: Any) -> Any:
        regions.append(region)
        return count(self, region, block)

    monkeypatch.setattr(statistics.Observer, "__call__", watched)
    return regions


def size(regions: list[tuple[slice, ...]]) -> int:
    return sum(math.prod(part.stop - part.start for part in region) for region in regions)


@pytest.mark.usefixtures("small_sections")
def test_only_sections_that_have_changed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = by_us(tmp_path)
    change(tmp_path, array, REGION, 900)
    regions = counted(monkeypatch)
    xpyramid.update(tmp_path, "field", "changed")
    # Whole windows of the top above whole objects that have changed.
    assert regions == [(slice(0, 16), slice(40, 48))]
    array[:] = 7
    zarr.open_array(tmp_path / "field/0/field")[:] = 7
    regions.clear()
    xpyramid.update(tmp_path, "field", {})
    assert size(regions) == array.size
    assert window(tmp_path) == {"min": 7, "max": 8, "start": 7, "end": 8}


@pytest.mark.usefixtures("small_sections")
def test_one_percent_of_all_samples_does_not_leave_the_tails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if these are all that were the least."""
    array = image() + np.uint16(1000)
    array[REGION] = np.arange(30).reshape(6, 5).repeat(2, 1)[:, :8]
    array[{"y": slice(3, 9), "x": slice(40, 43)}] = 1100
    write(tmp_path, array)
    regions = counted(monkeypatch)
    change(tmp_path, array, REGION, 1100)
    xpyramid.update(tmp_path, "field", REGION)
    assert size(regions) == 2 * 8 * 8
    low = np.sort(array.values.ravel())[3]
    assert (window(tmp_path)["min"], window(tmp_path)["start"]) == (array.values.min(), low)


@pytest.mark.usefixtures("small_sections")
@pytest.mark.parametrize("damage", ["missing", "another", "damaged"])
def test_distributions_that_are_not_there(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, path = by_us(tmp_path), tmp_path / VALUES
    before = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(before[:-2] if damage == "damaged" else before + b"x")
    (problem,) = xpyramid.verify(tmp_path)
    assert (problem.where, problem.severity) == (VALUES, "warning")
    change(tmp_path, array, REGION, 900)
    regions = counted(monkeypatch)
    xpyramid.update(tmp_path, "field", REGION)
    assert size(regions) == array.size
    assert window(tmp_path)["max"] == 900
    assert xpyramid.verify(tmp_path, deep=True) == []
    regions.clear()
    xpyramid.update(tmp_path, "field", REGION)
    assert size(regions) == 2 * 8 * 8


@pytest.mark.usefixtures("small_sections")
def test_windows_that_somebody_has_written_stay(tmp_path: Path) -> None:
    array = image((2, 64, 48), dims="cyx")
    write(tmp_path, array)
    group = zarr.open_group(tmp_path / "field")
    ome: Any = group.attrs["ome"]
    ome["omero"]["channels"][1]["window"] |= {"start": 5, "end": 6}
    group.attrs["ome"] = ome
    change(tmp_path, array, REGION, 900)
    xpyramid.update(tmp_path, "field", REGION)
    xpyramid.update(tmp_path, "field", REGION)
    assert window(tmp_path, 0)["max"] == 900
    assert window(tmp_path, 1) == {"min": 0, "max": 249, "start": 5, "end": 6}
    for levels in (4, 3):
        xpyramid.add_levels(tmp_path, "field", levels=levels, method="mean", mode="w")
        assert window(tmp_path, 0)["max"] == 900
        assert window(tmp_path, 1) == {"min": 0, "max": 249, "start": 5, "end": 6}
    assert xpyramid.verify(tmp_path, deep=True) == []


def test_windows_that_came_with_an_image_stay(tmp_path: Path) -> None:
    shown = {"channels": [{"window": {"min": 0, "start": 3, "end": 4, "max": 999}}]}
    array = image().assign_attrs(omero=shown)
    write(tmp_path, array)
    change(tmp_path, array, REGION, 5000)
    xpyramid.update(tmp_path, "field", REGION)
    assert window(tmp_path) == {"min": 0, "start": 3, "end": 4, "max": 999}


def test_an_image_that_does_not_say_how_its_windows_were_made(tmp_path: Path) -> None:
    array = by_us(tmp_path)
    group = zarr.open_group(tmp_path / "field")
    own: Any = group.attrs["xpyramid"]
    del own["sealed"]["omero"]
    group.attrs["xpyramid"] = own
    change(tmp_path, array, REGION, 5000)
    before = omero(tmp_path)
    with pytest.warns(UserWarning, match="windows of .* stay as they are, though level 0 has"):
        xpyramid.update(tmp_path, "field", REGION)
    assert omero(tmp_path) == before
    xpyramid.add_levels(tmp_path, "field", levels=3, omero=True, mode="w")
    assert window(tmp_path)["max"] == 5000


@pytest.mark.usefixtures("small_sections")
@pytest.mark.parametrize("kind", quick_if(lambda kind: kind == "local", ["local", "fsspec"]))
def test_levels_that_come_and_go(kind: str, tmp_path: Path) -> None:
    store, array = empty_store(kind, tmp_path), image()
    zarr.create_array(
        store, name="field/0", data=array.values, chunks=(8, 8), dimension_names=("y", "x")
    )
    highest = 900
    steps: list[Any] = [
        lambda: xpyramid.add_levels(store, "field", levels=2),
        lambda: xpyramid.add_levels(store, "field", levels=4),
        lambda: xpyramid.drop_levels(store, "field", 3),
        lambda: xpyramid.drop_levels(store, "field", 2),
        lambda: xpyramid.add_levels(store, "field", levels=3, method="max", mode="w"),
        lambda: xpyramid.drop_levels(store, "field", 1),
    ]
    paths = []
    for step in steps:
        step()
        assert window(store)["max"] == array.values.max()
        assert xpyramid.verify(store, deep=True) == []
        paths.append(entry(store).get("values", {}).get("path"))
        array[REGION] = highest
        zarr.open_array(store, path="field/0")[3:9, 40:48] = highest
        xpyramid.update(store, "field", REGION)
        assert window(store)["max"] == highest
        assert xpyramid.verify(store, deep=True) == []
        highest += 1
    assert paths == ["1", "2", "2", None, "1", None]


def test_a_build_is_resumed_with_the_same_windows(tmp_path: Path) -> None:
    array = image()
    broken_off(lambda: write(tmp_path, array))
    with pytest.raises(errors.ResumeError, match="omero"):
        write(tmp_path, array, resume=True, omero={"percentiles": (5, 80)})
    with pytest.raises(errors.ResumeError, match="omero"):
        write(tmp_path, array, resume=True, omero=False)
    write(tmp_path, array, resume=True)
    assert window(tmp_path)["max"] == 249


@pytest.mark.usefixtures("small_sections")
def test_damaged_distributions_say_so() -> None:
    store: dict[str, Any] = {}
    write(MemoryStore(store), image((2, 64, 48), dims="cyx"))
    raw = store[VALUES].to_bytes()
    found = ValueCounts.from_bytes(raw)
    assert found.to_bytes() == raw
    for data in (b"", raw[:3], raw[:40], raw[:-4], raw[4:], raw[:4] + b"y" + raw[5:]):
        with pytest.raises(ValueError, match="table of values"):
            ValueCounts.from_bytes(data)
