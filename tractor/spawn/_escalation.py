"""The one kill ladder: how a child is stopped, in a bounded time, whatever it does.

The rules:

1. The rungs are `cancel` (ask the actor over its link), `terminate` (ask the backend),
   `interrupt` (break into the code that runs), `kill` (needs nobody's help) and
   `abandon` (give up, loudly). Each but the last has a grace: the seconds that are
   waited after its action. A grace of 0 takes the action and goes on at once.
2. A rung that the traits lack is skipped: `kill` where the backend cannot, `cancel`
   where nobody can be asked. `interrupt` stands in for `kill`, with its grace.
3. Only the death notice, `Child.wait()`, is believed: neither an acknowledgement, nor
   a closed link, nor the success of a kill. It ends the ladder on any rung, at once.
4. `cancel` has a window for the acknowledgement, as a part of its grace. With no
   acknowledgement in it, the rest of the grace is not waited for. Nor is the window
   cut short where the link is gone or the request failed: mostly the child is then
   dying by itself, and a SIGTERM would replace its true exit status.
5. The sum of the graces is the bound, for the caller too: neither cancellation nor
   Ctrl-C stops the ladder half-way. Both are delivered right after it.
6. Clocks may stand still, while a person looks into an actor of the tree. No rung but
   `cancel` is taken then, and a grace in which they did is granted anew. That wait
   alone has no bound.
7. Nothing that the child or its backend does breaks the ladder. Errors are logged.

A child may be dead before the ladder begins. So it looks before the first rung, and in
the same way before it gives up; `LOOK` says how long. What died of itself in the
moment between the look and the first rung is put down to that rung: nobody can tell.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final, cast

import trio
from msgspec import Struct

from tractor._types import ExitReport, ExitStatus, Graces, Outcome, Rung
from tractor.log import get_logger
from tractor.spawn._backend import Child, InterruptibleChild, Traits

log: Final = get_logger("spawn")

type Ask = Callable[[float], Awaitable[bool]]
"""Send a cancel request that carries the seconds left; whether it was acknowledged."""

type OnRung = Callable[[Rung, float], None]
"""Told of each rung and its grace when it is taken; must not raise."""


type StoodStill = Callable[[float], Awaitable[bool]]
"""Wait until clocks run; whether they stood still since then, by `time.monotonic`."""


class Step(Struct, frozen=True):
    """One rung to take, and the seconds granted to it."""

    rung: Rung
    grace: float


# -- The table -------------------------------------------------------------------------

OUTCOME: Final[dict[Rung, Outcome]] = {
    "cancel": "cancelled",
    "terminate": "terminated",
    "interrupt": "interrupted",
    "kill": "killed",
    "abandon": "abandoned",
}


def plan(traits: Traits, graces: Graces, *, can_ask: bool) -> tuple[Step, ...]:
    """The rungs to take, mildest first; always ends with `abandon`."""
    table = (
        (can_ask, Step("cancel", graces.cancel)),
        (True, Step("terminate", graces.terminate)),
        (traits.can_kill, Step("kill", graces.kill)),
        (
            traits.can_interrupt and not traits.can_kill,
            Step("interrupt", graces.kill),
        ),
        (True, Step("abandon", 0.0)),
    )
    return tuple(step for possible, step in table if possible)


# -- The driver ------------------------------------------------------------------------

# Rounds of the scheduler in a look: one for the watcher to start, one for a `wait()`
# of something already known, one for the notice to be in place whatever the order in
# which the tasks run. Takes no time.
LOOK: Final = 3


def _tell_nobody(rung: Rung, grace: float) -> None:
    pass


async def _never(since: float) -> bool:
    del since
    return False


@trio.lowlevel.enable_ki_protection
async def stop_child(
    child: Child,
    traits: Traits,
    graces: Graces,
    *,
    ask: Ask | None,
    on_rung: OnRung = _tell_nobody,
    stood_still: StoodStill = _never,
) -> ExitReport:
    """Stop `child` within `graces.bound` seconds and report how it ended.

    Args:
        child: What to stop.
        traits: Facts about its backend.
        graces: Seconds for each rung.
        ask: Sends the cancel request; see `Ask`. May hang, fail, or be `None` where
            there is no link. It is cancelled when its window ends or the child dies.
        on_rung: Told of each rung; see `OnRung`.
        stood_still: Asked at the end of each wait; see `StoodStill`.

    Returns:
        A report with the rung after which the death notice came; `abandoned` if none
        did. For a child that was dead before the first rung: that rung, 0 seconds,
        and `returned` or `raised` by its exit status.

    Cancellation: shielded. A cancelled caller waits at most `graces.bound` more.
    `KeyboardInterrupt` too is raised after the ladder (in a group, by a nursery).
    """
    steps = plan(traits, graces, can_ask=ask is not None)
    ladder = _Ladder(child, graces.ack, ask, on_rung)
    ladder.stood_still = stood_still
    if traits.can_interrupt:
        ladder.interruptible = cast("InterruptibleChild", child)
    # A task of its own: trio raises Ctrl-C in the main task, and there in the middle
    # of any wait, shielded or not. If that is the caller, it hits this nursery, whose
    # end waits for the shielded `run` all the same.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ladder.run, steps)
    return ladder.report(steps)


class _Ladder:
    def __init__(
        self, child: Child, ack: float, ask: Ask | None, on_rung: OnRung
    ) -> None:
        self.interruptible: InterruptibleChild | None = None
        self.stood_still: StoodStill = _never
        self._child = child
        self._ack = ack
        self._ask = ask
        self._on_rung = on_rung
        self._started = trio.current_time()
        self._ended: float | None = None  # when the death notice came
        self._status: ExitStatus | None = None
        # The last one taken. Never `abandon`: a notice that comes even then is owed to
        # the rung before it.
        self._rung: Rung | None = None

    @trio.lowlevel.enable_ki_protection
    async def run(self, steps: tuple[Step, ...]) -> None:
        """Climb until the death notice comes or no rung is left."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, nursery.cancel_scope)
                await self._climb(steps)
                nursery.cancel_scope.cancel()

    def report(self, steps: tuple[Step, ...]) -> ExitReport:
        """What happened."""
        if self._ended is None:
            seconds = trio.current_time() - self._started
            return ExitReport(OUTCOME["abandon"], "abandon", seconds, None)
        seconds = self._ended - self._started
        if self._rung is None:
            outcome = _outcome_by_itself(self._status)
            return ExitReport(outcome, steps[0].rung, seconds, self._status)
        outcome = OUTCOME[self._rung]
        return ExitReport(outcome, self._rung, seconds, self._status)

    @trio.lowlevel.enable_ki_protection
    async def _watch(self, ladder: trio.CancelScope) -> None:
        """End the ladder when the death notice comes."""
        try:
            self._status = await self._child.wait()
        except Exception:  # rule 7; without a notice it is abandoned
            log.exception("waiting for the end of a child failed")
            return
        self._ended = trio.current_time()
        ladder.cancel()

    async def _climb(self, steps: tuple[Step, ...]) -> None:
        """Take one rung after the other; cancelled by the death notice."""
        await self._look()
        for step in steps:
            if step.rung != "cancel":
                await self.stood_still(time.monotonic())
            if step.rung == "abandon":
                await self._look()
            if self._ended is not None:
                return
            self._on_rung(step.rung, step.grace)
            if step.rung == "abandon":
                if self.interruptible is not None:
                    self._act(self.interruptible.abandon)
                return
            self._rung = step.rung
            await self._take(step)

    async def _take(self, step: Step) -> None:
        match step.rung:
            case "cancel":
                await self._cancel(step.grace)
            case "terminate":
                self._act(self._child.terminate)
                await self._patience(step.grace)
            case "interrupt":
                assert self.interruptible is not None  # as above
                self._act(self.interruptible.interrupt)
                await self._patience(step.grace)
            case "kill":
                self._act(self._child.kill)
                await self._patience(step.grace)

    async def _cancel(self, grace: float) -> None:
        again = True
        while again:
            began = time.monotonic()
            deadline = trio.current_time() + grace
            acknowledged = False
            with trio.move_on_after(min(self._ack, grace)):
                acknowledged = await self._acknowledged(grace)
                if not acknowledged:
                    await trio.sleep_forever()  # rule 4
            if acknowledged and (left := deadline - trio.current_time()) > 0:
                await trio.sleep(left)
            again = await self.stood_still(began)

    async def _patience(self, seconds: float) -> None:
        again = True
        while again:
            began = time.monotonic()
            if seconds > 0:
                await trio.sleep(seconds)
            again = await self.stood_still(began)

    async def _acknowledged(self, grace: float) -> bool:
        assert self._ask is not None  # or the plan has no such rung
        try:
            return await self._ask(grace)
        except Exception:  # rule 7
            log.debug("a cancel request failed", exc_info=True)
            return False

    def _act(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # rule 7
            log.exception("a rung failed; going on")

    async def _look(self) -> None:
        for _ in range(LOOK):
            await trio.lowlevel.cancel_shielded_checkpoint()


def _outcome_by_itself(status: ExitStatus | None) -> Outcome:
    if status is None or (status.signal is None and not status.exit_code):
        return "returned"
    return "raised"
