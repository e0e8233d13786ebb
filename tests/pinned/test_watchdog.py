"""`set_pump_watchdog`: a host that starves the calls is told of."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests._helpers import open_tree
from tests.pinned import _things as do
from tests.pinned._things import HERE, SAFETY
from tractor import pinned
from tractor.pinned._main_thread import main
from tractor.pinned._queue import Job, Queue
from tractor.pinned._watchdog import Watchdog

SOON = 0.02  # seconds


class Told:
    """Notes what it is told, and wakes whoever waits for that."""

    def __init__(self) -> None:
        self.news: list[tuple[float, int]] = []
        self._sender, self._receiver = trio.open_memory_channel[None](100)

    def __call__(self, seconds: float, waiting: int) -> None:
        """The watchdog tells."""
        self.news.append((seconds, waiting))
        self._sender.send_nowait(None)

    async def wait(self) -> None:
        """Until it has told once more."""
        await self._receiver.receive()


def no_host() -> None:
    """A host that never pumps."""


# -- Deciding --------------------------------------------------------------------------


def test_it_counts_from_when_something_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells once of each such stretch, whatever happens within it."""
    now = [100.0]
    monkeypatch.setattr("tractor.pinned._queue.time.monotonic", lambda: now[0])
    told: list[tuple[float, int]] = []
    queue = Queue()
    watchdog = Watchdog(2.0, lambda *news: told.append(news))
    assert watchdog.seconds_left(queue) is None
    first, second = Job(lambda: None), Job(lambda: None)
    queue.put(first)
    now[0] = 101.5
    queue.put(second)
    assert watchdog.seconds_left(queue) == 0.5
    now[0] = 103.0
    watchdog.tell(queue)
    assert told == [(3.0, 2)]
    assert watchdog.seconds_left(queue) is None
    queue.take_back(first)
    assert watchdog.seconds_left(queue) is None
    queue.pump()
    queue.put(first)
    assert watchdog.seconds_left(queue) == 2.0


def test_an_epoch_that_has_just_ended_is_not_told_of() -> None:
    """Another thread may have been faster."""
    told: list[Any] = []
    Watchdog(1.0, lambda *news: told.append(news)).tell(Queue())
    assert told == []


@pytest.mark.parametrize(
    ("warn_after", "on_starve", "error"),
    [
        (0, None, ValueError),
        (-1.0, None, ValueError),
        (float("nan"), None, ValueError),
        (float("inf"), None, ValueError),
        (True, None, TypeError),
        ("1", None, TypeError),
        (1.0, 3, TypeError),
    ],
)
def test_wrong_settings(warn_after: Any, on_starve: Any, error: type) -> None:
    """Each is refused, and what was set before stays."""
    pinned.set_pump_watchdog(5.0)
    before = main.watchdog
    with pytest.raises(error, match=r"^(warn_after|on_starve) is "):
        pinned.set_pump_watchdog(warn_after, on_starve)
    assert main.watchdog is before


# -- Watching --------------------------------------------------------------------------


async def test_a_host_that_never_pumps_is_told_of() -> None:
    """Once of each epoch, from the moment from which something waits."""
    told = Told()
    pinned.set_pump_wakeup(no_host)
    pinned.set_pump_watchdog(SOON, told)
    async with open_tree("trio"):
        for epoch in (1, 2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pinned.call, do.add, 1)
                nursery.start_soon(pinned.call, do.add, 2)
                await told.wait()
                assert pinned.pump(max_items=1) == (1, False, 0)
                await trio.testing.wait_all_tasks_blocked(3 * SOON)
                assert len(told.news) == epoch
                assert pinned.pump() == (1, False, 0)
    assert [waiting for _, waiting in told.news] == [2, 2]
    assert all(seconds >= SOON for seconds, _ in told.news)


async def test_work_of_others_does_not_fire_it(start_method: str) -> None:
    """Calls of actors that want nothing of the main thread are not its business."""
    told = Told()
    pinned.set_pump_wakeup(no_host)
    pinned.set_pump_watchdog(SOON, told)
    async with open_tree(start_method, enable_modules=[HERE]) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pinned.call, do.add, 1)
            await trio.testing.wait_all_tasks_blocked()
            pinned.pump()
        began = time.monotonic()
        while time.monotonic() < began + 3 * SOON:
            await portal.run(do.sum_up, 1, 2)
        await portal.cancel_actor()
    assert told.news == []


async def test_a_host_that_pumps_in_time_is_not_told_of() -> None:
    """However much there is to do."""
    told = Told()
    pinned.set_pump_watchdog(5.0, told)
    async with open_tree("trio"):
        for number in range(100):
            await pinned.call(do.add, number)
    assert told.news == []


@pytest.mark.parametrize("turn_on", ["before", "after"])
async def test_it_is_off_until_it_is_called_for(turn_on: str) -> None:
    """Also when something waits already; `None` turns it off again."""
    told = Told()
    pinned.set_pump_wakeup(no_host)
    if turn_on == "before":
        pinned.set_pump_watchdog(3600.0, lambda *_: None)
    async with open_tree("trio"), trio.open_nursery() as nursery:
        nursery.start_soon(pinned.call, do.add, 1)
        await trio.testing.wait_all_tasks_blocked(2 * SOON)
        pinned.set_pump_watchdog(SOON, told)  # set anew: the time has passed already
        await told.wait()
        pinned.set_pump_watchdog(None)
        await trio.testing.wait_all_tasks_blocked()
        pinned.set_pump_watchdog(SOON, told)
        await told.wait()
        pinned.set_pump_watchdog(None)
        pinned.pump()
    assert len(told.news) == 2


async def test_by_default_it_is_in_the_log() -> None:
    """With what to do about it; and a callback that raises is logged."""
    pinned.set_pump_wakeup(no_host)
    logged = Logged()
    logging.getLogger("tractor.pinned").addHandler(logged)
    try:
        async with open_tree("trio"), trio.open_nursery() as nursery:
            nursery.start_soon(pinned.call, do.add, 1)
            pinned.set_pump_watchdog(SOON)
            await logged.wait("1 calls wait for the main thread")
            pinned.set_pump_watchdog(SOON, lambda *_: do.fail())
            await logged.wait("on_starve raised")
            pinned.set_pump_watchdog(None)
            pinned.pump()
    finally:
        logging.getLogger("tractor.pinned").removeHandler(logged)


class Logged(logging.Handler):
    """Wakes whoever waits for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """A line."""
        self.lines.append(record.getMessage())
        self._news.set()

    async def wait(self, text: str) -> None:
        """Until there is one with that text."""
        with trio.fail_after(SAFETY):
            while not any(text in line for line in self.lines):
                await self._news.wait()
                self._news = trio.Event()


def test_it_watches_a_host_of_another_thread() -> None:
    """The loop's thread tells, while the main one does something else."""
    starved = threading.Event()
    told_in: list[threading.Thread] = []

    def tell(seconds: float, waiting: int) -> None:
        del seconds, waiting
        told_in.append(threading.current_thread())
        starved.set()

    pinned.set_pump_watchdog(SOON, tell)
    done: list[int] = []
    thread = in_thread(lambda: pinned.call(do.add, 1), done)
    assert starved.wait(SAFETY)
    assert pinned.pump() == (1, False, 0)
    thread.join(SAFETY)
    assert (done, told_in) == ([2], [thread])


def in_thread(call: Callable[[], Any], done: list[int]) -> threading.Thread:
    """A tree in a thread of its own, which awaits that."""

    async def run() -> None:
        async with open_tree("trio"):
            done.append(await call())

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    return thread
