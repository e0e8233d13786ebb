"""The queue of calls for one thread: order, bounds, epochs, and who may run them."""

import gc
import math
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.pinned._things import SAFETY
from tractor.pinned import PumpResult
from tractor.pinned._queue import Job, Queue


class Told(Job):
    """Counts how often it was told of."""

    __slots__ = ("told",)

    def __init__(self, run: Callable[[], Any]) -> None:
        super().__init__(run)
        self.told = 0

    def tell(self) -> None:
        """One more."""
        self.told += 1


def raiser(error: BaseException) -> Callable[[], None]:
    """What raises it."""

    def fail() -> None:
        raise error

    return fail


class Ready:
    """Counts how often the queue said that something waits."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """One more."""
        self.count += 1


def filled(*runs: Callable[[], Any]) -> tuple[Queue, list[Told]]:
    """A queue with jobs in it."""
    queue = Queue()
    jobs = [Told(run) for run in runs]
    for job in jobs:
        queue.put(job)
    return queue, jobs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """`time.monotonic` of the queue, to be set by the test."""
    now = [100.0]
    monkeypatch.setattr("tractor.pinned._queue.time.monotonic", lambda: now[0])
    return now


# -- Running ---------------------------------------------------------------------------


def test_an_empty_queue_runs_nothing() -> None:
    """`pump` returns at once."""
    assert Queue().pump() == PumpResult(0, False, 0)
    assert Queue().pump(0.1, 3, raise_on_error=True) == (0, False, 0)


def test_calls_run_in_their_order() -> None:
    """First come, first served; each has its result and is told of once."""
    seen: list[int] = []

    def square(number: int) -> int:
        seen.append(number)
        return number * number

    queue, jobs = filled(*[partial(square, n) for n in range(5)])
    assert len(queue) == 5
    assert queue.pump() == PumpResult(5, False, 0)
    assert seen == [0, 1, 2, 3, 4]
    assert [job.result() for job in jobs] == [0, 1, 4, 9, 16]
    assert [job.told for job in jobs] == [1] * 5


def test_what_a_call_puts_in_runs_too() -> None:
    """A pump without bounds goes on until nothing waits."""
    queue, _ = filled(lambda: queue.put(Job(lambda: queue.put(Job(lambda: None)))))
    assert queue.pump() == PumpResult(3, False, 0)


def test_errors_belong_to_their_calls() -> None:
    """An Exception ends nothing, and is counted."""
    queue, jobs = filled(raiser(ValueError("a")), lambda: 1, raiser(KeyError("b")))
    assert queue.pump() == PumpResult(3, False, 2)
    with pytest.raises(ValueError, match="a"):
        jobs[0].result()
    assert jobs[1].result() == 1


def test_raise_on_error_stops_at_the_first() -> None:
    """That call has its outcome, the error is raised, and the rest stays queued."""
    queue, jobs = filled(lambda: 1, raiser(ValueError("a")), lambda: 3)
    with pytest.raises(ValueError, match="a"):
        queue.pump(raise_on_error=True)
    assert [job.settled for job in jobs] == [True, True, False]
    with pytest.raises(ValueError, match="a"):
        jobs[1].result()
    assert queue.pump() == PumpResult(1, False, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_other_errors_are_raised_at_once(error: type[BaseException]) -> None:
    """Also without being asked for; that call is settled, and the rest stays queued."""
    queue, jobs = filled(raiser(error()), lambda: 2)
    with pytest.raises(error):
        queue.pump()
    assert (jobs[0].settled, jobs[0].told, len(queue)) == (True, 1, 1)
    with pytest.raises(error):
        jobs[0].result()
    assert queue.pump() == PumpResult(1, False, 0)


def test_ctrl_c_between_two_lines_settles_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it comes, nobody waits for ever."""
    queue, jobs = filled(lambda: 1, lambda: 2)
    note, coming = queue._note, [KeyboardInterrupt()]

    def interrupted() -> None:
        if coming:
            raise coming.pop()
        note()

    monkeypatch.setattr(queue, "_note", interrupted)
    with pytest.raises(KeyboardInterrupt):
        queue.pump()
    assert jobs[0].told == 1
    with pytest.raises(KeyboardInterrupt):
        jobs[0].result()
    assert queue.pump() == PumpResult(1, False, 0)
    assert jobs[1].result() == 2


def test_what_a_call_holds_is_let_go_where_it_ran() -> None:
    """Arguments die before its waiter hears of it, and the result with the waiter."""

    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    alive: list[bool] = []

    class Watching(Job):
        __slots__ = ()

        def tell(self) -> None:
            alive.append(gone() is not None)

    queue = Queue()
    queue.put(Watching(partial(id, thing)))
    del thing
    queue.pump()
    assert alive == [False]


