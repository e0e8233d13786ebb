"""Two actors in one event loop, linked by memory: real contexts in virtual time.

Only what is above the bytes is there: no child, no socket, no nursery of actors. So
`autojump_clock` works, a test sees both sides at once, and every record is on the tape.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

import trio

from tractor import Aid, Graces, Portal, TransportClosed
from tractor._exceptions import ActorDied, TransportBroken
from tractor._types import Uid
from tractor.ipc import Channel, copy_into
from tractor.ipc._framing import FrameSplitter
from tractor.msg import decode_record
from tractor.msg import types as t
from tractor.runtime import Exposure, Peer
from tractor.runtime._workers import Job, Workers

MAX_FRAME = 1024 * 1024  # bytes


class MemoryTransport:
    """One end of a connection; what is sent arrives at once.

    Args:
        note: Is told of each record that leaves here.
        batched: Whether all that is there is read at once; otherwise other tasks run
            between any two records.
    """

    def __init__(self, note: Callable[[t.AnyRecord], None], *, batched: bool) -> None:
        self.other: MemoryTransport
        self._note = note
        self._batched = batched
        self._arrived: deque[bytes] = deque()
        self._closed = False
        self._changed = trio.Event()

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """See `tractor.ipc.Transport`."""
        if self._closed or self.other._closed:
            raise TransportBroken("the connection failed: cut")
        for body in FrameSplitter(len(data)).feed(bytes(data)):  # whole frames, always
            self._note(decode_record(body))
        self.other._arrived.append(bytes(data))
        self.other._change()
        return len(data)

    def send_two_nowait(self, head: bytearray, body: bytes) -> int:
        """See `Transport`; the first alone."""
        return self.send_nowait(head)

    async def send_ready(self) -> None:
        """See `tractor.ipc.Transport`."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, limit: int = 0) -> bytes:
        """See `tractor.ipc.Transport`; gives each piece whole, whatever the limit."""
        await trio.lowlevel.checkpoint()
        while not (self._arrived or self.other._closed):
            if self._closed:
                raise TransportBroken("closed")
            await self._changed.wait()
        count = len(self._arrived) if self._batched else min(1, len(self._arrived))
        return b"".join(self._arrived.popleft() for _ in range(count))

    async def receive_into(self, space: memoryview) -> int:
        """See `Transport`."""
        return await copy_into(self, space)

    def close(self) -> None:
        """See `tractor.ipc.Transport`."""
        self._closed = True
        self._change()
        self.other._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Side:
    """One of the two actors: what `Peer` needs of its host.

    Attributes:
        peer: The other one, as seen from here.
        portal: For calling into it.
        sent: Every record that left here.
    """

    def __init__(self, name: str, module: str, *, batched: bool) -> None:
        self.aid = Aid(name, f"uuid of {name}")
        self.exposure = Exposure([module])
        self.graces = Graces()
        self.hooks = None
        self.sent: list[t.AnyRecord] = []
        self.transport = MemoryTransport(self.sent.append, batched=batched)
        self.peer: Peer
        self._tasks: trio.Nursery
        self._workers = Workers(self.spawn)

    @property
    def stopper(self) -> tuple[str, str]:
        """Itself."""
        return self.aid.uid

    @property
    def portal(self) -> Portal:
        return Portal(self.peer)

    def link(self, other: "Side", *, opens_even: bool) -> None:
        self.transport.other = other.transport
        self.peer = Peer(
            self,
            other.aid,
            Channel(self.transport, max_frame=MAX_FRAME),
            opens_even=opens_even,
            on_cancel_actor=self.stop,
        )

    def stop(self, canceller: Uid, seconds: float) -> None:
        """What an actor does that was asked to stop, as far as its tasks go."""
        self.peer.server.close(canceller, seconds)

    async def run(self, task_status: trio.TaskStatus) -> None:
        """Everything that `spawn` starts runs in here."""
        async with trio.open_nursery() as self._tasks:
            self._tasks.start_soon(trio.sleep_forever)
            task_status.started()

    def spawn(self, fn: Callable[..., Any], *args: Any, name: str) -> None:
        """Run a function as a task of this side."""
        self._tasks.start_soon(fn, *args, name=name)

    def serve(self, job: Job, *, name: str) -> None:
        """Run a job as a task of this side."""
        self._workers.run(job, Context(), name=name)

    def note_members(self) -> None:
        """No registrar is here."""

    def die(self) -> None:
        """As by SIGKILL: nothing that runs here says another word."""
        self.transport.close()
        self._tasks.cancel_scope.cancel()

    async def follow(self, failure: Callable[[], TransportClosed]) -> None:
        """Tell everybody here when the other one is gone, as its supervisor does.

        That takes it a moment, in which it finds out how the other one ended.
        """
        await self.peer.ended.wait()
        await trio.sleep(0.1)
        self.peer.fail(failure)

    def count(self, kind: type[t.Record]) -> int:
        """How many records of a kind left here."""
        return sum(isinstance(record, kind) for record in self.sent)


class World:
    """Both."""

    def __init__(self, module: str, *, batched: bool) -> None:
        self.parent = Side("parent", module, batched=batched)
        self.child = Side("child", module, batched=batched)
        self.parent.link(self.child, opens_even=True)
        self.child.link(self.parent, opens_even=False)


@asynccontextmanager
async def open_world(module: str, *, batched: bool = False) -> AsyncIterator[World]:
    """Two linked actors that serve the functions of a module.

    Args:
        module: Its name.
        batched: See `MemoryTransport`.

    Raises:
        AssertionError: Something of a dialogue was left behind.
    """
    async with trio.open_nursery() as nursery:
        world = World(module, batched=batched)
        parent, child = world.parent, world.child
        for side in (parent, child):
            await nursery.start(side.run)
            nursery.start_soon(side.peer.serve)
        nursery.start_soon(parent.follow, lambda: ActorDied(aid=child.aid))
        nursery.start_soon(child.follow, lambda: TransportClosed("the parent is gone"))
        yield world
        for side in (parent, child):
            await side.peer.server.wait_idle()
            assert not side.peer.ends
        nursery.cancel_scope.cancel()
