"""The command line, in this process except where the process is what is tested."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from PIL import Image

import xpyramid
from xpyramid.cli.main import main
from xpyramid.errors import NotAPyramidError, SourceError
from xpyramid.pyramid import Pyramid

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """Paths in the tests are relative to an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command that must work; return what it printed."""

    def call(*arguments):
        code = main([str(a) for a in arguments])
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, "")
        return printed.out

    return call


@pytest.fixture
def fail(capsys):
    """Run a command that must fail: one line on stderr, nothing changed; return the line."""

    def call(*arguments, code=2):
        before = snapshot()
        assert main([str(a) for a in arguments]) == code
        error = capsys.readouterr().err
        assert error.startswith("xpyramid: ")
        assert error.count("\n") == 1
        assert snapshot() == before
        return error

    return call


def snapshot():
    return {p: p.is_file() and p.read_bytes() for p in sorted(Path().rglob("*"))}


def noise(*shape, dtype="uint8"):
    return RNG.integers(0, 256, shape).astype(dtype)


def check_levels(pyramid, source, dims, factors):
    """Compare a stored pyramid with the array it was made of, by xarray's own arithmetic."""
    base = xr.DataArray(np.asarray(source), dims=dims)
    assert len(pyramid) == len(factors) + 1
    for level, factor in zip(pyramid, [{}, *factors], strict=True):
        wanted = base.coarsen(factor, boundary="pad").mean() if factor else base
        if base.dtype.kind in "iu":
            wanted = np.rint(wanted).astype(base.dtype)  # rounds half to even
        assert level.dims == dims
        assert level.dtype == base.dtype
        np.testing.assert_array_equal(level.values, wanted.values)


def save_dataset(path, zarr_format=3, **kwargs):
    """Write an xarray group with two variables, 80 x 70 samples of 0.5 um."""
    coords = {
        "y": ("y", 10 + 0.5 * np.arange(80), {"units": "um"}),
        "x": ("x", 0.5 * np.arange(70), {"units": "um"}),
    }
    dataset = xr.Dataset(
        {
            "cells": (("y", "x"), noise(80, 70), {"stain": "DAPI"}),
            "mask": (("y", "x"), noise(80, 70)),
        },
        coords,
    )
    dataset.to_zarr(path, zarr_format=zarr_format, consolidated=False, **kwargs)
    return dataset


# What SRC can be


@pytest.mark.parametrize(
    ("shape", "dims", "factor"),
    [
        ((41, 50), ("y", "x"), {"y": 2, "x": 2}),
        ((8, 20, 21), ("z", "y", "x"), {"z": 2, "y": 2, "x": 2}),
        ((3, 4, 20, 20), ("c", "z", "y", "x"), {"z": 2, "y": 2, "x": 2}),
        ((2, 3, 4, 9, 8), ("t", "c", "z", "y", "x"), {"z": 2, "y": 2, "x": 2}),
    ],
)
def test_npy_has_dimensions_by_rank(run, shape, dims, factor):
    source = noise(*shape, dtype="uint16")
    np.save("scan.npy", source)
    printed = run("build", "scan.npy", "out.zarr", "--levels", 2)
    pyramid = xpyramid.open_pyramid("out.zarr", "scan")
    check_levels(pyramid, source, dims, [factor])
    closing = f"written to out.zarr/scan: {len(pyramid)} levels of mean"
    found = "scan.npy: NumPy; no spacing found; give it with --spacing"
    assert printed.splitlines()[0] == found
    assert printed.splitlines()[1] == repr(pyramid).splitlines()[0]
    assert printed.splitlines()[-1].startswith(closing)


def test_npy_is_mapped_not_read():
    np.save("scan.npy", noise(300, 200))
    graph = xpyramid.open_source("scan.npy").data.dask
    assert any(isinstance(part, np.memmap) for part in graph.values())


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("named", [True, False])
def test_zarr_array(run, zarr_format, named):
    source = noise(6, 60, 50)
    names = ("t", "y", "x") if named else None
    array = zarr.create_array(
        "raw.zarr",
        data=source,
        chunks=(1, 32, 16),
        zarr_format=zarr_format,
        dimension_names=names if zarr_format == 3 else None,
        attributes={"_ARRAY_DIMENSIONS": names} if named and zarr_format == 2 else {},
    )
    array.attrs["microscope"] = "light sheet"
    run("build", "raw.zarr", "out.zarr", "--levels", 2)
    pyramid = xpyramid.open_pyramid("out.zarr", "raw")
    dims = names or ("z", "y", "x")
    check_levels(pyramid, source, dims, [{d: 2 for d in dims if d != "t"}])
    assert pyramid[0].attrs == {"microscope": "light sheet"}
    assert pyramid.plan.levels[0].chunks == (1, 32, 16)


