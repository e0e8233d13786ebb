"""A byte stream cut into frames, whatever the pieces in which it comes."""

import struct
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor._exceptions import RemoteProtocolError
from tractor.ipc._framing import FrameSplitter
from tractor.msg import HEADER

LIMIT: Final = 100

BODIES: Final = st.lists(st.binary(max_size=LIMIT), max_size=8)


def framed(*bodies: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(body)) + body for body in bodies)


@given(BODIES, st.lists(st.integers(1, 50), max_size=40))
def test_any_split_gives_the_frames_back(
    bodies: list[bytes], lengths: list[int]
) -> None:
    """Frames come out whole and in order, and their views stay as they were."""
    data = framed(*bodies)
    splitter = FrameSplitter(LIMIT)
    found: list[memoryview] = []
    for length in [*lengths, len(data)]:
        found += splitter.feed(data[:length])
        data = data[length:]
    found += splitter.feed(data)
    assert not splitter.midway
    assert [bytes(view) for view in found] == bodies


@given(BODIES, st.data())
def test_midway_tells_a_cut_frame(bodies: list[bytes], data: st.DataObject) -> None:
    """An end of the stream is clean exactly between two frames (reliability D4)."""
    stream = framed(*bodies)
    cut = data.draw(st.integers(0, len(stream)))
    splitter = FrameSplitter(LIMIT)
    list(splitter.feed(stream[:cut]))
    ends = {len(framed(*bodies[:count])) for count in range(len(bodies) + 1)}
    assert splitter.midway == (cut not in ends)


def test_the_limit_is_checked_on_the_header() -> None:
    """A length of 4 GiB is refused before anything is made for it (reliability D6)."""
    splitter = FrameSplitter(LIMIT)
    found = splitter.feed(framed(b"fine") + b"\xff\xff\xff\xff")
    assert bytes(next(found)) == b"fine"
    with pytest.raises(RemoteProtocolError, match="4294967295 bytes; max_frame is 100"):
        next(found)


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_itself_is_allowed(size: int) -> None:
    """`max_frame` is the largest body, not the first that is refused."""
    splitter = FrameSplitter(LIMIT)
    header = struct.pack("<I", size)
    if size <= LIMIT:
        assert not list(splitter.feed(header[:2]))
        assert not list(splitter.feed(header[2:]))
        assert splitter.midway
    else:
        assert not list(splitter.feed(header[: HEADER - 1]))
        with pytest.raises(RemoteProtocolError):
            list(splitter.feed(header[HEADER - 1 :]))