def test_an_error_leaves_no_cycles() -> None:
    """What was raised is gone with its waiter, without the garbage collector."""

    class Marked(ValueError):
        pass

    queue, (job, *_) = filled(raiser(Marked()), lambda: None)
    gc.disable()
    try:
        queue.pump()
        try:
            job.result()
        except Marked as exc:
            gone = weakref.ref(exc)
        assert job._error is None
    finally:
        gc.enable()
    gc.collect()
    assert gone() is None


# -- Bounds ----------------------------------------------------------------------------


def test_max_items_is_a_limit_and_no_deadline() -> None:
    """The rest waits for the next pump."""
    queue, _ = filled(*[lambda: None] * 5)
    assert queue.pump(max_items=2) == PumpResult(2, False, 0)
    assert queue.pump(max_items=2, deadline=60) == PumpResult(2, False, 0)
    assert queue.pump(max_items=10**30) == PumpResult(1, False, 0)


def test_the_deadline_gates_the_next_call(clock: list[float]) -> None:
    """A call that has begun ends; no other begins after the deadline."""

    def slow() -> None:
        clock[0] += 1.0

    queue, _ = filled(*[slow] * 5)
    assert queue.pump(deadline=2.0) == PumpResult(2, True, 0)
    assert queue.pump(deadline=1e-9) == PumpResult(1, True, 0)
    assert queue.pump(deadline=2.0) == PumpResult(2, False, 0)


def test_a_deadline_that_ended_nothing_was_not_reached(clock: list[float]) -> None:
    """When the queue ran dry just then, that was the reason; likewise the count."""

    def slow() -> None:
        clock[0] += 1.0

    queue, _ = filled(slow)
    assert queue.pump(deadline=0.5) == PumpResult(1, False, 0)
    queue, _ = filled(slow, slow)
    assert queue.pump(deadline=0.5, max_items=1) == PumpResult(1, False, 0)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (True, TypeError),
        (False, TypeError),
        ("1", TypeError),
        (1j, TypeError),
        ([], TypeError),
        (0, ValueError),
        (0.0, ValueError),
        (-1, ValueError),
        (-math.inf, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        (1e300, OverflowError),
        (10**400, OverflowError),
    ],
)
def test_wrong_deadlines(value: Any, error: type[Exception]) -> None:
    """Each is refused with a text that says what to pass, and nothing runs."""
    queue, jobs = filled(lambda: None)
    with pytest.raises(error, match=r"^deadline is .* (number of s|s)econds.*None"):
        queue.pump(deadline=value)
    assert not jobs[0].settled


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (True, TypeError),
        (1.0, TypeError),
        ("1", TypeError),
        (math.nan, TypeError),
        (0, ValueError),
        (-1, ValueError),
    ],
)
def test_wrong_counts(value: Any, error: type[Exception]) -> None:
    """Likewise."""
    queue, jobs = filled(lambda: None)
    with pytest.raises(error, match=r"^max_items is a whole number above 0, or None"):
        queue.pump(max_items=value)
    assert not jobs[0].settled


# -- Taking back -----------------------------------------------------------------------


def test_what_is_taken_back_never_runs() -> None:
    """The others are not concerned, and it can be taken back once."""
    queue, jobs = filled(lambda: 1, lambda: 2, lambda: 3)
    assert queue.take_back(jobs[1])
    assert not queue.take_back(jobs[1])
    assert queue.pump() == PumpResult(2, False, 0)
    assert [job.settled for job in jobs] == [True, False, True]


def test_what_runs_is_not_taken_back() -> None:
    """It is too late then, and afterwards."""
    taken: list[bool] = []
    queue, jobs = filled(lambda: taken.append(queue.take_back(jobs[0])))
    queue.pump()
    assert taken == [False]
    assert not queue.take_back(jobs[0])


# -- Who runs them ---------------------------------------------------------------------


def test_pump_inside_pump_raises() -> None:
    """The call gets the error; the outer pump goes on."""
    queue, jobs = filled(lambda: queue.pump(1.0), lambda: 2)
    assert queue.pump() == PumpResult(2, False, 1)
    with pytest.raises(RuntimeError, match="called by what it runs"):
        jobs[0].result()


def test_drain_inside_pump_does_nothing() -> None:
    """The loop may turn in the middle of a call, and leaves the rest to the pump."""

    def drain() -> int:
        queue.drain()
        return len(queue)

    queue, jobs = filled(drain, lambda: 2)
    queue.pump()
    assert jobs[0].result() == 1


