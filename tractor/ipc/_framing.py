"""A byte stream cut into frames; no I/O in it.

A frame is a length (4 bytes, little-endian, unsigned) and as many bytes of body. The
length is checked as soon as the header is there, and nothing is allocated for what has
not arrived.
"""

from collections.abc import Iterator
from typing import Final

from tractor._exceptions import RemoteProtocolError
from tractor.ipc._transport import READ_SIZE
from tractor.msg import HEADER

LARGE_READ: Final = 120 * 1024  # bytes; malloc asks the kernel for more than 128 KiB


class FrameSplitter:
    """Feed it what arrived, in any pieces; it gives back whole frame bodies.

    Bodies are views that stay valid for as long as somebody holds them: a buffer that
    was handed out is never written again.
    """

    __slots__ = ("_header", "_max_frame", "_missing", "_pieces")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._header = b""  # the first bytes of a cut header
        self._pieces: list[bytes | memoryview] = []  # of a body that is not complete
        self._missing = 0  # bytes of it

    @property
    def midway(self) -> bool:
        """Whether an end of the stream here would cut a frame."""
        return bool(self._header) or self._missing > 0

    @property
    def appetite(self) -> int:
        """How many bytes are best read next."""
        return READ_SIZE if not self._missing else LARGE_READ

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Every frame body that is complete with `data`.

        Raises:
            RemoteProtocolError: A header announces more than the limit.
        """
        position = 0
        if self._missing:
            position = self._missing
            if len(data) < position:
                self._pieces.append(data)
                self._missing -= len(data)
                return
            self._pieces.append(memoryview(data)[:position])
            body = b"".join(self._pieces)
            self._pieces, self._missing = [], 0
            yield memoryview(body)
        if self._header:
            data, position = self._header + data[position:], 0
            self._header = b""
        view, end = memoryview(data), len(data)
        while end - position >= HEADER:
            size = self._size(data[position : position + HEADER])
            position += HEADER
            if end - position < size:
                self._pieces = [view[position:]]
                self._missing = size - (end - position)
                return
            yield view[position : position + size]
            position += size
        self._header = data[position:]

    def _size(self, header: bytes) -> int:
        size = int.from_bytes(header, "little")
        if size > self._max_frame:
            msg = f"the peer announced {size} bytes; max_frame is {self._max_frame}"
            raise RemoteProtocolError(msg)
        return size
