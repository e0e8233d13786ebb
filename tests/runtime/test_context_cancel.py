"""The cancellation matrix: who ends a context, in which state, and who sees what of it.

Each cell is a context in virtual time. On both sides a task does something that never
ends by itself; one second later somebody ends the context, and the table says what
becomes of the operation in the caller's block, of that in the callee, of the block, and
of `Context.canceller`. A block that nobody ended is left another second later.
"""

from contextvars import ContextVar
from typing import Final, NamedTuple

import pytest
import trio
from trio.testing import MockClock

import tractor
from tests.runtime.memory import World, open_world
from tractor import ContextCancelled, MsgStream, RemoteActorError
from tractor.msg import types as t
from tractor.trionics import collapse_eg, is_cancellation

CALM: Final = "-"  # nothing is raised; the operation goes on until its side leaves
DEAD: Final = "†"  # nobody is left to see anything


class Row(NamedTuple):
    """What is seen, by operation, and what the block ends with."""

    parent: dict[str, str]
    child: dict[str, str]
    block: str
    canceller: str | None


def row(parent: str, child: str, block: str, canceller: str | None) -> Row:
    return Row(seen_by(parent), seen_by(child), block, canceller)


def seen_by(side: str) -> dict[str, str]:
    return dict(zip(OPS, side.split(", "), strict=True))


OPS: Final = ("sleeps", "sends", "receives")

# fmt: off
MATRIX: Final = {
    # who ends it         the operation of a caller who sleeps, sends, receives
    #                     the operation of a callee who sleeps, sends, receives
    #                     what the caller's block raises, and `canceller` there
    "parent cancels": row("-, Closed, EndOfChannel",
                          "Cancelled, Cancelled, Cancelled",
                          CALM, "parent"),
    "parent raises":  row("Cancelled, Cancelled, Cancelled",
                          "Cancelled, remote ValueError, remote ValueError",
                          "ValueError", "parent"),
    "parent's scope": row("Cancelled, Cancelled, Cancelled",
                          "Cancelled, Cancelled, Cancelled",
                          "Cancelled", "parent"),
    "child cancels":  row("Cancelled, cancelled by child, cancelled by child",
                          "Cancelled, Cancelled, Cancelled",
                          "cancelled by child", "child"),
    "child raises":   row("Cancelled, remote KeyError, remote KeyError",
                          "Cancelled, Cancelled, Cancelled",
                          "remote KeyError", None),
    "child returns":  row("-, Broken, EndOfChannel",
                          "-, -, -",
                          CALM, None),
    "third cancels":  row("Cancelled, cancelled by third, cancelled by third",
                          "Cancelled, Cancelled, Cancelled",
                          "cancelled by third", "third"),
    "child dies":     row("Cancelled, ActorDied, ActorDied",
                          "†, †, †",
                          "ActorDied", None),
    "parent dies":    row("†, †, †",
                          "Cancelled, TransportClosed, TransportClosed",
                          DEAD, None),
}

BEFORE_STARTED: Final = {
    # who ends it        what `open_context` raises, what the callee sees
    "parent's scope":  ("Cancelled", "Cancelled"),
    "child cancels":   ("cancelled by child", "Cancelled"),
    "child raises":    ("remote KeyError", "Cancelled"),
    "child returns":   ("remote RuntimeError", CALM),
    "third cancels":   ("cancelled by third", "Cancelled"),
    "child dies":      ("ActorDied", DEAD),
    "parent dies":     (DEAD, "Cancelled"),
}
# fmt: on

DOES: Final = (*OPS, "ended")  # has closed its side of the stream, and sleeps
FLOW: Final = {("sends", "receives"), ("receives", "sends")}  # in which nobody waits
STREAMING: Final = [
    (who, parent, child)
    for who in MATRIX
    for parent in DOES
    for child in DOES
    if (parent, child) not in FLOW
]


class Cell:
    """One context: what happens in it, and what was seen of that."""

    def __init__(self, who: str, *, batched: bool = False, **does: str) -> None:
        self.who = who
        self.batched = batched
        self.does = does  # by side; empty: there is no stream
        self.seen: dict[str, str] = {}
        self.canceller: str | None = None
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.world: World

    async def end(self, me: str, ctx: tractor.Context | None) -> bool:
        """Do what ends it, if that is up to `me`; whether to leave now."""
        match self.who, me:
            case ("parent cancels", "parent") | ("child cancels", "child"):
                assert ctx is not None
                await ctx.cancel()
            case ("parent raises", "parent"):
                raise ValueError
            case ("child raises", "child"):
                raise KeyError
            case ("parent's scope", "outside"):
                self.scope.cancel()
            case ("third cancels", "outside"):
                request = t.CancelActor(("third", "uuid of third"), 1.5)
                self.world.parent.peer.channel.send_nowait(request)
            case ("child dies", "outside"):
                self.world.child.die()
            case ("parent dies", "outside"):
                self.world.parent.die()
        return (self.who, me) == ("child returns", "child")

    async def run(self) -> None:
        """Let it happen, in two seconds at most."""
        with trio.fail_after(2.1):
            async with open_world(__name__, batched=self.batched) as self.world:
                self.world.parent.spawn(self._call, name="caller")
                await trio.sleep(1)
                await self.end("outside", None)
                await self.over.wait()

    async def _call(self) -> None:
        try:
            with self.scope:
                await self._block()
        finally:
            self.over.set()

    async def _block(self) -> None:
        ctx = None
        try:
            portal = self.world.parent.portal
            async with portal.open_context(callee) as (ctx, _):
                await take_part(self, "parent", ctx)
            self.seen["block"] = CALM
        except BaseException as exc:
            self.seen["block"] = name_of(exc)
            if is_cancellation(exc):
                raise
        finally:
            if ctx is not None and ctx.canceller is not None:
                self.canceller = ctx.canceller[0]


