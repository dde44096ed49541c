"""Frames get the checksum that Zstandard itself would have given them."""

import numcodecs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import Zstd

from xpyramid.store.frames import with_checksum
from xpyramid.types import Parts

CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 300_000).map(bytes),  # runs of one byte, over several blocks
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 300_000), st.integers(1, 256)).map(
        lambda t: np.random.default_rng(t[0]).integers(0, t[2], t[1], "u1").tobytes()
    ),
)


def joined(parts: Parts | None) -> bytes:
    assert parts is not None
    return b"".join(parts)


@given(content=CONTENTS, level=st.integers(-5, 6))
def test_as_zstandard_does_it(content: bytes, level: int) -> None:
    samples = np.frombuffer(content, "u1")
    bare, summed = (bytes(Zstd(level, with_sum).encode(content)) for with_sum in (False, True))
    assert joined(with_checksum(bare, samples)) == summed
    assert joined(with_checksum(summed, samples)) == summed


def test_what_is_not_one_whole_frame_stays() -> None:
    content = np.arange(500, dtype="u2")
    frame = bytes(Zstd(1).encode(content))
    skippable = b"\x50\x2a\x4d\x18\x02\x00\x00\x00ab"
    summed = bytes(Zstd(1, checksum=True).encode(content))
    several = [frame + frame, summed + frame, frame + skippable, summed + skippable]
    torn = [frame[:-1], frame[:4], frame[:6], b""]
    for data in (*several, skippable + frame, *torn, bytes(numcodecs.Blosc().encode(content))):
        assert with_checksum(data, content) is None


def unnoticed(frame: bytes, content: bytes) -> int:
    """Return in how many bytes a flipped bit is decoded to something else, without an error."""
    count = 0
    for i in range(7, len(frame)):  # behind the header
        damaged = bytearray(frame)
        damaged[i] ^= 1
        try:
            count += bytes(Zstd().decode(bytes(damaged))) != content
        except RuntimeError:
            continue
    return count


def test_a_flipped_bit_is_noticed() -> None:
    content = np.random.default_rng(0).integers(0, 9, 1000, "u2")
    bare = bytes(Zstd(1).encode(content))
    summed = joined(with_checksum(bare, content))
    assert unnoticed(bare, content.tobytes()) > 0
    assert unnoticed(summed, content.tobytes()) == 0


def test_large_frames_are_not_copied() -> None:
    content = np.random.default_rng(0).integers(0, 256, 10**6, "u1")
    frame = bytes(Zstd(1).encode(content))
    parts = with_checksum(frame, content)
    assert joined(parts) == bytes(Zstd(1, checksum=True).encode(content))
    assert parts is not None
    assert np.shares_memory(np.frombuffer(parts[1], "u1"), np.frombuffer(frame, "u1"))
