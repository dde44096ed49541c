"""Images that others wrote: values, places, names, units and factors of every level.

ome-zarr writes its own here, and ngff-zarr where it is installed. Other documents are written by
hand: that of acquire-zarr after a run of its release 0.10, those named after other writers in the
manner that is known of them, and the rest from what the specifications allow.
"""

import pickle
import re
import shutil
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from ome_zarr.format import FormatV04, FormatV05

import xpyramid
from xpyramid import errors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it calls what it deprecates
    from ome_zarr.writer import write_image

Json = dict[str, Any]


def space(names: str = "yx", unit: str | None = "micrometer") -> list[Json]:
    return [{"name": n, "type": "space"} | ({"unit": unit} if unit else {}) for n in names]


def scaled(path: str, scale: list[float], shift: list[float] | None = None, **more: Any) -> Json:
    transforms: list[Json] = [{"type": "scale", "scale": scale}]
    if shift is not None:
        transforms.append({"type": "translation", "translation": shift})
    return {"path": path, "coordinateTransformations": transforms, **more}


def sequence(path: str, scale: list[float], shift: list[float], output: object) -> Json:
    inner = scaled(path, scale, shift)["coordinateTransformations"]
    transform = {"type": "sequence", "input": {"path": path}, "output": output}
    return {"path": path, "coordinateTransformations": [{**transform, "transformations": inner}]}


def write(
    where: Path,
    attrs: Json,
    shapes: dict[str, tuple[int, ...]],
    zarr_format: Any = 2,
    **options: Any,
) -> None:
    """Store arrays of counted samples, and attributes, as they are."""
    group = zarr.open_group(where, mode="w", zarr_format=zarr_format)
    for path, shape in shapes.items():
        array = group.create_array(
            path, shape=shape, dtype="u2", chunks=(16,) * len(shape), **options
        )
        array[...] = np.arange(np.prod(shape)).reshape(shape)
    group.attrs.update(attrs)


def old(version: str | None, *datasets: Json, **more: Any) -> Json:
    said = {} if version is None else {"version": version}
    return {"multiscales": [{**said, "datasets": list(datasets), **more}]}


def new(version: str, *datasets: Json, **more: Any) -> Json:
    return {"ome": {"version": version, "multiscales": [{"datasets": list(datasets), **more}]}}


SYSTEM = [{"name": "intrinsic", "axes": space()}, {"name": "stage", "axes": space("ba")}]
FLAT = {"0": (65, 40), "1": (32, 20)}
DEEP = {"0": (1, 2, 1, 65, 40), "1": (1, 2, 1, 32, 20)}
YX = {"y": "micrometer", "x": "micrometer"}

