"""Every kind of damage, in every form of image: the cheapest check that can notice it does.

Without options, `verify` reads metadata and lists objects, with their sizes. With checksums it
reads bytes. With deep it decodes them, too. Our reader refuses objects of another size.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import xarray as xr
import zarr

import xpyramid
from xpyramid import errors

N, CHUNK, SHARD = 32, 8, 16

#: The forms of images, by what they are written with.
FORMS: dict[str, dict[str, Any]] = {
    "v2": {"version": "0.4"},
    "v3": {},
    "shards": {"shards": SHARD},
    "arrays": {"layout": "arrays"},
    "one level": {"compressor": None},
}


def image(seed: int) -> xr.DataArray:
    """Samples that do not compress, so that all chunks have one size; the first chunk is empty."""
    data = np.random.default_rng(seed).integers(1, 2**16, (N, N), "u2")
    data[:SHARD, :SHARD] = 0
    lengths = np.random.default_rng(3).random((2, N))
    coords = {"y": 0.5 * np.arange(N), "p": ("y", lengths[0]), "q": ("y", lengths[1])}
    return xr.DataArray(data, coords, ("y", "x"), "field")


@dataclass(frozen=True)
class Stored:
    """An image on disk, to be damaged."""

    store: Path
    form: str

    @property
    def root(self) -> Path:
        return self.store / "field"

    def array(self, level: int = 0, group: str = "field") -> Path:
        inside = f"{level}" if self.form == "arrays" else f"{level}/field"
        return self.store / group / inside

    def document(self, array: Path) -> Path:
        return array / (".zarray" if self.form == "v2" else "zarr.json")

    def objects(self, level: int = 0, group: str = "field") -> list[Path]:
        return objects_of(self.array(level, group))

    @property
    def chunk(self) -> Path:
        return self.objects()[-1]

    def coordinate(self, name: str) -> Path:
        (only,) = objects_of(self.root / "0" / name)
        return only


def objects_of(array: Path) -> list[Path]:
    return sorted(path for path in array.rglob("*") if path.is_file() and path.name.isdigit())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("damage")
    for form, options in FORMS.items():
        levels = 1 if form == "one level" else 2
        for name, seed in (("field", 1), ("other", 2)):
            pyramid = image(seed).rename(name).pyramid.build(levels=levels, chunks=CHUNK)
            pyramid.to_ome_zarr(root / form, **options)
        shutil.move(root / form / "other", root / f"{form} other")  # of another store
    return {form: root / form for form in FORMS}


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip(at: int) -> Callable[[bytes], bytes]:
    def flipped(raw: bytes) -> bytes:
        changed = bytearray(raw)
        changed[at] ^= 0x10
        return bytes(changed)

    return flipped


def swap(one: Path, other: Path) -> None:
    assert one.stat().st_size == other.stat().st_size
    first, second = one.read_bytes(), other.read_bytes()
    assert first != second
    one.write_bytes(second)
    other.write_bytes(first)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


# Chunks, or shards


def bit_flipped_in_the_middle(s: Stored) -> None:
    edit(s.chunk, lambda raw: flip(len(raw) // 2)(raw))


def bit_flipped_in_the_header(s: Stored) -> None:
    edit(s.chunk, flip(4))


def bit_flipped_at_the_end(s: Stored) -> None:
    """In the checksum of a chunk, or in that of the index of a shard."""
    edit(s.chunk, flip(-1))


def emptied(s: Stored) -> None:
    s.chunk.write_bytes(b"")


def cut_by_one_byte(s: Stored) -> None:
    edit(s.chunk, lambda raw: raw[:-1])


def cut_in_half(s: Stored) -> None:
    edit(s.chunk, lambda raw: raw[: len(raw) // 2])


def longer(s: Stored) -> None:
    edit(s.chunk, lambda raw: raw + b"\0" * 7)


def missing(s: Stored) -> None:
    s.chunk.unlink()


def zeros_in_its_place(s: Stored) -> None:
    """What some file systems leave after a power cut."""
    edit(s.chunk, lambda raw: bytes(len(raw)))


def two_swapped(s: Stored) -> None:
    swap(s.objects()[-1], s.objects()[-2])


def copied_over_another(s: Stored) -> None:
    shutil.copyfile(s.objects()[-2], s.chunk)


def from_another_level(s: Stored) -> None:
    shutil.copyfile(s.objects(1)[-1], s.chunk)


def from_another_image(s: Stored) -> None:
    other = Path(f"{s.store} other") / s.chunk.relative_to(s.root)
    other = Path(str(other).replace("/field/", "/other/"))
    assert other.stat().st_size == s.chunk.stat().st_size
    shutil.copyfile(other, s.chunk)


def coarse_two_swapped(s: Stored) -> None:
    swap(*s.objects(1)[-2:])


def written_where_none_was(s: Stored) -> None:
    absent = s.array() / "c/0/0"
    assert not absent.exists()
    absent.parent.mkdir(exist_ok=True)
    shutil.copyfile(s.chunk, absent)


# Shards


def _index(raw: bytes) -> tuple[bytes, np.ndarray]:
    size = 16 * (SHARD // CHUNK) ** 2
    return raw[: -size - 4], np.frombuffer(raw[-size - 4 : -4], "<u8").reshape(-1, 2).copy()


def _with_index(body: bytes, index: np.ndarray) -> bytes:
    tail = index.astype("<u8").tobytes()
    return body + tail + google_crc32c.value(tail).to_bytes(4, "little")


def index_flipped(s: Stored) -> None:
    edit(s.chunk, flip(-20))


def index_moved(s: Stored) -> None:
    edit(s.chunk, lambda raw: raw[-68:] + raw[:-68])


def index_of_nothing(s: Stored) -> None:
    """A valid shard in which all chunks are absent."""
    index = np.full((4, 2), 2**64 - 1, "<u8")
    s.chunk.write_bytes(_with_index(b"", index))


def inner_chunks_swapped(s: Stored) -> None:
    def swapped(raw: bytes) -> bytes:
        body, index = _index(raw)
        return _with_index(body, index[[1, 0, 2, 3]])

    edit(s.chunk, swapped)


# Metadata


def json_broken(s: Stored) -> None:
    edit(s.document(s.array()), lambda raw: raw[: len(raw) // 2])


def document_missing(s: Stored) -> None:
    s.document(s.array()).unlink()


def shape_changed(s: Stored) -> None:
    edit_json(s.document(s.array()), lambda d: d.update(shape=[N, N - 1]))


def dtype_changed(s: Stored) -> None:
    change = {"dtype": "<i2"} if s.form == "v2" else {"data_type": "int16"}
    edit_json(s.document(s.array()), lambda d: d.update(change))


def fill_value_changed(s: Stored) -> None:
    edit_json(s.document(s.array()), lambda d: d.update(fill_value=7))


def byte_order_changed(s: Stored) -> None:
    def change(document: Any) -> None:
        if s.form == "v2":
            document["dtype"] = ">u2"
            return
        codecs = document["codecs"]
        if codecs[0]["name"] == "sharding_indexed":
            codecs = codecs[0]["configuration"]["codecs"]
        codecs[0]["configuration"]["endian"] = "big"

    edit_json(s.document(s.array()), change)


def attributes_changed(s: Stored) -> None:
    name = ".zattrs" if s.form == "v2" else "zarr.json"
    edit_json(
        s.array() / name,
        lambda d: (d if s.form == "v2" else d["attributes"]).update(units="parsec"),
    )


def scale_changed(s: Stored) -> None:
    def change(document: Any) -> None:
        attributes = document if s.form == "v2" else document["attributes"]["ome"]
        transforms = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        transforms[0]["scale"][0] *= 1.5

    edit_json(s.root / (".zattrs" if s.form == "v2" else "zarr.json"), change)


def consolidated_copy_stale(s: Stored) -> None:
    def change(document: Any) -> None:
        holder = document if s.form == "v2" else document["consolidated_metadata"]
        name = str(s.array().relative_to(s.root))
        copy = holder["metadata"][f"{name}/.zarray" if s.form == "v2" else name]
        copy["shape"] = [N, N + 1]

    edit_json(s.root / (".zmetadata" if s.form == "v2" else "zarr.json"), change)


def record_changed(s: Stored) -> None:
    def change(document: Any) -> None:
        record = (document if s.form == "v2" else document["attributes"])["xpyramid"]["sealed"]
        entry = record["objects"][str(s.array().relative_to(s.root))]
        text = entry["table"]
        entry["table"] = text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]

    edit_json(s.root / (".zattrs" if s.form == "v2" else "zarr.json"), change)


# Coordinates


def coordinate_emptied(s: Stored) -> None:
    s.coordinate("y").write_bytes(b"")


def coordinate_missing(s: Stored) -> None:
    s.coordinate("p").unlink()


def coordinates_swapped(s: Stored) -> None:
    swap(s.coordinate("p"), s.coordinate("q"))


#: What notices each kind of damage: the cheapest check, whether our reader refuses, and in which
#: forms of image there is such a thing.
ALL = tuple(FORMS)
WITH_CHUNKS = ("v2", "v3", "arrays")  # of several levels, each of several objects
WITH_ABSENT = ("v3", "arrays", "one level", "shards")
WITH_COORDINATES = ("v2", "v3", "shards", "one level")
TABLE: list[tuple[Callable[[Stored], None], str, bool, tuple[str, ...]]] = [
    (bit_flipped_in_the_middle, "checksums", False, ALL),
    (bit_flipped_in_the_header, "checksums", False, ALL),
    (bit_flipped_at_the_end, "checksums", False, ALL),
    (emptied, "", True, ALL),
    (cut_by_one_byte, "", True, ALL),
    (cut_in_half, "", True, ALL),
    (longer, "", True, ALL),
    (missing, "", True, ALL),
    (zeros_in_its_place, "checksums", False, ALL),
    (two_swapped, "checksums", False, ALL),
    (copied_over_another, "checksums", False, ALL),
    (from_another_level, "checksums", False, WITH_CHUNKS),
    (from_another_image, "checksums", False, ALL),
    (coarse_two_swapped, "checksums", False, WITH_CHUNKS),
    (written_where_none_was, "", True, WITH_ABSENT),
    (index_flipped, "checksums", False, ("shards",)),
    (index_moved, "checksums", False, ("shards",)),
    (index_of_nothing, "", True, ("shards",)),
    (inner_chunks_swapped, "checksums", False, ("shards",)),
    (json_broken, "", False, ALL),
    (document_missing, "", False, ALL),
    (shape_changed, "", False, ALL),
    (dtype_changed, "", False, ALL),
    (fill_value_changed, "", False, ALL),
    (byte_order_changed, "", False, ALL),
    (attributes_changed, "", False, ALL),
    (scale_changed, "", False, ALL),
    (consolidated_copy_stale, "", False, ALL),
    (record_changed, "", False, ALL),
    (coordinate_emptied, "", True, WITH_COORDINATES),
    (coordinate_missing, "", True, WITH_COORDINATES),
    (coordinates_swapped, "checksums", False, WITH_COORDINATES),
]


def cases() -> Iterator[Any]:
    """Yield every damage to every form; those to more than one form, in turns, are slow."""
    for row, (damage, check, refused, forms) in enumerate(TABLE):
        quick = forms[row % len(forms)]
        for form in forms:
            name = f"{damage.__name__.replace('_', ' ')}, {form}"
            marks = () if form == quick else pytest.mark.slow
            yield pytest.param(damage, check, refused, form, id=name, marks=marks)


def noticed(store: Path, **checks: bool) -> bool:
    return bool(xpyramid.verify(store, **checks))


@pytest.mark.parametrize(("damage", "check", "refused", "form"), list(cases()))
def test_the_cheapest_check_that_can_notices(
    damage: Callable[[Stored], None],
    check: str,
    refused: bool,
    form: str,
    written: dict[str, Path],
    tmp_path: Path,
) -> None:
    store = Path(shutil.copytree(written[form], tmp_path / form))
    shutil.copytree(f"{written[form]} other", tmp_path / f"{form} other")
    damage(Stored(store, form))
    assert noticed(store) == (check == "")
    assert noticed(store, checksums=True)
    assert noticed(store, deep=True)
    if refused:
        with pytest.raises(errors.ReadError, match="when the image was complete"):
            xpyramid.open_pyramid(store / "field")[0].compute()


@pytest.mark.parametrize("shards", [None, SHARD])
def test_chunks_that_end_with_their_own_crc32c(shards: int | None, tmp_path: Path) -> None:
    """Which have all the same CRC-32C, whatever they hold."""
    pyramid = image(1).pyramid.build(levels=1, chunks=CHUNK)
    codec = zarr.codecs.Crc32cCodec()
    pyramid.to_ome_zarr(tmp_path / "out.zarr", compressor=codec, shards=shards)
    two_swapped(Stored(tmp_path / "out.zarr", "v3"))
    assert len(xpyramid.verify(tmp_path / "out.zarr", checksums=True)) == 2


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_wrong_without_damage(form: str, written: dict[str, Path]) -> None:
    for checks in ({}, {"checksums": True}, {"deep": True}):
        report = xpyramid.verify(written[form], **checks)
        assert (report, report.notes) == ([], [])
    opened = xpyramid.open_pyramid(written[form] / "field")
    np.testing.assert_array_equal(opened[0], image(1))
