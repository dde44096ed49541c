"""What each tool makes of the same small arrays: the tables of docs/comparison.md.

    pip install xpyramid ngff-zarr tensorstore tinybrain pyramid-sampler ...
    python benchmarks/comparison.py --measure   # tries the tools that are installed here
    python benchmarks/comparison.py > docs/comparison.md

`--measure` adds what it finds to benchmarks/comparison.json, so that tools that do not go together
can be tried in an environment each. Every check runs in a process of its own, as some end it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
RECORD = Path(__file__).with_suffix(".json")
TEXT = Path(__file__).with_name("comparison.md.in")


class NotOfferedError(Exception):
    """The tool has no such method."""


# Tools: from an array z, y, x to its levels 1, 2, ..., each half as long.


def xpyramid(base: Array, levels: int, method: str) -> list[Array]:
    from xpyramid import downsample

    return downsample(base, 2, method, num_mips=levels)


def xarray_by_hand(base: Array, levels: int, method: str) -> list[Array]:
    import xarray as xr

    if method == "mode":
        raise NotOfferedError
    made = [xr.DataArray(base, dims=("z", "y", "x"))]
    for _ in range(levels):
        made.append(made[-1].coarsen(z=2, y=2, x=2, boundary="trim").mean().astype(base.dtype))
    return [level.values for level in made[1:]]


def ngff_zarr(base: Array, levels: int, method: str) -> list[Array]:
    import ngff_zarr as peer

    methods = {"mean": "DASK_BIN_SHRINK", "mode": "DASK_IMAGE_MODE"}
    image = peer.to_ngff_image(base, dims=["z", "y", "x"])
    factors = [2**k for k in range(1, levels + 1)]
    made = peer.to_multiscales(image, factors, method=getattr(peer.Methods, methods[method]))
    return [np.asarray(level.data) for level in made.images[1:]]


def ome_zarr_py(base: Array, levels: int, method: str) -> list[Array]:
    import zarr
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    if method == "mode":
        raise NotOfferedError
    with tempfile.TemporaryDirectory() as folder:
        group = zarr.open_group(folder, mode="w")
        factors = [2**k for k in range(1, levels + 1)]
        steps = [dict.fromkeys("zyx", factor) for factor in factors]
        write_image(base, group, steps, axes="zyx", method=Methods.LOCAL_MEAN)
        return [group[_path(group, k)][:] for k in range(1, levels + 1)]


def _path(group: Any, k: int) -> str:
    attributes = dict(group.attrs)
    multiscales = attributes.get("ome", attributes)["multiscales"]
    return str(multiscales[0]["datasets"][k]["path"])


def ome_zarr_pyramid(base: Array, levels: int, method: str) -> list[Array]:
    import ome_zarr_pyramid as peer
    import zarr

    with tempfile.TemporaryDirectory() as folder:
        array = zarr.array(base, chunks=(16, 16, 16))
        image = peer.Pyramid().from_array(
            array, axis_order="zyx", unit_list=["micrometer"] * 3, scale=[1, 1, 1]
        )
        image = image.downscale(n_layers=levels + 1, downscale_method=method)
        peer.io.write_pyramid(image, f"{folder}/a.zarr", chunk_shape=(16, 16, 16))
        group = zarr.open_group(f"{folder}/a.zarr", mode="r")
        return [group[_path(group, k)][:] for k in range(1, levels + 1)]


def tensorstore(base: Array, levels: int, method: str) -> list[Array]:
    import tensorstore as ts

    made = [base]
    for _ in range(levels):
        made.append(ts.downsample(ts.array(made[-1]), [2, 2, 2], method).read().result())
    return made[1:]


def tinybrain(base: Array, levels: int, method: str) -> list[Array]:
    import tinybrain as peer

    call = {"mean": "downsample_with_averaging", "mode": "downsample_segmentation"}[method]
    fortran = np.asfortranarray(base.T)
    return [level.T for level in getattr(peer, call)(fortran, (2, 2, 2), num_mips=levels)]


def pyramid_sampler(base: Array, levels: int, method: str) -> list[Array]:
    import zarr
    from pyramid_sampler import Downsampler

    if method == "mode":
        raise NotOfferedError
    with tempfile.TemporaryDirectory() as folder:
        group = zarr.open_group(folder, mode="w")
        chunks = tuple(max(1, n // 16) for n in base.shape)
        group.create_array("field/0", data=base, chunks=chunks)
        Downsampler(folder, (2, 2, 2), base.shape, chunks).downsample(levels + 1, "field")
        return [group[f"field/{k}"][:] for k in range(1, levels + 1)]


def ndpyramid(base: Array, levels: int, method: str) -> list[Array]:
    import ndpyramid as peer
    import xarray as xr

    if method == "mode":
        raise NotOfferedError
    ds = xr.DataArray(base, dims=("z", "y", "x"), name="field").to_dataset()
    factors = [2**k for k in range(1, levels + 1)]
    tree = peer.pyramid_coarsen(ds, factors=factors, dims=["z", "y", "x"], boundary="trim")
    return [tree[f"{k}/field"].values for k in range(levels)]


def _map(base: Array) -> Any:
    """Return a Dataset of maps over time: these tools coarsen y and x alone."""
    import xarray as xr

    _, n, m = base.shape
    coords = {"y": 60 - np.arange(n), "x": np.arange(m)}
    return xr.Dataset({"field": (("time", "y", "x"), base)}, coords).chunk()


def topozarr(base: Array, levels: int, method: str) -> list[Array]:
    import topozarr as peer
    import xproj  # noqa: F401  (registers .proj)
    import zarr

    if method == "mode":
        raise NotOfferedError
    ds = _map(base).proj.assign_crs(spatial_ref="EPSG:4326")
    with tempfile.TemporaryDirectory() as folder:
        peer.create_pyramid(ds, levels=levels + 1).write(folder)
        group = zarr.open_group(folder, mode="r")
        return [group[f"{k}/field"][:] for k in range(1, levels + 1)]


def terrazarr(base: Array, levels: int, method: str) -> list[Array]:
    import rioxarray  # noqa: F401  (registers .rio)
    import terrazarr as peer
    import zarr

    if method == "mode":
        raise NotOfferedError
    with tempfile.TemporaryDirectory() as folder:
        peer.to_geozarr(
            _map(base).rio.write_crs("EPSG:4326"), f"{folder}/a.zarr", chunk_size=16,
            shard_size=16, sharding=False, min_dimension=min(base.shape[1:]) // 2**levels,
        )  # fmt: skip
        group = zarr.open_group(f"{folder}/a.zarr", mode="r")
        return [group[f"{k}/field"][:] for k in range(1, levels + 1)]


def ngio(base: Array, levels: int, method: str) -> list[Array]:
    import ngio as peer
    import zarr

    with tempfile.TemporaryDirectory() as folder:
        image = peer.create_ome_zarr_from_array(
            store=f"{folder}/a.zarr", array=base, pixelsize=1.0, z_spacing=1.0, axes_names="zyx",
            levels=levels + 1, scaling_factors=[2.0, 2.0, 2.0],
        )  # fmt: skip
        store = f"{folder}/a.zarr"
        if method == "mode":
            mask = image.derive_label("cells")
            mask.set_array(base)
            mask.consolidate()
            store += "/labels/cells"
        group = zarr.open_group(store, mode="r")
        return [group[_path(group, k)][:] for k in range(1, levels + 1)]


TOOLS: dict[str, tuple[Callable[[Array, int, str], list[Array]], str]] = {
    "xpyramid": (xpyramid, "xpyramid"),
    "`coarsen().mean().astype()`, xarray": (xarray_by_hand, "xarray"),
    "ome-zarr-py": (ome_zarr_py, "ome-zarr"),
    "ngff-zarr": (ngff_zarr, "ngff-zarr"),
    "ome_zarr_pyramid": (ome_zarr_pyramid, "ome-zarr-pyramid"),
    "tensorstore": (tensorstore, "tensorstore"),
    "tinybrain": (tinybrain, "tinybrain"),
    "pyramid_sampler": (pyramid_sampler, "pyramid-sampler"),
    "ndpyramid": (ndpyramid, "ndpyramid"),
    "topozarr": (topozarr, "topozarr"),
    "terrazarr": (terrazarr, "terrazarr"),
    "ngio": (ngio, "ngio"),
}


# Checks: each says in a few words what a tool makes of one array.

Tool = Callable[[Array, int, str], list[Array]]


def brightness(tool: Tool) -> str:
    base = np.random.default_rng(0).normal(100, 20, (64, 64, 64)).clip(0, 255).astype("uint8")
    drift = float(tool(base, 4, "mean")[3].mean(dtype=float) - base.mean())
    return "stays" if abs(drift) < 0.1 else f"{drift:+.2f} grey values"


def last_samples(tool: Tool) -> str:
    base = np.zeros((64, 64, 55), "float32")
    base[..., -1] = 90  # the last window of level 2 holds three samples: 0, 0 and 90
    level = tool(base, 2, "mean")[1][0, 0]
    if len(level) == 13:
        return "dropped"
    last = float(level[-1])
    return "kept" if abs(last - 30) < 0.01 else f"kept, but {last:.3g} instead of 30"


def missing(tool: Tool) -> str:
    base = np.ones((64, 64, 64), "float32")
    base[5, 5, 5] = np.nan
    first, _, third = tool(base, 3, "mean")
    if not np.isnan(first).any():
        return "do not count"
    one = np.isnan(third).sum() == 1
    return "empty their cell on each level" if one else "spread to neighbours"


def large_integers(tool: Tool) -> str:
    (level,) = tool(np.full((64, 64, 64), 2**64 - 1, "uint64"), 1, "mean")
    return "right" if (level == np.uint64(2**64 - 1)).all() else "wrong"


def labels(tool: Tool) -> str:
    base = np.random.default_rng(0).integers(1, 4, (32, 32, 32)).astype("uint32")
    level = tool(base, 2, "mode")[1]
    windows = base.reshape(8, 4, 8, 4, 8, 4).transpose(0, 2, 4, 1, 3, 5).reshape(8, 8, 8, 64)
    counts = np.stack([(windows == label).sum(-1) for label in (1, 2, 3)], -1)
    chosen = np.take_along_axis(counts, level[..., None].astype(int).clip(1, 3) - 1, -1)[..., 0]
    share = float((chosen == counts.max(-1)).mean())
    return "most frequent of the base" if share == 1 else f"{share:.0%} are the most frequent"


CHECKS: dict[str, Callable[[Tool], str]] = {
    "brightness, 4 levels of uint8": brightness,
    "last samples of an odd length": last_samples,
    "samples that are NaN": missing,
    "mean of uint64": large_integers,
    "labels, level 2": labels,
}


def probe(tool: str, check: str) -> None:
    """Print what one check says of one tool."""
    warnings.simplefilter("ignore")
    try:
        print(f"\n{CHECKS[check](TOOLS[tool][0])}")
    except NotOfferedError:
        print("\nnot offered")


def measure(tools: list[str]) -> None:
    """Try the tools that are installed, and add what is found to the record."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for tool in tools:
        try:
            version = importlib.metadata.version(TOOLS[tool][1])
        except importlib.metadata.PackageNotFoundError:
            continue
        found = {"version": version}
        for check in CHECKS:
            command = [sys.executable, __file__, "--probe", tool, check]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            last = (done.stderr.strip().splitlines() or ["ends the process"])[-1]
            failed = f"fails: {last.partition(':')[0]}" if "Error: " in last else "fails"
            found[check] = failed if done.returncode else done.stdout.splitlines()[-1]
            print(tool, check, found[check], "" if done.returncode == 0 else last, file=sys.stderr)
        record[tool] = found
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def table(record: dict[str, dict[str, str]]) -> str:
    """Return what was measured, as Markdown."""
    rows = [f"| | {' | '.join(CHECKS)} |", f"|---|{'---|' * len(CHECKS)}"]
    for tool, found in record.items():
        version = found["version"] if tool != "xpyramid" else ""
        cells = [found.get(check, "not tried") for check in CHECKS]
        rows.append(f"| {f'{tool} {version}'.strip()} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What each tool makes of the same small arrays.")
    parser.add_argument(
        "--measure", nargs="*", metavar="TOOL", help="try these, or all that are installed here"
    )
    parser.add_argument("--probe", nargs=2, metavar=("TOOL", "CHECK"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.probe:
        probe(*options.probe)
    elif options.measure is not None:
        measure(options.measure or [*TOOLS])
    else:
        record = json.loads(RECORD.read_text())
        ordered = {tool: record[tool] for tool in TOOLS if tool in record}
        print(TEXT.read_text(encoding="utf-8").replace("{table}", table(ordered)), end="")


if __name__ == "__main__":
    main()
