"""What a parent has of one child, without the runtime; for the conformance suite."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import trio

from tractor._types import Aid, ExitStatus
from tractor.ipc import Channel, make_pair
from tractor.msg import decode_payload, encode_payload
from tractor.msg import types as t
from tractor.spawn import Child, ChildSpec, Lifeline, SpawnBackend
from tractor.testing import _backend_child

MAX_FRAME: Final = 1 << 20  # bytes
PATIENCE: Final = 10.0  # seconds for a child that is not wanted any more to be gone


class Kid:
    """A child-to-be.

    Attributes:
        link: Its end, for as long as it is ours.
        lifeline: What it hangs on.
        ended: Set when its link is.
        said_bye: Whether it did, before that.
    """

    def __init__(self, backend: SpawnBackend, **options: Any) -> None:
        self.lifeline = Lifeline()
        self.ended = trio.Event()
        self.said_bye = False
        transport, self.link = make_pair()
        self._channel = Channel(transport, max_frame=MAX_FRAME)
        self._backend = backend
        self._aid = Aid("kid", uuid4().hex)
        self._options = options
        self._child: Child | None = None
        self._arrived, self._records = trio.open_memory_channel[Any](100)
        self._cid = 0

    @property
    def child(self) -> Child:
        """Its handle, once it was started."""
        assert self._child is not None
        return self._child

    async def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._channel.send_nowait(self._spawn_spec())
        self._child = await self._backend.start(
            ChildSpec(
                aid=self._aid,
                link=self.link,
                lifeline_fd=self.lifeline.fd,
                options=self._options,
            )
        )

    async def ready(self) -> t.Ready:
        """Wait until it is."""
        trio.lowlevel.spawn_system_task(self._listen)
        while isinstance(record := await self._records.receive(), t.Stage):
            pass
        assert isinstance(record, t.Ready), f"it said {record!r:.200} and not Ready"
        return record

    async def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """The result of a function of `_backend_child`."""
        self.tell(fn, *args)
        record = await self._records.receive()
        assert isinstance(record, t.Return), f"{fn.__name__}() gave {record!r:.200}"
        return decode_payload(record.pld, "a result")

    def tell(self, fn: Callable[..., Any], *args: Any) -> None:
        """Call a function that will not return."""
        params = encode_payload((args, {}), "an argument")
        start = t.Start(self._cid, fn.__module__, fn.__name__, params)
        self._channel.send_nowait(start)
        self._cid += 2

    async def status_after(self, fn: Callable[..., Any], *args: Any) -> ExitStatus:
        """How it ends of such a call."""
        self.tell(fn, *args)
        return await self.child.wait()

    def cancel(self) -> None:
        """Ask it to stop, over the link."""
        self._channel.send_nowait(t.CancelActor(("parent", ""), PATIENCE))

    async def aclose(self) -> None:
        """Let go of it, by all means that there are, and wait until it is gone."""
        self._channel.close()
        self.link.close()
        self.lifeline.close()
        if self._child is None:
            return
        if self._backend.traits.can_kill:
            self._child.kill()
        with trio.move_on_after(PATIENCE, shield=True):
            await self._child.wait()

    async def _listen(self) -> None:
        await self._channel.run(self._on_record)
        self._arrived.close()
        self.ended.set()

    def _on_record(self, record: Any) -> None:
        self.said_bye = self.said_bye or isinstance(record, t.Bye)
        self._arrived.send_nowait(record)

    def _spawn_spec(self) -> t.SpawnSpec:
        parent = Aid("parent", uuid4().hex, os.getpid())
        return t.SpawnSpec(
            version=t.PROTOCOL_VERSION,
            aid=self._aid,
            parent=parent,
            runtime_vars=t.RuntimeVars(root=parent, start_method=self._backend.key),
            enable_modules=[_backend_child.__name__],
            main=None,
            sys_path=[os.fsencode(path) for path in sys.path if isinstance(path, str)],
            argv=[],
        )


@asynccontextmanager
async def kid_of(backend: SpawnBackend) -> AsyncIterator[Kid]:
    """A child that is ready; gone afterwards."""
    kid = Kid(backend)
    try:
        await kid.start()
        await kid.ready()
        yield kid
    finally:
        await kid.aclose()
