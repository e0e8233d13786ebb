"""TLS below a channel: nothing lost, nothing twice, and no end without a notice."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import IO, Final, NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.ipc.fakes import LIMIT, FakeTransport
from tractor._exceptions import TransportBroken, TransportClosed
from tractor.ipc import Channel, SocketTransport, Transport
from tractor.ipc._tls import MAX_UNSENT, PIECE, TlsTransport, wrap_tls
from tractor.msg import encode_payload
from tractor.msg import types as t

HOST: Final = "actor.example"
BOUND: Final = 20  # seconds for what takes milliseconds
BIG: Final = bytes(range(256)) * 16 * 1024  # 4 MiB, far more than a socket takes


class Certificate(NamedTuple):
    """Signed by itself, and good for `HOST`."""

    cert: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))


def make_certificate(folder: Path) -> Certificate:
    """One that lasts for a day."""
    folder.mkdir()
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        f"-days 1 -subj /CN=actor -addext subjectAltName=DNS:{HOST} "
        "-addext keyUsage=critical,digitalSignature,keyCertSign"
    )
    subprocess.run(
        [*command.split(), "-out", made.cert, "-keyout", made.key],
        check=True,
        capture_output=True,
        timeout=BOUND,
    )
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What the tests of this module trust."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make certificates with")
    return make_certificate(tmp_path_factory.mktemp("tls") / "good")


@pytest.fixture(params=["TLSv1_2", "TLSv1_3"])
def contexts(
    request: pytest.FixtureRequest, certificate: Certificate
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a client and a server that speak one version of TLS."""
    server = certificate.server()
    server.maximum_version = server.minimum_version = ssl.TLSVersion[request.param]
    return certificate.client(), server


class Counting(SocketTransport):
    """Knows how many bytes went through it each way."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.sock = sock
        self.sent = 0

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        count = super().send_nowait(data)
        self.sent += count
        return count

    @property
    def closed(self) -> bool:
        return self.sock.fileno() < 0


class Stingy(Counting):
    """Takes every other time nothing, and little else."""

    hungry = False

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        self.hungry = not self.hungry
        return super().send_nowait(data[:100]) if self.hungry else 0


class Ends(NamedTuple):
    """Both ends of one connection, and what is below each."""

    client: TlsTransport
    server: TlsTransport
    client_below: Counting
    server_below: Counting


def sockets() -> tuple[Counting, Counting]:
    one, other = socket.socketpair()
    return Counting(one), Counting(other)


@asynccontextmanager
async def connected(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncIterator[Ends]:
    """A connection over a pair of sockets."""
    below = sockets()
    made: dict[str, TlsTransport] = {}

    async def serve() -> None:
        made["server"] = await wrap_tls(
            below[1], contexts[1], server_side=True, server_hostname=None
        )

    with trio.fail_after(BOUND), closing(below[0]), closing(below[1]):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            made["client"] = await wrap_tls(
                below[0], contexts[0], server_side=False, server_hostname=HOST
            )
        yield Ends(made["client"], made["server"], *below)
        made["client"].close()
        made["server"].close()


async def handshake_errors(
    client: Callable[[Counting], Awaitable[object]],
    server: Callable[[Counting], Awaitable[object]],
) -> list[str]:
    """What each end says when both are let loose on one connection."""
    below = sockets()
    found = ["", ""]

    async def run(number: int, end: Callable[[Counting], Awaitable[object]]) -> None:
        try:
            made = await end(below[number])
        except TransportBroken as exc:
            found[number] = str(exc)
            assert below[number].closed
        else:
            if isinstance(made, TlsTransport):  # it hears of it a little later
                with pytest.raises(TransportBroken) as caught:
                    await made.receive_some()
                found[number] = str(caught.value)
        finally:
            below[number].close()

    with trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, 0, client)
            nursery.start_soon(run, 1, server)
    return found


def client_end(
    context: ssl.SSLContext, hostname: str = HOST
) -> Callable[[Counting], Awaitable[object]]:
    return lambda below: wrap_tls(
        below, context, server_side=False, server_hostname=hostname
    )


def server_end(context: ssl.SSLContext) -> Callable[[Counting], Awaitable[object]]:
    return lambda below: wrap_tls(
        below, context, server_side=True, server_hostname=None
    )


async def send_all(transport: Transport, data: bytes) -> None:
    """As a channel does: what was not taken is offered again, and more after it."""
    outbox = bytearray(data)
    while outbox:
        sent = transport.send_nowait(outbox)
        del outbox[:sent]
        if outbox:
            await transport.send_ready()


async def receive_exactly(transport: Transport, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = await transport.receive_some()
        assert part
        parts += part
    return bytes(parts)


# -- Bytes that go through -------------------------------------------------------------


async def test_bytes_go_both_ways(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Much more than a socket takes, both ways at once, with both versions of TLS."""
    async with connected(contexts) as ends, trio.open_nursery() as nursery:
        nursery.start_soon(send_all, ends.client, BIG)
        nursery.start_soon(send_all, ends.server, BIG[::-1])
        received: dict[str, bytes] = {}

        async def receive(name: str, transport: TlsTransport) -> None:
            received[name] = await receive_exactly(transport, len(BIG))

        nursery.start_soon(receive, "client", ends.client)
        await receive("server", ends.server)
    assert received == {"server": BIG, "client": BIG[::-1]}


