"""A byte stream cut into frames, whatever the pieces in which it comes."""

import socket
import struct
import tracemalloc
from typing import Final

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tractor._exceptions import RemoteProtocolError
from tractor.ipc import Channel
from tractor.ipc._framing import IN_PLACE, FrameSplitter
from tractor.ipc._transport import SocketTransport
from tractor.msg import (
    ANY,
    BULK_HEAD,
    HEADER,
    Bulk,
    decode_bulk,
    decode_record,
    encode_frame,
    find_bulk,
)
from tractor.msg import types as t

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


# -- Large bytes at the end of a frame -------------------------------------------------

KINDS: Final = (t.Started, t.Yield, t.Return)
CIDS: Final = (0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63)


def frame_of(record: t.Record, body: bytes = b"") -> bytes:
    return bytes(encode_frame(record, 1 << 30, len(body))) + body


def bulk_of(value: bytes) -> Bulk:
    bulk = ANY.as_bulk(value)
    assert bulk is not None
    return bulk


def received(stream: bytes, reads: list[int]) -> list[t.AnyRecord]:
    """What comes of a stream that arrives in reads of these sizes, and the rest."""
    splitter = FrameSplitter(1 << 30)
    found: list[t.AnyRecord] = []
    view = memoryview(stream)
    for size in [*reads, *[len(stream)] * 100]:
        if splitter.filling is None:
            found += map(decode_record, splitter.feed(bytes(view[:size])))
            view = view[size:]
        else:
            count = min(size, len(splitter.filling.space), len(view))
            splitter.filling.space[:count] = view[:count]
            view = view[count:]
            if (frame := splitter.fill(count)) is not None:
                found.append(decode_bulk(*frame))
        if not view:
            break
    assert not splitter.midway
    return found


def value_of(record: t.AnyRecord) -> bytes:
    value = ANY.decode(record.pld, "it")  # type: ignore[union-attr]
    assert isinstance(value, bytes)
    return value


@pytest.mark.parametrize("cid", CIDS)
@pytest.mark.parametrize("kind", KINDS)
def test_where_large_bytes_begin(kind: type[t.Yield], cid: int) -> None:
    """After any number of a dialogue, in each record that ends with a payload."""
    head, body = bulk_of(bytes(range(256)) * 1024)
    frame = frame_of(kind(cid, head), body)[HEADER:]
    start = find_bulk(frame[:BULK_HEAD], len(frame))
    assert frame[start:] == body
    record = decode_bulk(frame[:start], body)
    assert type(record) is kind
    assert record.cid == cid
    assert value_of(record) is body


@given(st.binary(max_size=BULK_HEAD), st.integers(0, 1 << 20))
def test_any_beginning_of_a_frame_is_looked_at(begin: bytes, size: int) -> None:
    """A hostile peer's too: there is a place inside of it, or none."""
    start = find_bulk(begin, size)
    assert 0 <= start <= max(len(begin), BULK_HEAD)
    assert start == 0 or begin[start - 5 : start] == b"\xc6" + (size - start).to_bytes(
        4
    )


@pytest.mark.parametrize(
    "record",
    [
        t.Start(2, "m", "f", ANY.encode(((bytes(IN_PLACE),), {}), "it")),
        t.Yield(2, ANY.encode([bytes(IN_PLACE)], "it")),
        t.Yield(2, ANY.encode("x" * IN_PLACE, "it")),
    ],
    ids=["an argument", "bytes in a list", "text"],
)
def test_other_large_frames_are_joined(record: t.Record) -> None:
    """Where bytes are not all of the payload it is decoded from one piece."""
    stream = frame_of(record)
    (found,) = received(stream, [100, 1000])
    assert frame_of(found) == stream


@given(
    st.lists(st.sampled_from([10, 70_000, IN_PLACE, IN_PLACE + 1]), max_size=4),
    st.lists(st.integers(1, 300_000), max_size=20),
)
def test_large_and_small_frames_in_any_pieces(
    sizes: list[int], reads: list[int]
) -> None:
    """Each comes out as it was sent."""
    values = [bytes([n]) * size for n, size in enumerate(sizes)]
    stream = b"".join(
        frame_of(t.Yield(300, bulk.head), bulk.body)
        if (bulk := ANY.as_bulk(value)) is not None
        else frame_of(t.Yield(300, ANY.encode(value, "it")))
        for value in values
    )
    assert [value_of(record) for record in received(stream, reads)] == values


def test_large_bytes_are_in_memory_once() -> None:
    """They are received to where they stay; what did not come takes no memory."""
    size = 8 * 1024 * 1024
    head, body = bulk_of(bytes(size))
    stream = frame_of(t.Yield(1, head), body)
    del body
    tracemalloc.start()
    try:
        (found,) = received(stream, [1024])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(value_of(found)) == size
    assert peak < size + 100_000


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("size", [IN_PLACE // 2, 8 * 1024 * 1024])
async def test_a_channel_holds_nothing_of_what_it_gave_away(
    size: int, more: bool
) -> None:
    """Also where nothing comes after it, or something small."""
    taken: list[int] = []
    ours, theirs = (
        Channel(SocketTransport(end), max_frame=1 << 30) for end in socket.socketpair()
    )

    def take(record: t.AnyRecord) -> None:
        if isinstance(record, t.Yield):
            taken.append(len(value_of(record)))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(ours.run, take)
        tasks.start_soon(theirs.run, take)
        await wait_all_tasks_blocked()
        tracemalloc.start()
        try:
            head, body = bulk_of(bytes(size))
            for _ in range(2):
                theirs.send_nowait(t.Yield(1, head), body)
                await theirs.drain()
                await wait_all_tasks_blocked()
            if more:
                theirs.send_nowait(t.Ping(1))
                await wait_all_tasks_blocked()
            del head, body
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken == [size, size]
        assert held < 100_000
        tasks.cancel_scope.cancel()
