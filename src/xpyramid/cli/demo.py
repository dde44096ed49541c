"""The demo: a photograph, its pyramid, and a picture of the levels."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xpyramid.build import build
from xpyramid.cli.build import write_image
from xpyramid.cli.terminal import say
from xpyramid.errors import TargetExistsError
from xpyramid.opening import open_pyramid
from xpyramid.pyramid import Pyramid
from xpyramid.store.path import expanded, path_named

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: Where the optic disc is in the photograph, in samples of level 0; multiples of 16, so that the
#: patch is made of whole samples at each of the five levels.
PATCH = {"y": slice(512, 784), "x": slice(80, 352)}

_WIDTH, _MARGIN, _GAP = 1536, 40, 24
_BASE = 675  # width of level 0 in the picture; the other levels keep their true relative size
_TILE = 272  # width of a magnified patch
_BACKGROUND, _EDGE, _MARK = (13, 14, 18), (58, 61, 70), (255, 209, 84)
_TEXT, _DIM_TEXT = (236, 238, 242), (150, 155, 166)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``xpyramid demo``."""
    parser.description = "Make a pyramid of a photograph of a retina, and draw its levels."
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="directory to write to (default: xpyramid-demo, or the first free xpyramid-demo-2, "
        "-3, ... beside it)",
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> None:
    """Run ``xpyramid demo``."""
    directory = choose_directory(arguments.out)
    store, picture = directory / "retina.zarr", directory / "levels.png"
    write_image(retina(), f"{store}/retina", store)
    pyramid = open_pyramid(store, "retina")
    if not arguments.quiet:
        say(repr(pyramid))
    draw(pyramid).save(picture, optimize=True)
    if not arguments.quiet:
        say(f"\npyramid: {store}/retina\npicture: {picture}")
        say(f"to look at it: xpyramid view {shlex.quote(f'{store}/retina')}")


def choose_directory(out: str | None) -> Path:
    """Return the directory to write to; nothing is created.

    Parameters
    ----------
    out : str, optional
        The user's choice. Default: the first of xpyramid-demo, xpyramid-demo-2, ... in the working
        directory that is not there.

    Raises
    ------
    TargetExistsError
        If the user's choice holds a demo already.
    """
    if out is not None:
        chosen = expanded(path_named(out))
        for path in (chosen / "retina.zarr", chosen / "levels.png"):
            if path.exists():
                raise TargetExistsError(f"{path} already exists; choose another --out")
        return chosen
    names = (f"xpyramid-demo-{n}" if n > 1 else "xpyramid-demo" for n in count(1))
    return next(path for path in map(Path, names) if not path.exists())


def retina() -> Pyramid:
    """Return the pyramid of a photograph of a human retina that scikit-image ships (CC0).

    Its chunks are small, so that the picture of 1411 x 1411 has five levels.
    """
    from skimage import data  # noqa: PLC0415  # takes long to import

    photograph = xr.DataArray(
        np.moveaxis(data.retina(), -1, 0),  # type: ignore[no-untyped-call]
        dims=("c", "y", "x"),
        coords={"c": ["red", "green", "blue"]},
        name="retina",
    )
    return build(photograph, chunks={"y": 128, "x": 128})


