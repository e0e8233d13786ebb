"""A child's stderr: passed on at once, and its last words kept.

The child's descriptor 2 is the write end of a pipe. A system task of the parent's loop,
the pump, copies what comes out of it to the parent's own descriptor 2 and keeps the
end of it for the error that reports the child's death.

Theory of operation:

- The pump ends on end-of-file, or soon after `child_gone()`. The second is needed
  because processes that the child started may hold the write end open for ever. All
  that the child itself wrote is in the pipe by then, so what can be read without
  waiting is read, and then the pipe is closed.
- Copying never blocks the loop. Our descriptor 2 can be a pipe that nobody reads or a
  paused terminal; a plain write would then stop the whole actor because of a child's
  chatter. So each piece is at most `PIPE_BUF` bytes, which a descriptor that polls as
  writable takes without blocking. A terminal does so with less room than that, hence
  it is opened once more, non-blocking; to make the shared description so would break
  others. While nothing is taken, the pump reads no further and the child blocks on its
  full pipe, as it would on the inherited descriptor.
- After `child_gone()` only the reading is waited for, by `wait_done()`, and not the
  copying: a paused terminal does not delay the notice of a death.
"""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

from tractor.log import get_logger

TAIL_BYTES: Final = 16 * 1024  # bytes kept: a long traceback
READ_BYTES: Final = 64 * 1024  # bytes asked for at once; what a pipe holds by default
DRAIN_BYTES: Final = 1024 * 1024  # bytes; Linux's pipe-max-size, so all of the child's
RETRY: Final = 0.02  # seconds between looks at our own stderr while it takes nothing
STDERR: Final = 2

log: Final = get_logger("spawn")


class StderrTail:
    """The pipe behind one child's stderr.

    Give `write_fd` to the child as its descriptor 2, call `start` once the child
    exists (or `close` if it never will), and `child_gone` once it is dead.
    """

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        self._tail = bytearray()
        self._backlog = bytearray()  # read, but not copied yet
        self._reading = trio.CancelScope()
        self._done = trio.Event()

    @property
    def write_fd(self) -> int:
        """The end that becomes the child's descriptor 2; not inheritable by itself."""
        return self._write_fd

    def start(self) -> None:
        """Close our copy of the write end and start the pump.

        Call it in the loop's thread, after the child got its copy.
        """
        os.close(self._write_fd)
        trio.lowlevel.spawn_system_task(self._pump, name="tractor stderr pump")

    def close(self) -> None:
        """Undo the pipe of a child that could not be started."""
        os.close(self._write_fd)
        self._close()

    def child_gone(self) -> None:
        """Read what is left without waiting for more, then close the pipe."""
        self._reading.cancel()

    async def wait_done(self) -> None:
        """Wait until all that the child wrote is in `text`."""
        await self._done.wait()

    def text(self) -> str:
        """The last 16 KiB, as far as they are known."""
        return self._tail.decode(errors="replace")

    async def _pump(self) -> None:
        # A system task that raises takes the whole run down, hence the broad `except`.
        # `Cancelled` passes: that is the run's end.
        try:
            try:
                await self._read()
            finally:
                self._close()
            await self._copy_all()
        except Exception:
            log.exception("a child's stderr is not copied any more")

    async def _read(self) -> None:
        with self._reading:
            while True:
                # Before each read, so that a flood leaves other tasks their turn.
                await trio.lowlevel.wait_readable(self._read_fd)
                if self._read_now() == 0:
                    return
                await self._copy_all()
        left = DRAIN_BYTES  # a grandchild may write faster than we read
        while left > 0 and (size := self._read_now()):
            left -= size

    def _read_now(self) -> int | None:
        """Keep the bytes that are there; 0 at end-of-file, `None` if none are."""
        try:
            data = os.read(self._read_fd, READ_BYTES)
        except BlockingIOError:
            return None
        self._tail += data
        del self._tail[:-TAIL_BYTES]
        self._backlog += data
        return len(data)

    async def _copy_all(self) -> None:
        """Empty the backlog; a checkpoint only where our stderr takes nothing."""
        self._copy()
        while self._backlog:
            await trio.sleep(RETRY)
            self._copy()

    def _copy(self) -> None:
        """Write as much of the backlog to our stderr as it takes without blocking."""
        try:
            with _unblocking(STDERR) as fd:
                while self._backlog and _writable(fd):
                    size = os.write(fd, self._backlog[: select.PIPE_BUF])
                    del self._backlog[:size]
        except BlockingIOError:
            return  # somebody set it non-blocking, or was faster
        except OSError:
            self._backlog.clear()  # closed or broken: nobody will ever read it

    def _close(self) -> None:
        os.close(self._read_fd)
        self._done.set()


@contextmanager
def _unblocking(fd: int) -> Iterator[int]:
    """`fd`, or another way to the terminal behind it, which never blocks."""
    own = None
    if os.isatty(fd):
        with suppress(OSError):  # no /proc, or a terminal that was another user's
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            own = os.open(f"/proc/self/fd/{fd}", flags)
    try:
        yield fd if own is None else own
    finally:
        if own is not None:
            os.close(own)


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))  # also true for errors, which the write then reports
