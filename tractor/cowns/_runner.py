"""The thread of a worker in which plain behaviours run, one after the other.

Values stay unpacked here from one behaviour to the next. One that was changed is
*unsaved*: the scope has no copy of it. Before a behaviour begins, every unsaved value
that it does not hold is packed and noted, and so is the last one when there is nothing
to do for a moment. So whenever a worker dies in the midst of a behaviour, no other
value than those which that behaviour held is lost.
"""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from tractor.cowns import _records as r
from tractor.cowns._cown import Cown, ambient, holding
from tractor.cowns._held import (
    Functions,
    acquire,
    arranged,
    broken,
    is_changed,
    numbers_in,
    state_of,
)

if TYPE_CHECKING:
    from tractor.cowns._inside import Inside
    from tractor.cowns._log import Log

FEW: Final = 8  # of which a list is as good as a set
INLINE: Final = 1024  # bytes of states that go with the outcome
LULL: Final = 0.002  # seconds without work after which the last values are saved

type Job = list[Any]  # order, path, shape, captures
type Outcome = tuple[int, bytes]  # as what it is packed, data


class Runner:
    """See the module.

    Attributes:
        jobs: What is to run; one without an order asks for copies.
        bell: Something new is in `jobs`, or, if false, it is the end.
        residents: All values that are here, by number.
        lock: Held to look at values that no behaviour holds, until what was seen of
            them is in the outbox.
    """

    def __init__(self, inside: "Inside", log: "Log") -> None:
        self.jobs: deque[Job] = deque()
        self.bell: SimpleQueue[bool] = SimpleQueue()
        self.residents: dict[int, Cown[Any]] = {}
        self.lock = threading.Lock()
        self._inside = inside
        self._codec = inside.codec
        self._functions = Functions(inside.codec)
        self._outbox = inside.outbox
        self._log = log
        self._unsaved: dict[int, Cown[Any]] = {}
        self._awaited: Job | None = None  # nothing is unsaved but what this one holds

    def run(self) -> None:
        """Run what comes, until the bell tells of the end."""
        ambient.set(self._inside)
        holding.set(self)
        while True:
            try:
                job = self.jobs.popleft()
            except IndexError:
                if not self._wait():
                    return
                continue
            if job[0]:
                self._run_one(job)
            else:
                self._save(())
            del job

    def _wait(self) -> bool:
        if not self._unsaved:
            return self.bell.get()
        try:
            return self.bell.get(timeout=LULL)
        except Empty:
            self._save(())
            return True

    def _run_one(self, job: Job) -> None:
        order, path, shape, data = job
        try:
            args, held = arranged(shape, self.residents)
        except KeyError:  # it was lost after this was placed behind others over it
            self._outbox.put(r.DONE, order, r.BROKEN, b"", [], [], [])
            return
        if self._unsaved and job is not self._awaited:
            self._save(numbers_in(shape))
        self._awaited = None
        self._log.begin(order)
        began = time.perf_counter()
        states: list[r.State] = []
        if (bad := acquire(held, self, self._codec)) is None:
            failed, data = self._outcome(path, data, args)
        else:
            failed, data = self._codec.encode_error(bad[1])
            states.append(broken(*bad, self._codec))
            self.residents.pop(bad[0]._number, None)
        outbox = self._outbox
        with self.lock:
            unsaved = self._release(held)
            if unsaved:
                states += self._states(self._next_ones())
                unsaved = [number for number in unsaved if number in self._unsaved]
            noted = True
            if states and sum(len(state[2]) for state in states) > INLINE:
                noted = outbox.put_states(states)
                states = []
            dropped = outbox.take_dropped() if outbox.dropped else []
            noted &= outbox.put(r.DONE, order, failed, data, states, unsaved, dropped)
        outbox.note(time.perf_counter() - began)
        if not noted:
            outbox.wait_sent()

    def _outcome(self, path: str, data: bytes, args: list[Any]) -> Outcome:
        codec = self._codec
        try:
            fn, captures = self._functions.get(path, data)
            value = fn(*args, *captures)
            return 0, codec.none if value is None else codec.encode(value)
        except BaseException as exc:  # noqa: BLE001 (who awaits the result raises it)
            return codec.encode_error(exc)

    def _release(self, held: list[Cown[Any]]) -> list[int]:
        """They are held no more; the numbers of those that are unsaved now."""
        unsaved = []
        for cown in held:
            if cown._holder is self:
                cown._holder = None
                if is_changed(cown):
                    self._unsaved[cown._number] = cown
                    unsaved.append(cown._number)
        self._inside.notices.forget_reader(self)
        return unsaved

    # -- saving ------------------------------------------------------------------------

    def _next_ones(self) -> Collection[int]:
        """Numbers that the next behaviour will hold, if there is one."""
        try:
            job = self._awaited = self.jobs[0]
        except IndexError:
            return list(self._unsaved)  # there may be one in a moment
        return numbers_in(job[2])

    def _save(self, but: Collection[int]) -> None:
        with self.lock:
            states = self._states(but)
            noted = not states or self._outbox.put_states(states)
        if not noted:
            self._outbox.wait_sent()

    def _states(self, but: Collection[int]) -> list[r.State]:
        """Pack what is unsaved, but not these.

        The lock is held from here until it is said, or what an async behaviour says of
        the same value meanwhile would be overwritten by it.
        """
        if len(self._unsaved) > FEW:
            but = set(but)
        due = [one for one in list(self._unsaved) if one not in but]
        if not due:
            return []
        states = []
        for number in due:
            state = state_of(self._unsaved.pop(number), self._codec)
            if state[1] == r.BROKEN:
                self.residents.pop(number, None)
            states.append(state)
        return states

    # -- for the loop ------------------------------------------------------------------

    def tell(self, jobs: Iterable[Job]) -> None:
        """Run these, too."""
        self.jobs.extend(jobs)
        self.bell.put(True)

    def take_back(self) -> list[int]:
        """What nobody has begun."""
        found = []
        while True:
            try:
                job = self.jobs.popleft()
            except IndexError:
                break
            found.append(job[0])
        self.tell([[0, "", [], b""]])  # what was kept for those is not needed now
        return [order for order in found if order]

    def take(self, numbers: Iterable[int]) -> set[int]:
        """An async behaviour holds these from now on; which of them are unsaved."""
        with self.lock:
            return {one for one in numbers if self._unsaved.pop(one, None) is not None}

    def forget(self, numbers: Iterable[int]) -> None:
        """These values are not needed here any more."""
        with self.lock:
            for number in numbers:
                self._unsaved.pop(number, None)
                self.residents.pop(number, None)