def draw(pyramid: Pyramid) -> Image.Image:
    """Draw the levels of the photograph: side by side, and the same patch of each.

    Parameters
    ----------
    pyramid : Pyramid
        As :func:`retina` makes it.

    Returns
    -------
    PIL.Image.Image
        RGB, 1536 pixels wide.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  # only needed here

    large, medium, small = (ImageFont.load_default(size) for size in (46, 26, 22))
    floor = _MARGIN + _BASE
    tiles = floor + 160
    image = Image.new("RGB", (_WIDTH, tiles + _TILE + 38 + _MARGIN), _BACKGROUND)
    sheet = _Sheet(image, ImageDraw.Draw(image), small)
    _draw_levels(sheet, pyramid, floor)
    _draw_patches(sheet, pyramid, tiles)
    factors = [f"{f['y']} x {f['x']}" for f in pyramid.factors[1:]]
    left = _MARGIN + _BASE + _GAP
    sheet.draw.text((left, _MARGIN - 8), "One photograph, five levels", _TEXT, large)
    caption = (
        "Each level is the mean of the photograph itself over\n"
        f"{', '.join(factors[:-1])} and {factors[-1]} pixels, rounded once.\n"
        f"Stored as OME-Zarr groups: retina/0 to retina/{len(pyramid) - 1}."
    )
    sheet.draw.multiline_text((left, _MARGIN + 64), caption, _DIM_TEXT, medium, spacing=10)
    sheet.draw.text((_MARGIN, tiles - 44), "The marked patch of each level", _MARK, medium)
    return image


@dataclass(frozen=True)
class _Sheet:
    """What is drawn on, and the font of the labels."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    font: Font

    def paste(self, picture: Image.Image, left: int, top: int, edge: tuple[int, int, int]) -> None:
        """Place a picture, with a thin edge around it."""
        self.image.paste(picture, (left, top))
        right, bottom = left + picture.width, top + picture.height
        self.draw.rectangle((left - 1, top - 1, right, bottom), outline=edge)

    def label(self, left: int, top: int, bright: str, dim: str, *, gap: int = 0) -> None:
        """Write a label of two parts: side by side where there is a gap, else as two lines."""
        self.draw.text((left, top), bright, _TEXT, self.font)
        at = (
            (left + self.draw.textlength(bright, self.font) + gap, top) if gap else (left, top + 28)
        )
        self.draw.text(at, dim, _DIM_TEXT, self.font)


def _draw_levels(sheet: _Sheet, pyramid: Pyramid, floor: int) -> None:
    """Draw the levels in a row, at their true relative size."""
    from PIL import Image  # noqa: PLC0415

    left, shrink = _MARGIN, _BASE / pyramid[0].sizes["x"]
    for k, level in enumerate(pyramid):
        height, width = (round(level.sizes[dim] * shrink) for dim in ("y", "x"))
        size = f"{level.sizes['x']} x {level.sizes['y']}"
        picture = _pixels(level).resize((width, height), Image.Resampling.LANCZOS)
        top = floor - height
        sheet.paste(picture, left, top, _EDGE)
        y, x = (_part(PATCH[dim], shrink) for dim in ("y", "x"))
        f = pyramid.factors[k]
        sheet.draw.rectangle(
            (left + x.start / f["x"], top + y.start / f["y"],
             left + x.stop / f["x"], top + y.stop / f["y"]),
            outline=_MARK, width=2 if k < 3 else 1,
        )  # fmt: skip
        sheet.label(left, floor + 12, f"level {k}", size)
        left += max(width, round(sheet.draw.textlength(size, sheet.font))) + _GAP


def _draw_patches(sheet: _Sheet, pyramid: Pyramid, top: int) -> None:
    """Draw the same patch of each level, magnified to one size so that the pixels show."""
    from PIL import Image  # noqa: PLC0415

    step = (_WIDTH - 2 * _MARGIN - _TILE) // (len(pyramid) - 1)
    for k, level in enumerate(pyramid):
        factors = pyramid.factors[k]
        part = level.isel({dim: _part(s, 1 / factors[dim]) for dim, s in PATCH.items()})
        left = _MARGIN + k * step
        magnified = _pixels(part).resize((_TILE, _TILE), Image.Resampling.NEAREST)
        sheet.paste(magnified, left, top, _MARK)
        size = f"{part.sizes['x']} x {part.sizes['y']} pixels"
        sheet.label(left, top + _TILE + 12, f"level {k}", size, gap=14)


def _pixels(level: xr.DataArray) -> Image.Image:
    """Return a level, dimensions (c, y, x), as a picture."""
    from PIL import Image  # noqa: PLC0415

    return Image.fromarray(np.moveaxis(level.values, 0, -1))


def _part(region: slice, scale: float) -> slice:
    """Return a region of level 0 in other units."""
    return slice(round(region.start * scale), round(region.stop * scale))
