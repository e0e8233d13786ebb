"""Programs whose main thread belongs to a host: it pumps, and trio is elsewhere."""

import asyncio
import os
import subprocess
import sys
import threading
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import outcome
import pytest
import trio
import trio.testing

from tests._helpers import ROOT, T_DOWN, open_tree, within
from tests.pinned import _things as do
from tests.pinned._hosts import InThread, PostLoop, TickLoop, run_as_guest
from tests.pinned._things import HERE, SAFETY
from tractor import pinned
from tractor.pinned import PumpResult
from tractor.pinned._main_thread import main

SERVED = [HERE]
HOME = [os.getpid(), True]


async def calls_from_everywhere() -> list[Any]:
    """Calls of the root and of an actor; what they say."""
    async with open_tree("trio", enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        said = [
            await pinned.call(do.place),
            await portal.run(do.where),
            sum(await portal.run(do.many, 50)),
        ]
        window = await pinned.call(do.make_window, "one")
        said.append(await portal.run(do.retitle_from_here, window, "two"))
        await window.aclose()
        await portal.cancel_actor()
    return said


EXPECTED = [HOME, HOME, 50 * 51 // 2, "one"]


# -- trio in a thread ------------------------------------------------------------------


def test_a_loop_that_pumps_when_it_is_told_to() -> None:
    """A wake-up for each time, and no polling."""
    host = PostLoop()
    pumped: list[PumpResult] = []

    def pump() -> None:
        pumped.append(pinned.pump())

    pinned.set_pump_wakeup(lambda: host.post(pump))
    guest = InThread(calls_from_everywhere, host.exit)
    guest.start()
    host.run()
    assert guest.result() == EXPECTED
    assert sum(one.executed for one in pumped) == 55
    pinned.pump()


def test_a_loop_that_pumps_at_every_tick() -> None:
    """With a bound, so that frames are drawn whatever there is to do."""
    host = TickLoop()
    drawn: list[float] = []

    def tick(seconds: float) -> None:
        result = pinned.pump(deadline=seconds / 2, max_items=10)
        assert result.executed <= 10
        drawn.append(seconds)

    host.schedule(tick)
    guest = InThread(calls_from_everywhere, host.exit)
    guest.start()
    host.run()
    assert guest.result() == EXPECTED
    assert len(drawn) == host.ticks > 0
    pinned.pump()


def test_a_wake_up_is_not_lost_while_the_host_goes_to_sleep() -> None:
    """Each call comes back before the next one, a thousand times."""

    async def one_by_one() -> int:
        async with open_tree("trio"):
            total = 0
            for number in range(1000):
                total += await pinned.call(do.add, number, 0)
        return total

    host = PostLoop()
    pinned.set_pump_wakeup(lambda: host.post(pinned.pump))
    guest = InThread(one_by_one, host.exit)
    guest.start()
    host.run()
    assert guest.result() == sum(range(1000))


def test_what_a_bounded_pump_leaves_is_told_of_again() -> None:
    """So a host that pumps one at a time gets to the end, without a clock."""

    async def at_once() -> list[int]:
        async with open_tree("trio"):
            return await do.many(20)

    host = PostLoop()
    pinned.set_pump_wakeup(lambda: host.post(lambda: pinned.pump(max_items=1)))
    guest = InThread(at_once, host.exit)
    guest.start()
    host.run()
    assert guest.result() == list(range(1, 21))


def test_a_host_that_comes_late_is_told_of_what_waits() -> None:
    """A wake-up that is set while calls wait is called at once."""
    waits = threading.Event()

    async def ask() -> int:
        async with open_tree("trio"):
            waits.set()
            return await pinned.call(do.add, 1)

    host = PostLoop()
    guest = InThread(ask, host.exit)
    guest.start()
    assert waits.wait(SAFETY)
    pinned.set_pump_wakeup(lambda: host.post(pinned.pump))
    host.run()
    assert guest.result() == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_errors_that_end_programs_end_the_pump(error: type[BaseException]) -> None:
    """The host gets it at once, whoever waited gets it too, the rest stays queued."""
    seen: list[type[BaseException]] = []

    def fail() -> None:
        raise error

    async def first() -> None:
        with pytest.raises(error) as caught:
            await pinned.call(fail)
        seen.append(caught.type)

    async def ask() -> None:
        async with open_tree("trio"), trio.open_nursery() as nursery:
            for call in (first, partial(pinned.call, do.add, 1)):
                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
            ready.set()

    ready = threading.Event()
    guest = InThread(ask)
    guest.start()
    assert ready.wait(SAFETY)
    with pytest.raises(error):
        pinned.pump()
    assert len(main.queue) == 1
    assert pinned.pump() == PumpResult(1, False, 0)
    guest.result()
    assert seen == [error]


def test_a_call_that_runs_is_not_interrupted() -> None:
    """Its waiter may go; the call ends by itself, and nobody gets what it returns."""
    inside, left = threading.Event(), threading.Event()
    ended: list[bool] = []

    def slow() -> object:
        inside.set()
        ended.append(left.wait(SAFETY))
        return object()

    async def ask() -> bool:
        async with open_tree("trio"), trio.open_nursery() as nursery:
            nursery.start_soon(pinned.call, slow)
            await trio.to_thread.run_sync(inside.wait, SAFETY)
            nursery.cancel_scope.cancel()
        left.set()
        return nursery.cancel_scope.cancelled_caught

    ready = threading.Event()
    pinned.set_pump_wakeup(ready.set)
    guest = InThread(ask)
    guest.start()
    assert ready.wait(SAFETY)
    assert pinned.pump() == PumpResult(1, False, 0)
    assert guest.result()
    assert ended == [True]


def test_a_wake_up_that_raises_does_not_harm_the_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and the call waits for the next pump."""
    tried = threading.Event()

    def broken() -> None:
        tried.set()
        raise ValueError("no such window")

    async def ask() -> int:
        async with open_tree("trio"):
            return await pinned.call(do.add, 1)

    pinned.set_pump_wakeup(broken)
    guest = InThread(ask)
    guest.start()
    assert tried.wait(SAFETY)
    assert pinned.pump() == PumpResult(1, False, 0)
    assert guest.result() == 2
    assert "the wake-up of set_pump_wakeup() raised" in caplog.text


# -- Who may pump ----------------------------------------------------------------------


def test_only_the_main_thread_pumps() -> None:
    """Any other one gets an error that names both."""
    found: list[outcome.Outcome[Any]] = []
    thread = threading.Thread(
        target=lambda: found.append(outcome.capture(pinned.pump)), name="the other one"
    )
    thread.start()
    thread.join(SAFETY)
    with pytest.raises(RuntimeError, match=r"'the other one'.*the main thread"):
        found[0].unwrap()


def test_pump_inside_pump_raises() -> None:
    """Whoever asked for it gets the error, and the outer one goes on."""
    host = PostLoop()

    async def ask() -> None:
        async with open_tree("trio"):
            with pytest.raises(RuntimeError, match="called by what it runs"):
                await pinned.call(pinned.pump)

    pinned.set_pump_wakeup(lambda: host.post(pinned.pump))
    guest = InThread(ask, host.exit)
    guest.start()
    host.run()
    guest.result()


async def test_a_task_may_pump_where_trio_owns_the_thread() -> None:
    """There is no need to, and no harm in it."""
    async with open_tree("trio"):
        assert pinned.pump() == (0, False, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pinned.call, do.add, 1)
            await trio.lowlevel.checkpoint()
            pinned.pump()


def test_without_a_tree_there_is_nothing_to_pump() -> None:
    """A host need not know when trees begin and end."""
    assert pinned.pump(deadline=0.1, max_items=1, raise_on_error=True) == (0, False, 0)


@pytest.mark.parametrize("wrong", [3, "pump"])
def test_a_wake_up_is_a_function(wrong: Any) -> None:
    """Or `None`, and nothing else."""
    with pytest.raises(TypeError, match=r"^callback is a function without arguments"):
        pinned.set_pump_wakeup(wrong)


# -- trio as a guest -------------------------------------------------------------------


def test_a_guest_runs_the_calls_itself() -> None:
    """Nobody has to pump, since trio turns in the main thread, too."""
    assert run_as_guest(PostLoop(), calls_from_everywhere) == EXPECTED


def test_a_host_may_run_the_calls_of_its_guest() -> None:
    """If it has said so; then trio leaves them alone."""
    host = PostLoop()
    pumped: list[PumpResult] = []

    def pump() -> None:
        pumped.append(pinned.pump(max_items=7))

    pinned.set_pump_wakeup(lambda: host.post(pump))
    assert run_as_guest(host, calls_from_everywhere) == EXPECTED
    assert sum(one.executed for one in pumped) == 55


def test_a_guest_takes_over_when_the_host_resigns() -> None:
    """What waited for the host runs then."""

    async def ask() -> int:
        async with open_tree("trio"):
            queued = trio.Event()
            pinned.set_pump_wakeup(queued.set)
            found: list[int] = []
            async with trio.open_nursery() as nursery:

                async def one() -> None:
                    found.append(await pinned.call(do.add, 1))

                nursery.start_soon(one)
                await queued.wait()
                pinned.set_pump_wakeup(None)
            return found[0]

    assert run_as_guest(PostLoop(), ask) == 2
    assert trio.run(ask) == 2


@pytest.mark.parametrize("hosted", [False, True])
def test_a_guest_of_asyncio(hosted: bool) -> None:
    """Either way."""

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        if hosted:
            pinned.set_pump_wakeup(lambda: loop.call_soon_threadsafe(pinned.pump))
        trio.lowlevel.start_guest_run(
            calls_from_everywhere,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        return (await done).unwrap()

    assert asyncio.run(run()) == EXPECTED


# -- Ctrl-C ----------------------------------------------------------------------------


def test_ctrl_c_interrupts_a_call() -> None:
    """As it would any other plain function, and whoever waits for it gets it."""

    async def ask() -> int:
        async with open_tree("trio"):
            with pytest.raises(KeyboardInterrupt):
                await pinned.call(do.interrupt)
            return await pinned.call(do.add, 1)

    assert trio.run(ask) == 2


def test_ctrl_c_in_the_call_of_another_actor_ends_the_root(start_method: str) -> None:
    """The user wants the tree to end, and not that actor to have an error."""
    cancelled: list[bool] = []

    async def ask() -> None:
        async with open_tree(start_method, enable_modules=[HERE]) as an:
            portal = await an.start_actor("child", enable_modules=[HERE])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, do.interrupt_root)
                try:
                    await trio.sleep_forever()
                finally:
                    cancelled.append(trio.current_effective_deadline() < 0)

    with within(T_DOWN), pytest.raises(KeyboardInterrupt):
        trio.run(ask)
    assert cancelled == [True]


# -- Forks -----------------------------------------------------------------------------

FORKS: Final = """
import os
from tractor import pinned
from tractor.pinned._main_thread import main
from tractor.pinned._queue import Job

pinned.set_pump_wakeup(lambda: None)
main.queue.put(Job(lambda: print("ran", flush=True)))
if os.fork():
    os.wait()
    assert pinned.pump().executed == 1
else:
    assert (len(main.queue), main.wakeup) == (0, None)
    assert pinned.pump().executed == 0
"""


def test_what_waits_does_so_in_one_process() -> None:
    """A fork has a main thread of its own, for which nothing waits."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        cwd=ROOT,
        timeout=SAFETY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("ran\n", "")


# -- Tk --------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("_tkinter") is None, reason="tkinter is not installed")
@pytest.mark.skipif("DISPLAY" not in os.environ, reason="tkinter has no display")
def test_a_main_loop_of_tk() -> None:
    """A window that actors change, and a loop that sleeps while they do not."""
    program = [sys.executable, "-m", "tests.pinned._tk_program"]
    done = subprocess.run(
        program, cwd=ROOT, timeout=SAFETY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["hello", "True", "210", "23"]
