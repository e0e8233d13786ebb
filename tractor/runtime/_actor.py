"""An actor: one `trio.run` with an identity, its peers, and the functions it serves.

What the runtime does in the background are its *services*; see `Services`.
"""

import math
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from tractor._exceptions import RuntimeFailure
from tractor._instrument import hub
from tractor._orders import INSIST
from tractor._types import Aid, Graces, Uid
from tractor.ipc import Address
from tractor.log import get_logger
from tractor.msg.types import MainModule, NetworkVars, RuntimeVars
from tractor.runtime._exposure import Exposure
from tractor.runtime._peer import Peer
from tractor.runtime._portal import Portal
from tractor.runtime._services import Services
from tractor.runtime._workers import Job
from tractor.spawn import Lifeline, own_gil, terminate_hosted

if TYPE_CHECKING:
    from tractor.runtime._network import Network
    from tractor.runtime.hooks import Hooks

log = get_logger("actor")


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
        peers: All actors that it talks with, oldest connection first.
        network_vars: What it needs for connections beyond parent and children; `None`
            where there are none.
        hold_name: Keeps a name for one actor during a block, in the whole tree;
            `None` where there is no registrar.
        hooks: What is asked at certain points; `None` where nothing is.
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
        self.peers: list[Peer] = []
        self.network_vars: NetworkVars | None = None
        self.hold_name: Callable[[str], AbstractAsyncContextManager[None]] | None = None
        self.hooks: Hooks | None = None
        self.settled = trio.Event()  # set when it runs, or never will
        self.released = trio.Event()  # set when another may take its place
        self.children = 0
        self._parts: dict[object, Any] = {}
        self._network: Network | None = None
        self._members_changed = trio.Event()
        self._patient_from = -math.inf  # trio time
        self._users = 0  # nurseries that are open in it
        self._unused = trio.Event()
        self._services = Services()
        self._lifeline: Lifeline | None = None

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
    def is_registrar(self) -> bool:
        """Whether others ask it where actors are."""
        network_vars = self.network_vars
        return network_vars is not None and network_vars.registrar == self.aid.uid

    @property
    def addresses(self) -> list[Address]:
        """Where it listens at present."""
        return self._network.addresses if self._network is not None else []

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

    def is_infected_aio(self) -> bool:
        """Whether tasks of asyncio can run here, as `tractor.to_asyncio` needs it."""
        asyncio: Any = sys.modules.get("asyncio")
        return asyncio is not None and asyncio._get_running_loop() is not None

    @property
    def graces(self) -> Graces:
        """Seconds for each rung of the ladder."""
        return self.runtime_vars.graces

    def part[T](self, make: "Callable[[Actor], T]") -> T:
        """What a layer above keeps for this actor; `make`, a class, makes it once."""
        if make not in self._parts:
            self._parts[make] = make(self)
        part: T = self._parts[make]
        return part

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
        for peer in self.peers:
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
        for peer in self.peers:
            peer.server.lower_shields()

    def cut_off(self) -> None:
        """Let its children end, since it cannot be stopped itself; from any thread."""
        if self._lifeline is not None:
            self._lifeline.close()
        terminate_hosted()

    async def stood_still(self, since: float) -> bool:
        """Wait until clocks run; whether they stood still since then.

        They do while a person looks into an actor of the tree. `since` is as
        `time.monotonic` says it.
        """
        return self.hooks is not None and await self.hooks.stood_still(since)

    async def wait_tasks(self) -> None:
        """Wait until no function runs here for anybody."""
        for peer in list(self.peers):
            await peer.server.wait_idle()

    def running(self) -> list[str]:
        """Names of the functions that run here for others."""
        return [path for peer in self.peers for path in peer.server.running()]

    # -- services ----------------------------------------------------------------------

    @property
    def runs_here(self) -> bool:
        """Whether it and the caller are of the same `trio.run`."""
        return self._services.run_here

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
        """Run `fn(*args)` in the background; see `Services.spawn`."""
        self._services.spawn(fn, *args, name=name, inherit=inherit)

    def serve(self, job: Job, *, name: str) -> None:
        """Run a job that serves a call in the background; see `Workers.run`."""
        self._services.serve(job, name=name)

    def add_peer(self, peer: Peer) -> None:
        """Start to talk with a peer."""
        self.peers.append(peer)
        self.spawn(peer.serve, name=f"channel of {peer.aid.reprol()}")

    def remove_peer(self, peer: Peer) -> None:
        """Forget a peer that is gone."""
        if peer in self.peers:
            self.peers.remove(peer)
        self.note_members()

    @property
    def network(self) -> "Network":
        """Its connections beyond parent and children.

        Raises:
            RuntimeFailure: It may have none.
        """
        if self._network is None:
            if self.network_vars is None:
                msg = (
                    f"actor {self.aid.reprol()!r} has no connections beyond its parent "
                    "and children: open_root_actor() was given no enable_transports"
                )
                raise RuntimeFailure(msg)
            self.open_network(self.network_vars)
        assert self._network is not None
        return self._network

    def open_network(self, network_vars: NetworkVars, **tls: Any) -> None:
        """Let it have connections beyond parent and children; see `Network`."""
        # Local: most children never need it.
        from tractor.runtime._network import Network

        self.network_vars = network_vars
        self._network = Network(self, network_vars, **tls)

    def become_registrar(self, *addresses: str) -> None:
        """Let those below it ask this actor where others are, there."""
        assert self.network_vars is not None, "an actor without connections"
        self.network_vars = replace(self.network_vars, registrar=self.aid.uid)
        self.runtime_vars = replace(self.runtime_vars, registry_addrs=addresses)

    async def close_network(self) -> None:
        """End its connections beyond parent and children, within the ack grace."""
        if self._network is not None:
            await self._network.close()

    def note_members(self) -> None:
        """Actors that a registrar here lists have come or gone."""
        news, self._members_changed = self._members_changed, trio.Event()
        news.set()

    async def wait_members_changed(self) -> None:
        """Wait until one has come or gone."""
        await self._members_changed.wait()

    @property
    def lifeline(self) -> Lifeline:
        """What ends every process child when this actor is gone."""
        if self._lifeline is None:
            self._lifeline = Lifeline()
        return self._lifeline

    @asynccontextmanager
    async def running_services(self) -> AsyncIterator[None]:
        """Run the services around the block; afterwards nothing of them is left."""
        try:
            async with self._services.running():
                self.settled.set()
                try:
                    yield
                finally:
                    self.ended = True
        finally:
            self.ended = True
            self.settled.set()
            if self._lifeline is not None:
                self._lifeline.close()
