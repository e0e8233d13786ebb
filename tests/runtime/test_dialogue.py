"""Dialogues record by record, in virtual time: illegal, late, too large, in doubt."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import tractor
from tests._helpers import raises
from tests.runtime.memory import MAX_FRAME, open_world
from tractor import (
    ActorDied,
    Context,
    ContextCancelled,
    FrameTooLarge,
    MsgStream,
    RemoteActorError,
    RemoteProtocolError,
)
from tractor.msg import box
from tractor.msg import types as t
from tractor.runtime._dialogue import DOUBT
from tractor.runtime._flow import WINDOW

NIL: Final = t.EMPTY
INFO: Final = box(ValueError("made up"), ("nobody", "0"))
GRACE: Final = tractor.Graces().cancel

seen: list[Any] = []  # by the callees, which run in the same process


async def ping() -> str:
    return "pong"


@tractor.context
async def unstarted(ctx: Context) -> None:
    await trio.sleep_forever()


@tractor.context
async def sleeper(ctx: Context) -> None:
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def reader(ctx: Context) -> int:
    """Count items; note what ends it, if that is no orderly end."""
    await ctx.started()
    seen.clear()
    async with ctx.open_stream() as stream:
        try:
            return len([item async for item in stream])
        except BaseException as exc:
            seen.append(exc)
            raise


# -- Illegal records -------------------------------------------------------------------

type MakeRecords = Callable[[int], list[t.Record]]

FROM_CALLEE: Final[dict[str, MakeRecords]] = {
    "started twice": lambda cid: [t.Started(cid, NIL)],
    "an item after its end": lambda cid: [t.Stop(cid), t.Yield(cid, NIL)],
    "items without credit": lambda cid: [t.Yield(cid, NIL)] * (WINDOW + 1),
    "a credit of none": lambda cid: [t.Credit(cid, 0)],
    "a credit of less": lambda cid: [t.Credit(cid, -1)],
    "an answer unasked": lambda cid: [t.CancelAck(cid)],
}
FROM_CALLER: Final[dict[str, MakeRecords]] = {
    "an item after its end": lambda cid: [t.Stop(cid), t.Yield(cid, NIL)],
    "items without credit": lambda cid: [t.Yield(cid, NIL)] * (WINDOW + 1),
    "a credit of none": lambda cid: [t.Credit(cid, 0)],
    "what a callee says": lambda cid: [t.Started(cid, NIL)],
    "a result": lambda cid: [t.Return(cid, NIL)],
    "an error": lambda cid: [t.Error(cid, INFO)],
    "an answer": lambda cid: [t.CancelAck(cid)],
}


@pytest.mark.parametrize("what", FROM_CALLEE)
async def test_a_callee_that_breaks_the_protocol(
    what: str, autojump_clock: MockClock
) -> None:
    """Its caller gets the error, it is cancelled, and the channel lives on (D8)."""
    async with open_world(__name__) as world:
        with raises(RemoteProtocolError), trio.fail_after(1):
            async with world.parent.portal.open_context(sleeper) as (ctx, _):
                for record in FROM_CALLEE[what](ctx.cid):
                    world.child.peer.channel.send_nowait(record)
                await trio.sleep_forever()
        with trio.fail_after(1):
            await world.child.peer.server.wait_idle()
        assert await world.parent.portal.run(ping) == "pong"


@pytest.mark.parametrize("what", FROM_CALLER)
async def test_a_caller_that_breaks_the_protocol(
    what: str, autojump_clock: MockClock
) -> None:
    """Its callee is cancelled, it is told why, and the channel lives on (D8)."""
    async with open_world(__name__) as world:
        with raises(RemoteActorError) as caught, trio.fail_after(1):
            async with world.parent.portal.open_context(sleeper) as (ctx, _):
                for record in FROM_CALLER[what](ctx.cid):
                    world.parent.peer.channel.send_nowait(record)
                await trio.sleep_forever()
        assert caught.value.boxed_type is RemoteProtocolError
        assert await world.parent.portal.run(ping) == "pong"


async def test_an_item_before_started(autojump_clock: MockClock) -> None:
    """A caller that sends before `started` breaks the protocol."""
    async with open_world(__name__) as world, trio.open_nursery() as tasks:

        async def open_it() -> None:
            with pytest.raises(RemoteActorError) as caught:
                async with world.parent.portal.open_context(unstarted):
                    pass
            assert caught.value.boxed_type is RemoteProtocolError

        tasks.start_soon(open_it)
        await wait_all_tasks_blocked()
        world.parent.peer.channel.send_nowait(t.Yield(0, NIL))


@pytest.mark.parametrize("cid", [1, 0], ids=["of the other side", "in use"])
async def test_a_number_that_is_not_its_to_open(
    cid: int, autojump_clock: MockClock
) -> None:
    """Whoever opens a dialogue with such a number loses its channel, and no more."""
    async with open_world(__name__) as world:
        with raises(ActorDied), trio.fail_after(1):
            async with world.parent.portal.open_context(sleeper) as (ctx, _):
                assert ctx.cid == 0
                start = t.Start(cid, __name__, "sleeper", t.EMPTY, t.CONTEXT)
                world.parent.peer.channel.send_nowait(start)
                await trio.sleep_forever()


async def test_what_comes_after_the_end_is_dropped(autojump_clock: MockClock) -> None:
    """Records of a context that is over are counted, and do nothing else (D9)."""
    async with open_world(__name__) as world:
        async with world.parent.portal.open_context(sleeper) as (ctx, _):
            await ctx.cancel()
        late = [t.Started(0, NIL), t.Yield(0, NIL), t.Stop(0), t.Credit(0, 1)]
        for record in (*late, t.Return(0, NIL), t.Error(0, INFO)):
            world.child.peer.channel.send_nowait(record)
            world.parent.peer.channel.send_nowait(record)
        assert await world.parent.portal.run(ping) == "pong"
        assert world.parent.peer.dropped == world.child.peer.dropped == 6


# -- In doubt --------------------------------------------------------------------------


@tractor.context
async def fails_in_its_stream(ctx: Context) -> None:
    await ctx.started()
    async with ctx.open_stream():
        await trio.sleep(1)
        raise KeyError


@tractor.context
async def leaves_its_stream(ctx: Context) -> None:
    """By an exception that it deals with."""
    await ctx.started()
    with trio.move_on_after(1):
        async with ctx.open_stream():
            await trio.sleep_forever()
    await trio.sleep_forever()


async def use(stream: MsgStream, how: str) -> None:
    while how == "send":
        await stream.send(0)
    while how == "receive":
        await stream.receive()
    while how == "receive_nowait":
        try:
            stream.receive_nowait()
        except trio.WouldBlock:
            await trio.sleep(0.1)


HOW: Final = ["send", "receive", "receive_nowait"]


@pytest.mark.parametrize("how", HOW)
async def test_an_error_in_the_stream_is_no_end_of_it(
    how: str, autojump_clock: MockClock
) -> None:
    """Who uses a stream gets the error that ended it, not an orderly end (§5.3)."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        with raises(RemoteActorError):
            async with (
                portal.open_context(fails_in_its_stream) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                with pytest.raises(RemoteActorError, match="KeyError"):
                    await use(stream, how)


@pytest.mark.parametrize("how", HOW)
async def test_a_stream_left_by_an_exception_ends(
    how: str, autojump_clock: MockClock
) -> None:
    """Where the context goes on all the same, nobody waits for longer than `DOUBT`."""
    async with (
        open_world(__name__) as world,
        world.parent.portal.open_context(leaves_its_stream) as (ctx, _),
    ):
        async with ctx.open_stream() as stream:
            with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
                await use(stream, how)
            assert trio.current_time() == pytest.approx(1 + DOUBT, abs=0.15)
        await ctx.cancel()


async def test_a_caller_that_waits_has_no_doubt(autojump_clock: MockClock) -> None:
    """`wait_for_result` after a stream that was left by a time-out: it is the end."""
    async with open_world(__name__) as world:
        async with world.parent.portal.open_context(reader) as (ctx, _):
            with trio.move_on_after(1):
                async with ctx.open_stream() as stream:
                    await stream.send(0)
                    await trio.sleep_forever()
            assert await ctx.wait_for_result() == 1
        assert trio.current_time() == pytest.approx(1)


async def test_leaving_the_block_has_no_doubt(autojump_clock: MockClock) -> None:
    """Nor has the end of the block, or one that never opened the stream."""
    async with open_world(__name__) as world:
        async with world.parent.portal.open_context(reader) as (ctx, _):
            with trio.move_on_after(1):
                async with ctx.open_stream():
                    await trio.sleep_forever()
        assert ctx.outcome == 0
        async with world.parent.portal.open_context(reader) as (ctx, _):
            pass
        assert ctx.outcome == 0
        assert trio.current_time() == pytest.approx(1)


async def test_half_an_upload_is_not_taken_for_all(autojump_clock: MockClock) -> None:
    """A caller that is cancelled while it streams cancels its callee's iteration."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        for _ in range(20):  # in whatever order tasks are woken
            with trio.CancelScope() as scope:
                async with (
                    portal.open_context(reader) as (ctx, _),
                    ctx.open_stream() as stream,
                ):
                    await stream.send(0)
                    await wait_all_tasks_blocked()
                    scope.cancel()
                    await trio.sleep_forever()
            assert isinstance(seen[0], trio.Cancelled)
            assert isinstance(ctx.maybe_error, ContextCancelled)


# -- After a cancel --------------------------------------------------------------------


@tractor.context
async def talks_when_cancelled(ctx: Context, count: int) -> None:
    """In a shielded clean-up it sends items, and reads to the end."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for number in range(count):
                    await stream.send(number)
                seen[:] = [item async for item in stream]


async def test_a_clean_up_may_use_the_stream(autojump_clock: MockClock) -> None:
    """What a cancelled callee still sends arrives, credit included; it gets no more."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        async with (
            portal.open_context(talks_when_cancelled, 200) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            await stream.send("before")
            await ctx.cancel()
            with pytest.raises(trio.ClosedResourceError):
                await stream.send("after")
            assert [item async for item in stream] == list(range(200))
        assert ctx.cancel_acked
        assert seen == ["before"]
        assert trio.current_time() == 0


@tractor.context
async def reads_when_cancelled(ctx: Context) -> None:
    """In a clean-up that has begun before."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        with trio.CancelScope(shield=True):
            seen[:] = [item async for item in stream]


async def test_a_cancel_ends_the_items(autojump_clock: MockClock) -> None:
    """A shielded reader, and a task that waits to send to it, hear of it at once."""
    async with open_world(__name__) as world, trio.open_nursery() as tasks:
        portal = world.parent.portal
        async with (
            portal.open_context(reads_when_cancelled) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            await stream.send("before")
            await wait_all_tasks_blocked()
            await ctx.cancel()
        assert seen == ["before"]
        async with (
            portal.open_context(stubborn) as (ctx, _),
            ctx.open_stream() as stream,
        ):
            senders = Senders(stream, tasks)
            await senders.start(ALL)
            await ctx.cancel()
            await wait_all_tasks_blocked()
            assert senders.ends[WAITING[0]] == "ClosedResourceError"


async def test_a_clean_up_that_nobody_reads_ends(autojump_clock: MockClock) -> None:
    """A caller that was cancelled drops what its callee sends in its clean-up."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        with trio.move_on_after(1):
            async with portal.open_context(talks_when_cancelled, 200):
                await trio.sleep_forever()
        assert trio.current_time() == pytest.approx(1)
        assert not world.child.peer.server.invocations


@tractor.context
async def stubborn(ctx: Context) -> None:
    await ctx.started()
    with trio.CancelScope(shield=True):
        await trio.sleep(60)


@pytest.mark.parametrize("how", ["cancel", "raise", "scope"])
async def test_a_callee_that_does_not_end(
    how: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """However its block is left, it is waited for no longer than the grace (E2)."""
    async with open_world(__name__) as world:
        with suppress(ValueError), trio.CancelScope() as scope:
            async with world.parent.portal.open_context(stubborn) as (ctx, _):
                match how:
                    case "cancel":
                        await ctx.cancel()
                    case "raise":
                        raise ValueError
                    case "scope":
                        scope.cancel()
        assert trio.current_time() == pytest.approx(GRACE)
        assert "did not end within its grace" in caplog.text


async def test_a_cancel_that_is_not_acknowledged(autojump_clock: MockClock) -> None:
    """`Context.cancel` waits for half a second, leaving for the rest of the grace."""
    async with open_world(__name__) as world:
        async with world.parent.portal.open_context(sleeper) as (ctx, _):
            world.parent.transport.send_nowait = len  # type: ignore[assignment]
            await ctx.cancel()
            assert trio.current_time() == pytest.approx(0.5)
            await ctx.cancel(timeout=0.1)
            assert trio.current_time() == pytest.approx(0.6)
        assert trio.current_time() == pytest.approx(GRACE)
        world.parent.die()


# -- Too large -------------------------------------------------------------------------

HUGE: Final = b"x" * MAX_FRAME


@tractor.context
async def starts_in_two_goes(ctx: Context) -> str:
    with pytest.raises(FrameTooLarge):
        await ctx.started(HUGE)
    await ctx.started(1)
    async with ctx.open_stream() as stream:
        with pytest.raises(FrameTooLarge):
            await stream.send(HUGE)
        await stream.send(2)
    return "fine"


async def test_what_does_not_fit_was_not_sent(autojump_clock: MockClock) -> None:
    """A first value or an item over the limit may be followed by a smaller one (D7)."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        async with portal.open_context(starts_in_two_goes) as (ctx, first):
            async with ctx.open_stream() as stream:
                assert first == 1
                assert [item async for item in stream] == [2]
            assert await ctx.wait_for_result() == "fine"


@tractor.context
async def takes(ctx: Context, data: bytes) -> None:
    await ctx.started()


@tractor.context
async def returns_much(ctx: Context) -> bytes:
    await ctx.started()
    return HUGE


async def test_a_result_that_does_not_fit(autojump_clock: MockClock) -> None:
    """It is an error of the callee, and the channel lives on."""
    async with open_world(__name__) as world:
        with raises(RemoteActorError) as caught:
            async with world.parent.portal.open_context(returns_much):
                pass
        assert caught.value.boxed_type is FrameTooLarge
        assert await world.parent.portal.run(ping) == "pong"


async def test_arguments_that_do_not_fit(autojump_clock: MockClock) -> None:
    """They are refused at once, and nobody waits for a function that never ran."""
    async with open_world(__name__) as world:
        with pytest.raises(FrameTooLarge):
            async with world.parent.portal.open_context(takes, HUGE):
                pass
        assert trio.current_time() == 0


async def test_an_error_that_does_not_fit(autojump_clock: MockClock) -> None:
    """The callee is told of a shorter one, and cancelled."""
    async with open_world(__name__) as world:
        world.parent.peer.channel.max_frame = 2048
        with raises(ValueError, match="xxx"):
            async with world.parent.portal.open_context(reader):
                await wait_all_tasks_blocked()
                raise ValueError("x" * 10_000)
        assert isinstance(seen[0], RemoteActorError)
        assert len(seen[0].message) < 1000


# -- Who waits -------------------------------------------------------------------------


@tractor.context
async def after_a_second(ctx: Context, what: str) -> list[int]:
    """Leave what is sent unread until then."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await trio.sleep(1)
        match what:
            case "close":
                await stream.aclose()
            case "raise":
                raise KeyError
            case "read":
                return [item async for item in stream]
            case "read one":
                await stream.receive()
                await trio.sleep_forever()
    return []


class Senders:
    """Tasks that send a number each, and start in order."""

    def __init__(self, stream: MsgStream, tasks: trio.Nursery) -> None:
        self.scopes: dict[int, trio.CancelScope] = {}
        self.ends: dict[int, str] = {}
        self._stream = stream
        self._tasks = tasks
        self._changed = trio.Event()

    async def start(self, numbers: range) -> None:
        for number in numbers:
            self._tasks.start_soon(self._send, number)
            await wait_all_tasks_blocked()

    async def wait_done(self, count: int) -> None:
        with trio.fail_after(5):
            while len(self.ends) < count:
                await self._changed.wait()

    async def _send(self, number: int) -> None:
        try:
            with trio.CancelScope() as self.scopes[number]:
                await self._stream.send(number)
                self.ends[number] = "sent"
        except Exception as exc:  # noqa: BLE001 (for the test to look at)
            self.ends[number] = type(exc).__name__
        self._changed.set()
        self._changed = trio.Event()


WAITING: Final = range(WINDOW, WINDOW + 5)
ALL: Final = range(WAITING.stop)


@tractor.context
async def sends(ctx: Context, count: int) -> int:
    await ctx.started()
    async with ctx.open_stream() as stream:
        for number in range(count):
            await stream.send(number)
    return count


@pytest.mark.parametrize("how", ["leave", "wait", "wait in the stream"])
async def test_items_that_nobody_wants_hold_up_nobody(
    how: str, autojump_clock: MockClock
) -> None:
    """A caller that leaves, or waits for the result, drops unread items (§5.2)."""
    async with open_world(__name__) as world:
        async with world.parent.portal.open_context(sends, 500) as (ctx, _):
            await wait_all_tasks_blocked()
            match how:
                case "wait":
                    assert await ctx.wait_for_result() == 500
                case "wait in the stream":
                    async with ctx.open_stream() as stream:
                        assert await stream.receive() == 0
                        assert await ctx.wait_for_result() == 500
        assert ctx.outcome == 500
        assert trio.current_time() == 0


async def test_waiting_senders_keep_their_order(autojump_clock: MockClock) -> None:
    """Of several tasks that wait for credit, the first to come sends first."""
    async with open_world(__name__) as world, trio.open_nursery() as tasks:
        portal = world.parent.portal
        async with portal.open_context(after_a_second, "read") as (ctx, _):
            async with ctx.open_stream() as stream:
                senders = Senders(stream, tasks)
                await senders.start(ALL)
                assert sorted(senders.ends) == list(range(WINDOW))
                assert stream.statistics().tasks_waiting_send == len(WAITING)
                await senders.wait_done(len(ALL))
            assert await ctx.wait_for_result() == list(ALL)


async def test_nobody_overtakes_a_waiting_sender(autojump_clock: MockClock) -> None:
    """Not even a task that comes in the moment in which there is credit again."""
    async with open_world(__name__) as world, trio.open_nursery() as tasks:
        portal = world.parent.portal
        async with (
            portal.open_context(after_a_second, "read one") as (ctx, _),
            ctx.open_stream() as stream,
        ):
            senders = Senders(stream, tasks)
            await senders.start(range(WINDOW + 1))
            await trio.sleep(2)
            ctx.end.on_record(t.Credit(ctx.cid, 1))  # as if it had come just now
            with trio.move_on_after(0.5):
                await stream.send(WINDOW + 1)
            assert WINDOW in senders.ends
            assert stream.statistics().sent == WINDOW + 1
            await ctx.cancel()


async def test_a_cancelled_sender_lets_the_next_one_go(
    autojump_clock: MockClock,
) -> None:
    """It sent nothing and took no credit along; the stream is sound (§6.2)."""
    left = [WAITING[0], WAITING[2]]
    async with open_world(__name__) as world, trio.open_nursery() as tasks:
        portal = world.parent.portal
        async with portal.open_context(after_a_second, "read") as (ctx, _):
            async with ctx.open_stream() as stream:
                senders = Senders(stream, tasks)
                await senders.start(ALL)
                for number in left:
                    senders.scopes[number].cancel()
                await senders.wait_done(len(ALL) - len(left))
                counts = stream.statistics()
                assert counts.sent == len(ALL) - len(left)
                assert counts.send_credit == WINDOW - (counts.sent - 2 * WINDOW // 2)
                assert counts.tasks_waiting_send == 0
            assert await ctx.wait_for_result() == [n for n in ALL if n not in left]


@pytest.mark.parametrize(
    ("what", "end"),
    [
        ("close here", "ClosedResourceError"),
        ("close", "BrokenResourceError"),
        ("return", "BrokenResourceError"),
        ("raise", "RemoteActorError"),
        ("die", "ActorDied"),
        ("cancel", "ClosedResourceError"),
    ],
)
async def test_every_waiting_sender_learns_of_the_end(
    what: str, end: str, autojump_clock: MockClock
) -> None:
    """However a stream ends, nobody goes on waiting for credit (§6.2, A2)."""
    async with open_world(__name__) as world, trio.open_nursery() as tasks:
        portal = world.parent.portal
        with suppress(RemoteActorError, ActorDied), trio.fail_after(2):
            async with (
                portal.open_context(after_a_second, what) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                senders = Senders(stream, tasks)
                await senders.start(ALL)
                match what:
                    case "close here":
                        await stream.aclose()
                    case "die":
                        world.child.die()
                    case "cancel":
                        await ctx.cancel()
                await trio.sleep(1.1)
        await wait_all_tasks_blocked()
        assert {senders.ends[number] for number in WAITING} == {end}


@tractor.context
async def leaks_its_stream(ctx: Context) -> None:
    """Leave a task behind that reads on."""
    await ctx.started()
    ctx.host.spawn(outlive, ctx, name="leaked")
    await wait_all_tasks_blocked()


async def outlive(ctx: Context) -> None:
    async with ctx.open_stream() as stream:
        with pytest.raises(trio.EndOfChannel):
            await stream.receive()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send(0)
        seen[:] = ["told"]


async def test_a_task_that_outlives_its_callee(autojump_clock: MockClock) -> None:
    """Whoever still holds the stream of a function that returned is told."""
    async with open_world(__name__) as world:
        async with world.parent.portal.open_context(leaks_its_stream) as (ctx, _):
            await ctx.end.settled.wait()
        await wait_all_tasks_blocked()
        assert seen == ["told"]
        assert world.parent.peer.dropped == 0


async def test_a_death_is_told_in_full(autojump_clock: MockClock) -> None:
    """Who sends after the channel broke gets the `ActorDied` that comes soon (A2)."""
    async with open_world(__name__) as world:
        portal = world.parent.portal
        with raises(ActorDied):
            async with (
                portal.open_context(sleeper) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                world.child.die()
                await trio.lowlevel.checkpoint()
                with pytest.raises(ActorDied):
                    await stream.send(0)
                with pytest.raises(ActorDied):
                    await stream.receive()
                with pytest.raises(ActorDied):
                    await ctx.wait_for_result()
