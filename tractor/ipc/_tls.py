"""TLS between a channel and its socket, for connections that leave the machine.

Python's own TLS is used without its sockets: bytes go through two memory buffers, and
this module carries the encrypted ones to and from the transport below.

What a channel hands over counts as sent only when all that was encrypted of it is with
the kernel, and bytes that were encrypted cannot be taken back. So a piece of which the
kernel takes less is *owed*: nothing of it is reported, and when the channel comes with
the same bytes again, which it does first of all, they are counted and not encrypted a
second time. A channel that reports its outbox as empty is right that way, and one that
goes away does not leave the end of a frame behind in here.

It neither renegotiates nor compresses, and it checks certificates as the given context
says. Only who needs TLS imports this module.
"""

import ssl
from contextlib import suppress
from typing import Final

import trio

from tractor._exceptions import TransportBroken
from tractor.ipc._transport import READ_SIZE, Transport, copy_into

PIECE: Final = 64 * 1024  # bytes encrypted before the kernel has them; 4 TLS records
MAX_UNSENT: Final = 256 * 1024  # bytes; more than a piece, its overhead and replies

_NO_TLS: Final = {
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}  # what OpenSSL says, by its version, when something else than TLS arrives


async def wrap_tls(
    below: Transport,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None,
) -> "TlsTransport":
    """Do the handshake and return the encrypted transport.

    Args:
        below: Connected; belongs to the result, which closes it.
        context: Certificates, and what is asked of those of the other end.
        server_side: Whether the other end is the one that dialled.
        server_hostname: Whom we mean to reach; the certificate must be for it. `None`
            at the side of the server.

    Raises:
        TransportBroken: The two do not trust or understand each other, or the
            connection ended.
        ValueError: The context does not fit the side, or lacks a host name.

    Waits for as long as the other end likes; whoever calls it bounds it. After an error
    or a cancellation `below` is closed.
    """
    try:
        transport = TlsTransport(
            below, context, server_side=server_side, server_hostname=server_hostname
        )
        await transport._handshake()
    except BaseException:
        below.close()
        raise
    return transport


class TlsTransport:
    """An encrypted `Transport` over another one; `wrap_tls` makes it."""

    def __init__(
        self,
        below: Transport,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None,
    ) -> None:
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = bytearray()  # encrypted, but not with the kernel
        self._owed = 0  # bytes of the user's that are in it, and are not counted yet
        self._end: str | None = None  # why nothing more can be read
        self._ended = False  # whether the peer said that it was all
        self._closed = False
        try:
            self._tls = context.wrap_bio(
                self._incoming,
                self._outgoing,
                server_side=server_side,
                server_hostname=server_hostname,
            )
        except ssl.SSLError as exc:
            msg = f"the SSL context does not fit: {exc.reason or exc}"
            raise ValueError(msg) from exc

    # -- as `Transport` ----------------------------------------------------------------

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `Transport`.

        Args:
            data: Begins with whatever earlier calls did not report as handed over.
        """
        self._check_open()
        if not self._flush():
            return 0
        count, self._owed = self._owed, 0
        with memoryview(data) as view:
            while count < len(view):
                with view[count : count + PIECE] as piece:
                    encrypted = self._encrypt(piece)
                if not self._flush():
                    self._owed = encrypted
                    break
                count += encrypted
        return count

    def send_two_nowait(self, head: bytearray, body: bytes) -> int:
        """See `Transport`; the first alone."""
        return self.send_nowait(head)

    async def send_ready(self) -> None:
        """See `Transport`."""
        await self._below.send_ready()

    async def receive_some(self, limit: int = READ_SIZE) -> bytes:
        """See `Transport`.

        Raises:
            TransportBroken: Also where the connection ended without the notice with
                which TLS ends: something may be missing then.
        """
        self._check_open()
        if self._incoming.pending or self._tls.pending():
            # So that other tasks run between two reads, as they do when there is
            # something to wait for.
            await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if data := self._decrypt(limit):
                return data
            if self._end is not None:
                raise TransportBroken(self._end)
            if self._ended:
                await trio.lowlevel.checkpoint()
                return b""
            await self._receive()

    async def receive_into(self, space: memoryview) -> int:
        """See `Transport`."""
        return await copy_into(self, space)

    def close(self) -> None:
        """See `Transport`; the peer is told if that needs no waiting."""
        if self._closed:
            return
        self._closed = True
        with suppress(TransportBroken):
            if self._flush():
                with suppress(ssl.SSLError):  # always: it would wait for the answer
                    self._tls.unwrap()
                self._flush()
        self._below.close()

    # -- the handshake -----------------------------------------------------------------

    async def _handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush_all()
            except ssl.SSLError as exc:
                self._say_why()
                msg = f"the TLS handshake failed: {_explained(exc)}"
                raise TransportBroken(msg) from exc
            else:
                await self._flush_all()
                return
            await self._receive()
            if self._end is not None:
                msg = "the other end closed the connection during the TLS handshake"
                raise TransportBroken(msg)

    # -- encrypted bytes ---------------------------------------------------------------

    def _encrypt(self, piece: memoryview) -> int:
        """How much of it is encrypted now; at least one byte."""
        try:
            return self._tls.write(piece)
        except ssl.SSLError as exc:
            # That it wants to read first is among them: the peer began to renegotiate,
            # which TLS has given up, and which could stall us at its will.
            msg = f"the TLS connection failed: {_explained(exc)}"
            raise TransportBroken(msg) from exc

    def _decrypt(self, limit: int) -> bytes:
        """What can be read without waiting, up to `limit`."""
        parts: list[bytes] = []
        while limit > 0 and not self._ended and self._end is None:
            try:
                part = self._tls.read(limit)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as exc:
                self._say_why()
                self._end = f"the TLS connection failed: {_explained(exc)}"
                break
            self._ended = not part
            parts.append(part)
            limit -= len(part)
        self._send_replies()
        return b"".join(parts)

    async def _receive(self) -> None:
        if encrypted := await self._below.receive_some():
            self._incoming.write(encrypted)
        else:
            self._end = "the connection was cut: it ended without the end of TLS"

    def _send_replies(self) -> None:
        """Send what TLS itself answers to what it reads, such as to new keys.

        What does not fit now goes with the next bytes of ours, or the next read.
        """
        if self._outgoing.pending or (self._unsent and not self._owed):
            with suppress(TransportBroken):  # the reader finds that out as well
                self._flush()
        if len(self._unsent) > MAX_UNSENT:
            self._end = "the peer asks for answers of TLS, and does not read them"

    def _flush(self) -> bool:
        """Hand over what is encrypted; whether the kernel took it all."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        while self._unsent:
            sent = self._below.send_nowait(self._unsent)
            if not sent:
                return False
            del self._unsent[:sent]
        return True

    async def _flush_all(self) -> None:
        while not self._flush():
            await self._below.send_ready()

    def _say_why(self) -> None:
        """Send the alert with which TLS ends, if that needs no waiting."""
        with suppress(TransportBroken):
            self._flush()

    def _check_open(self) -> None:
        if self._closed:
            msg = "the connection was closed on this side"
            raise TransportBroken(msg)


def _explained(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the certificate of the other end is not accepted: {exc.verify_message}"
    reason = exc.reason or str(exc)
    words = reason.replace("_", " ").lower()
    if exc.reason in _NO_TLS:
        return f"the other end does not speak TLS, or a version too old ({words})"
    return words
