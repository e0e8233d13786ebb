"""How two strangers become peers: the hello, then who they are.

Nothing of what the other side sends is decoded before it has proved that it knows the
secret, and never more than the next step needs is read from the socket; so there is
nothing left over when the channel takes the connection.
"""

from typing import Final

from tractor._exceptions import (
    AuthenticationFailed,
    RemoteProtocolError,
    TransportClosed,
    VersionMismatch,
)
from tractor.ipc._hello import GREETING_SIZE, PROOF_SIZE, Hello
from tractor.ipc._transport import Transport
from tractor.msg import HEADER, decode_record, encode_frame
from tractor.msg import types as t

MAX_GREET: Final = 16 * 1024  # bytes; names may be long, but not that long

HELLO_TIMEOUT: Final = 3.0  # seconds for all of it; reliability T_hs


async def meet_listener(transport: Transport, hello: Hello, greet: t.Greet) -> t.Greet:
    """Prove ourselves to whom we dialled, and let it do the same; who it is.

    Raises:
        AuthenticationFailed: It is not of the tree, or holds that we are not.
        TransportClosed: It is gone, or is something else than we are.

    Cancellation leaves the connection unusable; the caller closes it.
    """
    await _send(transport, hello.greeting)
    hello.receive_greeting(await _exactly(transport, GREETING_SIZE))
    await _send(transport, hello.proof)
    try:
        proof = await _exactly(transport, PROOF_SIZE)
    except TransportClosed as exc:
        msg = f"{exc}; probably it has another secret"
        raise AuthenticationFailed(msg) from exc
    hello.check_proof(proof)
    await _send(transport, encode_frame(greet, MAX_GREET))
    return await _receive_greet(transport)


async def meet_dialer(transport: Transport, hello: Hello, greet: t.Greet) -> t.Greet:
    """Let who has dialled us prove itself, then do the same; who it is.

    Raises and cancellation: as for `meet_listener`.
    """
    greeting = await _exactly(transport, GREETING_SIZE)
    try:
        hello.receive_greeting(greeting)
    except VersionMismatch:
        await _send(transport, hello.greeting)  # so that it can tell its user, too
        raise
    await _send(transport, hello.greeting)
    hello.check_proof(await _exactly(transport, PROOF_SIZE))
    await _send(transport, hello.proof + encode_frame(greet, MAX_GREET))
    return await _receive_greet(transport)


async def _receive_greet(transport: Transport) -> t.Greet:
    size = int.from_bytes(await _exactly(transport, HEADER), "little")
    if size > MAX_GREET:
        msg = f"the peer announced a greeting of {size} bytes"
        raise TransportClosed(msg)
    try:
        greet = decode_record(await _exactly(transport, size))
    except RemoteProtocolError as exc:
        raise TransportClosed(str(exc)) from exc
    if not isinstance(greet, t.Greet):
        msg = f"the peer began with {type(greet).__name__}"
        raise TransportClosed(msg)
    return greet


async def _send(transport: Transport, data: bytes | bytearray) -> None:
    left = memoryview(data)
    while left:
        left = left[transport.send_nowait(left) :]
        if left:
            await transport.send_ready()


async def _exactly(transport: Transport, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = await transport.receive_some(count - len(parts))
        if not part:
            msg = "the peer closed the connection during the hello"
            raise TransportClosed(msg)
        parts += part
    return bytes(parts)
