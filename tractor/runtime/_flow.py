"""Flow control of a stream: credit, one direction at a time; no I/O in it.

A sender holds *credit*: how many more items it may send. It starts with `WINDOW`,
a constant of the protocol, so nothing has to be negotiated before the first item. The
receiver hands credit back as items are read, in batches of half its window, so that
credit costs one small record per 32 items. At every moment

    items in the inbox + items on their way + credit at the sender  ≤  window

holds, except where the receiver chose to be overrun.
"""

from collections import deque
from typing import Final

from msgspec import Raw, Struct

from tractor._exceptions import RemoteProtocolError

WINDOW: Final = 64  # items; see docs/adr/0009
UNLIMITED: Final = 1 << 62  # credit that no program uses up


class StreamStatistics(Struct, frozen=True, kw_only=True):
    """Counts of one side of a stream, at one moment.

    Attributes:
        sent: Items sent.
        received: Items read by the program.
        unread: Items that arrived and wait to be read.
        dropped: Items that newer ones pushed out, under `allow_overruns`.
        send_credit: Items that may be sent without waiting.
        tasks_waiting_send: Tasks that wait for credit.
        tasks_waiting_receive: Tasks that wait for an item.
    """

    sent: int
    received: int
    unread: int
    dropped: int
    send_credit: int
    tasks_waiting_send: int
    tasks_waiting_receive: int


class Inbox:
    """Items that arrived and were not read yet.

    Attributes:
        dropped: Items lost to newer ones, under `allow_overruns`.
        taken: Items read so far.
        window: How many may wait.
    """

    __slots__ = (
        "_batch",
        "_items",
        "_overruns",
        "_owed",
        "dropped",
        "taken",
        "window",
    )

    def __init__(self) -> None:
        self.dropped = 0
        self.taken = 0
        self._items: deque[Raw] = deque()
        self.window = WINDOW
        self._batch = WINDOW // 2  # of credit that is handed back together
        self._owed = 0  # read, and not handed back as credit yet
        self._overruns = False

    def __len__(self) -> int:
        return len(self._items)

    def open(self, window: int, *, overruns: bool) -> int:
        """Choose the size of the window; the credit to hand over for that.

        A smaller window than the protocol's is reached by holding credit back.
        """
        if overruns:
            self._overruns, self.window = True, window
            self._drop_oldest()
            return UNLIMITED
        grown, self.window = window - self.window, window
        self._batch = max(1, window // 2)
        if grown >= 0:
            return grown
        self._owed += grown
        return 0

    def put(self, item: Raw) -> None:
        """An item arrived.

        Raises:
            RemoteProtocolError: The peer sent it without credit.
        """
        count = len(self._items)
        if count >= WINDOW and count >= self.window and not self._overruns:
            msg = f"more than {len(self._items)} items were sent without credit"
            raise RemoteProtocolError(msg)
        self._items.append(item)
        if self._overruns:
            self._drop_oldest()

    def take(self) -> tuple[Raw, int]:
        """The oldest item, and the credit to hand over now."""
        item = self._items.popleft()
        self.taken += 1
        self._owed += 1
        return item, (0 if self._owed < self._batch else self._return(0))

    def discard(self) -> int:
        """Forget everything; the credit to hand over now."""
        count = len(self._items)
        self._items.clear()
        return self._return(count)

    def _drop_oldest(self) -> None:
        while len(self._items) > self.window:
            self._items.popleft()
            self.dropped += 1

    def _return(self, count: int) -> int:
        if self._overruns:
            return 0
        self._owed += count
        if self._owed < self._batch:
            return 0
        credit, self._owed = self._owed, 0
        return credit
