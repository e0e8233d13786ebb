"""What a worker has to say: noted in the log at once, and sent by its loop later."""

import threading
from collections import deque
from contextlib import suppress
from typing import Any, Final

import trio

from tractor.cowns import _records as r
from tractor.cowns._log import QUOTA, Log
from tractor.runtime import MsgStream

# Records that may be unsent. The loop gets few turns beside a thread that computes, and
# none would be sent before the worker has run all that it has, and then waits for more.
FULL: Final = QUOTA // 3


class Outbox:
    """Records of one worker; `put` is for any thread.

    Attributes:
        exports: Numbers of handles that were packed for the next record.
        ended: Whether nothing is sent any more.
        dropped: Numbers of handles of this worker's own that are gone.
    """

    def __init__(self, log: Log, max_frame: int) -> None:
        self.exports: deque[int] = deque()
        self.ended = False
        self.dropped: deque[int] = deque()
        self._log = log
        self._batch = r.batch_size(max_frame)
        self._lock = threading.RLock()
        self._queue: deque[bytes] = deque()
        self._told = False
        self._news = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._loop = threading.get_ident()
        self._sent = threading.Event()
        self._noted = True  # all that is not sent is in the log
        self._sending = False
        self._done = 0  # behaviours since the last batch
        self._busy = 0.0  # seconds that they took
        self._back: list[int] | None = None

    # -- from any thread ---------------------------------------------------------------

    def put(self, *record: Any) -> bool:
        """Say it; false if `wait_sent` has to come before the next behaviour."""
        data = r.pack(record)
        with self._lock:
            if self.exports:
                self._append(r.pack((r.EXPORT, _taken(self.exports))))
            return self._append(data)

    def put_states(self, states: list[r.State]) -> bool:
        """Say these, in as many records as that takes; false as `put`."""
        noted = True
        for some in r.in_parts(states, self._batch):
            noted = self.put(r.STATES, some) and noted
        return noted

    def take_dropped(self) -> list[int]:
        """Numbers of handles that are gone, each once."""
        return _taken(self.dropped)

    def note(self, seconds: float) -> None:
        """A behaviour took so long."""
        self._done += 1
        self._busy += seconds

    def wait_sent(self) -> None:
        """Block until all of it was sent; of no effect in the loop."""
        if threading.get_ident() == self._loop:
            return
        self._sent.clear()
        if (self._queue or self._sending) and not self.ended:
            self._sent.wait()

    def end(self) -> None:
        """Nothing is sent any more, and nobody waits for it."""
        self.ended = True
        self._queue.clear()
        self._sent.set()

    def _append(self, data: bytes) -> bool:
        if self.ended:
            return True
        # Who said what the log has not taken may have been in no place to wait for it.
        self._noted &= self._log.put(data)
        self._queue.append(data)
        if not self._told:
            self._told = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._ring)
        return self._noted and len(self._queue) < FULL

    # -- in the loop -------------------------------------------------------------------

    def give_back(self, orders: list[int]) -> None:
        """Say which behaviours nobody has begun, after all else."""
        self._back = orders
        self._news.set()

    def _ring(self) -> None:
        self._told = False
        self._news.set()

    async def send(self, stream: MsgStream) -> None:
        """Send what there is, again and again."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            self._sending = True
            while self._queue:
                batch = [self._queue.popleft()]
                size = len(batch[0])
                while self._queue and size + len(self._queue[0]) < self._batch:
                    batch.append(self._queue.popleft())
                    size += len(batch[-1])
                done, self._done = self._done, 0
                busy, self._busy = self._busy, 0.0
                await stream.send(["said", batch, busy / done if done else None])
            with self._lock:
                self._sending = bool(self._queue)
                self._noted |= not self._sending
            if self._sending:
                continue
            self._sent.set()
            if self._back is not None:
                back, self._back = self._back, None
                await stream.send(["back", back, None])


def _taken(numbers: deque[int]) -> list[int]:
    """All of them; other threads may add some meanwhile."""
    taken = []
    while numbers:
        taken.append(numbers.popleft())
    return taken
