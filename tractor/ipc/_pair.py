"""The inherited link between a parent and its child.

It exists before the child does, so there is nothing to dial, nothing to accept and no
secret to check, and its end of file tells of a death at no cost.
"""

import socket

from tractor._exceptions import RemoteProtocolError
from tractor.ipc._transport import SocketTransport
from tractor.msg import HEADER, decode_record, encode_frame
from tractor.msg.types import AnyRecord, Record


def make_pair() -> tuple[SocketTransport, socket.socket]:
    """Our end, ready for a channel, and the child's end, to be handed over."""
    ours, theirs = socket.socketpair()
    return SocketTransport(ours), theirs


class BlockingLink:
    """The child's end while it boots, before any event loop runs.

    Only whole frames are read, so that nothing is lost when the socket goes to a
    channel afterwards.
    """

    def __init__(self, sock: socket.socket, *, max_frame: int) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._max_frame = max_frame

    def receive(self) -> AnyRecord:
        """The next record.

        Raises:
            EOFError: The parent is gone.
            RemoteProtocolError: What arrived is not one of our records, or larger
                than the limit.
        """
        size = int.from_bytes(self._exactly(HEADER), "little")
        if size > self._max_frame:
            msg = f"the parent announced {size} bytes; max_frame is {self._max_frame}"
            raise RemoteProtocolError(msg)
        return decode_record(self._exactly(size))

    def send(self, record: Record) -> None:
        """Send a record.

        Raises:
            OSError: The parent is gone.
        """
        self._sock.sendall(encode_frame(record, self._max_frame))

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            try:
                part = self._sock.recv(count - len(parts))
            except ConnectionError:  # it left before it had read all that we sent
                part = b""
            if not part:
                msg = "the parent closed the link during boot"
                raise EOFError(msg)
            parts += part
        return bytes(parts)
