"""The nursery: one cancels all, in one bound, and nothing is left behind."""

import os
import pickle
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

import tractor
from tests import _actors as do
from tests import _misbehaviours as mis
from tests._helpers import (
    MODULES,
    QUICK,
    SAFETY,
    T_DOWN,
    T_GRACE,
    Bell,
    Stopwatch,
    events,
    is_gone,
    open_tree,
    raises,
    start_python,
    strike,
    stubborn,
    within,
    write_program,
)
from tractor import (
    ActorAbandoned,
    ActorDied,
    ContextCancelled,
    RemoteActorError,
    TransportClosed,
)
from tractor.runtime import _nursery, orphans
from tractor.spawn import Child, ChildSpec, Traits, get_backend
from tractor.testing import wait_for_end


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


@pytest.fixture
def gate(tmp_path: Path) -> str:
    """A named pipe; see `wait_for_gate`."""
    path = str(tmp_path / "gate")
    os.mkfifo(path)
    return path


async def open_gate(gate: str) -> None:
    await trio.to_thread.run_sync(lambda: open(gate, "w").close())


# -- Leaving normally ------------------------------------------------------------------


async def test_leaving_waits_for_results(start_method: str, gate: str) -> None:
    """The block is left when each `run_in_actor` has its result (semantics §3.1)."""
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            async with tractor.open_nursery(start_method=start_method) as an:
                portal = await an.run_in_actor(do.succeed, gate=gate)
                nursery.start_soon(open_gate, gate)
            assert await portal.wait_for_result() == "success"
            assert an.exited.is_set()
            assert not an.cancel_called


async def test_leaving_waits_for_daemons(start_method: str) -> None:
    """A live daemon holds the block until somebody cancels it (semantics §3.1)."""
    stopped = False

    async def stop_later(portal: tractor.Portal) -> None:
        nonlocal stopped
        await trio.testing.wait_all_tasks_blocked()
        assert not an.exited.is_set()
        stopped = await portal.cancel_actor()

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            async with tractor.open_nursery(start_method=start_method) as an:
                nursery.start_soon(stop_later, await an.start_actor("daemon"))
            assert stopped
    assert (an.errors, an.cancel_called) == ({}, False)


async def test_an_actor_that_stops_itself_is_no_error(start_method: str) -> None:
    """A daemon may also end itself (semantics §3.1)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("daemon", enable_modules=MODULES)
        await portal.run(do.stop_myself)
    assert (an.errors, an.cancel_called) == ({}, False)


async def test_an_actor_started_while_the_block_ends_is_waited_for(
    start_method: str,
) -> None:
    """It holds the block as those before it did (semantics §3.1)."""
    done = False

    async def start_late(first: tractor.Portal) -> None:
        nonlocal done
        await trio.testing.wait_all_tasks_blocked()  # the body has ended
        late = await an.start_actor("late", enable_modules=MODULES)
        await first.cancel_actor()
        await late.run(mis.behaves)
        done = await late.cancel_actor()

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            async with tractor.open_nursery(start_method=start_method) as an:
                nursery.start_soon(start_late, await an.start_actor("first"))
            assert done


async def test_an_empty_nursery(start_method: str) -> None:
    """Without actors nothing is waited for, and errors just pass (semantics §3.1)."""
    async with open_tree(start_method) as an:
        pass
    assert (an.cancel_called, an.cancelled_caught, an.errors) == (False, False, {})
    with raises(KeyError):
        async with open_tree(start_method) as an:
            await an.cancel()
            raise KeyError


# -- One cancels all -------------------------------------------------------------------


async def test_an_error_in_the_body_stops_all(start_method: str, bell: Bell) -> None:
    """It cancels the children and is raised bare (semantics §3.2)."""
    with raises(KeyError), events("exit") as exits:
        async with open_tree(start_method) as an:
            await an.start_actor("daemon")
            await an.run_in_actor(mis.waits, bell=bell.path)
            await bell.heard()
            raise KeyError
    assert (an.cancel_called, an.cancelled_caught, an.errors) == (True, True, {})
    assert [event.data["report"].outcome for event in exits] == ["cancelled"] * 2


async def test_an_error_in_a_child_stops_all(start_method: str, bell: Bell) -> None:
    """It cancels body and siblings and is raised bare (semantics §3.2)."""
    with raises(RemoteActorError, match="on purpose") as caught:
        async with open_tree(start_method) as an:
            await an.start_actor("daemon")
            await an.run_in_actor(mis.waits, bell=bell.path)
            await bell.heard()
            await an.run_in_actor(mis.fails)
            await trio.sleep_forever()
    assert caught.value.boxed_type is ValueError
    assert caught.value.src_uid[0] == "fails"
    assert list(an.errors.values()) == [caught.value]


async def test_a_death_stops_all(start_method: str) -> None:
    """What the body hears of it, too, is one error, and bare (semantics §3.2)."""
    with raises(ActorDied) as caught:
        async with open_tree(start_method) as an:
            sibling = await an.start_actor("sibling")
            portal = await an.run_in_actor(mis.dies, number=signal.SIGKILL)
            await portal.wait_for_result()
    assert caught.value.aid == portal.aid
    assert is_gone(sibling)


async def test_an_error_that_the_body_waited_for(start_method: str) -> None:
    """It is not raised a second time (semantics §3.2)."""
    with raises(RemoteActorError, match="on purpose"):
        async with open_tree(start_method) as an:
            portal = await an.run_in_actor(mis.fails)
            await portal.wait_for_result()


async def test_an_error_that_the_body_handled(start_method: str) -> None:
    """A failed call to a daemon is the caller's alone to handle (semantics §3.2)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        with pytest.raises(RemoteActorError):
            await portal.run(mis.fails)
        await portal.run(mis.behaves)
        assert not an.cancel_called
        await an.cancel()


