"""A forkserver that ends with the process it works for, and takes its socket along.

It ends when nobody holds the pipe any more that tells of us. `multiprocessing` sends
that to each fork, too, and Python 3.13 does so before the forkserver has looked: what
waits in its own socket then keeps the pipe open, and a forkserver that hangs in an
import would wait for itself (docs/adr/0010). No fork needs the pipe, since each has a
lifeline. So forks get something in its place.
"""

import os
import threading
from contextlib import suppress
from multiprocessing import forkserver, util


class ForkServer(forkserver.ForkServer):
    """One whose socket goes when the process that it works for ends in order.

    The folder around it stays until the root ends, and would collect those of all
    actors of the tree.

    Attributes:
        alive_fd: What keeps the forkserver alive, and is sent to nobody.
    """

    alive_fd: int | None = None
    _forkserver_address: str | None
    _forkserver_alive_fd: int  # what forks get

    def __init__(self) -> None:
        super().__init__()
        self._starting = threading.Lock()

    def ensure_running(self) -> None:
        """Start it, unless it runs."""
        with self._starting:
            before = self._forkserver_address
            super().ensure_running()
            if (address := self._forkserver_address) != before:
                util.Finalize(None, _remove, (address,), exitpriority=0)
                self._let_go()
                with suppress(OSError):  # no descriptor left
                    instead = os.open(os.devnull, os.O_RDONLY)
                    self.alive_fd = self._forkserver_alive_fd
                    self._forkserver_alive_fd = instead

    def _stop_unlocked(self) -> None:
        self._let_go()
        super()._stop_unlocked()  # type: ignore[misc]  # not in typeshed

    def _let_go(self) -> None:
        if self.alive_fd is not None:
            os.close(self.alive_fd)
            self.alive_fd = None


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
