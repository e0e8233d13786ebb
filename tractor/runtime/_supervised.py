"""One child of a supervisor, through all its runs.

Each run is a service of the actor and has a nursery of its own, so that its failure
ends nothing but itself.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio
from msgspec import Struct

from tractor._types import NESTED_RESERVE, Aid, Graces
from tractor.runtime._actor import Actor
from tractor.runtime._nursery import ActorNursery, open_actor_nursery
from tractor.runtime._portal import Portal
from tractor.runtime._restarts import Restart, wants_restart

type Start = Callable[[ActorNursery], Awaitable[Portal]]


class ChildInfo(Struct, frozen=True):
    """One supervised child, at one moment.

    Attributes:
        name: Its name.
        aid: The actor that runs now, or ran last; `None` before the first.
        restart: When it is started again.
        restarts: How often it was.
        up: Whether it is ready.
    """

    name: str
    aid: Aid | None
    restart: Restart
    restarts: int
    up: bool


class Supervised:
    """One supervised child; a *run* of it is one actor, from start to end.

    Attributes:
        portal: To the actor that runs now, or ran last.
        settled: Set when this run is up, or will never be.
        ended: Set when nothing of this run is left.
        error: What it ended with.
        stopping: Whether we ended it.
        outgoing: Whether it is about to be started anew.
    """

    def __init__(self, name: str, restart: Restart, start: Start) -> None:
        self.name = name
        self.restart = restart
        self.restarts = 0
        self.portal: Portal | None = None
        self.settled = trio.Event()
        self.ended = trio.Event()
        self.error: Exception | None = None
        self.stopping = False
        self.outgoing = False
        self._start = start
        self._nursery: ActorNursery | None = None

    @property
    def up(self) -> bool:
        """Whether its actor is there to serve, as far as that is known."""
        return self.live_portal is not None

    @property
    def live_portal(self) -> Portal | None:
        """The portal to an actor that runs and is not known to be ending."""
        running = self.settled.is_set() and not self.ended.is_set()
        if not running or self.stopping or self.outgoing:
            return None
        return self.portal if self.portal is not None and not self.portal.down else None

    @property
    def due(self) -> bool:
        """Whether a run that ended by itself is followed by another one."""
        return wants_restart(self.restart, failed=self.error is not None)

    def info(self) -> ChildInfo:
        """What there is to know about it now."""
        aid = self.portal.aid if self.portal is not None else None
        return ChildInfo(self.name, aid, self.restart, self.restarts, self.up)

    def reset(self) -> None:
        """Get ready for another run."""
        self.settled, self.ended = trio.Event(), trio.Event()
        self.error, self._nursery = None, None
        self.stopping = self.outgoing = False

    async def run(self, actor: Actor, on_end: Callable[["Supervised"], None]) -> None:
        """One run, from start to end; raises nothing but `trio.Cancelled`."""
        try:
            async with open_actor_nursery(actor) as an:
                self._nursery = an
                if not self.stopping:
                    self.portal = await self._start(an)
                    self.settled.set()
        except Exception as exc:  # noqa: BLE001 (the supervisor decides what it means)
            self.error = exc
        finally:
            self.ended.set()
            self.settled.set()
            on_end(self)

    def stop_soon(self, deadline: float) -> None:
        """End this run by the ladder, until then; returns at once."""
        if self.ended.is_set():
            return
        self.stopping = True
        if self._nursery is not None:
            self._nursery.stop_soon(deadline)


async def stop_in_order(children: Sequence[Supervised], graces: Graces) -> None:
    """Stop children, the last one first, all of them within one bound.

    One is asked when the one after it is gone. Together they have the cancel grace for
    that; whoever is then left is stopped at once with all the others.

    Cancellation: those that were asked go on ending.
    """
    deadline = trio.current_time() + graces.bound + NESTED_RESERVE
    with trio.move_on_after(graces.cancel):
        for child in reversed(children):
            child.stop_soon(deadline)
            await child.ended.wait()
    for child in children:
        child.stop_soon(deadline)
    for child in children:
        await child.ended.wait()