async def test_ten_children_that_fail_at_once(start_method: str, bell: Bell) -> None:
    """All errors are in one group, after one bound for all (semantics §3.2)."""
    with raises(ExceptionGroup) as caught:
        async with open_tree(start_method) as an:
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    start = partial(an.run_in_actor, bell=bell.path, name=f"{number}")
                    nursery.start_soon(start, mis.fails_in_cleanup)
            for _ in range(10):
                await bell.heard()
            with within(T_DOWN, slack=1):
                try:
                    raise KeyError
                finally:
                    await an.cancel()
    body, *others = caught.value.exceptions
    assert isinstance(body, KeyError)
    assert {error.src_uid for error in others} == an.errors.keys()  # type: ignore[union-attr]
    assert len(others) == 10


async def test_a_nursery_of_the_user_inside(start_method: str) -> None:
    """Lone nested groups are collapsed (semantics §3.2)."""
    with raises(RemoteActorError, match="on purpose"):
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            async with trio.open_nursery() as outer, trio.open_nursery() as inner:
                outer.start_soon(trio.sleep_forever)
                inner.start_soon(portal.run, mis.fails)


async def test_a_death_heard_of_in_a_nursery_inside(
    start_method: str, bell: Bell
) -> None:
    """It is one error, and bare, however many waited (semantics §3.2)."""
    with raises(ActorDied) as caught:
        async with open_tree(start_method) as an:
            portal = await an.start_actor("x", enable_modules=MODULES)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(portal.run, mis.waits, bell.path)
                    await bell.heard()
                strike(portal)
    assert caught.value.aid == portal.aid


async def test_siblings_do_not_wait_for_the_end_of_the_one_that_failed(
    start_method: str, traits: Traits, bell: Bell, gate: str
) -> None:
    """All are stopped when the error is known, in one bound (semantics §3.2)."""
    body = getattr(mis, stubborn(traits)[0])

    async def call(portal: tractor.Portal) -> None:
        with pytest.raises(TransportClosed if traits.can_kill else ContextCancelled):
            await portal.run(body, bell.path)

    with pytest.RaisesGroup(RemoteActorError):
        async with trio.open_nursery() as nursery, open_tree(start_method) as an:
            failing = await an.run_in_actor(mis.fails_at_gate, gate=gate)
            sibling = await an.start_actor("sibling", enable_modules=MODULES)
            for portal in (failing, sibling):
                nursery.start_soon(call, portal)
                await bell.heard()
            await open_gate(gate)
            watch = Stopwatch()
    watch.check(T_DOWN, slack=1)


# -- Being cancelled -------------------------------------------------------------------


async def test_being_cancelled_stops_all(start_method: str, bell: Bell) -> None:
    """A cancelled body stops the children, and that is all (semantics §3.2)."""
    with trio.CancelScope() as scope:
        async with open_tree(start_method) as an:
            await an.start_actor("daemon")
            await an.run_in_actor(mis.waits, bell=bell.path)
            await bell.heard()
            scope.cancel()
    assert scope.cancelled_caught
    assert (an.cancelled_caught, an.errors) == (True, {})