current: ContextVar[Cell] = ContextVar("current")


@tractor.context
async def callee(ctx: tractor.Context) -> int:
    """The child's side of every cell."""
    cell = current.get()
    if cell.does.get("child") != "starting":
        await ctx.started()
    await take_part(cell, "child", ctx)
    return 42


async def take_part(cell: Cell, me: str, ctx: tractor.Context) -> None:
    """Be in the middle of something when the context ends."""
    if cell.does.get(me) in DOES:
        async with ctx.open_stream() as stream:
            await stay(cell, me, ctx, stream)
    else:
        await stay(cell, me, ctx, None)


async def stay(
    cell: Cell, me: str, ctx: tractor.Context, stream: MsgStream | None
) -> None:
    async with collapse_eg(add_notes=False), trio.open_nursery() as tasks:
        tasks.start_soon(operate, cell, me, stream)
        await trio.sleep(1)
        if not await cell.end(me, ctx):
            await trio.sleep(1)
        cell.seen.setdefault(me, CALM)
        tasks.cancel_scope.cancel()


async def operate(cell: Cell, me: str, stream: MsgStream | None) -> None:
    """Do something endless, and note what ends it."""
    try:
        if stream is not None:
            await use(stream, cell.does[me])
        await trio.sleep_forever()
    except BaseException as exc:
        cell.seen.setdefault(me, name_of(exc))
        if not isinstance(exc, ENDS):
            raise


async def use(stream: MsgStream, does: str) -> None:
    """Send or receive until that ends; not for that the other side has ended."""
    try:
        if does == "ended":
            await stream.aclose()
        while does == "sends":
            await stream.send(0)
        while does == "receives":
            await stream.receive()
    except ENDS:
        if trio.current_time() >= 1:
            raise


ENDS: Final = (
    trio.EndOfChannel,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
)


def name_of(exc: BaseException) -> str:
    """How the table calls it."""
    if isinstance(exc, ContextCancelled):
        return f"cancelled by {exc.canceller and exc.canceller[0]}"
    if isinstance(exc, RemoteActorError):
        return f"remote {exc.src_type_str}"
    if is_cancellation(exc):
        return "Cancelled"
    return type(exc).__name__.removesuffix("ResourceError")


# -- The tests -------------------------------------------------------------------------


async def check(cell: Cell, expected: dict[str, str]) -> None:
    """Run a cell and compare; also that its callee had one outcome, or none if dead."""
    current.set(cell)
    await cell.run()
    seen = {me: what for me, what in expected.items() if what != DEAD}
    assert {me: cell.seen[me] for me in seen} == seen
    child = cell.world.child
    outcomes = child.count(t.Return) + child.count(t.Error)
    assert outcomes == (not cell.who.endswith("dies"))


def doing(does: str) -> str:
    return "sleeps" if does == "ended" else does


@pytest.mark.parametrize("batched", [False, True], ids=["one by one", "at once"])
@pytest.mark.parametrize(("who", "parent", "child"), STREAMING)
async def test_while_streaming(
    who: str, parent: str, child: str, batched: bool, autojump_clock: MockClock
) -> None:
    """What each side sees does not depend on what the other does (semantics §5)."""
    row = MATRIX[who]
    # To send to, or receive from, who has ended its side, is to go on and sleep.
    ours = "sleeps" if child == "ended" else doing(parent)
    theirs = "sleeps" if parent == "ended" else doing(child)
    cell = Cell(who, parent=parent, child=child, batched=batched)
    seen = {"parent": row.parent[ours], "child": row.child[theirs], "block": row.block}
    await check(cell, seen)
    if row.block != DEAD:
        assert cell.canceller == row.canceller


@pytest.mark.parametrize("who", MATRIX)
async def test_started(who: str, autojump_clock: MockClock) -> None:
    """Without a stream it is as with one on which nobody waits (semantics §5)."""
    row = MATRIX[who]
    cell = Cell(who)
    seen = {
        "parent": row.parent["sleeps"],
        "child": row.child["sleeps"],
        "block": row.block,
    }
    await check(cell, seen)
    if row.block != DEAD:
        assert cell.canceller == row.canceller


@pytest.mark.parametrize("who", BEFORE_STARTED)
async def test_before_started(who: str, autojump_clock: MockClock) -> None:
    """What ends it is raised where the context is opened (semantics §5.1)."""
    block, child = BEFORE_STARTED[who]
    cell = Cell(who, child="starting")
    await check(cell, {"block": block, "child": child})
    assert "parent" not in cell.seen
