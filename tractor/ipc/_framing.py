"""A byte stream cut into frames; no I/O in it.

A frame is a length (4 bytes, little-endian, unsigned) and as many bytes of body. The
length is checked as soon as the header is there, before anything is allocated for it.
"""

from collections.abc import Iterator

from tractor._exceptions import RemoteProtocolError
from tractor.msg import HEADER


class FrameSplitter:
    """Feed it what arrived, in any pieces; it gives back whole frame bodies.

    Bodies are views that stay valid for as long as somebody holds them: a buffer that
    was handed out is never written again.
    """

    __slots__ = ("_body", "_filled", "_header", "_max_frame")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._header = b""  # the first bytes of a cut header
        self._body: bytearray | None = None  # a body that began in an earlier piece
        self._filled = 0

    @property
    def midway(self) -> bool:
        """Whether an end of the stream here would cut a frame."""
        return bool(self._header) or self._body is not None

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Every frame body that is complete with `data`.

        Raises:
            RemoteProtocolError: A header announces more than the limit.
        """
        position = 0
        if self._body is not None:
            position = self._fill(self._body, data, 0)
            if self._filled < len(self._body):
                return
            body, self._body = self._body, None
            yield memoryview(body)
        if self._header:
            data, position = self._header + data[position:], 0
            self._header = b""
        view, end = memoryview(data), len(data)
        while end - position >= HEADER:
            size = self._size(data[position : position + HEADER])
            position += HEADER
            if end - position < size:
                self._body, self._filled = bytearray(size), 0
                self._fill(self._body, data, position)
                return
            yield view[position : position + size]
            position += size
        self._header = data[position:]

    def _fill(self, body: bytearray, data: bytes, start: int) -> int:
        """Copy into the open body what `data` has of it; where the rest begins."""
        count = min(len(body) - self._filled, len(data) - start)
        body[self._filled : self._filled + count] = data[start : start + count]
        self._filled += count
        return start + count

    def _size(self, header: bytes) -> int:
        size = int.from_bytes(header, "little")
        if size > self._max_frame:
            msg = f"the peer announced {size} bytes; max_frame is {self._max_frame}"
            raise RemoteProtocolError(msg)
        return size
