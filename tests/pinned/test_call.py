"""`tractor.pinned.call`, from the root and from actors, where trio owns the thread."""

import os
import threading
from functools import partial

import pytest
import trio
import trio.testing

import tractor
from tests._helpers import open_tree, raises, strike
from tests.pinned import _things as do
from tests.pinned._things import HERE, SAFETY
from tractor import pinned
from tractor.pinned._main_thread import main
from tractor.pinned._packing import find

SERVED = [HERE]


# -- In the root -----------------------------------------------------------------------


async def test_the_root_runs_anything() -> None:
    """Functions, lambdas and closures; arguments and results are not copied."""
    thing = object()
    async with open_tree("trio"):
        assert await pinned.call(do.add, 1, b=2) == 3
        assert await pinned.call(lambda: thing) is thing
        assert await pinned.call(dict, fn=thing) == {"fn": thing}
        assert await pinned.call(do.place) == [os.getpid(), True]


async def test_errors_are_raised_as_they_are() -> None:
    """In the task that called, and nowhere else; also those that are no Exception."""
    async with open_tree("trio"):
        with raises(do.Oops, match="own class"):
            await pinned.call(do.oops)
        with raises(SystemExit):
            await pinned.call(do.leave)
        assert await pinned.call(do.add, 1) == 2


@pytest.mark.parametrize(
    ("fn", "text"), [(do.where, "is async"), (3, "runs functions, not 3")]
)
async def test_what_is_no_plain_function_is_refused(fn: object, text: str) -> None:
    """Before anything waits for it."""
    async with open_tree("trio"):
        with raises(TypeError, match=text):
            await pinned.call(fn)  # type: ignore[arg-type]


async def test_without_an_actor_there_is_no_root() -> None:
    """The error names what to open."""
    with raises(tractor.NoRuntime, match="open_root_actor"):
        await pinned.call(do.add, 1)


async def test_calls_run_in_their_order() -> None:
    """However many tasks wait."""
    seen: list[int] = []
    async with open_tree("trio"), trio.open_nursery() as nursery:

        async def ask(number: int, ready: trio.Event, after: trio.Event) -> None:
            await ready.wait()
            after.set()
            await pinned.call(seen.append, number)

        turns = [trio.Event() for _ in range(51)]
        for number in range(50):
            nursery.start_soon(ask, number, turns[number], turns[number + 1])
        turns[0].set()
    assert seen == list(range(50))


async def test_what_has_not_begun_can_be_cancelled() -> None:
    """It is out of the queue, and never runs; nor does what was cancelled before."""
    seen: list[int] = []
    queued = trio.Event()
    pinned.set_pump_wakeup(queued.set)  # and nobody runs it
    async with open_tree("trio"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await pinned.call(seen.append, 1)
        assert not queued.is_set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pinned.call, seen.append, 2)
            await queued.wait()
            nursery.cancel_scope.cancel()
        assert len(main.queue) == 0
        assert pinned.pump() == (0, False, 0)
    assert seen == []


async def test_a_thread_of_the_program_may_call() -> None:
    """By way of the loop; it runs on the main thread all the same."""
    async with open_tree("trio"):
        call = partial(trio.from_thread.run, pinned.call, do.place)
        assert await trio.to_thread.run_sync(call) == [os.getpid(), True]


async def test_another_loop_may_not() -> None:
    """An actor's calls come from its own loop."""

    async def ask() -> None:
        await pinned.call(do.place)

    async with open_tree("trio"):
        with raises(tractor.RuntimeFailure, match="loop of another thread"):
            await trio.to_thread.run_sync(trio.run, ask)


async def test_the_loop_turns_between_calls() -> None:
    """A call that always asks for another one does not stop all else."""
    stop = False

    async def again() -> None:
        while not stop:
            await pinned.call(do.add, 1)

    async with open_tree("trio"), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(again)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        stop = True


async def test_one_tree_after_another() -> None:
    """Nothing is left of the first one."""
    for _ in range(2):
        async with open_tree("trio"):
            assert await pinned.call(do.add, 1) == 2
        assert main.loop is None
        assert len(main.queue) == 0


# -- In other actors -------------------------------------------------------------------


async def test_an_actor_calls_the_main_thread_of_the_root(start_method: str) -> None:
    """Whatever hosts it; types are those of the annotations."""
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        assert await portal.run(do.where) == [os.getpid(), True]
        assert await portal.run(do.mirrored, 1, 2) == ["Point", 2, 1]
        assert await portal.run(do.many, 100) == list(range(1, 101))
        await portal.cancel_actor()


