"""Random dialogues against a model of who ends them, in virtual time.

Each side follows a script: the caller acts on even seconds, the callee on odd ones, and
what happens from outside (a death, a cancelled scope) falls between. So the order of
events is known, and the first one that ends the context tells how it must end. What the
scripts sent and received must fit together whatever happens.
"""

import math
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final

import hypothesis.strategies as st
import trio
from hypothesis import example, given, settings
from msgspec import Struct
from trio.testing import MockClock

import tractor
from tests.runtime.memory import World, open_world
from tractor import Context, ContextCancelled, MsgStream, RemoteActorError
from tractor.msg import types as t
from tractor.runtime._flow import WINDOW
from tractor.trionics import is_cancellation

CALM: Final = "-"
NEWS: Final = 0.1 + 1e-6  # seconds until a death is known
PATIENCE: Final = 4.25  # seconds to wait for credit, or for an item
LAST: Final = 60.5  # seconds; then the scope around the caller's block is cancelled


class Handled(Exception):
    """Leaves a stream, and no more than that."""


class Script(Struct, frozen=True, kw_only=True):
    """What one side does: idle, stream, idle, each for as many steps."""

    before: list[str] = []
    stream: list[tuple[str, int]] | None = None
    after: list[str] = []


class Plan(Struct, frozen=True, kw_only=True):
    """Both scripts; the callee calls `started` after its steps `unstarted`."""

    parent: Script = Script()
    child: Script = Script()
    unstarted: list[str] = []
    dies_at: int | None = None
    batched: bool = False


class Tape(Struct):
    """What happened on one side."""

    sent: int = 0
    received: int = 0
    opened: bool = False  # its stream
    closed: bool = False  # not by the end of the context
    ends: list[str] = []
    ended_at: float = math.inf


