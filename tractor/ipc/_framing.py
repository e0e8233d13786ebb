"""A byte stream cut into frames; no I/O in it.

A frame is a length (4 bytes, little-endian, unsigned) and as many bytes of body. The
length is checked as soon as the header is there, and nothing is allocated for what has
not arrived.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Final

from tractor._exceptions import RemoteProtocolError
from tractor.ipc._transport import READ_SIZE
from tractor.msg import BULK_HEAD, HEADER, find_bulk

LARGE: Final = 32 * 1024  # bytes of a frame; few of them are in a large read
LARGE_READ: Final = 256 * 1024  # bytes; four payloads of 64 KiB
IN_PLACE: Final = LARGE_READ  # bytes of a frame from which its end is filled in place


class Filling:
    """Bytes at the end of a large frame, received to where they stay.

    Args:
        head: What is before them.
        size: How many they will be; none of it is in memory before it comes.

    Attributes:
        space: Where the next ones belong. Not to be held.
    """

    __slots__ = ("_buffer", "_head", "space")

    def __init__(self, head: bytes, size: int) -> None:
        self._head = head
        # The kernel has zeros for nothing, and a buffer of its own that nobody looks at
        # any more `BytesIO` gives away without a copy.
        self._buffer = BytesIO(bytes(size))
        self.space = self._buffer.getbuffer()

    def advance(self, count: int) -> tuple[bytes, bytes] | None:
        """So many came; the head and all of them, when these were the last."""
        if count < len(self.space):
            self.space = self.space[count:]
            return None
        self.space.release()
        return self._head, self._buffer.getvalue()


class FrameSplitter:
    """Feed it what arrived, in any pieces; it gives back whole frame bodies.

    Bodies are views that stay valid for as long as somebody holds them: a buffer that
    was handed out is never written again.

    Attributes:
        filling: The rest of a large frame, which is to be read before anything else.
    """

    __slots__ = ("_header", "_is_large", "_max_frame", "_missing", "_pieces", "filling")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._header = b""  # the first bytes of a cut header
        self._pieces: list[bytes | memoryview] = []  # of a body that is not complete
        self._missing = 0  # bytes of it
        self._is_large = False  # what is not complete, or was last
        self.filling: Filling | None = None

    @property
    def midway(self) -> bool:
        """Whether an end of the stream here would cut a frame."""
        return bool(self._header) or self._missing > 0 or self.filling is not None

    @property
    def appetite(self) -> int:
        """How many bytes are best read next."""
        return LARGE_READ if self._is_large else READ_SIZE

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
                self._begin(view[position:], size)
                return
            yield view[position : position + size]
            position += size
        self._header = data[position:]

    def fill(self, count: int) -> tuple[bytes, bytes] | None:
        """So many bytes were read into the space of `filling`.

        Returns:
            The frame, when it is complete: its large bytes, and what is before them.
        """
        assert self.filling is not None
        if (frame := self.filling.advance(count)) is not None:
            self.filling = None
        return frame

    def _begin(self, part: memoryview, size: int) -> None:
        """The first bytes of a frame that is not complete."""
        begin = bytes(part[:BULK_HEAD])
        if size >= IN_PLACE and (start := find_bulk(begin, size)):
            self.filling = Filling(begin[:start], size - start)
            count = len(part) - start
            self.filling.space[:count] = part[start:]
            self.filling.advance(count)
        else:
            self._pieces = [part]
            self._missing = size - len(part)
            # Then few records come of a large read, and others get their turn soon.
            self._is_large = size >= LARGE

    def _size(self, header: bytes) -> int:
        size = int.from_bytes(header, "little")
        if size > self._max_frame:
            msg = f"the peer announced {size} bytes; max_frame is {self._max_frame}"
            raise RemoteProtocolError(msg)
        return size