def test_zarr_is_not_read_before_it_is_written():
    zarr.create_array("raw.zarr", data=noise(64, 64), dimension_names=("y", "x"))
    save_dataset("em.zarr")
    for chunk in [Path("raw.zarr/c/0/0"), Path("em.zarr/mask/c/0/0")]:
        chunk.write_bytes(b"damage")
    for array in (
        xpyramid.open_source("raw.zarr"),
        xpyramid.open_source("em.zarr", variable="mask"),
    ):
        assert len(array.pyramid.build(3)) == 3
        with pytest.raises(Exception, match=r"(?i)invalid|error|magic|frame|unknown"):
            array.compute()


def test_zarr_array_with_some_names_has_dimensions_by_rank(run):
    zarr.create_array("raw.zarr", data=noise(4, 5), dimension_names=("y", None))
    run("build", "raw.zarr", "out.zarr", "--levels", 2)
    assert xpyramid.open_pyramid("out.zarr", "raw")[0].dims == ("y", "x")


def test_zarr_array_keeps_the_chunks_inside_shards(run):
    source = noise(128, 128)
    zarr.create_array("raw.zarr", data=source, chunks=(16, 32), shards=(64, 64))
    run("build", "raw.zarr", "out.zarr", "--source-dims", "y,x")
    pyramid = xpyramid.open_pyramid("out.zarr", "raw")
    assert pyramid.plan.levels[0].chunks == (16, 32)
    check_levels(pyramid, source, ("y", "x"), [{"y": f, "x": f} for f in (2, 4, 8)])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_variable_of_a_group(run, zarr_format):
    dataset = save_dataset("em.zarr", zarr_format)
    run("build", "em.zarr", "out.zarr", "--variable", "cells", "--levels", 3)
    pyramid = xpyramid.open_pyramid("out.zarr", "cells")
    check_levels(pyramid, dataset.cells, ("y", "x"), [{"y": 2, "x": 2}, {"y": 4, "x": 4}])
    xr.testing.assert_identical(pyramid[0].compute(), dataset.cells)
    np.testing.assert_array_equal(pyramid[1].y[:3], [10.25, 11.25, 12.25])
    assert pyramid.plan.axes[0].unit == "micrometer"


def test_only_variable_of_a_group_needs_no_name(run):
    dataset = save_dataset("em.zarr", group="deep/down", mode="w")
    del zarr.open_group("em.zarr", path="deep/down")["mask"]
    run("build", "em.zarr/deep/down", "out.zarr", "--group", "a/b")
    pyramid = xpyramid.open_pyramid("out.zarr", "a/b")
    xr.testing.assert_identical(pyramid[0].compute(), dataset.cells)  # with its own name


def test_level_of_a_pyramid(run):
    xpyramid.example_field((60, 50)).pyramid.to_ome_zarr("in.zarr", levels=2)
    run("build", "in.zarr/field/1", "out.zarr", "--levels", 2)
    level = xpyramid.open_pyramid("in.zarr", "field")[1].compute()
    pyramid = xpyramid.open_pyramid("out.zarr", "field")
    xr.testing.assert_identical(pyramid[0].compute(), level)
    assert pyramid[1].shape == (15, 13)


def test_remote_array(run):
    store = zarr.storage.FsspecStore.from_url("memory://lab/raw.zarr")
    source = noise(40, 30)
    zarr.create_array(store, data=source, dimension_names=("y", "x"), overwrite=True)
    run("build", "memory://lab/raw.zarr", "out.zarr", "--levels", 2)
    check_levels(xpyramid.open_pyramid("out.zarr", "raw"), source, ("y", "x"), [{"y": 2, "x": 2}])


def grey():
    data = noise(60, 50)
    return Image.fromarray(data), data, None


def sixteen_bits():
    data = noise(60, 50, dtype="uint16") * 257
    return Image.fromarray(data), data, None


def black_and_white():
    data = noise(60, 50) > 99
    return Image.fromarray(data), data, None


def colours():
    data = noise(60, 50, 3)
    return Image.fromarray(data), data, ["red", "green", "blue"]


