"""How much brightness each tool adds or loses, level by level. Prints Markdown.

    pip install xpyramid tinybrain tensorstore pyramid-sampler ngff-zarr[dask-image]
    python benchmarks/drift.py [--size 256] [--levels 8]

The data are uint8 noise around 100; a level's drift is its mean minus the mean of the base, in grey
values. An exact pyramid stays within the rounding noise of a level, which grows as levels shrink:
about 0.3 / sqrt(number of cells).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Levels = list[Array]


def xpyramid(base: Array, levels: int) -> Levels:
    from xpyramid import downsample

    return downsample(base, 2, num_mips=levels)


def tinybrain(base: Array, levels: int) -> Levels:
    import tinybrain as peer

    fortran = np.asfortranarray(base)
    return list(peer.downsample_with_averaging(fortran, (2, 2, 2), num_mips=levels))


def tensorstore(base: Array, levels: int) -> Levels:
    """Each level from the stored one before it, as its pyramids are written."""
    import tensorstore as ts

    made = [base]
    for _ in range(levels):
        made.append(ts.downsample(ts.array(made[-1]), [2, 2, 2], "mean").read().result())
    return made[1:]


def pyramid_sampler(base: Array, levels: int) -> Levels:
    from pyramid_sampler.sampler import _coarsen

    made = [base]
    for _ in range(levels):
        shape = tuple(n // 2 for n in made[-1].shape)
        made.append(_coarsen(shape, 1, 0, (2, 2, 2), made[-1]).astype(base.dtype))
    return made[1:]


def ngff_zarr(base: Array, levels: int) -> Levels:
    import ngff_zarr as peer

    image = peer.to_ngff_image(base, dims=["z", "y", "x"])
    factors = [2**k for k in range(1, levels + 1)]
    made = peer.to_multiscales(image, factors, method=peer.Methods.DASK_BIN_SHRINK)
    return [np.asarray(level.data) for level in made.images[1:]]


def ome_zarr_py(base: Array, levels: int) -> Levels:
    """``Scaler.local_mean``."""
    from ome_zarr.scale import Scaler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        planes = Scaler(max_layer=levels, method="local_mean").local_mean(base[None, None])
    return [np.asarray(level) for level in planes[1:]]


def coarsen_astype(base: Array, levels: int) -> Levels:
    """What people write by hand, with xarray or scikit-image."""
    made = [base]
    for _ in range(levels):
        z, y, x = (n // 2 for n in made[-1].shape)
        blocks = made[-1].reshape(z, 2, y, 2, x, 2)
        made.append(blocks.mean((1, 3, 5)).astype(base.dtype))
    return made[1:]


TOOLS: dict[str, Callable[[Array, int], Levels]] = {
    "xpyramid": xpyramid,
    "tensorstore, level from level": tensorstore,
    "tinybrain": tinybrain,
    "ngff-zarr (dask bin shrink)": ngff_zarr,
    "ome-zarr-py (local_mean)": ome_zarr_py,
    "coarsen().mean().astype()": coarsen_astype,
    "pyramid_sampler": pyramid_sampler,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The drift of brightness, level by level.")
    parser.add_argument("--size", type=int, default=256, help="edge of the cube (256)")
    parser.add_argument("--levels", type=int, default=8)
    options = parser.parse_args(arguments)
    shape = (options.size,) * 3
    base = np.random.default_rng(0).normal(100, 20, shape).clip(0, 255).astype(np.uint8)
    print(f"| | {' | '.join(f'level {k}' for k in range(1, options.levels + 1))} |")
    print(f"|---|{'---|' * options.levels}")
    for name, tool in TOOLS.items():
        try:
            made = tool(base, options.levels)
        except ImportError as error:
            print(f"| {name} | not installed: {error.name} |")
            continue
        drift = [f"{level.mean(dtype=float) - base.mean():+.2f}" for level in made]
        print(f"| {name} | {' | '.join(drift)} |", flush=True)


if __name__ == "__main__":
    main()