async def test_a_slow_reader_gets_all_of_it_once(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Nothing is encrypted twice, and not much before the kernel takes it."""
    async with connected(contexts) as ends:
        before = ends.client_below.sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, ends.client, BIG)
            received = bytearray()
            while len(received) < len(BIG):
                await wait_all_tasks_blocked()  # the sender sends what fits
                assert len(ends.client._unsent) < MAX_UNSENT / 2
                received += await ends.server.receive_some(limit=50_000)
        assert received == BIG
        assert len(BIG) < ends.client_below.sent - before < len(BIG) * 1.01


async def test_what_is_not_with_the_kernel_does_not_count(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """And counts later, without being encrypted again (the contract of `Transport`)."""
    async with connected(contexts) as ends:
        data = bytearray(BIG)
        count = ends.client.send_nowait(data)
        unsent = len(ends.client._unsent)
        assert unsent > 0
        del data[:count]
        assert ends.client.send_nowait(data) == 0
        assert len(ends.client._unsent) == unsent
        received = await receive_exactly(ends.server, count)
        assert BIG.startswith(received)
        while not (late := ends.client.send_nowait(data[:PIECE])):
            await ends.client.send_ready()
        received += await receive_exactly(ends.server, count + late - len(received))
        assert received == BIG[: count + late]


def test_short_writes_keep_every_byte_in_order(certificate: Certificate) -> None:
    """However little is taken at a time, what is reported is what has arrived."""
    client, server = certificate.client(), certificate.server()

    @settings(
        deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(
        st.lists(st.integers(0, 100_000), max_size=15),
        st.lists(st.integers(0, 60_000), max_size=15),
    )
    def check(sizes: list[int], rooms: list[int]) -> None:
        trio.run(_send_in_pieces, (client, server), sizes, rooms)

    check()


async def _send_in_pieces(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    sizes: list[int],
    rooms: list[int],
) -> None:
    async with connected(contexts) as ends:
        narrow = FakeTransport(room=0)
        ends.client._below = narrow
        expected, outbox, arrived = bytearray(), bytearray(), bytearray()
        moved = 0
        for number, size in enumerate([*sizes, 0]):
            new = bytes([number]) * size
            expected += new
            outbox += new
            for room in [*rooms, 0] if number else rooms:
                narrow.give_room(room)
                reported = ends.client.send_nowait(outbox)
                del outbox[:reported]
        narrow.give_room()
        del outbox[: ends.client.send_nowait(outbox)]
        assert not outbox
        assert not ends.client._unsent
        while len(arrived) < len(expected):
            if moved < len(narrow.sent):
                moved += ends.client_below.send_nowait(
                    memoryview(narrow.sent)[moved : moved + 20_000]
                )
            arrived += await ends.server.receive_some()
        assert arrived == expected
        ends.client._below = ends.client_below


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_no_more_is_given_than_asked_for(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], limit: int
) -> None:
    """The rest stays for the next who asks, and needs no further arrival."""
    async with connected(contexts) as ends:
        ends.client.send_nowait(BIG[:1000])
        received = bytearray()
        while len(received) < 1000:
            part = await ends.server.receive_some(limit=limit)
            assert 1 <= len(part) <= limit
            received += part
        assert received == BIG[:1000]


async def test_a_cancelled_receive_loses_nothing(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Whenever it comes, also again and again while bytes are there."""
    async with connected(contexts) as ends, trio.open_nursery() as nursery:
        size = len(BIG) // 8
        nursery.start_soon(send_all, ends.client, BIG[:size])
        received = bytearray()
        cancelled = 0
        while len(received) < size:
            with trio.CancelScope() as scope:
                if cancelled % 2:
                    scope.cancel()
                received += await ends.server.receive_some(limit=10_000)
            cancelled += 1
            assert not (scope.cancelled_caught and cancelled % 2)
        assert received == BIG[:size]


async def test_receiving_lets_others_run(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Each call is a checkpoint, also where decrypted bytes are waiting."""
    async with connected(contexts) as ends:
        ends.client.send_nowait(bytes(100))
        await ends.server.receive_some(limit=1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await ends.server.receive_some(limit=1)
        assert scope.cancelled_caught


async def test_a_channel_works_over_tls(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """1,000 records each way, of all sizes, in order and whole."""
    sizes = [
        (number * 7919) % 30_000 if number % 9 == 0 else 30 for number in range(1000)
    ]
    sent = [
        t.Return(number, encode_payload(bytes([number % 256]) * size, "it"))
        for number, size in enumerate(sizes)
    ]
    async with connected(contexts) as ends, trio.open_nursery() as nursery:
        channels = [Channel(end, max_frame=LIMIT) for end in ends[:2]]
        received: list[list[t.AnyRecord]] = [[], []]
        ended: list[TransportClosed] = []
        done, over = trio.Event(), trio.Event()

        async def run(number: int) -> None:
            def take(record: t.AnyRecord) -> None:
                received[number].append(record)
                if all(len(each) == len(sent) for each in received):
                    done.set()

            ended.append(await channels[number].run(take))
            if len(ended) == 2:
                over.set()

        async def send(channel: Channel) -> None:
            for record in sent:
                await channel.send(record)

        for number in range(2):
            nursery.start_soon(run, number)
            nursery.start_soon(send, channels[number])
        await done.wait()
        assert received[0] == received[1] == sent
        channels[0].close()
        await over.wait()
        assert type(ended[1]) is TransportClosed  # the end was clean


# -- Ends ------------------------------------------------------------------------------


async def test_a_closed_end_is_a_clean_end(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """After all that was sent before; and it stays the end."""
    async with connected(contexts) as ends:
        ends.client.send_nowait(b"last words")
        ends.client.close()
        ends.client.close()
        assert ends.client_below.closed
        assert await ends.server.receive_some(limit=4) == b"last"
        assert await ends.server.receive_some() == b" words"
        assert await ends.server.receive_some() == b""
        assert await ends.server.receive_some() == b""


async def test_a_cut_stream_is_told_from_a_clean_end(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Whoever sits between cannot end a connection as its peer would."""
    async with connected(contexts) as ends:
        ends.client.send_nowait(b"last words")
        ends.client_below.sock.shutdown(socket.SHUT_WR)
        assert await ends.server.receive_some() == b"last words"
        for _ in range(2):
            with pytest.raises(TransportBroken, match="cut"):
                await ends.server.receive_some()


async def test_a_stream_cut_in_a_record_gives_nothing_of_it(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Bytes count when they are proved to be whole."""
    async with connected(contexts) as ends:
        ends.client._below = narrow = FakeTransport(room=1000)
        ends.client.send_nowait(b"x" * 2000)
        ends.client_below.send_nowait(narrow.sent)
        ends.client_below.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(TransportBroken, match="cut"):
            await ends.server.receive_some()


async def test_a_changed_byte_ends_the_connection(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """What came before it is still given; and the sender hears of it."""
    async with connected(contexts) as ends:
        ends.client.send_nowait(b"good")
        ends.client._below = narrow = FakeTransport()
        ends.client.send_nowait(b"bad")
        narrow.sent[-1] ^= 1
        ends.client_below.send_nowait(narrow.sent)
        ends.client._below = ends.client_below
        assert await ends.server.receive_some() == b"good"
        with pytest.raises(TransportBroken, match="the TLS connection failed"):
            await ends.server.receive_some()
        with pytest.raises(TransportBroken, match="the TLS connection failed"):
            ends.server.send_nowait(b"x")
        with pytest.raises(TransportBroken, match="alert bad record mac"):
            await ends.client.receive_some()


async def test_everything_on_a_closed_end_fails(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Also what waits on it at that moment."""
    async with connected(contexts) as ends:
        failed: list[str] = []

        async def receive() -> None:
            with pytest.raises(TransportBroken) as caught:
                await ends.client.receive_some()
            failed.append(str(caught.value))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            ends.client.close()
        assert len(failed) == 1
        with pytest.raises(TransportBroken, match="on this side"):
            await ends.client.receive_some()
        with pytest.raises(TransportBroken, match="on this side"):
            ends.client.send_nowait(b"x")
        with pytest.raises(TransportBroken):
            await ends.client.send_ready()


async def test_closing_never_waits(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Not for a peer that reads nothing, and not for one that is gone."""
    async with connected(contexts) as ends:
        ends.client.send_nowait(BIG)
        ends.client.close()
        assert ends.client_below.closed
    async with connected(contexts) as ends:
        ends.server_below.close()
        ends.client.close()
        assert ends.client_below.closed


async def test_a_gone_peer_fails_the_sender(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """As it does without TLS."""
    async with connected(contexts) as ends:
        ends.server_below.close()
        with pytest.raises(TransportBroken):
            await send_all(ends.client, BIG)


async def test_a_peer_that_reads_no_answers_is_cut_off(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """What TLS itself has to say to it is not kept without bound (security §4)."""
    async with connected(contexts) as ends:
        ends.server._below = FakeTransport(room=0)
        ends.server._outgoing.write(bytes(MAX_UNSENT))
        with trio.CancelScope(deadline=-1) as still_waits:
            await ends.server.receive_some()
        assert still_waits.cancelled_caught
        ends.server._outgoing.write(bytes(1))
        with pytest.raises(TransportBroken, match="does not read them"):
            await ends.server.receive_some()
        ends.server._below = ends.server_below


# -- Handshakes that fail --------------------------------------------------------------


async def test_an_unknown_certificate_is_refused(
    certificate: Certificate, tmp_path: Path
) -> None:
    """By the client, with the reason; the server hears of it."""
    other = make_certificate(tmp_path / "other")
    client, server = await handshake_errors(
        client_end(other.client()), server_end(certificate.server())
    )
    assert "the certificate of the other end is not accepted: self-signed" in client
    assert "alert" in server


async def test_a_certificate_of_another_host_is_refused(
    certificate: Certificate,
) -> None:
    """The name that was dialled has to be in it."""
    client, server = await handshake_errors(
        client_end(certificate.client(), "other.example"),
        server_end(certificate.server()),
    )
    assert "not accepted: Hostname mismatch" in client
    assert "alert" in server


async def test_a_client_without_a_certificate_is_refused(
    certificate: Certificate,
) -> None:
    """Where the server's context asks for one."""
    context = certificate.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate.cert)
    client, server = await handshake_errors(
        client_end(certificate.client()), server_end(context)
    )
    assert "peer did not return a certificate" in server
    assert "alert" in client


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: actor\r\n\r\n",
        b"\x89tractor" + bytes(36),
        b"\xff" * 99,
    ],
)
@pytest.mark.parametrize("listens", [True, False])
async def test_a_peer_that_speaks_plain_text_is_refused(
    certificate: Certificate, words: bytes, listens: bool
) -> None:
    """At either end, with a text that says so."""

    async def plain(below: Counting) -> None:
        below.send_nowait(words)
        while await below.receive_some():
            pass

    if listens:
        text, _ = await handshake_errors(client_end(certificate.client()), plain)
    else:
        _, text = await handshake_errors(plain, server_end(certificate.server()))
    assert "the TLS handshake failed: the other end does not speak TLS" in text


async def test_a_handshake_goes_through_in_small_pieces(
    certificate: Certificate,
) -> None:
    """However little the sockets take at a time."""
    one, other = socket.socketpair()
    below = Stingy(one), Stingy(other)
    with closing(below[0]), closing(below[1]), trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server_end(certificate.server()), below[0])
            client = await wrap_tls(
                below[1], certificate.client(), server_side=False, server_hostname=HOST
            )
        await send_all(client, b"x" * 1000)