class Play:
    """One context that follows a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tapes = {"parent": Tape(), "child": Tape()}
        self.enders: list[str] = []  # in order
        self.began_to_end = math.inf
        self.faults: list[str] = []
        self.world: World

    async def step(self, me: str, action: str, ctx: Context | None = None) -> None:
        """Wait for this side's next turn, and then end the context, or do nothing."""
        first = 2 if me == "parent" else 1
        turns = (trio.current_time() - first) // 2 + 1
        await trio.sleep_until(first + 2 * max(turns, 0))
        if action == "idle":
            return
        self.end_by(f"{me} {action}")
        if action == "cancels":
            assert ctx is not None
            await ctx.cancel()
        else:
            raise ValueError if me == "parent" else KeyError

    def end_by(self, ender: str) -> None:
        if not self.enders:
            self.began_to_end = trio.current_time()
        self.enders.append(ender)

    async def act(self, me: str, script: Script, ctx: Context) -> None:
        for action in script.before:
            await self.step(me, action, ctx)
        if script.stream is not None and not ctx.cancel_called:
            self.tapes[me].opened = True
            with suppress(Handled):
                async with ctx.open_stream() as stream:
                    await self.use(me, script.stream, ctx, stream)
            self.tapes[me].closed = True
        for action in script.after:
            await self.step(me, action, ctx)
        self.tapes[me].closed = True  # by leaving

    async def use(
        self, me: str, actions: list[tuple[str, int]], ctx: Context, stream: MsgStream
    ) -> None:
        tape = self.tapes[me]
        other = self.tapes["child" if me == "parent" else "parent"]
        for action, count in actions:
            await self.step(me, action if action in ENDINGS else "idle", ctx)
            try:
                match action:
                    case "send":
                        await self.send(tape, other, stream, count)
                    case "receive":
                        await self.receive(tape, other, stream, count)
                    case "close":
                        tape.closed = True
                        await stream.aclose()
                    case "leave":
                        raise Handled
            except trio.EndOfChannel:
                self.expect(tape.received == other.sent, "all items before the end")
                self.expect(other.closed or ctx.cancel_acked, "an orderly end")
            except trio.BrokenResourceError:
                closed = other.closed and (other.opened or me == "parent")
                self.expect(closed, "that the other side has closed")
            except trio.ClosedResourceError:
                self.expect(tape.closed or ctx.cancel_called, "that we have closed")

    def expect(self, holds: bool, what: str) -> None:
        """Note that something is not as it must be, for `check`."""
        if not holds:
            self.faults.append(f"expected {what}: {self.tapes}")

    async def send(
        self, tape: Tape, other: Tape, stream: MsgStream, count: int
    ) -> None:
        with trio.move_on_after(PATIENCE) as patience:
            for _ in range(count):
                await stream.send(tape.sent)
                tape.sent += 1
        if patience.cancelled_caught:  # for a reason
            unread = tape.sent - other.received
            self.expect(unread > WINDOW // 2 and not other.closed, "credit")

    async def receive(
        self, tape: Tape, other: Tape, stream: MsgStream, count: int
    ) -> None:
        with trio.move_on_after(PATIENCE) as patience:
            for _ in range(count):
                item = await stream.receive()
                self.expect(item == tape.received, "items in order")
                tape.received += 1
                self.expect(stream.statistics().unread <= WINDOW, "a limit")
        if patience.cancelled_caught:
            starved = tape.received == other.sent and not other.closed
            self.expect(starved, "the items that were sent")

    # -- both sides, and what comes from outside ---------------------------------------

    async def run(self) -> None:
        with trio.fail_after(LAST + 5):
            async with (
                open_world(__name__, batched=self.plan.batched) as self.world,
                trio.open_nursery() as tasks,
            ):
                if self.plan.dies_at is not None:
                    tasks.start_soon(self._kill, self.plan.dies_at + 0.5)
                with trio.CancelScope() as scope:
                    tasks.start_soon(self._cancel, scope)
                    await self._call()
                tasks.cancel_scope.cancel()

    async def _kill(self, at: float) -> None:
        await trio.sleep_until(at)
        self.end_by("child dies")
        self.world.child.die()

    async def _cancel(self, scope: trio.CancelScope) -> None:
        await trio.sleep_until(LAST)
        self.end_by("scope")
        scope.cancel()

    async def _call(self) -> None:
        tape = self.tapes["parent"]
        try:
            async with self.world.parent.portal.open_context(callee) as (ctx, _):
                await self.act("parent", self.plan.parent, ctx)
                tape.ends.append(CALM)
            assert ctx.cancel_acked or ctx.outcome == 42
        except BaseException as exc:
            tape.ends = [name_of(exc)]
            if is_cancellation(exc):
                raise
        finally:
            tape.ended_at = trio.current_time()


current: ContextVar[Play] = ContextVar("current")


@tractor.context
async def callee(ctx: Context) -> int:
    """The child's side."""
    play = current.get()
    tape = play.tapes["child"]
    try:
        for action in play.plan.unstarted:
            await play.step("child", action, ctx)
        await play.step("child", "idle")
        await ctx.started()
        await play.act("child", play.plan.child, ctx)
    except BaseException as exc:
        tape.ends.append(name_of(exc))
        raise
    else:
        play.end_by("child returns")
        tape.ends.append(CALM)
    finally:
        tape.ended_at = trio.current_time()
    return 42


def name_of(exc: BaseException) -> str:
    if isinstance(exc, ContextCancelled):
        return f"cancelled by {exc.canceller and exc.canceller[0]}"
    if isinstance(exc, RemoteActorError):
        return f"remote {exc.src_type_str}"
    return type(exc).__name__


# -- The model -------------------------------------------------------------------------

ENDS: Final = {  # the block, by what comes first
    "parent raises": "ValueError",
    "child raises": "remote KeyError",
    "child cancels": "cancelled by child",
    "child dies": "ActorDied",
    "scope": "Cancelled",
}
ENDED: Final = {  # the callee, by what comes first
    "parent raises": {"Cancelled", "remote ValueError"},
    "parent cancels": {"Cancelled"},
    "child raises": {"KeyError"},
    "child cancels": {"Cancelled"},
    "child returns": {CALM},
    "child dies": {"Cancelled"},
    "scope": {"Cancelled"},
}


def expected_block(enders: list[str]) -> str:
    """What the caller's block ends with."""
    if not enders:
        return CALM
    first, *later = enders
    if first in ENDS:
        return ENDS[first]
    # The callee is gone as was wanted; only the block itself can still fail.
    own = [ender for ender in later if ender in ("parent raises", "scope")]
    return ENDS[own[0]] if own else CALM


def check(play: Play) -> None:
    """Whether what happened is what the model says."""
    assert not play.faults
    parent, child = play.tapes["parent"], play.tapes["child"]
    first = play.enders[0]
    assert parent.ends == [expected_block(play.enders)]
    if first in ENDS:  # nobody waits for anything
        assert parent.ended_at - play.began_to_end <= NEWS
    if child.ends:
        assert child.ended_at - play.began_to_end <= NEWS
        assert child.ends[0] in ENDED[first]
    side = play.world.child
    outcomes = side.count(t.Return) + side.count(t.Error)
    assert outcomes == len(child.ends) or first == "child dies"
    assert outcomes <= 1 >= side.count(t.Started)


# -- Plans -----------------------------------------------------------------------------

ENDINGS: Final = ("cancels", "raises")
items = st.tuples(
    st.sampled_from(["send", "receive", "receive"]),
    st.sampled_from([1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW]),
)
leavings = st.sampled_from([[], [], [("close", 0)], [("leave", 0)]])
idle = st.lists(st.just("idle"), max_size=1)


reads, fails = Script(stream=[("receive", 1)]), Script(stream=[("raises", 0)])


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """What a side does; most often nothing in it ends the context."""
    before, stream, after = draw(idle), draw(st.lists(items, max_size=6)), draw(idle)
    stream += draw(leavings)
    if draw(st.integers(0, 3)) == 0:
        ending = draw(st.sampled_from(ENDINGS))
        part: list[Any] = draw(st.sampled_from([before, stream, stream, after]))
        at = draw(st.integers(0, len(part)))
        part.insert(at, (ending, 0) if part is stream else ending)
    streams = draw(st.integers(0, 9)) > 0
    return Script(before=before, stream=stream if streams else None, after=after)


plans = st.builds(
    Plan,
    parent=scripts(),
    child=scripts(),
    unstarted=st.sampled_from([[]] * 8 + [["cancels"], ["raises"]]),
    dies_at=st.none() | st.none() | st.integers(0, 20),
    batched=st.booleans(),
)


@settings(max_examples=500, deadline=None, print_blob=True)
@example(Plan(parent=reads, child=fails))
@example(Plan(parent=fails, child=reads))
@given(plan=plans)
def test_any_dialogue_ends_as_the_model_says(plan: Plan) -> None:
    """No hang, no item lost before an orderly end, one outcome each (§5, §6)."""
    play = Play(plan)
    current.set(play)
    trio.run(play.run, clock=MockClock(autojump_threshold=0))
    check(play)