async def test_an_error_outranks_a_cancellation(start_method: str, bell: Bell) -> None:
    """What a child raises because of it is raised (semantics §3.2)."""
    with raises(RemoteActorError, match="in its clean-up"), trio.CancelScope() as scope:
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.fails_in_cleanup, bell=bell.path)
            await bell.heard()
            scope.cancel()
    assert not scope.cancelled_caught


async def test_ctrl_c_in_the_body_is_a_cancellation(
    start_method: str, bell: Bell
) -> None:
    """The children are asked to stop, and it goes on as it is (semantics §3.2)."""
    with raises(KeyboardInterrupt):
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.waits, bell=bell.path)
            await bell.heard()
            async with trio.open_nursery():
                raise KeyboardInterrupt
    assert (an.cancelled_caught, an.errors) == (True, {})


async def test_being_cancelled_twice(start_method: str, bell: Bell) -> None:
    """Cancelling what is being cancelled changes nothing (semantics §3.3)."""
    with events("rung") as rungs:
        async with open_tree(start_method, graces=QUICK) as an:
            await an.run_in_actor(mis.ignores_cancel, bell=bell.path)
            await bell.heard()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(an.cancel)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
                await an.cancel()
                # Shielded: it is over, though the caller was cancelled.
                assert an._children == {}
    assert [event.data["rung"] for event in rungs] == ["cancel", "terminate"]
    assert (an.cancelled_caught, an.errors) == (False, {})


async def test_a_nursery_inside_a_call_that_is_cancelled(
    start_method: str, bell: Bell
) -> None:
    """The caller gets control back when what was below is gone (semantics §4.2)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("middle", enable_modules=MODULES)
        for body in ("waits", "ignores_cancel"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, mis.has_child, body, bell.path)
                leaf = int(await bell.heard())
                watch = Stopwatch()
                nursery.cancel_scope.cancel()
            watch.check(T_GRACE, slack=1.2)
            assert is_gone(tractor.Aid("level1", "", leaf))
        await portal.run(mis.behaves)
        await an.cancel()
        assert an.cancelled_caught


# -- Cancelling ------------------------------------------------------------------------


async def test_cancel(start_method: str, bell: Bell) -> None:
    """`cancel` stops every child and says what happened; the body goes on (§3.3)."""
    async with open_tree(start_method) as an:
        daemon = await an.start_actor("daemon", enable_modules=MODULES)
        main = await an.run_in_actor(mis.waits, bell=bell.path)
        await bell.heard()
        assert (an.cancel_called, an.cancelled_caught) == (False, False)
        await an.cancel()
        assert (an.cancel_called, an.cancelled_caught) == (True, True)
        assert not await daemon.cancel_actor()
        with pytest.raises(TransportClosed, match="has ended"):
            await daemon.run(mis.behaves)
        with pytest.raises(ContextCancelled) as caught:
            await main.wait_for_result()
        assert caught.value.canceller == tractor.current_actor().aid.uid
    assert an.errors == {}


async def test_a_tree_is_stopped_in_the_bound_of_its_root(
    start_method: str, traits: Traits, bell: Bell
) -> None:
    """Three levels with leaves that ignore everything take one bound (§3.2, §3.4)."""
    async with open_tree(start_method) as an:
        for body in stubborn(traits):
            await an.run_in_actor(
                mis.has_child, name=body, fn=body, bell=bell.path, depth=2
            )
        leaves = [int(await bell.heard()) for _ in range(2)]
        with within(T_DOWN, slack=1):
            await an.cancel()
            assert wait_for_end(set(leaves) - {os.getpid()}) == []
            assert all(is_gone(tractor.Aid("level1", "", leaf)) for leaf in leaves)


# -- Nothing is left -------------------------------------------------------------------


async def test_leaving_means_reaped(start_method: str) -> None:
    """Each process is gone when the block is, and its portal says so (§3.4)."""
    async with open_tree(start_method) as an:
        portals = [await an.start_actor(name) for name in "ab"]
        await an.cancel()
    assert all(is_gone(portal) for portal in portals)
    assert all(portal.chan.closed is not None for portal in portals)
    assert an.exited.is_set()


class Unstoppable:
    """A backend like `trio`, whose children nobody can stop."""

    key = "unstoppable"
    traits = replace(get_backend("trio").traits, can_kill=False)

    async def start(self, spec: ChildSpec) -> Child:
        self.child = await get_backend("trio").start(spec)
        self.kill = self.child.kill
        vars(self.child).update(terminate=lambda: None, kill=None)
        return self.child


async def test_who_cannot_be_stopped_is_abandoned(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nursery says so and goes on; so does whoever waits (semantics §3.4)."""
    backend = Unstoppable()
    monkeypatch.setattr(_nursery, "get_backend", lambda _: backend)
    with trio.fail_after(SAFETY):
        async with tractor.open_root_actor(graces=QUICK):
            with raises(ActorAbandoned) as caught, within(QUICK.bound):
                async with tractor.open_nursery() as an:
                    portal = await an.run_in_actor(mis.ignores_cancel, bell=bell.path)
                    await bell.heard()
                    await an.cancel()
            assert caught.value.report.outcome == "abandoned"
            assert orphans()[-1] == caught.value.aid == portal.aid
            with pytest.raises(TransportClosed):
                await portal.wait_for_result()
            backend.kill()
            await backend.child.wait()


