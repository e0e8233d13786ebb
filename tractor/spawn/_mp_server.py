"""A forkserver that takes its socket along when it is not wanted any more."""

import os
from contextlib import suppress
from multiprocessing import forkserver, util


class ForkServer(forkserver.ForkServer):
    """One whose socket goes when the process that it works for ends in order.

    The folder around it stays until the root ends, and would collect those of all
    actors of the tree.
    """

    _forkserver_address: str | None

    def ensure_running(self) -> None:
        """Start it, unless it runs."""
        before = self._forkserver_address
        super().ensure_running()
        if (address := self._forkserver_address) != before:
            util.Finalize(None, _remove, (address,), exitpriority=0)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