#: Attributes, shapes, Zarr format, units, scales, translations and factors of level 1.
CASES: dict[str, tuple[Json, dict[str, tuple[int, ...]], int, Json, list[float], list[float]]] = {
    "0.1, 0.2: no axes, no scales": (
        old("0.1", {"path": "0"}, {"path": "1"}), DEEP, 2, dict.fromkeys("tczyx"),
        [1, 1, 1, 2, 2], [0, 0, 0, 0.5, 0.5],
    ),
    "0.2 that does not say so": (
        old(None, {"path": "0"}, {"path": "1"}), DEEP, 2, dict.fromkeys("tczyx"),
        [1, 1, 1, 2, 2], [0, 0, 0, 0.5, 0.5],
    ),
    "0.3: names of axes": (
        old("0.3", {"path": "0"}, {"path": "1"}, axes=["y", "x"]), FLAT, 2, dict.fromkeys("yx"),
        [2, 2], [0.5, 0.5],
    ),
    "0.4 as bioformats2raw: scales only": (
        old("0.4", scaled("0", [0.5, 0.5]), scaled("1", [1.0, 1.0]), axes=space(),
            metadata={"method": "loci.common.image.SimpleImageScaler", "version": "Bio-Formats"}),
        FLAT, 2, YX, [1, 1], [0, 0],
    ),
    "0.4, scales from the shapes": (
        old("0.4", scaled("0", [1, 1], [0, 0]), scaled("1", [65 / 32, 2], [33 / 64, 0.5]),
            axes=space(unit=None)),
        FLAT, 2, dict.fromkeys("yx"), [65 / 32, 2], [33 / 64, 0.5],
    ),
    "0.4, transformed as a whole": (
        old("0.4", scaled("0", [1, 1]), scaled("1", [2, 2], [0.5, 0.5]), axes=space(),
            coordinateTransformations=[{"type": "scale", "scale": [10, 3]},
                                       {"type": "translation", "translation": [100, 0]}]),
        FLAT, 2, YX, [20, 6], [105, 1.5],
    ),
    "0.4, translation first": (
        old("0.4", scaled("0", [1, 1]),
            {"path": "1", "coordinateTransformations": [
                {"type": "translation", "translation": [0.25, 3]},
                {"type": "scale", "scale": [2, 2]},
            ]}, axes=space()),
        FLAT, 2, YX, [2, 2], [0.5, 6],
    ),
    "0.4 as webknossos: channels, x first": (
        old("0.4", scaled("1", [1, 11.24, 11.24, 28]), scaled("2-2-1", [1, 22.48, 22.48, 28]),
            axes=[{"name": "c", "type": "channel"}, *space("xyz", "nanometer")]),
        {"1": (1, 64, 32, 9), "2-2-1": (1, 32, 16, 9)}, 2,
        {"c": None} | dict.fromkeys("xyz", "nanometer"), [1, 22.48, 22.48, 28], [0, 0, 0, 0],
    ),
    "0.4 as multiscale-spatial-image: nested": (
        old("0.4", scaled("scale0/image", [0.5, 0.5], [0, 0]),
            scaled("scale1/image", [1, 1], [0.25, 0.25]), axes=space(),
            **{"@type": "ngff:Image", "name": "image"}),
        {"scale0/image": (65, 40), "scale1/image": (32, 20)}, 2, YX, [1, 1], [0.25, 0.25],
    ),
    "0.5 as acquire-zarr: no translation": (
        new("0.5", scaled("0", [1, 0.5, 0.5]), scaled("1", [1, 1, 1]), type="local_mean",
            axes=[{"name": "t", "type": "time", "unit": "second"}, *space()]),
        {"0": (4, 48, 64), "1": (4, 24, 32)}, 3, {"t": "second"} | YX, [1, 1, 1], [0, 0, 0],
    ),
    "0.5 as ome_zarr_pyramid: axes without types": (
        new("0.5", scaled("0", [0.5, 0.5], [0, 0]), scaled("1", [1.0, 1.0], [0.25, 0.25]),
            axes=[{"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "micrometer"}]),
        FLAT, 3, YX, [1, 1], [0.25, 0.25],
    ),
    "0.5 with identity, and a unit of its own": (
        new("0.5", {"path": "0", "coordinateTransformations": [{"type": "identity"}]},
            scaled("1", [2, 2], [0.5, 0.5]), axes=space(unit="degree")),
        FLAT, 3, dict.fromkeys("yx", "degree"), [2, 2], [0.5, 0.5],
    ),
    "0.6 as ngff-zarr: a sequence": (
        new("0.6", sequence("0", [0.5, 0.5], [10, 20], {"name": "intrinsic"}),
            sequence("1", [1, 1], [10.25, 20.25], {"name": "intrinsic"}),
            coordinateSystems=SYSTEM[::-1],
            coordinateTransformations=[{"type": "rotation", "rotation": [[0, 1], [1, 0]]}]),
        FLAT, 3, YX, [1, 1], [10.25, 20.25],
    ),
    "0.6 draft: names as text": (
        new("0.6.dev2", sequence("0", [0.5, 0.5], [10, 20], "intrinsic"),
            sequence("1", [1, 1], [10.25, 20.25], "intrinsic"), coordinateSystems=SYSTEM),
        FLAT, 3, YX, [1, 1], [10.25, 20.25],
    ),
}  # fmt: skip


#: What is said of documents that are read, but not as their specification has it.
WARNED = {"0.4, translation first": "dataset '1' has a translation before its scale"}


def check(p: xpyramid.Pyramid, units: Json, scale: list[float], shift: list[float]) -> None:
    """Compare values with a count, and coordinates with scale and translation of level 1."""
    assert [str(dim) for dim in p[0].dims] == list(units)
    for level in p:
        np.testing.assert_array_equal(level, np.arange(level.size).reshape(level.shape))
    for i, (dim, unit) in enumerate(units.items()):
        if dim != "c":
            line = shift[i] + scale[i] * np.arange(p[1].shape[i])
            np.testing.assert_allclose(p[1][dim], line, rtol=1e-12)
            assert p[1][dim].attrs == ({"units": unit} if unit else {})


@pytest.mark.parametrize("name", CASES)
def test_documents(tmp_path: Path, name: str) -> None:
    attrs, shapes, zarr_format, units, scale, shift = CASES[name]
    write(tmp_path / "a.zarr", attrs, shapes, zarr_format)
    with pytest.warns(match=WARNED[name]) if name in WARNED else nullcontext():
        p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    check(p, units, scale, shift)
    halved = {
        dim: 2 if m < n else 1 for dim, m, n in zip(p[0].dims, p[1].shape, p[0].shape, strict=True)
    }
    assert p.factors == (dict.fromkeys(p[0].dims, 1), halved)
    assert p.metadata["multiscales"] == attrs.get("ome", attrs)["multiscales"]
    assert p.plan.scale(1) == pytest.approx(scale, rel=0.02)


@pytest.mark.parametrize(("zarr_format", "separator"), [(2, "."), (2, "/"), (3, "."), (3, "/")])
def test_separators(tmp_path: Path, zarr_format: int, separator: Any) -> None:
    encoding = {"name": "v2" if zarr_format == 2 else "default", "separator": separator}
    attrs = old("0.4", scaled("0", [1, 1]), scaled("1", [2, 2]), axes=space())
    write(tmp_path / "a.zarr", attrs, FLAT, zarr_format, chunk_key_encoding=encoding)
    assert any(tmp_path.rglob(f"*1{separator}0") if separator == "." else tmp_path.rglob("1/0"))
    check(xpyramid.open_pyramid(tmp_path / "a.zarr"), YX, [2, 2], [0, 0])


@pytest.mark.parametrize("fmt", [FormatV04(), FormatV05()], ids=["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, fmt: Any) -> None:
    data = np.arange(2 * 65 * 66, dtype="u2").reshape(2, 65, 66)
    out = tmp_path / "a.zarr"
    write_image(data, str(out), axes="cyx", fmt=fmt, scale_factors=[2, 4])
    group = zarr.open_group(out, mode="a")
    ome = dict(group.attrs["ome"]) if "ome" in group.attrs else {}  # type: ignore[arg-type]
    omero = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    group.attrs.update({"ome": {**ome, "omero": omero}} if ome else {"omero": omero})
    p = xpyramid.open_pyramid(out)
    np.testing.assert_array_equal(p[0], data)
    assert list(p[2].c.values) == ["DAPI", "GFP"]
    assert p.factors[1:] == ({"c": 1, "y": 2, "x": 2}, {"c": 1, "y": 4, "x": 4})
    for level, dataset in zip(p, p.metadata["multiscales"][0]["datasets"], strict=True):
        np.testing.assert_array_equal(level, group[dataset["path"]])
        transforms = {t["type"]: t[t["type"]] for t in dataset["coordinateTransformations"]}
        shift = transforms.get("translation", [0, 0, 0])
        line = shift[1] + transforms["scale"][1] * np.arange(level.sizes["y"])
        np.testing.assert_allclose(level.y, line)
    assert p.metadata["omero"]["channels"][1]["label"] == "GFP"


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.skipif(np.__version__.startswith("2.0."), reason="ngff-zarr writes with NumPy 2.1")
def test_ngff_zarr(tmp_path: Path, version: str) -> None:
    ngff_zarr = pytest.importorskip("ngff_zarr")
    data = np.arange(65 * 66, dtype="u2").reshape(65, 66)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own
        image = ngff_zarr.to_ngff_image(
            data, dims=("y", "x"), scale={"y": 0.5, "x": 0.25}, translation={"y": 10.0, "x": 20.0},
            axes_units={"y": "micrometer", "x": "micrometer"}, name="hi",
        )  # fmt: skip
        stack = ngff_zarr.to_multiscales(image, scale_factors=[2, 4], chunks=32)
        ngff_zarr.to_ngff_zarr(str(tmp_path / "a.zarr"), stack, version=version)
    p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    np.testing.assert_array_equal(p[0], data)
    np.testing.assert_allclose(p[2].y, 10.75 + 2 * np.arange(16))
    np.testing.assert_allclose(p[1].x, 20.125 + 0.5 * np.arange(33))
    assert p[1].x.attrs == {"units": "micrometer"}
    assert [factors["y"] for factors in p.factors] == [1, 2, 4]


@pytest.mark.parametrize(
    ("lengths", "scales", "factors"),
    [
        ([65, 32, 16, 8, 4, 2, 1], None, [1, 2, 4, 8, 16, 32, 64]),
        ([65, 33, 17, 9, 5, 3, 2, 1], None, [1, 2, 4, 8, 16, 32, 64, 128]),
        ([7, 3, 1], [1, 7 / 3, 7], [1, 2, 4]),
        ([100, 33, 11], [1, 3, 9], [1, 3, 9]),
        ([100, 33, 11], [1, 100 / 33, 100 / 11], [1, 3, 9]),
        ([10, 3, 1], None, [1, 3, 9]),
        ([64, 16, 4], [0.1, 0.4, 1.6], [1, 4, 16]),
        ([5, 5, 5], [1, 1, 1], [1, 1, 1]),
        ([1, 1], [1, 2], [1, 2]),
        ([6, 2], [2, 6], [1, 3]),
    ],
)
def test_factors(tmp_path: Path, lengths: list[int], scales: Any, factors: list[int]) -> None:
    scales = scales or [lengths[0] / n for n in lengths]
    datasets = [scaled(str(k), [s, 1]) for k, s in enumerate(scales)]
    shapes = {str(k): (n, 3) for k, n in enumerate(lengths)}
    write(tmp_path / "a.zarr", old("0.4", *datasets, axes=space()), shapes)
    p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    assert [f["y"] for f in p.factors] == factors
    assert {f["x"] for f in p.factors} == {1}


def test_several_images_in_a_group(tmp_path: Path) -> None:
    first = {"name": "raw", **old("0.4", scaled("0", [1, 1]), axes=space())["multiscales"][0]}
    second = {"name": "wide", **old("0.4", scaled("1", [7, 7]), axes=space())["multiscales"][0]}
    write(tmp_path / "a.zarr", {"multiscales": [first, second]}, FLAT)
    assert xpyramid.open_pyramid(tmp_path / "a.zarr").name == "raw"
    for which in (1, "wide"):
        p = xpyramid.open_pyramid(tmp_path / "a.zarr", multiscale=which)
        assert (p.name, p[0].shape, float(p[0].y[1])) == ("wide", (32, 20), 7)
    for which in (2, -1, "narrow"):
        with pytest.raises(errors.NotAPyramidError, match=r"2, named \[.*raw.*wide.*\]"):
            xpyramid.open_pyramid(tmp_path / "a.zarr", multiscale=which)


@pytest.mark.parametrize("key", [None, "ome"])
def test_plates_containers_and_labels(tmp_path: Path, key: str | None) -> None:
    image = old("0.4", scaled("0", [1, 1]), scaled("1", [2, 2]), axes=space())
    for place in ("plate/B/3/0", "plate/B/3/1", "raw/0", "raw/1", "raw/0/labels/cells"):
        write(tmp_path / place, image, FLAT)
    described = {
        "plate": {"plate": {"wells": [{"path": "B/3"}, {"path": "C/4"}, {"path": "../x"}]}},
        "plate/B/3": {"well": {"images": [{"path": "0"}, {"path": "1"}]}},
        "raw": {"bioformats2raw.layout": 3},
        "raw/OME": {"series": ["1", "0"]},
        "raw/0/labels": {"labels": ["cells", "/etc", 5]},
    }
    for place, attrs in described.items():
        group = zarr.open_group(tmp_path / place, mode="a", zarr_format=2)
        group.attrs.update({key: attrs} if key else attrs)
    for place, message in {
        "plate": r"a plate, with the wells \['B/3', 'C/4'\]; .* pass group='B/3/0'",
        "plate/B/3": r"a well .* \['0', '1'\]; pass group='0'",
        "raw": r"bioformats2raw container, with the images \['1', '0'\]; pass group='1'",
        "raw/0/labels": r"the labels \['cells'\]; pass group='cells'",
    }.items():
        with pytest.raises(errors.NotAPyramidError, match=message):
            xpyramid.open_pyramid(tmp_path / place)
    for group in ("B/3/0", "/B/3/1/"):
        check(xpyramid.open_pyramid(tmp_path / "plate", group), YX, [2, 2], [0, 0])
    opened = xpyramid.open_pyramid(tmp_path / "raw", "0")
    assert opened.labels == ("cells",)
    assert xpyramid.open_pyramid(tmp_path / "raw", "0/labels/cells").labels == ()
    with pytest.raises(errors.NotAPyramidError, match=r"raw/0 holds .*has the labels \['cells'\]"):
        xpyramid.open_pyramid(tmp_path / "raw", "0/labels/nuclei".replace("labels", "label"))


def test_a_coarse_level_that_is_filled_up(tmp_path: Path) -> None:
    """webknossos rounds shapes up to whole shards, so a coarser level may be the larger array."""
    attrs = new("0.5", scaled("1", [11.24, 28]), scaled("2-1", [22.48, 28]), axes=space("yz"))
    write(tmp_path / "a.zarr", attrs, {"1": (64, 32), "2-1": (128, 32)}, 3)
    with pytest.warns(UserWarning, match="'2-1' does not fit its shape"):
        p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    assert p.factors[1] == {"y": 2, "z": 1}
    np.testing.assert_allclose(p[1].y, 22.48 * np.arange(128))


def test_what_was_read_can_be_written(tmp_path: Path) -> None:
    attrs, shapes, *_ = CASES["0.6 as ngff-zarr: a sequence"]
    write(tmp_path / "a.zarr", attrs, shapes, 3)
    p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    p.to_ome_zarr(tmp_path / "b.zarr", "field")
    q = xpyramid.open_pyramid(tmp_path / "b.zarr", "field")
    assert (q.factors, q.plan.scale(1)) == (p.factors, p.plan.scale(1))
    for got, want in zip(q, p, strict=True):
        xr.testing.assert_equal(got.compute(), want.compute())
        assert got.y.attrs == {"units": "micrometer"}


def test_archives(tmp_path: Path) -> None:
    xpyramid.example_field((30, 40)).pyramid.to_ome_zarr(tmp_path / "a.zarr", levels=2)
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a.zarr")  # deflated
    Path(archive).rename(tmp_path / "a.ozx")
    want = xpyramid.open_pyramid(tmp_path / "a.zarr/field")
    got = xpyramid.open_pyramid(tmp_path / "a.ozx", "field")
    for one, other in zip(got, want, strict=True):
        xr.testing.assert_identical(one.compute(), other.compute())
        xr.testing.assert_identical(pickle.loads(pickle.dumps(one)).compute(), other.compute())


def image_of(version: str, levels: list[Json], axes: str, **more: Any) -> Json:
    """Return the attributes of an image of 0.4, 0.5 or 0.6."""
    listed = space(axes)
    if version == "0.4":
        return old(version, *levels, axes=listed, **more)
    if version == "0.5":
        return new(version, *levels, axes=listed, **more)
    for level in levels:
        (transform,) = level["coordinateTransformations"]
        transform |= {"input": {"path": level["path"]}, "output": {"name": "physical"}}
    return new(version, *levels, coordinateSystems=[{"name": "physical", "axes": listed}], **more)


#: Scales of two levels along z, the lengths there, and the scales that are read.
UNKNOWN: dict[str, tuple[list[float], list[int], list[float]]] = {
    "in all levels": ([0, 0], [1, 1], [1, 1]),
    "negative zero": ([-0.0, -0.0], [1, 1], [1, 1]),
    "in the coarser level": ([3, 0], [2, 1], [3, 6]),
    "in the coarser level of one sample": ([3, 0], [1, 1], [3, 3]),
    "in the finer level": ([0, 3], [1, 1], [3, 3]),
    "where nothing is": ([0, 0], [0, 0], [1, 1]),
}


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_a_scale_of_0_where_there_is_one_sample(tmp_path: Path, version: str, name: str) -> None:
    """There its spacing has no meaning, and the image is one like others."""
    scales, lengths, wanted = UNKNOWN[name]
    levels = [scaled(str(k), [scales[k], 0.5 * 2**k, 0.5 * 2**k]) for k in range(2)]
    shapes = {str(k): (lengths[k], 8 >> k, 8 >> k) for k in range(2)}
    attrs = image_of(version, levels, "zyx", name="a", type="mean", metadata={"method": "mean"})
    write(tmp_path, attrs, shapes, 2 if version == "0.4" else 3)
    with pytest.warns(match="the scale along 'z' is 0, in .*: there is one sample") as told:
        p = xpyramid.open_pyramid(tmp_path)
    assert len(told) == 1
    assert [p.plan.scale(k)[0] for k in range(2)] == wanted
    assert [float(level.y[1]) for level in p] == [0.5, 1.0]
    found = [problem for problem in xpyramid.verify(tmp_path) if problem.kind == "scale"]
    assert {problem.severity for problem in found} == {"warning"}
    assert all(problem.message.startswith("scale 0 along ['z'], with at most") for problem in found)


@pytest.mark.parametrize("above", [[0, 2, 2], [2, 0, 2]])
def test_a_scale_of_0_of_the_image_as_a_whole(tmp_path: Path, above: list[float]) -> None:
    levels = [scaled(str(k), [1, 2**k, 2**k], [1, 0, 0]) for k in range(2)]
    transform = [{"type": "scale", "scale": above}]
    write(tmp_path, image_of("0.4", levels, "zyx", coordinateTransformations=transform),
          {"0": (1, 8, 8), "1": (1, 4, 4)})  # fmt: skip
    if above[0]:
        with pytest.raises(errors.NotAPyramidError, match="scale 0 along 'y', where it has 8"):
            xpyramid.open_pyramid(tmp_path)
        assert any(p.severity == "error" and p.kind == "scale" for p in xpyramid.verify(tmp_path))
        return
    with pytest.warns(match="the scale along 'z' is 0"):
        p = xpyramid.open_pyramid(tmp_path)
    assert (p.plan.scale(1), p.plan.translation(1)) == ((1, 4, 4), (1, 0, 0))
    found = [problem for problem in xpyramid.verify(tmp_path) if problem.kind == "scale"]
    assert {problem.severity for problem in found} == {"warning"}


SUFFIXED = ["0.5-dev-spatialdata", "0.5.dev3", "0.5+local", "0.5.1", "0.5rc1", "0.5_x", "0.5-dev"]


@pytest.mark.parametrize("version", SUFFIXED)
def test_versions_with_a_suffix(tmp_path: Path, version: str) -> None:
    levels = [scaled("0", [0.5, 0.5]), scaled("1", [1, 1], [0.25, 0.25])]
    leading = {"type": "identity", "input": {"name": "yx"}, "output": {"name": "global"}}
    attrs = image_of("0.5", levels, "yx", coordinateTransformations=[leading], name="a",
                     type="mean", metadata={"method": "mean"})  # fmt: skip
    attrs["ome"]["version"] = version
    write(tmp_path, attrs, FLAT, 3, dimension_names=("y", "x"))
    with pytest.warns(
        match=f"version {re.escape(repr(version))} was never published; it is read as 0.5"
    ):
        p = xpyramid.open_pyramid(tmp_path)
    check(p, YX, [1, 1], [0.25, 0.25])
    found = xpyramid.verify(tmp_path)
    assert [(p.kind, p.severity) for p in found if p.kind == "metadata"] == [
        ("metadata", "warning")
    ]
    assert not [p for p in found if p.severity == "error"]


def test_transformations_to_other_systems_are_not_applied(tmp_path: Path) -> None:
    levels = [scaled("0", [0.5, 0.5]), scaled("1", [1, 1])]
    leading = {"type": "scale", "scale": [7, 7], "output": {"name": "global"}}
    write(tmp_path, image_of("0.4", levels, "yx", coordinateTransformations=[leading]), FLAT)
    with pytest.warns(match="lead to other coordinate systems; they are not applied"):
        p = xpyramid.open_pyramid(tmp_path)
    assert p.plan.scale(0) == (0.5, 0.5)


@pytest.mark.parametrize(
    "version", ["7", "0.55", "0.7", "0.50", "v0.5", "0.5-", "", "0.5 5", "1.0.5"]
)
def test_versions_that_are_not_known(tmp_path: Path, version: str) -> None:
    attrs = image_of("0.5", [scaled("0", [1, 1])], "yx")
    attrs["ome"]["version"] = version
    write(tmp_path, attrs, {"0": (4, 4)}, 3)
    with pytest.raises(errors.NotAPyramidError, match=r"OME-NGFF version .* accepted: 0\.1, 0\.2"):
        xpyramid.open_pyramid(tmp_path)


def test_0_3_with_transformations_in_one_level_only(tmp_path: Path) -> None:
    """The version knows none, and numbers of one level alone would lead the others astray."""
    write(tmp_path, old("0.3", scaled("0", [5, 5]), {"path": "1"}, axes=["y", "x"]), FLAT)
    with pytest.warns(match="only 1 of 2 datasets have coordinateTransformations"):
        p = xpyramid.open_pyramid(tmp_path)
    assert p.plan.scale(1) == (2, 2)
    (problem, *_) = xpyramid.verify(tmp_path)
    assert "with axes or transformations that it does not know" in problem.message


NEUTRAL: dict[str, tuple[list[Json], str]] = {
    "a scale of ones": (
        [{"type": "scale", "scale": [1, 1]}, {"type": "scale", "scale": [2, 2]}],
        "dataset '1' has 2 scales; those that change nothing are left out",
    ),
    "a translation of zeros": (
        [{"type": "scale", "scale": [2, 2]}, {"type": "translation", "translation": [0, 0]},
         {"type": "translation", "translation": [0, 0]}],
        "dataset '1' has 2 translations; those that change nothing are left out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEUTRAL)
def test_transformations_that_change_nothing(tmp_path: Path, name: str) -> None:
    transforms, message = NEUTRAL[name]
    level = {"path": "1", "coordinateTransformations": transforms}
    write(tmp_path, image_of("0.4", [scaled("0", [1, 1]), level], "yx"), FLAT)
    with pytest.warns(match=message):
        p = xpyramid.open_pyramid(tmp_path)
    assert p.plan.scale(1) == (2, 2)
    found = [problem for problem in xpyramid.verify(tmp_path) if problem.kind == "transformation"]
    assert [(problem.where, problem.severity) for problem in found] == [("1", "error")]


@pytest.mark.parametrize(
    ("version", "axes", "types"),
    [
        ("0.3", ["t", "y", "x"], ["time", "space", "space"]),
        ("0.3", ["c", "y", "x"], ["channel", "space", "space"]),
        ("0.4", [{"name": "t", "type": "space"}, *space()], ["space"] * 3),
        ("0.4", [{"name": "z", "type": "time"}, *space()], ["time", "space", "space"]),
    ],
    ids=["names alone", "a channel by its name", "space called t", "time called z"],
)
def test_types_of_axes(tmp_path: Path, version: str, axes: Json, types: list[str]) -> None:
    """What the document says counts; where it says nothing, what the name stands for."""
    datasets = [{"path": "0"}] if version == "0.3" else [scaled("0", [1, 2, 2])]
    write(tmp_path / "a.zarr", old(version, *datasets, axes=axes), {"0": (3, 20, 20)})
    p = xpyramid.open_pyramid(tmp_path / "a.zarr")
    assert [axis.type for axis in p.plan.axes] == types