def test_a_second_pumper_raises() -> None:
    """While one thread pumps no other one does, and then it may."""
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        leave.wait(SAFETY)

    queue, _ = filled(hold)
    thread = threading.Thread(target=queue.pump)
    thread.start()
    assert inside.wait(SAFETY)
    with pytest.raises(RuntimeError, match="exactly one thread"):
        queue.pump()
    leave.set()
    thread.join(SAFETY)
    queue.put(Job(lambda: None))
    assert queue.pump() == PumpResult(1, False, 0)


def test_drain_runs_what_waits_now() -> None:
    """What they put in waits for the next time, so that the loop turns in between."""
    ready = Ready()
    queue = Queue(ready)
    queue.put(Job(lambda: queue.put(Job(lambda: None))))
    queue.put(Job(raiser(SystemExit())))
    queue.drain()
    assert len(queue) == 1
    queue.drain()
    assert len(queue) == 0
    assert ready.count == 2


def test_many_threads_put_and_take_back() -> None:
    """Each call runs once or was taken back: never neither, never both."""
    queue = Queue()
    ran: list[int] = []
    taken: list[int] = []

    def feed(base: int) -> None:
        for number in range(base, base + 500):
            job = Job(partial(ran.append, number))
            queue.put(job)
            if number % 3 == 0 and queue.take_back(job):
                taken.append(number)

    threads = [threading.Thread(target=feed, args=(n * 1000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        queue.pump(max_items=100)
    for thread in threads:
        thread.join(SAFETY)
    queue.pump()
    expected = [n * 1000 + number for n in range(4) for number in range(500)]
    assert sorted(ran + taken) == expected
    for n in range(4):
        mine = [number for number in ran if number // 1000 == n]
        assert mine == sorted(mine)


def test_the_garbage_collector_may_put_something_in_at_any_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a thread that is just changing the queue; nothing locks up or is lost."""
    ready = Ready()
    queue = Queue(ready)
    note, late = queue._note, [Told(lambda: 2)]

    def collected() -> None:
        if late:
            queue.put(late.pop())
        note()

    monkeypatch.setattr(queue, "_note", collected)
    queue.put(Told(lambda: 1))
    assert (len(queue), queue.epoch) == (2, 1)
    assert ready.count >= 1
    assert queue.pump() == PumpResult(2, False, 0)


def test_the_last_one_is_taken_back_just_before_it_begins() -> None:
    """Another thread may be faster than the pump that has seen it."""
    queue = Queue()
    ran: list[int] = []

    def tease() -> None:
        for number in range(5000):
            job = Job(partial(ran.append, number))
            queue.put(job)
            queue.take_back(job)

    thread = threading.Thread(target=tease)
    thread.start()
    executed = 0
    while thread.is_alive():
        executed += queue.pump().executed
    thread.join(SAFETY)
    assert executed + queue.pump().executed == len(ran)


# -- Epochs and news -------------------------------------------------------------------


def test_an_epoch_lasts_while_something_waits(clock: list[float]) -> None:
    """It counts from the first call, and the last one that goes ends it."""
    queue, jobs = filled(lambda: None)
    assert (queue.epoch, queue.since) == (1, 100.0)
    clock[0] = 105.0
    late = Job(lambda: None)
    queue.put(late)
    assert (queue.epoch, queue.since) == (1, 100.0)
    queue.take_back(jobs[0])
    assert (queue.epoch, queue.since) == (1, 100.0)
    queue.take_back(late)
    ended = queue.since
    queue.put(late)
    assert (ended, queue.epoch, queue.since) == (None, 2, 105.0)
    queue.pump()
    assert (queue.epoch, queue.since) == (2, None)


def test_a_call_that_runs_does_not_wait() -> None:
    """A slow call is no starvation."""
    seen: list[float | None] = []
    queue, _ = filled(lambda: seen.append(queue.since))
    queue.pump()
    assert seen == [None]


def test_who_runs_them_is_told_once_of_each_epoch() -> None:
    """By the first call of it, and by a pump that leaves some."""
    ready = Ready()
    queue = Queue(ready)
    for _ in range(3):
        queue.put(Job(lambda: None))
    assert ready.count == 1
    queue.pump(max_items=1)
    assert ready.count == 2
    queue.pump()
    assert ready.count == 2
    queue.put(Job(raiser(KeyboardInterrupt())))
    queue.put(Job(lambda: None))
    assert ready.count == 3
    with pytest.raises(KeyboardInterrupt):
        queue.pump()
    assert ready.count == 4
