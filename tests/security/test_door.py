"""Both sides of the door: a listener that goes on, a dialer that believes nothing."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final
from uuid import uuid4

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests._helpers import SAFETY
from tests.security.helpers import SECRET, frame, greet
from tractor import Aid, AuthenticationFailed, TransportClosed
from tractor.ipc import SocketTransport, Transport, UnixAddress
from tractor.ipc._hello import GREETING_SIZE, PROOF_SIZE
from tractor.ipc.network import (
    BoundSocket,
    Guest,
    Hello,
    Listener,
    bind,
    connect,
    meet_listener,
)
from tractor.msg import types as t


@pytest.fixture
def door(runtime_dir: str) -> Iterator[BoundSocket]:
    """A socket that listens."""
    (bound,) = bind(UnixAddress(f"{runtime_dir}/{uuid4().hex[:8]}.sock"))
    yield bound
    bound.unlink()
    bound.sock.close()


async def test_no_error_makes_a_listener_deaf(
    door: BoundSocket, caplog: pytest.LogCaptureFixture
) -> None:
    """What goes wrong with one connection, whatever it is, ends that one alone (D4)."""
    met: list[Guest] = []
    both_met = trio.Event()

    def on_met(guest: Guest) -> None:
        met.append(guest)
        if len(met) == 1:
            msg = "a mood of the kernel"
            raise OSError(msg)
        both_met.set()

    listener = Listener(secret=SECRET, greet=greet, on_met=on_met)
    with caplog.at_level("WARNING", "tractor"), trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, door.sock)
            first = await dialled(door)
            assert await first.receive_some() == b""
            second = await dialled(door)
            await both_met.wait()
            met[1].transport.send_nowait(b"welcome")
            assert await second.receive_some() == b"welcome"
            for transport in (first, second, met[1].transport):
                transport.close()
            listener.close(door.sock)
    assert caplog.text.count("a mood of the kernel") == 1


async def dialled(door: BoundSocket) -> Transport:
    """A connection after its hello."""
    transport = await connect(door.address, None)
    await meet_listener(transport, Hello("dialer", SECRET), greet())
    return transport


# -- Who answers -----------------------------------------------------------------------


class Ends:
    """A dialer's connection, and the script of who is at the other end of it."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.ours = SocketTransport(ours)
        self.theirs.setblocking(False)

    async def answer(self, parts: Callable[[bytes], list[bytes]]) -> None:
        """Be a listener up to its proof, and then say those."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self.theirs))
        hello = Hello("listener", SECRET)
        hello.receive_greeting(await exactly(stream, GREETING_SIZE))
        await stream.send_all(hello.greeting)
        hello.check_proof(await exactly(stream, PROOF_SIZE))
        for part in parts(hello.proof):
            await wait_all_tasks_blocked()
            await stream.send_all(part)
        await stream.send_eof()

    async def meet(self, parts: Callable[[bytes], list[bytes]]) -> t.Greet:
        """The dialer's side of it."""
        outcome: list[t.Greet | TransportClosed] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.answer, parts)
            try:
                hello = Hello("dialer", SECRET)
                outcome.append(await meet_listener(self.ours, hello, greet()))
            except TransportClosed as exc:
                outcome.append(exc)
        (found,) = outcome
        if isinstance(found, TransportClosed):
            raise found
        return found


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive_some(count - len(data))
    return data


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    with trio.fail_after(SAFETY):
        yield ends
    ends.ours.close()
    ends.theirs.close()


WHO: Final = frame(greet())
LONG: Final = frame(greet(Aid("x" * 5000, "5" * 32)))


@pytest.mark.parametrize("who", [WHO, LONG], ids=["short", "long"])
@pytest.mark.parametrize("size", [1, 7, 32, 36, 10**6])
async def test_an_answer_may_come_in_pieces(ends: Ends, who: bytes, size: int) -> None:
    """However it is cut, nothing of it is lost, and nothing else is read."""
    step = max(size, len(who) // 50)

    def parts(proof: bytes) -> list[bytes]:
        data = proof + who
        return [data[start : start + step] for start in range(0, len(data), step)]

    found = await ends.meet(parts)
    assert frame(found) == who
    assert await ends.ours.receive_some() == b""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "closed the connection during the hello"),
        (WHO[:-1], "closed the connection during the hello"),
        (WHO + b"\0", "more than its greeting"),
        (WHO + frame(t.Ping(1)), "more than its greeting"),
        ((20_000).to_bytes(4, "little"), "announced a greeting of 20000 bytes"),
        (b"\x01\x00\x00\x00\xc1", "something that is not a record"),
        (frame(t.Ping(1)), "the peer began with Ping"),
        (frame(greet(max_frame=100)), "messages of at most 100 bytes"),
    ],
    ids=["nothing", "cut", "byte", "record", "size", "junk", "other", "small"],
)
async def test_who_answers_badly_is_left(ends: Ends, said: bytes, why: str) -> None:
    """Also one who knows the secret; the error says what was wrong (D8)."""
    with pytest.raises(TransportClosed, match=why):
        await ends.meet(lambda proof: [proof + said])


async def test_who_cannot_prove_anything_is_told_nothing(ends: Ends) -> None:
    """A wrong proof is not answered by who we are (F10)."""
    with pytest.raises(AuthenticationFailed, match="does not know the secret"):
        await ends.meet(lambda _: [bytes(PROOF_SIZE) + WHO])
    ends.ours.close()
    assert ends.theirs.recv(1) == b""
