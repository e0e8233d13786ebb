"""Connecting to an address; who answers there is for the hello to find out."""

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

import trio

from tractor._exceptions import ActorUnreachable
from tractor.ipc._address import Address, TcpAddress, UnixAddress
from tractor.ipc._bind import check_user
from tractor.ipc._transport import SocketTransport, Transport

if TYPE_CHECKING:
    import ssl

CROWDED: Final = 0.01  # seconds until the next try when a listener's queue is full

_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time; socket(7)


async def connect(address: Address, client_tls: "ssl.SSLContext | None") -> Transport:
    """A connection to whoever listens there.

    Beyond this machine it is encrypted, and only then.

    Args:
        address: Where.
        client_tls: For addresses of other machines.

    Raises:
        ActorUnreachable: Nobody does, or it cannot be reached from here.
        AuthenticationFailed: Another user of this machine does, at a Unix socket.

    Cancellation: nothing is left of it.
    """
    if not address.is_local and client_tls is None:
        raise _unencrypted(address)  # and do not even knock
    try:
        if isinstance(address, UnixAddress):
            return SocketTransport(await _connect_unix(address))
        sock = await _connect_tcp(address)
    except OSError as exc:
        msg = f"nobody answers at {address}: {exc}"
        raise ActorUnreachable(msg) from exc
    tune_tcp(sock)
    return await secured(
        sock, address, client_tls, server_side=False, hostname=address.host
    )


async def secured(
    sock: socket.socket,
    listener: Address,
    context: "ssl.SSLContext | None",
    *,
    server_side: bool,
    hostname: str | None = None,
) -> Transport:
    """The connection as a transport; encrypted where its listener is not local.

    Raises:
        ActorUnreachable: It would have to be, and we have no context for that.
        TransportBroken: The other side and we could not agree on an encryption.
    """
    transport = SocketTransport(sock)
    if listener.is_local:
        return transport
    if context is None:
        transport.close()
        raise _unencrypted(listener)
    from tractor.ipc._tls import wrap_tls  # local: ssl is large, and seldom needed

    return await wrap_tls(
        transport, context, server_side=server_side, server_hostname=hostname
    )


def _unencrypted(listener: Address) -> ActorUnreachable:
    msg = (
        f"{listener} is not of this machine, and connections with others are "
        "encrypted: that needs ssl_context, which a root can be given"
    )
    return ActorUnreachable(msg)


def tune_tcp(sock: socket.socket) -> None:
    """Send small records at once, and notice a peer whose machine is gone."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _connect_unix(address: UnixAddress) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(address.path)
            except BlockingIOError:  # its queue is full, and cannot be waited for
                await trio.sleep(CROWDED)
            else:
                check_user(sock)
                return sock
    except BaseException:
        sock.close()
        raise


async def _connect_tcp(address: TcpAddress) -> socket.socket:
    stream = await trio.open_tcp_stream(address.host, address.port)
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        if sock.getsockname() == sock.getpeername():
            # The kernel gave us the very port that we dial, at which nobody listens;
            # TCP lets both ends of such a connection be one socket. It is reset, since
            # after an orderly end nobody could listen there for a minute.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError:
        sock.close()
        raise
    return sock