async def test_a_root_that_ends_before_a_nursery_in_another_task(
    start_method: str,
) -> None:
    """Its actors are stopped with it, and nobody hangs (semantics §3.4)."""
    ready, gone = trio.Event(), trio.Event()

    async def use_actors() -> None:
        with raises(tractor.RuntimeFailure, match="block of its nursery before that"):
            async with tractor.open_nursery() as an:
                portal = await an.start_actor("x", enable_modules=MODULES)
                nursery.start_soon(use_none)
                await portal.run(mis.waits, os.devnull)
        assert is_gone(portal)

    async def use_none() -> None:
        async with tractor.open_nursery() as an:
            ready.set()
            await gone.wait()
            with pytest.raises(RuntimeError, match="this nursery is closed"):
                await an.start_actor("x")

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            async with tractor.open_root_actor(start_method=start_method):
                nursery.start_soon(use_actors)
                await ready.wait()
            gone.set()


# -- Errors as values ------------------------------------------------------------------


def public(error: Exception) -> dict[str, object]:
    return {key: value for key, value in vars(error).items() if key[0] != "_"}


async def test_errors_can_be_pickled(start_method: str) -> None:
    """What a tree raises may be pickled (docs/how-to/contribute.md)."""
    errors: list[Exception] = []
    for body, kwargs in (
        (mis.dies, {"number": 9}),
        (mis.fails, {}),
        (do.die_below, {}),
    ):
        with raises(tractor.TractorError) as caught:
            async with open_tree(start_method) as an:
                await an.run_in_actor(body, **kwargs)  # type: ignore[arg-type]
        errors.append(caught.value)
    async with open_tree(start_method) as an:
        with pytest.raises(tractor.SpawnError) as failed:
            await an.start_actor("x", enable_modules=["asyncio.windows_events"])
        errors.append(failed.value)
    for error in [*errors, ExceptionGroup("both", errors)]:
        copy = pickle.loads(pickle.dumps(error))
        assert repr(copy) == repr(error)
        assert str(copy) == str(error)
        assert public(copy) == public(error)


# -- Ctrl-C, in programs ---------------------------------------------------------------

PROGRAM = """
    import signal, sys, trio, tractor
    from tests import _misbehaviours as mis
    from tractor.runtime._spawned import SpawnedActor

    def stop_and_ring(*args, stop=SpawnedActor.stop):
        stop(*args)
        if sys.argv[2] == "in between":
            signal.raise_signal(signal.SIGINT)

    SpawnedActor.stop = stop_and_ring

    async def main(bell, when):
        with trio.CancelScope() as scope:
            async with tractor.open_nursery(graces=tractor.Graces(cancel=30)) as an:
                portal = await an.run_in_actor(mis.rings_when_cancelled, bell=bell)
                await portal.run(mis.behaves)  # so the other one has begun
                if when == "first":
                    await trio.sleep_forever()
                scope.cancel()
        print("lost")

    trio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("when", ["first", "later", "in between"])
def test_ctrl_c_while_the_children_are_being_stopped(
    start_method: str, tmp_path: Path, bell: Bell, when: str
) -> None:
    """It ends the patience: they are killed, and it is raised (reliability B3)."""
    program = write_program(tmp_path, PROGRAM)
    with start_python(start_method, program, bell.path, when) as root:
        pid = int(bell.wait_heard())
        if when == "first":
            root.send_signal(signal.SIGINT)
        if when != "in between":
            assert bell.wait_heard() == "cancelled"
        with within(T_DOWN, slack=1):
            if when != "in between":
                root.send_signal(signal.SIGINT)
            out, err = root.communicate(timeout=SAFETY)
    assert not Path(f"/proc/{pid}").exists()
    assert (out, root.returncode) == ("", -signal.SIGINT), err
    assert "ExceptionGroup" not in err