def with_alpha():
    data = noise(60, 50, 4)
    return Image.fromarray(data), data, ["red", "green", "blue", "alpha"]


def grey_with_alpha():
    data = noise(60, 50, 2)
    return Image.fromarray(data), data, ["grey", "alpha"]


def palette():
    picture = Image.fromarray(noise(60, 50)).convert("P")
    picture.putpalette(noise(768).tobytes())
    return picture, np.asarray(picture.convert("RGB")), ["red", "green", "blue"]


@pytest.mark.parametrize(
    "make",
    [grey, sixteen_bits, black_and_white, colours, with_alpha, grey_with_alpha, palette],
    ids=lambda make: make.__name__,
)
def test_png(run, make):
    picture, data, channels = make()
    picture.save("photo.png")
    run("build", "photo.png", "out.zarr", "--levels", 2, "--factor", 3)
    pyramid = xpyramid.open_pyramid("out.zarr", "photo")
    if channels is None:
        dims = ("y", "x")
    else:
        data, dims = np.moveaxis(data, -1, 0), ("c", "y", "x")
        assert pyramid[1].c.values.tolist() == channels
    if data.dtype != bool:  # a majority vote, which is not xarray's mean
        check_levels(pyramid, data, dims, [{"y": 3, "x": 3}])
    assert pyramid[0].dtype == data.dtype
    np.testing.assert_array_equal(pyramid[0], data)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(run, mode):
    Image.fromarray(noise(60, 50, 3)).convert(mode).save("photo.JPG", quality=90)
    run("build", "photo.JPG", "out.zarr", "--levels", 2)
    with Image.open("photo.JPG") as picture:
        wanted = np.asarray(picture if mode == "L" else picture.convert("RGB"))
    dims = ("y", "x") if mode == "L" else ("c", "y", "x")
    if mode != "L":
        wanted = np.moveaxis(wanted, -1, 0)
    check_levels(xpyramid.open_pyramid("out.zarr", "photo"), wanted, dims, [{"y": 2, "x": 2}])


def test_jpeg_with_a_preview_is_one_picture(run):
    small = Image.fromarray(noise(8, 8, 3))
    Image.fromarray(noise(60, 50, 3)).save(
        "phone.jpg", format="MPO", save_all=True, append_images=[small]
    )
    run("build", "phone.jpg", "out.zarr")
    assert xpyramid.open_pyramid("out.zarr", "phone")[0].shape == (3, 60, 50)


