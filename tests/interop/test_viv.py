"""viv, with which vizarr and others draw, loads all levels, their axes, channels and values."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.http_server import serve
from helpers.stored_images import CASES, Stored, store

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        NODE is None or not (ROOT / "node_modules/@vivjs/loaders").exists(),
        reason=".ci/viewers-install",
    ),
]

#: viv takes 0.6 for an older version, with five axes.
KNOWN = [case for case in CASES if case[1] != "0.6" or case[0] == "tczyx"]

LOAD = """
import { loadOmeZarr } from "@vivjs/loaders";
for (const url of process.argv.slice(2)) {
  const { data, metadata } = await loadOmeZarr(url, { type: "multiscales" });
  const top = data.at(-1);
  const selection = Object.fromEntries(top.labels.slice(0, -2).map((axis) => [axis, 0]));
  const raster = await top.getRaster({ selection });
  console.log(JSON.stringify({
    axes: data[0].labels, dtype: data[0].dtype, shapes: data.map((level) => level.shape),
    channels: metadata.omero ? metadata.omero.channels.map((channel) => channel.label) : null,
    values: Array.from(raster.data),
  }));
}
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, tuple[Stored, dict[str, Any]]]:
    """Return each image, and what viv has loaded of it."""
    root = tmp_path_factory.mktemp("served")
    images = {case: store(root / f"{'-'.join(case)}.zarr", *case) for case in KNOWN}
    with serve(root) as served:
        urls = [f"{served.url}/{image.path.relative_to(root)}" for image in images.values()]
        done = subprocess.run(
            [str(NODE), "--input-type=module", "-", *urls],
            input=LOAD, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(images, zip(images.values(), found, strict=True), strict=True))


@pytest.mark.parametrize("case", KNOWN, ids="-".join)
def test_what_viv_loads(case: Any, seen: dict[Any, tuple[Stored, dict[str, Any]]]) -> None:
    image, found = seen[case]
    assert tuple(found["axes"]) == image.pyramid.plan.dims
    assert found["shapes"] == [list(level.shape) for level in image.pyramid]
    assert found["dtype"] == ("Uint8" if case[0] == "labels" else "Uint16")
    labels = ["DAPI", "GFP", "RFP"] if "c" in found["axes"] else ["field"]
    wanted = labels if "omero" in image.ome else None
    assert found["channels"] == wanted
    top = image.pyramid[-1].values
    assert found["values"] == top.reshape(-1, *top.shape[-2:])[0].ravel().tolist()
