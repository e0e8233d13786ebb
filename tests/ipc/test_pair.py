"""The inherited link, and the child's end of it before an event loop runs."""

import socket
import struct
from collections.abc import Iterator

import pytest
import trio

from tests.ipc.fakes import LIMIT, frames
from tractor._exceptions import FrameTooLarge, RemoteProtocolError
from tractor.ipc import BlockingLink, Channel, SocketTransport, make_pair
from tractor.msg import encode_payload
from tractor.msg import types as t


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The parent's end and the child's."""
    parent, child = socket.socketpair()
    with parent, child:
        yield parent, child


def test_records_cross_one_by_one(ends: tuple[socket.socket, socket.socket]) -> None:
    """`receive` takes whole records, also those that come byte by byte."""
    parent, child = ends
    link = BlockingLink(child, max_frame=LIMIT)
    for byte in frames(t.Stage("a"), t.Stage("b")):
        parent.send(bytes([byte]))
    assert link.receive() == t.Stage("a")
    assert link.receive() == t.Stage("b")
    link.send(t.Ready(1))
    assert parent.recv(100) == frames(t.Ready(1))


async def test_nothing_is_lost_between_boot_and_run(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Only whole frames are read, and so a channel finds the next one (arch. §4)."""
    parent, child = ends
    parent.send(frames(t.Stage("boot"), t.Ping(1), t.Ping(2)))
    parent.shutdown(socket.SHUT_WR)
    assert BlockingLink(child, max_frame=LIMIT).receive() == t.Stage("boot")
    found: list[t.AnyRecord] = []
    await Channel(SocketTransport(child), max_frame=LIMIT).run(found.append)
    assert found == [t.Ping(1), t.Ping(2)]


@pytest.mark.parametrize("sent", [b"", b"\x05\x00", frames(t.Ping(1))[:-1]])
def test_the_end_of_the_parent_is_told(
    ends: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
    """A parent that is gone gives `EOFError`, wherever it stopped (reliability D4)."""
    parent, child = ends
    parent.send(sent)
    parent.close()
    with pytest.raises(EOFError):
        BlockingLink(child, max_frame=LIMIT).receive()


def test_a_parent_that_read_nothing_is_gone_all_the_same(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The reset that the kernel makes of that is `EOFError`, too."""
    parent, child = ends
    link = BlockingLink(child, max_frame=LIMIT)
    link.send(t.Stage("import"))
    parent.close()
    with pytest.raises(EOFError):
        link.receive()
    with pytest.raises(OSError, match="pipe"):
        link.send(t.Stage("ready"))


@pytest.mark.parametrize(
    "sent", [b"\xff\xff\xff\xff", struct.pack("<I", 3) + b"\xff" * 3]
)
def test_what_is_no_record_is_refused(
    ends: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
    """Garbage and lengths over the limit raise `RemoteProtocolError` (D5, D6)."""
    parent, child = ends
    parent.send(sent)
    with pytest.raises(RemoteProtocolError):
        BlockingLink(child, max_frame=LIMIT).receive()


def test_the_limit_holds_for_sending(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """A record over the limit is refused and nothing is sent (reliability D7)."""
    parent, child = ends
    with pytest.raises(FrameTooLarge):
        BlockingLink(child, max_frame=10).send(t.Return(0, encode_payload("x" * 9, "")))
    parent.setblocking(False)
    with pytest.raises(BlockingIOError):
        parent.recv(1)


async def test_the_ends_of_a_pair_are_not_inherited() -> None:
    """A descriptor goes to the child that it is meant for, and to no other."""
    ours, theirs = make_pair()
    with theirs:
        assert not theirs.get_inheritable()
        assert not ours._sock.get_inheritable()
        ours.close()
        ours.close()
        await trio.lowlevel.checkpoint()
