"""A worker as its scope sees it: what it has, what it was told, what it said."""

import os
from contextlib import suppress
from typing import Any, Final

import trio

from tractor.cowns._log import QUOTA, Log
from tractor.cowns._queues import Kind, Lane, Request
from tractor.cowns._records import OVERHEAD, State, batch_size, in_parts
from tractor.runtime import MsgStream

AHEAD: Final = 0.008  # seconds of work that a worker may have waiting


class Post(Lane):
    """The place of one worker; used in the loop alone.

    Attributes:
        maker: Its number, for the numbers that it gives.
        scope: Around all of its life; cancelled to end it.
        due: Set when there is something to tell it.
        heard: How many of its records have come.
        progress: How many of its behaviours have ended.
        log_path: Of the file of its log, until both have mapped it.
        notices: Changes that it has not been told of.
        booted: Whether it has booted.
        recalling: Whether it was asked to give back what it has not begun.
    """

    def __init__(self, name: str, maker: int, max_frame: int) -> None:
        super().__init__(name)
        self._batch = batch_size(max_frame)
        self.maker = maker
        self.scope = trio.CancelScope()
        self.due = trio.Event()
        self.booted = False
        self.heard = 0
        self.progress = 0
        self.log_path = ""
        self.notices: list[tuple[str, bytes]] = []
        self.recalling = False
        self._log: Log | None = None
        self._asked_back = False

    def learn(self, seconds: float) -> None:
        """Its last behaviours took so long, each."""
        self.quota = max(1, min(QUOTA, int(AHEAD / max(seconds, 1e-6))))

    def recall(self) -> None:
        """Let it give back what it has not begun; until then it gets nothing."""
        self.recalling = self._asked_back = True
        self.ready = False
        self.quota = 1
        self.due.set()

    def recalled(self) -> None:
        """It has."""
        self.recalling = False
        self.ready = True

    async def send_orders(self, stream: MsgStream) -> None:
        """Send what there is to send, until the other side is gone."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self.due.wait()
                self.due = trio.Event()
                await self._send_all(stream)

    async def _send_all(self, stream: MsgStream) -> None:
        if self.notices:
            notices, self.notices = self.notices, []
            await stream.send(["notice", notices])
        if self.forget:
            forget, self.forget[:] = self.forget[:], []
            await stream.send(["forget", forget])
        while self.outgoing:
            puts, jobs = self._next_batch()
            parts = list(in_parts(puts, self._batch))
            if len(parts) > 1 or (parts and len(jobs) == 1):
                for part in parts:
                    await stream.send(["do", (part, [])])
                puts = []
            await stream.send(["do", (puts, jobs)])
        if self.wanted:
            self.wanted.clear()
            await stream.send(["copy", []])
        if self._asked_back:
            self._asked_back = False
            await stream.send(["back", []])

    def _next_batch(self) -> tuple[list[State], list[Any]]:
        """Values and jobs that go next; values may be too many for one message."""
        puts: list[State] = []
        jobs: list[Any] = []
        size = 0
        outgoing = self.outgoing
        for request in outgoing:
            path, shape, data = request.job
            size += len(data) + OVERHEAD
            if size > self._batch and jobs:
                break
            if request.puts is not None:
                for node in request.puts:
                    puts.append((node.number, node.failed, node.copy))
                    size += node.size
                request.puts = None
            jobs.append((request.order, path, shape, data, request.kind is Kind.ASYNC))
        del outgoing[: len(jobs)]
        return puts, jobs

    # -- its end -----------------------------------------------------------------------

    def open_log(self) -> None:
        """Map the file that its worker has mapped, which needs no name then."""
        self._log = Log(self.log_path)
        os.unlink(self.log_path)
        self.log_path = ""

    def unheard(self) -> list[bytes]:
        """Records that it has noted and could not send."""
        return [] if self._log is None else self._log.after(self.heard)

    def split(self) -> tuple[list[Request], list[Request]]:
        """What it has begun, and what it has not."""
        last = 0 if self._log is None else self._log.last_begun()
        unsent = set(self.outgoing)
        begun: list[Request] = []
        rest: list[Request] = []
        reached = last not in self.placed
        for request in self.placed.values():
            if request.kind is Kind.ASYNC:
                (rest if request in unsent else begun).append(request)
            elif reached:
                rest.append(request)
            else:
                begun.append(request)
                reached = request.order == last
        return begun, rest

    def close(self) -> None:
        """Give everything back."""
        if self._log is not None:
            self._log.close()
        if self.log_path:
            with suppress(FileNotFoundError):
                os.unlink(self.log_path)
