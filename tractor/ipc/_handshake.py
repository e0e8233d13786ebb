"""How two strangers become peers: the hello, then who they are.

Nothing of what the other side sends is decoded before it has proved that it knows the
secret, and never more is read from the socket than it may send before it hears from us
again; so there is nothing left over when the channel takes the connection.
"""

from typing import Final

from tractor._exceptions import (
    AuthenticationFailed,
    RemoteProtocolError,
    TransportBroken,
    TransportClosed,
    VersionMismatch,
)
from tractor.ipc._bind import connection_name
from tractor.ipc._hello import GREETING_SIZE, MAGIC, PROOF_SIZE, Hello, Secret
from tractor.ipc._transport import SocketTransport, Transport
from tractor.msg import HEADER, decode_record, encode_frame
from tractor.msg import types as t

MAX_GREET: Final = 16 * 1024  # bytes; names may be long, but not that long
MIN_FRAME: Final = 4 * 1024  # bytes; what must get through, as an error in short, fits

# Bytes that a dialer reads at once: the proof and, since nothing follows it before ours
# is sent, most or all of the greeting after it. That saves two waits of four.
ANSWER: Final = 512

HELLO_TIMEOUT: Final = 3.0  # seconds for all of it; reliability T_hs


async def introduce(transport: Transport, secret: Secret, greet: t.Greet) -> t.Greet:
    """Meet whom we have dialled; who it is.

    Raises: as for `meet_listener`. After an error or a cancellation the connection is
    closed.
    """
    try:
        return await meet_listener(transport, Hello("dialer", secret), greet)
    except BaseException:
        transport.close()
        raise


async def meet_listener(transport: Transport, hello: Hello, greet: t.Greet) -> t.Greet:
    """Prove ourselves to whom we dialled, and let it do the same; who it is.

    Raises:
        AuthenticationFailed: It is not of the tree, or holds that we are not.
        TransportClosed: It is gone, or is something else than we are.

    Cancellation leaves the connection unusable; the caller closes it.
    """
    hello.tie_to(_connection(transport, dialled=True))
    await _send(transport, hello.greeting)
    hello.receive_greeting(await _receive_greeting(transport))
    await _send(transport, hello.proof)
    answer = b""
    try:
        while len(answer) < PROOF_SIZE:
            answer += await _some(transport, ANSWER - len(answer))
    except TransportClosed as exc:
        msg = f"{exc}; probably it has another secret, or is relayed"
        raise AuthenticationFailed(msg) from exc
    hello.check_proof(answer[:PROOF_SIZE])
    await _send(transport, encode_frame(greet, MAX_GREET))
    return await _receive_greet(transport, answer[PROOF_SIZE:])


async def meet_dialer(transport: Transport, hello: Hello, greet: t.Greet) -> t.Greet:
    """Let who has dialled us prove itself, then do the same; who it is.

    Raises and cancellation: as for `meet_listener`.
    """
    hello.tie_to(_connection(transport, dialled=False))
    greeting = await _receive_greeting(transport)
    try:
        hello.receive_greeting(greeting)
    except VersionMismatch:
        await _send(transport, hello.greeting)  # so that it can tell its user, too
        raise
    await _send(transport, hello.greeting)
    hello.check_proof(await _exactly(transport, PROOF_SIZE))
    await _send(transport, hello.proof + encode_frame(greet, MAX_GREET))
    return await _receive_greet(transport)


def _connection(transport: Transport, *, dialled: bool) -> bytes:
    if not isinstance(transport, SocketTransport):
        return b""  # TLS: it is the certificate that tells who is there
    try:
        return connection_name(transport._sock, dialled=dialled)
    except OSError as exc:
        msg = f"the connection failed: {exc}"
        raise TransportBroken(msg) from exc


async def _receive_greeting(transport: Transport) -> bytes:
    """Its greeting, or the first bytes of what is none: those are enough to tell."""
    data = b""
    while len(data) < GREETING_SIZE and MAGIC.startswith(data[: len(MAGIC)]):
        data += await _some(transport, GREETING_SIZE - len(data))
    return data


async def _receive_greet(transport: Transport, begun: bytes = b"") -> t.Greet:
    begun = await _exactly(transport, HEADER, begun)
    size = int.from_bytes(begun[:HEADER], "little")
    if size > MAX_GREET:
        msg = f"the peer announced a greeting of {size} bytes"
        raise TransportClosed(msg)
    body = await _exactly(transport, size, begun[HEADER:])
    if len(body) > size:
        msg = "the peer said more than its greeting"
        raise TransportClosed(msg)
    try:
        greet = decode_record(body)
    except RemoteProtocolError as exc:
        raise TransportClosed(str(exc)) from exc
    if not isinstance(greet, t.Greet):
        msg = f"the peer began with {type(greet).__name__}"
        raise TransportClosed(msg)
    if greet.max_frame < MIN_FRAME:
        msg = f"the peer takes messages of at most {greet.max_frame} bytes"
        raise TransportClosed(f"{msg}; {MIN_FRAME} are the least")
    return greet


async def _send(transport: Transport, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[transport.send_nowait(left) :]
        if left:
            await transport.send_ready()


async def _exactly(transport: Transport, count: int, begun: bytes = b"") -> bytes:
    parts = bytearray(begun)
    while len(parts) < count:
        parts += await _some(transport, count - len(parts))
    return bytes(parts)


async def _some(transport: Transport, limit: int) -> bytes:
    if not (part := await transport.receive_some(limit)):
        msg = "the peer closed the connection during the hello"
        raise TransportClosed(msg)
    return part
