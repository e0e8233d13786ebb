"""An actor: one `trio.run` with an identity, its peers, and the functions it serves.

Everything that the runtime does in the background runs in one nursery of a system task,
the *services*. No cancel scope of the user's reaches them, so that channels still carry
news while everything else is being cancelled; KeyboardInterrupt does not land in them
either. A service never raises.
"""

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import trio

from tractor._exceptions import RuntimeFailure
from tractor._instrument import hub
from tractor._types import Aid, Graces, Uid
from tractor.log import get_logger
from tractor.msg.types import MainModule, RuntimeVars
from tractor.runtime._exposure import Exposure
from tractor.runtime._peer import Peer
from tractor.runtime._portal import Portal
from tractor.spawn import Lifeline, own_gil, terminate_hosted

log = get_logger("actor")

INSIST: float = 0.8  # seconds for what is below an actor that did not obey; adr/0011


class Actor:
    """The runtime of this interpreter; users get it from `current_actor`.

    Attributes:
        aid: Identity.
        runtime_vars: What it hands on to its children.
        exposure: The functions that it serves.
        main: How its children find the program's main module.
        depth: How many levels it is below the root.
        lifetime_stack: Closed at the very end of the actor, after every task; add
            clean-up to it. Errors in it are errors of the actor.
        parent: The peer that started it; `None` at the root.
        deadline: trio time at which whoever asked it to stop cuts it off.
        cancel_caller: uid of whoever asked it to stop; `None` while nobody has.
        children: How many it has, of all its nurseries.
        ended: Whether its services are over, so that it can start nothing any more.
        stopping: For each child that is being stopped, what kills it.
    """

    def __init__(
        self,
        aid: Aid,
        runtime_vars: RuntimeVars,
        exposure: Exposure,
        main: MainModule | None,
        depth: int = 0,
    ) -> None:
        self.aid = aid
        self.depth = depth
        self.runtime_vars = runtime_vars
        self.exposure = exposure
        self.main = main
        self.lifetime_stack = ExitStack()
        self.parent: Peer | None = None
        self.deadline = float("inf")
        self.cancel_caller: Uid | None = None
        self.ended = False
        self.stopping: set[Callable[[], None]] = set()
        self.cancel_scope = trio.CancelScope()  # of a root's body, a child's life
        self.peers: dict[Uid, Peer] = {}
        self.settled = trio.Event()  # set when it runs, or never will
        self.released = trio.Event()  # set when another may take its place
        self.children = 0
        self._patient_from = -math.inf  # trio time
        self._users = 0  # nurseries that are open in it
        self._unused = trio.Event()
        self._services: trio.Nursery | None = None
        self._context = Context()
        self._lifeline: Lifeline | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    # -- identity ----------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name; need not be unique."""
        return self.aid.name

    @property
    def pid(self) -> int | None:
        """The process that hosts it."""
        return self.aid.pid

    @property
    def is_root(self) -> bool:
        """Whether it is the root of its tree."""
        return self.aid == self.runtime_vars.root

    @property
    def stopper(self) -> Uid:
        """Who stops it from outside: its parent; of the root, itself."""
        return self.parent.aid.uid if self.parent is not None else self.aid.uid

    @property
    def own_gil(self) -> bool:
        """Whether its Python code runs in parallel with that of its whole process.

        False only in an actor of the backend `subint_legacy`.
        """
        return own_gil()

    @property
    def graces(self) -> Graces:
        """Seconds for each rung of the ladder."""
        return self.runtime_vars.graces

    def check_limits(self, name: str) -> None:
        """Refuse another child where it would exceed a limit of the tree.

        Raises:
            RuntimeFailure: It would.
        """
        for limit, reached in (
            ("max_children", self.children),
            ("max_depth", self.depth),
        ):
            most = getattr(self.runtime_vars, limit)
            if most is not None and reached >= most:
                msg = (
                    f"actor {self.aid.reprol()!r} cannot start {name!r}: the tree has "
                    f"{limit}={most}; raise it in open_root_actor()"
                )
                raise RuntimeFailure(msg)

    def get_parent(self) -> Portal:
        """A portal to the actor that started this one.

        Raises:
            RuntimeFailure: This is the root, which nobody started.
        """
        if self.parent is None:
            msg = f"actor {self.aid.reprol()!r} is the root and has no parent"
            raise RuntimeFailure(msg)
        return Portal(self.parent)

    def __repr__(self) -> str:
        return f"<Actor {self.aid.reprol()!r}>"

    # -- stopping ----------------------------------------------------------------------

    @property
    def cancel_called(self) -> bool:
        """Whether it was asked to stop."""
        return self.cancel_caller is not None

    def cancel_soon(
        self, canceller: Uid | None = None, seconds: float = float("inf")
    ) -> None:
        """Stop this actor; returns at once, may be called again and again.

        Args:
            canceller: Who asks; this actor itself by default.
            seconds: Until whoever asks cuts it off; ≥ 0.
        """
        canceller = canceller or self.aid.uid
        if self.cancel_caller is None:
            self.cancel_caller = canceller
            log.cancel("asked to stop by %s within %.2f s", canceller[0], seconds)
            if hub.active:
                hub.emit("cancel", self.aid, canceller=canceller)
        self.deadline = min(self.deadline, trio.current_time() + seconds)
        for peer in self.peers.values():
            peer.server.close(canceller, seconds)
        self.cancel_scope.cancel(reason=f"asked by actor {canceller[0]!r}")

    @property
    def patient(self) -> bool:
        """Whether children that are to stop are asked first."""
        return trio.current_time() >= self._patient_from

    def lose_patience(self) -> None:
        """Kill what is being stopped, and what is to stop soon.

        Soon is within the bound of the ladder. Later, whoever asked has gone on.
        """
        self._patient_from = trio.current_time() + self.graces.bound
        for kill in list(self.stopping):
            kill()

    def regain_patience(self) -> None:
        """The program goes on after all, unless something is being stopped."""
        if not self.stopping:
            self._patient_from = -math.inf

    def insist(self) -> None:
        """Stop what was asked to and has shielded itself; as `cancel_soon`."""
        self.cancel_soon(self.stopper, INSIST)
        for peer in self.peers.values():
            peer.server.lower_shields()

    def cut_off(self) -> None:
        """Let its children end, since it cannot be stopped itself; from any thread."""
        if self._lifeline is not None:
            self._lifeline.close()
        terminate_hosted()

    async def wait_tasks(self) -> None:
        """Wait until no function runs here for anybody."""
        for peer in list(self.peers.values()):
            await peer.server.wait_idle()

    def running(self) -> list[str]:
        """Names of the functions that run here for others."""
        return [path for peer in self.peers.values() for path in peer.server.running()]

    # -- services ----------------------------------------------------------------------

    @property
    def runs_here(self) -> bool:
        """Whether it and the caller are of the same `trio.run`."""
        return self._token is trio.lowlevel.current_trio_token()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Note that a nursery is open in it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def wait_unused(self) -> None:
        """Wait until no nursery is open in it."""
        while self._users:
            self._unused = trio.Event()
            await self._unused.wait()

    @property
    def in_transition(self) -> bool:
        """Whether another task of this `trio.run` is about to start or to end it."""
        return self.runs_here and (self.ended or not self.settled.is_set())

    async def wait_transition(self) -> None:
        """Wait until it runs, or is no more."""
        await (self.released if self.ended else self.settled).wait()

    def spawn(
        self, fn: Callable[..., Any], *args: Any, name: str, inherit: bool = False
    ) -> None:
        """Run `fn(*args)` in the background; what it raises is logged.

        Args:
            fn: An async function.
            *args: Its arguments.
            name: Of the task.
            inherit: Whether it gets the context variables of the caller. What serves
                the whole actor must not: it outlives the caller.
        """
        assert self._services is not None, "the actor is not running"
        start = partial(self._services.start_soon, _service, fn, args, name=name)
        if inherit:
            start()
        else:
            self._context.copy().run(start)

    def add_peer(self, peer: Peer) -> None:
        """Start to talk with a peer."""
        self.peers[peer.aid.uid] = peer
        self.spawn(peer.serve, name=f"channel of {peer.aid.reprol()}")

    def remove_peer(self, peer: Peer) -> None:
        """Forget a peer that is gone."""
        self.peers.pop(peer.aid.uid, None)

    @property
    def lifeline(self) -> Lifeline:
        """What ends every process child when this actor is gone."""
        if self._lifeline is None:
            self._lifeline = Lifeline()
        return self._lifeline

    @asynccontextmanager
    async def running_services(self) -> AsyncIterator[None]:
        """Run the services around the block; afterwards nothing of them is left."""
        scope, up, down = trio.CancelScope(), trio.Event(), trio.Event()

        async def services() -> None:
            try:
                with scope:
                    async with trio.open_nursery() as nursery:
                        self._services = nursery
                        self._context = copy_context()
                        nursery.start_soon(trio.sleep_forever)
                        up.set()
            finally:
                down.set()

        self._token = trio.lowlevel.current_trio_token()
        trio.lowlevel.spawn_system_task(services, name="tractor services")
        try:
            # Ctrl-C may end either wait, and must not leave the services behind.
            with trio.CancelScope(shield=True):
                await up.wait()
            self.settled.set()
            yield
        finally:
            self.ended = True
            self.settled.set()
            scope.cancel()
            try:
                with trio.CancelScope(shield=True):
                    await down.wait()
            finally:
                if self._lifeline is not None:
                    self._lifeline.close()


# trio raises Ctrl-C in whatever task runs, save in a system task; but tasks that such a
# one starts are none.
@trio.lowlevel.enable_ki_protection
async def _service(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        await fn(*args)
    except Exception:  # a bug must not take the whole tree along
        log.exception("a service failed: %r", fn)