async def test_it_is_found_from_any_depth(start_method: str) -> None:
    """Parents pass calls on, and need nothing for that."""
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        found = await portal.run(do.where_below, 2, start_method)
        assert found == [os.getpid(), True]
        await portal.cancel_actor()


async def test_errors_cross(start_method: str) -> None:
    """What the function raises, and what is wrong with the call."""
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        found = await portal.run(do.errors)
        await portal.cancel_actor()
    assert found["fail"][0] == "ValueError"
    assert "on purpose" in found["fail"][1]
    assert found["oops"][0] == "Oops"
    assert found["unsendable"][0] == "MsgTypeError"
    assert found["leave"][0] == "SystemExit"
    assert "lambda" in found["lambda"][1]
    assert "is async" in found["async"][1]
    assert "not exposed by the root" in found["builtin"][1]


async def test_the_root_runs_what_it_exposes_only(start_method: str) -> None:
    """A module that is not enabled there is refused, and the text says where."""
    text = rf"'{HERE}' is not exposed by the root; add it there: open_root_actor\(ena"
    async with open_tree(start_method) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        with raises(tractor.RemoteActorError, match=text):
            await portal.run(do.where)
        with raises(tractor.RemoteActorError, match=text):
            await portal.run(do.where_below, 1, start_method)
        await portal.cancel_actor()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (f"{HERE}:add", None),
        (f"{HERE}:_hidden", tractor.ModuleNotExposed),
        (f"{HERE}:nothing", AttributeError),
        (f"{HERE}:cast", tractor.ModuleNotExposed),
        (f"{HERE}:os", tractor.ModuleNotExposed),
        (f"{HERE}:Window.__del__", AttributeError),
        ("os:system", tractor.ModuleNotExposed),
        ("nonsense", ValueError),
    ],
)
async def test_what_the_root_finds(path: str, error: type[Exception] | None) -> None:
    """Public names that are defined in an enabled module, and no dotted walks."""
    async with open_tree("trio", enable_modules=[HERE]):
        actor = tractor.current_actor()
        if error is None:
            assert find(actor, path) is do.add
        else:
            with raises(error):
                find(actor, path)


async def test_a_call_that_is_cancelled_over_there_never_begins(
    start_method: str,
) -> None:
    """It is out of the queue of the root before the caller has ended."""
    queued = trio.Event()
    pinned.set_pump_wakeup(queued.set)  # and nobody runs it
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.run, do.where)
            await queued.wait()
            nursery.cancel_scope.cancel()
        assert len(main.queue) == 0
        await portal.cancel_actor()


async def test_a_caller_that_dies_leaves_no_call_behind(start_method: str) -> None:
    """Its call is out of the queue when its tree is down."""
    queued = trio.Event()
    pinned.set_pump_wakeup(queued.set)
    with raises(tractor.TransportClosed):
        async with open_tree(start_method, enable_modules=SERVED) as an:
            portal = await an.start_actor("child", enable_modules=[HERE])

            async def ask() -> None:
                with raises(tractor.TransportClosed):
                    await portal.run(do.where)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await queued.wait()
                strike(portal)
    assert len(main.queue) == 0


async def test_callers_of_a_root_that_ends_are_told(start_method: str) -> None:
    """Nobody waits for a call that will never run."""
    queued = trio.Event()
    pinned.set_pump_wakeup(queued.set)
    with trio.CancelScope() as scope:
        async with open_tree(start_method, enable_modules=SERVED) as an:
            portal = await an.start_actor("child", enable_modules=[HERE])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, do.where)
                await queued.wait()
                scope.cancel()
    assert scope.cancelled_caught


def test_the_thread_is_the_main_one_and_not_trios_own() -> None:
    """Where trio runs elsewhere, calls do not run there, but wait."""
    ran_in: list[str] = []
    waits = threading.Event()

    def note() -> None:
        ran_in.append(threading.current_thread().name)

    async def wait_for_the_host() -> None:
        async with open_tree("trio"), trio.open_nursery() as nursery:
            nursery.start_soon(
                pinned.call, lambda: ran_in.append(threading.current_thread().name)
            )
            await trio.testing.wait_all_tasks_blocked()
            waits.set()

    thread = threading.Thread(target=trio.run, args=(wait_for_the_host,))
    thread.start()
    assert waits.wait(SAFETY)
    assert ran_in == []
    assert pinned.pump() == (1, False, 0)
    thread.join(SAFETY)
    assert ran_in == [threading.main_thread().name]
