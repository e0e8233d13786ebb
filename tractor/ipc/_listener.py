"""Letting in who proves to be of the tree, and nobody else.

What a stranger can cost is bounded: `MAX_STRANGERS` connections at a time, of which the
oldest makes room for a new one, `HELLO_TIMEOUT` seconds and a few hundred bytes for
each. Nothing that arrives before the proof is decoded. Strangers are logged, but not
one by one.
"""

import errno
import socket
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from tractor._exceptions import TransportClosed
from tractor.ipc._bind import bound_address, check_user, peer_pid
from tractor.ipc._dial import secured, tune_tcp
from tractor.ipc._handshake import HELLO_TIMEOUT, meet_dialer
from tractor.ipc._hello import Hello, Secret
from tractor.ipc._transport import Transport
from tractor.log import get_logger
from tractor.msg import types as t

if TYPE_CHECKING:
    import ssl

log = get_logger("listener")

MAX_STRANGERS: Final = 64  # connections that have proved nothing yet; security §4
SHORTAGE_PAUSE: Final = 0.1  # seconds until the next try without a free descriptor
COMPLAINT_PERIOD: Final = 10.0  # seconds between two log lines about strangers

_SHORTAGES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Guest(NamedTuple):
    """A connection whose other side has proved itself.

    Attributes:
        transport: To talk with it; from now on of whoever gets this.
        greet: What it says of itself.
        pid: Its process id, where the kernel knows it.
        local: Whether it is on this machine.
    """

    transport: Transport
    greet: t.Greet
    pid: int | None
    local: bool


class Listener:
    """Accepts connections on any number of sockets.

    Args:
        secret: Of the tree.
        greet: Makes what we say of ourselves.
        on_met: Gets every connection whose other side has proved itself; must not
            wait. What it refuses by a `TransportClosed` is closed.
        server_tls: For what comes from other machines.
    """

    def __init__(
        self,
        *,
        secret: Secret,
        greet: Callable[[], t.Greet],
        on_met: Callable[[Guest], None],
        server_tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._secret = secret
        self._greet = greet
        self._on_met = on_met
        self._server_tls = server_tls
        self._strangers: dict[trio.CancelScope, None] = {}  # oldest first
        self._complaints = _Complaints()

    async def serve(self, sock: socket.socket) -> None:
        """Accept connections until `sock` is closed by `close`."""
        async with trio.open_nursery() as guests:
            while (conn := await self._accept(sock)) is not None:
                if len(self._strangers) >= MAX_STRANGERS:
                    self._evict_oldest()
                    text = f"more than {MAX_STRANGERS} connections without a hello"
                    self._complaints.add("crowd", text)
                scope = trio.CancelScope(relative_deadline=HELLO_TIMEOUT)
                self._strangers[scope] = None
                guests.start_soon(self._meet, conn, scope)
            guests.cancel_scope.cancel()

    @staticmethod
    def close(sock: socket.socket) -> None:
        """End `serve` on that socket."""
        if sock.fileno() >= 0:
            trio.lowlevel.notify_closing(sock)
            sock.close()

    async def _accept(self, sock: socket.socket) -> socket.socket | None:
        while sock.fileno() >= 0:
            try:
                await trio.lowlevel.wait_readable(sock)
                return sock.accept()[0]
            except (BlockingIOError, ConnectionAbortedError):
                continue  # who knocked has left again
            except trio.ClosedResourceError:
                return None
            except OSError as exc:
                # Whatever it is, one connection that cannot be accepted must not make
                # this actor deaf for all others.
                if sock.fileno() >= 0:
                    text = f"connections, since they cannot be accepted: {exc}"
                    self._complaints.add("shortage", text)
                    if exc.errno in _SHORTAGES and self._strangers:
                        self._evict_oldest()  # its descriptor may be what is missing
                    await trio.sleep(SHORTAGE_PAUSE if exc.errno in _SHORTAGES else 0)
        return None

    def _evict_oldest(self) -> None:
        oldest = next(iter(self._strangers))
        del self._strangers[oldest]
        oldest.cancel(reason="too many strangers at the door")

    async def _meet(self, conn: socket.socket, scope: trio.CancelScope) -> None:
        met = False
        try:
            with scope:
                transport = await self._transport(conn)
                hello = Hello("listener", self._secret)
                greet = await meet_dialer(transport, hello, self._greet())
                here = bound_address(conn)
                self._on_met(Guest(transport, greet, peer_pid(conn), here.is_local))
                met = True
        except TransportClosed as exc:
            self._complaints.add(type(exc).__name__, str(exc))
        except Exception as exc:  # noqa: BLE001 (as in `_accept`: nobody makes us deaf)
            self._complaints.add(type(exc).__name__, f"a connection: {exc!r}")
        finally:
            evicted = self._strangers.pop(scope, False) is False
            if not met:
                self.close(conn)
        if scope.cancelled_caught and not evicted:
            self._complaints.add("slow", "a connection that did not say hello in time")

    async def _transport(self, conn: socket.socket) -> Transport:
        conn.setblocking(False)
        check_user(conn)
        if conn.family != socket.AF_UNIX:
            tune_tcp(conn)
        here = bound_address(conn)
        return await secured(conn, here, self._server_tls, server_side=True)


class _Complaints:
    """Log lines about strangers: the first of its kind, and then a summary at times."""

    def __init__(self) -> None:
        self._quiet_until: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def add(self, kind: str, text: str) -> None:
        now = trio.current_time()
        if now < self._quiet_until.get(kind, 0.0):
            self._unsaid[kind] += 1
            return
        self._quiet_until[kind] = now + COMPLAINT_PERIOD
        unsaid = self._unsaid.pop(kind, 0)
        more = f" (and {unsaid} more of that kind before)" if unsaid else ""
        log.warning("refused: %s%s", text, more)
