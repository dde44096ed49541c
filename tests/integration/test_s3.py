"""S3, as moto plays it: whole, killed, resumed, replaced, damaged.

A step takes a second here, so that builds are killed at some; `test_bucket` kills at each.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.killed_process import REQUEST, killed_everywhere
from helpers.small_image import NEW, OLD, pyramid, values

import xpyramid
from xpyramid import errors

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto", reason="moto plays S3: pip install 'xpyramid[test-s3]'")
pytest.importorskip("flask_cors", reason="moto's server needs it: pip install 'xpyramid[test-s3]'")
pytestmark = [pytest.mark.once, pytest.mark.slow]

#: Ends when the tests do, whatever becomes of them: then its input is closed.
SERVER = """
import sys
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""
CHANGING = ("put_object", "delete_object", "delete_objects", "copy_object", "upload_part")


@pytest.fixture(scope="module", autouse=True)
def _s3() -> Iterator[None]:
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with (
        subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, stderr=nothing, text=True
        ) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.stdout.readline().strip()}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        bucket().mkdir("bucket")
        yield
        server.stdin.close()
        server.wait(20)


def bucket() -> Any:
    return s3fs.S3FileSystem(use_listings_cache=False)


def url(directory: Path) -> str:
    """Return where something is, of which there is an empty directory here."""
    return f"s3://bucket/{directory.parent.name}-{directory.name}/out.zarr"


def write(directory: Path, start: int = NEW, **options: Any) -> None:
    pyramid(start).to_ome_zarr(url(directory), **options)


def copy_tree(before: Path, directory: Path) -> None:
    directory.mkdir()
    if bucket().exists(url(before)):
        bucket().copy(url(before), url(directory), recursive=True)


def replace(directory: Path, **options: Any) -> None:
    """Write, and have each request that changes something be a step."""
    call = s3fs.S3FileSystem._call_s3

    async def tell(fs: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method in CHANGING:
            sys.audit(REQUEST, method)
        return await call(fs, method, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_call_s3", tell)
        write(directory, mode="w", **options)


def keys(directory: Path) -> set[str]:
    root = url(directory).removeprefix("s3://")
    return {key.removeprefix(root) for key in bucket().find(root)}


def which(directory: Path) -> str:
    """Return which image is announced; it must be whole."""
    try:
        opened = xpyramid.open_pyramid(url(directory), "field")
    except errors.NotAPyramidError:
        return "none"
    read = [level.to_numpy() for level in opened]
    start = int(read[0][0, 0])
    assert [a.tolist() for a in read] == [a.tolist() for a in values(start)]
    return {NEW: "new", OLD: "old"}[start]


def test_what_is_written_is_right_and_damage_is_noticed(tmp_path: Path) -> None:
    write(tmp_path)
    assert which(tmp_path) == "new"
    assert not xpyramid.verify(url(tmp_path), "field", deep=True)
    with pytest.raises(errors.TargetExistsError):
        write(tmp_path)
    bucket().rm(f"{url(tmp_path)}/field/1/field/c/0/0")
    (problem,) = xpyramid.verify(url(tmp_path), "field")
    assert "1/field" in str(problem)


@pytest.mark.parametrize(("there", "every"), [("none", 5), ("old", 7)])
def test_killed_at_a_request(there: str, every: int, tmp_path: Path) -> None:
    before = tmp_path / f"before-{there}"
    before.mkdir()
    if there == "old":
        write(before, OLD)
    write(tmp_path / "usual")
    usual, seen = keys(tmp_path / "usual"), Counter[str]()
    steps = killed_everywhere(f"{__name__}:replace", before, tmp_path / f"n-{there}", every)
    for i, directory in enumerate(steps):
        seen[which(directory)] += 1
        write(directory, mode="w", resume=bool(i % 2))
        assert which(directory) == "new"
        assert keys(directory) == usual
    assert seen.keys() == {there, "none", "new"}
    assert seen["none"] > 1
