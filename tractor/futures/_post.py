"""A worker as its pool sees it: what it has, what it was told, what it said."""

import os
from contextlib import suppress
from typing import Any, Final

import trio

from tractor.futures._future import Future
from tractor.futures._journal import SLOTS, Journal
from tractor.futures._parcels import Kind
from tractor.runtime import MsgStream

AHEAD: Final = 0.002  # seconds of work that a worker may have waiting
BATCH: Final = 256 * 1024  # bytes of arguments that are sent together


class Post:
    """The place of one worker; used in the loop alone.

    Attributes:
        name: Of the actor.
        scope: Around all of its life; cancelled to end it.
        ready: Whether it can be told what to do.
        leaving: Why it gets no more tasks; empty while it does.
        has: Its tasks, in their order.
        quota: How many it may have.
        stuck: Tasks that end with the worker only.
        journal_path: Of the file that tells what it has begun and done.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope = trio.CancelScope()
        self.ready = False
        self.leaving = ""
        self.has: dict[int, Future[Any]] = {}
        self.quota = 1
        self.stuck: set[int] = set()
        self.journal_path = ""
        self._journal: Journal | None = None
        self._unsent: dict[int, Future[Any]] = {}
        self._orders: list[list[Any]] = []
        self._due = trio.Event()
        self._said = trio.Event()

    # -- telling -----------------------------------------------------------------------

    @property
    def limited(self) -> bool:
        """Whether one of its tasks has a limit of time."""
        return any(future.limit is not None for future in self.has.values())

    def take(self, future: Future[Any]) -> None:
        """Let it do this one, too."""
        self.has[future.task_id] = self._unsent[future.task_id] = future
        self._due.set()

    def order(self, kind: str, content: Any) -> None:
        """Tell it something else, after what it was told."""
        self._orders.append([kind, content])
        self._due.set()

    def leave(self, why: str) -> None:
        """End it, with what it has begun; the rest is for others."""
        if not self.leaving:
            self.leaving = why
            self.scope.cancel(reason=why)

    def drop_unsent(self, future: Future[Any]) -> bool:
        """Forget a task that it was not told of yet; whether that was so."""
        if self._unsent.pop(future.task_id, None) is None:
            return False
        self.rid(future.task_id)
        return True

    def give_up_all(self) -> list[Future[Any]]:
        """What it has, and has no more: it was not told of any."""
        given, self.has, self._unsent = list(self.has.values()), {}, {}
        self.tell()
        return given

    async def send_orders(self, stream: MsgStream) -> None:
        """Send what there is to send, until the other side is gone."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self._due.wait()
                self._due = trio.Event()
                while self._unsent:
                    await stream.send(["run", self._batch()])
                orders, self._orders = self._orders, []
                for order in orders:
                    await stream.send(order)

    def _batch(self) -> list[list[Any]]:
        batch: list[list[Any]] = []
        size = 0
        for number, future in list(self._unsent.items()):
            parcel = future.parcel
            if parcel is not None:  # else its outcome is known
                if batch and size + len(parcel.data) > BATCH:
                    break
                batch.append([number, parcel.path, parcel.data])
                size += len(parcel.data)
            else:
                self.has.pop(number, None)
            del self._unsent[number]
        return batch

    # -- hearing -----------------------------------------------------------------------

    def learn(self, seconds: float) -> None:
        """Its last tasks took so long, each."""
        self.quota = max(1, min(SLOTS, int(AHEAD / max(seconds, 1e-6))))

    def rid(self, number: int) -> Future[Any] | None:
        """It does not have this task any more."""
        future = self.has.pop(number, None)
        self.stuck.discard(number)
        self.tell()
        return future

    def tell(self) -> None:
        """Something about its tasks has changed."""
        self._said.set()
        self._said = trio.Event()

    async def heard_of(self, number: int) -> None:
        """Wait until it has said something of this task."""
        while number in self.has and number not in self.stuck:
            await self._said.wait()

    async def rid_of(self, number: int) -> None:
        """Wait until it does not have this task any more."""
        while number in self.has:
            await self._said.wait()

    # -- its end -----------------------------------------------------------------------

    def open_journal(self) -> None:
        """Map the file that its worker has mapped, which needs no name then."""
        self._journal = Journal(self.journal_path)
        os.unlink(self.journal_path)
        self.journal_path = ""

    def unheard(self) -> list[tuple[Future[Any], Kind, bytes]]:
        """Outcomes that it has noted and could not send; it has those tasks no more."""
        if self._journal is None:
            return []
        return [
            (future, kind, data)
            for number, kind, data in self._journal.outcomes()
            if (future := self.rid(number)) is not None
        ]

    def split(self) -> tuple[list[Future[Any]], list[Future[Any]]]:
        """What it has begun, and what it has not."""
        last = self._journal.last_begun() if self._journal is not None else 0
        numbers = list(self.has)
        count = numbers.index(last) + 1 if last in numbers else 0
        futures = list(self.has.values())
        return futures[:count], futures[count:]

    def close(self) -> None:
        """Give everything back."""
        self.has = {}
        self.tell()
        if self._journal is not None:
            self._journal.close()
        if self.journal_path:
            with suppress(FileNotFoundError):
                os.unlink(self.journal_path)