async def test_a_peer_that_hangs_up_is_told(certificate: Certificate) -> None:
    """A connection that ends in the handshake is said to have done so."""

    async def leave(below: Counting) -> None:
        await below.receive_some()

    text, _ = await handshake_errors(client_end(certificate.client()), leave)
    assert "closed the connection during the TLS handshake" in text


async def test_a_cancelled_handshake_closes(certificate: Certificate) -> None:
    """A peer that says nothing costs what the caller grants it, and leaves nothing."""
    below, silent = sockets()
    with closing(silent), trio.fail_after(BOUND):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server_end(certificate.server()), below)
            await wait_all_tasks_blocked()
            assert not below.closed
            nursery.cancel_scope.cancel()
        assert below.closed


async def test_a_context_that_does_not_fit_is_our_own_error(
    certificate: Certificate,
) -> None:
    """Nothing is wrong with the connection then; it is closed all the same."""
    for end in (
        server_end(certificate.client()),
        client_end(certificate.server()),
        client_end(certificate.client(), ""),
    ):
        below, other = sockets()
        with closing(other):
            with pytest.raises(ValueError, match=r".+"):
                await end(below)
            assert below.closed


# -- New keys --------------------------------------------------------------------------


def skip_to(words: bytes, output: IO[bytes]) -> None:
    """Read what it says until a line has these words."""
    assert any(words in line for line in output)