def test_picture_may_be_large(run, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as many
    data = noise(60, 50)
    Image.fromarray(data).save("photo.png")
    run("build", "photo.png", "out.zarr")
    np.testing.assert_array_equal(xpyramid.open_pyramid("out.zarr", "photo")[0], data)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    ("shape", "options", "axes"),
    [
        ((60, 50), {}, "yx"),
        ((60, 50, 3), {"photometric": "rgb"}, "yxc"),
        ((3, 60, 50), {"photometric": "rgb", "planarconfig": "separate"}, "cyx"),
        # three planes are no colours
        ((3, 60, 50), {"photometric": "minisblack"}, "zyx"),
        ((3, 60, 50), {"photometric": "minisblack", "compression": "zlib"}, "zyx"),
        ((4, 60, 50, 3), {"photometric": "rgb"}, "zyxc"),
        ((2, 3, 4, 30, 20), {"imagej": True, "metadata": {"axes": "TZCYX"}}, "tzcyx"),
        ((5, 30, 20), {"imagej": True, "metadata": {"axes": "TYX"}}, "tyx"),
        ((2, 3, 30, 20), {"ome": True, "metadata": {"axes": "CZYX"}}, "czyx"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tiff(run, shape, options, axes):
    data = noise(*shape)
    name = "stack.ome.tif" if "ome" in options else "stack.TIFF"
    tifffile.imwrite(name, data, **options)
    run("build", name, "out.zarr", "--levels", 2)
    dims = tuple(dim for dim in "tczyx" if dim in axes)
    wanted = xr.DataArray(data, dims=list(axes)).transpose(*dims)
    factor = {dim: 2 for dim in dims if dim in "zyx"}
    check_levels(xpyramid.open_pyramid("out.zarr", "stack"), wanted, dims, [factor])


# Options


def test_options_are_those_of_build(run):
    source = noise(4, 8, 66, 70)
    np.save("scan.npy", source)
    run(
        *("build", "scan.npy", "out.zarr", "--source-dims", "t,z,y,x", "--levels", 3),
        *("--factor", "z=1,y=2,x=3", "--method", "mean", "--boundary", "trim"),
        *("--chunks", "z=8,y=16", "--version", "0.4", "--group", "lab/brain"),
    )
    array = xr.DataArray(source, dims=("t", "z", "y", "x"), name="brain")
    wanted = array.pyramid.build(
        3, factor={"z": 1, "y": 2, "x": 3}, boundary="trim", chunks={"z": 8, "y": 16}
    )
    stored = xpyramid.open_pyramid("out.zarr", "lab/brain")
    lines = repr(wanted).splitlines()[: 1 + 1 + 3]  # a stored one could not be built otherwise
    assert repr(stored).splitlines() == lines
    assert [level.shape for level in stored] == [(4, 8, 66, 70), (4, 8, 33, 23), (4, 8, 16, 7)]
    for a, b in zip(stored, wanted, strict=True):
        xr.testing.assert_identical(a.compute(), b.compute())
    assert zarr.open_group("out.zarr/lab/brain", mode="r").metadata.zarr_format == 2


def test_dims_factor_and_chunks_as_single_values(run):
    source = noise(20, 60, 50)
    np.save("scan.npy", source)
    run("build", "scan.npy", "out.zarr", "--dims", "y, x", "--factor", 3, "--chunks", 20)
    pyramid = xpyramid.open_pyramid("out.zarr", "scan")
    assert pyramid.plan.levels[0].chunks == (20, 20, 20)
    check_levels(pyramid, source, ("z", "y", "x"), [{"y": 3, "x": 3}])


def test_source_dims_rename_what_the_source_names(run):
    zarr.create_array("raw.zarr", data=noise(4, 60, 50), dimension_names=("z", "y", "x"))
    run("build", "raw.zarr", "out.zarr", "--source-dims", "c,y,x", "--levels", 2)
    assert [level.shape for level in xpyramid.open_pyramid("out.zarr", "raw")] == [
        (4, 60, 50),
        (4, 30, 25),
    ]


def test_a_file_may_have_the_name_of_a_dimension(run):
    np.save("x.npy", noise(60, 50))
    run("build", "x.npy", "out.zarr")
    opened = xpyramid.open_pyramid("out.zarr", "x")
    np.testing.assert_array_equal(opened[0], np.load("x.npy"))
    assert opened.name == "x"
    run("build", "x.npy", "out.zarr", "--group", "brain")
    assert xpyramid.open_pyramid("out.zarr", "brain").name == "brain"


def test_images_are_added_to_a_store(run):
    np.save("a.npy", noise(60, 50))
    np.save("b.npy", noise(30, 20))
    run("build", "a.npy", "out.zarr/")
    assert (
        run("build", "b.npy", "out.zarr/")
        .splitlines()[-1]
        .startswith("written to out.zarr/b: 1 level, ")
    )
    for name in "ab":
        np.testing.assert_array_equal(
            xpyramid.open_pyramid("out.zarr", name)[0], np.load(f"{name}.npy")
        )


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        ([], "; no spacing found; give it with --spacing"),
        (["--spacing", "0.5"], ""),
        (["--spacing", "2,0.5,0.5", "--units", "um"], ""),
        (["--spacing", "z=2"], "; no spacing found along y, x; give it with --spacing"),
    ],
)
def test_spacing_is_missed_where_nobody_says_it(run, spacing, said):
    np.save("scan.npy", noise(8, 60, 50))
    assert (
        run("build", "scan.npy", "out.zarr", *spacing).splitlines()[0] == f"scan.npy: NumPy{said}"
    )


def test_labels_have_the_spacing_and_the_kind_that_labels_of_says(run):
    np.save("scan.npy", noise(60, 50))
    run("build", "scan.npy", "out.zarr", "--spacing", 0.5)
    lines = run("build", "scan.npy", "out.zarr", "--labels-of", "scan", "--group", "a").splitlines()
    assert lines[0] == "scan.npy: NumPy"
    assert "labels, as said by --labels-of scan" in lines
    assert lines[-1].startswith("written to out.zarr/scan/labels/a: 1 level, labels, ")


def test_the_table_names_options_of_the_command_line(run):
    np.save("scan.npy", noise(2, 3, 60, 50))
    build = ("build", "scan.npy", "out.zarr", "--source-dims", "t,foo,y,x")
    lines = run(*build, "--levels", 2).splitlines()
    said = "t (time), foo (not known to be space; name it in --dims to coarsen it)"
    assert f"not coarsened: {said}" in lines
    lines = run(*build, "--replace").splitlines()
    one = "one level: each dimension to coarsen fits into one chunk; pass --levels 2 or smaller"
    assert f"{one} --chunks for more" in lines
    assert lines[-1].startswith("written to out.zarr/scan: 1 level, ")


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "none.npy", "out.zarr"], "there is nothing at 'none.npy'"),
        (["build", "none.zarr", "out.zarr"], "there is nothing at 'none.zarr'"),
        (["build", "empty", "out.zarr"], "there is no Zarr array or group at 'empty'"),
        (["build", "broken.zarr", "out.zarr"], "cannot read 'broken.zarr': JSONDecodeError"),
        (["build", "cut.npy", "out.zarr"], "cannot read 'cut.npy': ValueError"),
        (["build", "objects.npy", "out.zarr"], "cannot read 'objects.npy'"),
        (["build", "deep.npy", "out.zarr"], "6 dimensions; accepted: up to 5"),
        (["build", "number.npy", "out.zarr"], "0-dimensional"),
        (["build", "line.npy", "out.zarr"], "2 or 3 space dimensions"),
        (["build", "text.npy", "out.zarr"], "mean of dtype <U1"),
        (["build", "text.png", "out.zarr"], "cannot read 'text.png': UnidentifiedImageError"),
        (["build", "cut.png", "out.zarr"], "cannot read 'cut.png'"),
        (["build", "film.gif", "out.zarr"], "holds 3 pictures"),
        (["build", "text.tif", "out.zarr"], "cannot read 'text.tif': TiffFileError"),
        (["build", "pageless.tif", "out.zarr"], "pageless.tif"),
        (["build", "twice.tif", "out.zarr"], "has the axes CYXS"),
        (["build", "memory://nothing/here", "out.zarr"], "no Zarr array or group at 'memory:"),
        (
            ["build", "nowhere://lab/raw.zarr", "out.zarr"],
            "'nowhere://lab/raw.zarr' cannot be opened",
        ),
        (["build", "em.zarr", "out.zarr"], "choose one: cells (y, x), mask (y, x)"),
        (["build", "em.zarr", "out.zarr", "--variable", "no"], "no variable 'no'; it has cells"),
        (["build", "em.zarr", "out.zarr", "--variable", "y"], "no variable 'y'"),
        (["build", "em.zarr", "out.zarr", "--source-dims", "y,x"], "choose one: cells (y, x)"),
        (["build", "em.zarr/cells", "out.zarr", "--variable", "cells"], "is one array"),
        (["build", "plain.zarr", "out.zarr"], "choose from plain.zarr/one"),
        (["build", "tree.zarr", "out.zarr"], "no variables; choose from tree.zarr/branch"),
        (["build", "bare.zarr", "out.zarr"], "'bare.zarr' has no variables"),
        (["build", "a.npy", "out.zarr", "--source-dims", "y"], "shape (60, 50)"),
        (["build", "a.npy", "out.zarr", "--source-dims", "y,y"], "'y,y'"),
        (["build", "a.npy", "out.zarr", "--source-dims", "x,y"], ".transpose('y', 'x')"),
        (["build", "a.npy", "out.zarr", "--factor", "0"], "--factor 0"),
        (["build", "a.npy", "out.zarr", "--factor", "-2"], "--factor -2"),
        (["build", "a.npy", "out.zarr", "--factor", "q=2"], "no dimension ['q']"),
        (["build", "a.npy", "out.zarr", "--factor", "2x"], "argument --factor: '2x'; accepted"),
        (["build", "a.npy", "out.zarr", "--factor", "y=2,y=3"], "'y=2,y=3'; accepted"),
        (["build", "a.npy", "out.zarr", "--chunks", "y=2=3"], "argument --chunks"),
        (["build", "a.npy", "out.zarr", "--chunks", "0"], "--chunks 0"),
        (["build", "a.npy", "out.zarr", "--levels", "0"], "--levels 0"),
        (["build", "a.npy", "out.zarr", "--levels", "two"], "argument --levels"),
        (["build", "a.npy", "out.zarr", "--dims", "q"], "no dimension ['q']"),
        (
            ["build", "a.npy", "out.zarr", "--boundary", "exact", "--factor", "7", "--levels", "2"],
            "exact",
        ),
        (["build", "a.npy", "out.zarr", "--boundary", "wrap"], "argument --boundary"),
        (["build", "a.npy", "out.zarr", "--method", "guess"], "argument --method"),
        (["build", "a.npy", "out.zarr", "--method", "average"], "did you mean 'mean'?"),
        (["build", "a.npy", "out.zarr", "--version", "0.3"], "argument --version"),
        (["build", "a.npy", "out.zarr", "--group", "../up"], "'..'"),
        (["build", "a.npy", "taken.zarr"], "already holds a group"),
        (["build", "a.npy", "taken.zarr", "--version", "0.4", "--group", "b"], "Zarr format 3"),
        (["build", "a.npy", "a.npy"], "'a.npy' is a file"),
        (["build", "a.npy", "text.png/out.zarr"], "text.png/out.zarr"),
        (
            ["build", "a.npy"],
            "required: DST; or --in-place, to add levels beside SRC; see xpyramid",
        ),
        (["build", "a.npy", "out.zarr", "--level0", "raw"], "not allowed without argument --in-p"),
        (["build", "a.npy", "out.zarr", "--level", "2"], "unrecognized arguments: --level"),
        (["info", "none.zarr"], "nothing at 'none.zarr'"),
        (["info", "a.npy"], "'a.npy' is a file"),
        (["info", "broken.zarr"], "broken.zarr/zarr.json: not JSON: Expecting property name"),
        (["info", "empty"], "there is nothing"),
        (["info", "em.zarr"], "no multiscales metadata"),
        (["info", "em.zarr/cells"], "an array"),
        (["info", "taken.zarr", "--group", "b"], "there is nothing"),
        (["info", "hostile.zarr"], "the OME-NGFF 0.5 metadata are not valid"),
        (["demo", "--out", "text.png"], "text.png"),
        ([], "required: COMMAND"),
        (["polish"], "invalid choice: 'polish'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(fail, arguments, message):
    make_inputs(" ".join(arguments))
    assert message in fail(*arguments)


def make_inputs(wanted):
    """Write those of the files and stores below that ``wanted`` mentions."""
    picture = Image.fromarray(noise(60, 50))
    frames = [Image.fromarray(noise(6, 5)) for _ in range(3)]
    inputs = {
        "a.npy": lambda p: np.save(p, noise(60, 50)),
        "deep.npy": lambda p: np.save(p, noise(1, 1, 1, 1, 2, 2)),
        "number.npy": lambda p: np.save(p, np.array(1)),
        "line.npy": lambda p: np.save(p, noise(99)),
        "text.npy": lambda p: np.save(p, np.full((9, 9), "a")),
        "objects.npy": lambda p: np.save(p, np.array([{}, None])),
        "cut.npy": lambda p: (np.save(p, noise(60, 50)), cut(p)),
        "text.png": lambda p: p.write_text("a picture says more"),
        "cut.png": lambda p: (picture.save(p), cut(p)),
        "film.gif": lambda p: frames[0].save(p, save_all=True, append_images=frames[1:]),
        "text.tif": lambda p: p.write_text("a picture says more"),
        "pageless.tif": lambda p: p.write_bytes(b"II*\0\xff\0\0\0"),
        "twice.tif": lambda p: tifffile.imwrite(
            p, noise(2, 6, 5, 3), photometric="rgb", metadata={"axes": "CYXS"}
        ),
        "empty": Path.mkdir,
        "broken.zarr": lambda p: (p.mkdir(), (p / "zarr.json").write_text("{")),
        "em.zarr": save_dataset,
        "plain.zarr": lambda p: zarr.create_array(p, name="one", data=noise(6, 5)),
        "tree.zarr": lambda p: zarr.create_group(p).create_group("branch"),
        "bare.zarr": zarr.create_group,
        "taken.zarr": lambda p: zarr.create_group(p).create_group("a"),
        "hostile.zarr": lambda p: zarr.create_group(
            p, attributes={"ome": {"version": "0.5", "multiscales": [{"datasets": 3}]}}
        ),
    }
    for name, make in inputs.items():
        if name in wanted:
            make(Path(name))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_errors_of_opening_keep_their_cause():
    Path("text.tif").write_text("a picture says more")
    with pytest.raises(SourceError) as caught:
        xpyramid.open_source("text.tif")
    assert isinstance(caught.value.__cause__, tifffile.TiffFileError)


def test_damaged_source_breaks_off_and_what_is_there_is_no_image(capsys):
    zarr.create_array("raw.zarr", data=noise(64, 64), chunks=(32, 32), dimension_names=("y", "x"))
    Path("raw.zarr/c/1/1").write_bytes(b"damage")
    assert main(["build", "raw.zarr", "out.zarr"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("xpyramid: ")
    assert error.endswith(
        "; out.zarr/raw is unfinished: call again with --resume to finish it, or with --replace to "
        "start over\n"
    )
    assert error.count("\n") == 1
    with pytest.raises(NotAPyramidError, match="unfinished"):
        xpyramid.open_pyramid("out.zarr", "raw")


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c(capsys, monkeypatch, begun):
    def interrupt(_pyramid, _store, **_options):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if begun:
                raise KeyboardInterrupt("interrupted") from None
            raise

    monkeypatch.setattr(Pyramid, "to_ome_zarr", interrupt)
    np.save("a.npy", noise(60, 50))
    assert main(["build", "a.npy", "out.zarr"]) == 130
    way_on = (
        "out.zarr/a is unfinished: call again with --resume to finish it, or with --replace to "
        "start over"
    )
    assert capsys.readouterr().err == f"xpyramid: interrupted{f'; {way_on}' if begun else ''}\n"


# info


FORM = """\
axes:      y space{unit}, x space{unit}
method:    mean
stored as: OME-Zarr 0.5, Zarr v3, levels as groups, zstd level 1
shards:    none
objects:   {objects} chunks; {size} kB in all
"""


def size_of(place):
    """Return the bytes of all objects of the levels, in kB."""
    return f"{sum(p.stat().st_size for p in Path(place).glob('?/field/c/*/*')) / 1000:.3g}"


def test_info_of_one_image(run):
    field = xpyramid.example_field((60, 50), spacing=0.5)
    field.pyramid.to_ome_zarr("out.zarr", levels=3)
    form = FORM.format(unit=" micrometer", objects="1, 1, 1", size=size_of("out.zarr/field"))
    wanted = f"{field.pyramid.build(3)!r}\n{form}"
    assert run("info", "out.zarr/field") == wanted
    assert run("info", "out.zarr", "--group", "/field/") == wanted
    assert run("info", "out.zarr") == wanted


def test_info_lists_all_images_of_a_store(run):
    field = xpyramid.example_field((60, 50))
    for group in ("left", "deep/down/right"):
        field.pyramid.to_ome_zarr("out.zarr", group, levels=2)
    (field % 3).pyramid.to_ome_zarr("out.zarr", "cells", labels_of="left")  # belong to their image
    table = repr(field.pyramid.build(2))
    form = FORM.format(unit=" micrometer", objects="1, 1", size=size_of("out.zarr/left"))
    right = f"out.zarr/deep/down/right\n{table}\n{form}"
    left = f"out.zarr/left\n{table}\nlabel images: cells\n{form}"
    assert run("info", "out.zarr/") == f"{right}\n{left}"
    assert run("info", "out.zarr", "--group", "deep") == f"{table}\n{form}"


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_info_sets_tables_apart_and_what_is_wrong_needs_no_room(broken, capsys):
    field = xpyramid.example_field((60, 50))
    for group in ("a", "b", "c"):
        field.pyramid.to_ome_zarr("out.zarr", group, levels=2)
    Path(f"out.zarr/{broken}/0/field/zarr.json").write_text("{")
    assert main(["info", "out.zarr"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [i for i, line in enumerate(lines) if not line] == [len(lines) // 2]
    assert lines[0] == f"out.zarr/{'b' if broken == 'a' else 'a'}"


def test_info_names_label_images(run):
    field = xpyramid.example_field((60, 50))
    field.pyramid.to_ome_zarr("out.zarr", levels=2)
    for name in ("nuclei", "cells"):
        (field % 3).rename(name).pyramid.to_ome_zarr("out.zarr", labels_of="field")
    assert "label images: nuclei, cells" in run("info", "out.zarr").splitlines()
    assert repr(xpyramid.open_pyramid("out.zarr")).endswith("\nlabel images: nuclei, cells")
    assert "<div>label images: nuclei" in xpyramid.open_pyramid("out.zarr")._repr_html_()


def test_info_imports_little_and_needs_no_data():
    xpyramid.example_field((60, 50)).pyramid.to_ome_zarr("out.zarr", levels=2)
    chunks = list(Path("out.zarr").glob("field/?/field/c/*/*"))
    assert len(chunks) == 2
    for chunk in chunks:
        chunk.write_bytes(b"damage")
    code = """
import sys
sys.modules["sparse"] = sys.modules["pint"] = None  # xarray would import them, and they numba
from xpyramid.cli.main import main
assert main(["info", "out.zarr"]) == 0
heavy = "dask.array numba ome_zarr ome_zarr_models pydantic tifffile skimage distributed matplotlib"
assert not {*heavy.split()} & {*sys.modules}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "(y: 60, x: 50) uint16: 2 levels" in done.stdout


def test_output_that_nobody_reads_is_no_error(monkeypatch, capsys):
    xpyramid.example_field((60, 50)).pyramid.to_ome_zarr("out.zarr")
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, os.fdopen(writer, "w") as pipe:
        patch.setattr(sys, "stdout", pipe)
        assert main(["info", "out.zarr"]) == 1
    assert capsys.readouterr().err == ""


# The rest


def test_help_and_version(run):
    assert run("--version") == f"xpyramid {xpyramid.__version__}\n"
    assert "demo" in run("--help")
    for option in ("--variable", "--group", "--levels", "--factor", "--chunks", "--version"):
        assert option in run("build", "--help")


def test_as_a_module():
    np.save("a.npy", noise(60, 50))
    command = [sys.executable, "-m", "xpyramid"]
    done = subprocess.run(
        [*command, "build", "a.npy", "out.zarr"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("written to out.zarr/a: 1 level, ")
    # What readers log would be a second line, outside of pytest.
    make_inputs("pageless.tif")
    done = subprocess.run(
        [*command, "build", "pageless.tif", "b.zarr"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("xpyramid: 'pageless.tif' holds no picture")
    assert done.stderr.count("\n") == 1


def test_arguments_default_to_those_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["xpyramid", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"xpyramid {xpyramid.__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--level", "2"), "did you mean --levels for 'level'?"),
        (("--scale-factors", "2"), "for 'scale_factors', write --factor"),
        (("--voxel-size=2"), "for 'voxel_size', write --spacing"),
        (("--overwrite",), "for 'overwrite', write --replace"),
    ],
)
def test_words_of_other_tools(fail, words, hint):
    np.save("scan.npy", noise(8, 8))
    words = [words] if isinstance(words, str) else words
    said = fail("build", "scan.npy", "out.zarr", *words)
    assert said.startswith("xpyramid: unrecognized arguments: --")
    assert hint in said
    assert said.rstrip().endswith("see xpyramid build --help")


def test_colours_in_a_numpy_file(run):
    colours = noise(40, 50, 3)
    np.save("photo.npy", colours)
    printed = run("build", "photo.npy", "out.zarr")
    assert "channels red, green, blue" in printed
    stored = xpyramid.open_pyramid("out.zarr/photo")
    assert stored[0].dims == ("c", "y", "x")
    np.testing.assert_array_equal(stored[0].transpose("y", "x", "c"), colours)


def test_pictures_are_turned_as_the_camera_says(run):
    picture = Image.fromarray(noise(20, 30, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save("photo.png", exif=exif)
    run("build", "photo.png", "out.zarr")
    turned = np.moveaxis(np.asarray(picture.transpose(Image.Transpose.ROTATE_270)), -1, 0)
    np.testing.assert_array_equal(xpyramid.open_pyramid("out.zarr/photo")[0], turned)


@pytest.mark.parametrize("command", ["info", "update", "verify"])
def test_files_of_other_formats_are_for_other_commands(command, capsys, tmp_path):
    path = tmp_path / "my scan.tif"
    tifffile.imwrite(path, np.zeros((8, 8), "u1"))
    assert main([command, str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{str(path)!r} is a file; accepted: a Zarr store, which is a directory" in said
    assert f"xpyramid view '{path}' shows it, and xpyramid build '{path}' DST makes" in said


def test_levels_of_an_unknown_method_are_levels():
    levels = {str(k): xr.Dataset({"a": ("x", np.ones(8 >> k))}) for k in (0, 1)}
    tree = xr.DataTree.from_dict(levels)
    assert ": 2 levels over x, " in repr(tree.pyramid)


def test_levels_that_are_added_are_said_with_their_codec(run):
    data = np.ones((64, 64), "u1")
    zarr.create_array("lab.zarr/0", data=data, chunks=(16, 16), dimension_names=["y", "x"])
    said = run("build", "lab.zarr", "--in-place", "--levels", "3").splitlines()[-1]
    assert re.fullmatch(
        r"added to .*lab.zarr: 2 levels of mean, 1.28 kB \(\S+ \S?B with zstd .*\), \S+ s", said
    )
