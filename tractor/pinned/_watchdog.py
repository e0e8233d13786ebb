"""When somebody is to hear that calls wait for the main thread and nobody runs them."""

import time
from collections.abc import Callable

from tractor.log import get_logger
from tractor.pinned._queue import Queue

log = get_logger("pinned")

type OnStarve = Callable[[float, int], object]


class Watchdog:
    """Tells once of each epoch that lasts too long.

    Args:
        warn_after: Seconds.
        on_starve: Called with the age of the epoch in seconds and how many calls wait.
    """

    def __init__(self, warn_after: float, on_starve: OnStarve | None) -> None:
        self._warn_after = warn_after
        self._on_starve = on_starve
        self._told = 0  # epoch

    def seconds_left(self, queue: Queue) -> float | None:
        """Until it is to tell; `None` while there is nothing to tell of."""
        since = queue.since
        if since is None or queue.epoch == self._told:
            return None
        return since + self._warn_after - time.monotonic()

    def tell(self, queue: Queue) -> None:
        """Tell of this epoch, which lasts too long."""
        since, waiting, self._told = queue.since, len(queue), queue.epoch
        if since is None:
            return  # it has just ended
        age = time.monotonic() - since
        if self._on_starve is None:
            log.error(  # warnings are not shown, unless somebody asks for them
                "%d calls wait for the main thread, which has run none of them for "
                "%.1f s; the host should call tractor.pinned.pump() more often",
                waiting,
                age,
            )
            return
        try:
            self._on_starve(age, waiting)
        except Exception:  # what watches must not break what it watches
            log.exception("on_starve raised")