@pytest.fixture
def openssl_server(
    certificate: Certificate,
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The port of another program that speaks TLS, and what obeys its keyboard."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"openssl s_server -accept 127.0.0.1:{port} -tls1_3 -naccept 1 -msg"
    with subprocess.Popen(
        [*command.split(), "-cert", certificate.cert, "-key", certificate.key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        skip_to(b"ACCEPT", process.stdout)
        yield port, process
        process.kill()


async def test_new_keys_are_taken_and_answered(
    certificate: Certificate,
    openssl_server: tuple[int, subprocess.Popen[bytes]],
) -> None:
    """A peer changes its keys when it likes, and asks for ours (RFC 8446, 4.6.3)."""
    port, process = openssl_server
    assert process.stdin is not None
    assert process.stdout is not None
    output = process.stdout

    async def says(words: bytes) -> None:
        await trio.to_thread.run_sync(skip_to, words, output, abandon_on_cancel=True)

    with trio.fail_after(BOUND):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        below = Counting(socket.socket(fileno=stream.socket.detach()))
        made = await wrap_tls(
            below, certificate.client(), server_side=False, server_hostname=HOST
        )
        await says(b"Secure Renegotiation")  # its side of the handshake is done, too
        with closing(made):
            for _ in range(3):
                process.stdin.write(b"K\n")
                process.stdin.flush()
                await says(b"KeyUpdate")  # it sends it with what it says next
                process.stdin.write(b"hello\n")
                process.stdin.flush()
                assert await receive_exactly(made, 6) == b"hello\n"
                assert made.send_nowait(b"thanks\n") == 7
                await says(b"KeyUpdate")  # our answer, before what we said
                await says(b"thanks")
