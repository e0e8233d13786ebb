"""A spawn backend without children, for tests of nurseries under a virtual clock.

An actor needs an interpreter of its own. So what is at the other end of the link here
is no actor but a script: it says the records that an actor would say, at the times that
the script gives, and then dies; or it misbehaves. It all happens in the caller's loop,
and so `trio.testing.MockClock` with autojump sees the exact times.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio

from tractor._exceptions import TransportClosed
from tractor._types import ExitStatus
from tractor.ipc import Channel, SocketTransport
from tractor.msg import box
from tractor.msg import types as t
from tractor.spawn import ChildSpec, Traits
from tractor.testing._fakes import FakeChild, Script

MAX_FRAME: Final = 1 << 24  # bytes


class ActorScript(Script, frozen=True, kw_only=True):
    """How a child of a `FakeBackend` behaves; seconds, with `None` for "never".

    By default it boots at once, ends in order when it is asked to, and lets no call
    return. Cancel requests come over the link: `on_ask` and `acks` are of those.

    Attributes:
        starts: What `FakeBackend.start` takes.
        start_error: What that raises then.
        ready: From its start until it is ready.
        boot_error: What it reports instead, before it ends with exit code 1.
        answers: From a call of any function to its result, which is `None`.
        bye: Whether it says goodbye when it ends because it was asked to.
    """

    on_ask: float | None = 0.0
    starts: float = 0.0
    start_error: Exception | None = None
    ready: float | None = 0.0
    boot_error: Exception | None = None
    answers: float | None = None
    bye: bool = True


class FakeActor(FakeChild):
    """A child that does what its script says; meets `tractor.spawn.Child`.

    Attributes:
        received: Each record that its parent sent, in order.
        options: Those of its start.
    """

    def __init__(self, spec: ChildSpec, script: ActorScript) -> None:
        super().__init__(script)
        self.received: list[t.AnyRecord] = []
        self.options = spec.options
        self._actor_script = script
        self._uid = spec.aid.uid
        self._goodbye_at: float | None = None
        # Its own descriptor, as for any child.
        self._channel = Channel(SocketTransport(spec.link.dup()), max_frame=MAX_FRAME)
        self._tasks: trio.Nursery | None = None
        trio.lowlevel.spawn_system_task(self._live, name=f"fake {spec.aid.name}")

    async def _live(self) -> None:
        async with trio.open_nursery() as self._tasks:
            self._tasks.start_soon(self._channel.run, self._on_record)
            self._tasks.start_soon(self._boot)
            await self.wait()
            if self._goodbye_at == trio.current_time() and self._actor_script.bye:
                self._say(t.Bye())
            self._channel.close()
            self._tasks.cancel_scope.cancel()

    async def _boot(self) -> None:
        script = self._actor_script
        self._say(t.Stage("import"))
        await trio.sleep(_seconds(script.ready))
        if script.boot_error is not None:
            self._say(t.BootError("import", box(script.boot_error, self._uid)))
            self.die(ExitStatus(exit_code=1))
            return
        self._say(t.Ready(0))
        if not script.linked:
            self._channel.close()

    def _on_record(self, record: t.AnyRecord) -> None:
        assert self._tasks is not None
        self.received.append(record)
        match record:
            case t.CancelActor(_, seconds):
                self._tasks.start_soon(self._on_ask, seconds)
            case t.Start(cid):
                self._tasks.start_soon(self._on_call, cid)

    async def _on_ask(self, seconds: float) -> None:
        script = self._actor_script
        if script.on_ask is not None:
            self._goodbye_at = trio.current_time() + script.on_ask
        await self.ask(seconds)
        self._say(t.CancelAck(None))

    async def _on_call(self, cid: int) -> None:
        await trio.sleep(_seconds(self._actor_script.answers))
        self._say(t.Return(cid, t.EMPTY))

    def _say(self, record: t.Record) -> None:
        with suppress(TransportClosed):  # by its parent; it will be told to end
            self._channel.send_nowait(record)


class FakeBackend:
    """Starts children that only follow a script; meets `tractor.spawn.SpawnBackend`.

        with use_backend(FakeBackend({"lazy": ActorScript(on_ask=None)})):
            async with tractor.open_nursery(start_method="fake") as an: ...

    Args:
        scripts: How children behave, by their names; others do so by default.
        traits: What it claims to be able to do.

    Attributes:
        children: Each that was started, by its name; the last of that name.
    """

    key = "fake"

    def __init__(
        self,
        scripts: Mapping[str, ActorScript] | None = None,
        *,
        traits: Traits | None = None,
    ) -> None:
        self.children: dict[str, FakeActor] = {}
        self.traits = traits or PROCESS_TRAITS
        self._scripts: Mapping[str, ActorScript] = scripts or {}

    async def start(self, spec: ChildSpec) -> FakeActor:
        """Start a child.

        Raises:
            Exception: Its script says so.

        Cancellation: nothing is left behind.
        """
        script = self._scripts.get(spec.aid.name, ActorScript())
        with spec.link:
            await trio.sleep(script.starts)
            if script.start_error is not None:
                raise script.start_error
            child = self.children[spec.aid.name] = FakeActor(spec, script)
        return child


PROCESS_TRAITS: Final = Traits(
    can_kill=True,
    own_process=True,
    own_gil=True,
    inherits_fds=True,
    main_thread=True,
)


def _seconds(given: float | None) -> float:
    return float("inf") if given is None else given
