"""A chaos run: actors are used and abused at random, against a model of each.

A *slot* has one actor at a time and decides its steps by a random generator of its own,
and by the model alone. So a seed gives the same steps again, whatever the times are.
Every step knows what has to come of it, and has a net under it: nothing may hang.
"""

import os
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import pytest
import trio

import tractor
from tests import _chaos_actors as do
from tests import _misbehaviours as mis
from tests._helpers import Bell, signal_of_strike, strike
from tractor import ActorDied, RemoteActorError, TransportClosed
from tractor.spawn import Traits, get_backend
from tractor.testing import faults, wait_for_end

NET: Final = 20.0  # seconds for one step; a safety net
SHORT: Final = 0.05  # seconds that a call to a stopped actor is given
MODULES: Final = (do.__name__, mis.__name__)
GRACES: Final = tractor.Graces(ack=0.3, cancel=0.6, terminate=0.3, kill=3)


class Pending:
    """A call or stream that stays open while other steps go on."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self.outcome: BaseException | None = None
        self.over = trio.Event()
        self.scope = trio.CancelScope()
        self._call = call

    async def run(self) -> None:
        """Wait for its end, and keep it."""
        try:
            with self.scope:
                await self._call()
        except Exception as exc:  # noqa: BLE001 (the slot looks at it)
            self.outcome = exc
        finally:
            self.over.set()


class Slot:
    """One actor after the other; see the module.

    Attributes:
        steps: What was done, with each life after the other.
    """

    def __init__(self, seed: str, bell: Bell, traits: Traits) -> None:
        self.steps: list[str] = []
        self._traits = traits
        self._steps_up = {
            step: weight
            for step, weight in STEPS_UP.items()
            if traits.own_process or step not in STEPS_OF_PROCESSES
        }
        self._random = Random(seed)
        self._bell = bell
        self._tasks: trio.Nursery
        self._an: tractor.ActorNursery
        self._portal: tractor.Portal
        # The model of the present life.
        self._stopped = False
        self._bumps = 0
        self._pending: list[Pending] = []
        self._below: list[int] = []
        self._death: tuple[int | None, int | None] | None = None

    async def run(self, until: float) -> None:
        """Live until then."""
        try:
            async with trio.open_nursery() as self._tasks:
                while trio.current_time() < until:
                    await self._life(until)
        except BaseException as exc:
            exc.add_note(f"the last steps were: {' '.join(self.steps[-30:])}")
            raise

    async def _life(self, until: float) -> None:
        self._stopped, self._bumps, self._death = False, 0, None
        self._pending, self._below = [], []
        died: ActorDied | None = None
        try:
            async with tractor.open_nursery() as self._an:
                self._note("spawn")
                with trio.fail_after(NET):
                    self._portal = await self._an.start_actor(
                        "slot", enable_modules=MODULES
                    )
                while not self._an.cancel_called:
                    await self._step(over=trio.current_time() >= until)
        except ActorDied as exc:
            died = exc
        if self._death is None:
            assert died is None, died
        else:
            assert died is not None
            assert died.aid == self._portal.aid
            assert (died.exit_code, died.signal) == self._death
        await self._check_ends()

    async def _check_ends(self) -> None:
        """Nothing that was open is open still, and nobody below is left."""
        with trio.fail_after(NET):
            for pending in self._pending:
                await pending.over.wait()
                self._check_end(pending.outcome)
            left = await trio.to_thread.run_sync(wait_for_end, self._below, NET / 2)
        assert left == []

    def _check_end(self, outcome: BaseException | None) -> None:
        if self._death is not None:
            assert isinstance(outcome, ActorDied), outcome
        elif isinstance(outcome, RemoteActorError):
            assert outcome.boxed_type is tractor.ContextCancelled or isinstance(
                outcome, tractor.ContextCancelled
            ), outcome
        else:
            assert isinstance(outcome, TransportClosed), outcome

    async def _step(self, *, over: bool) -> None:
        table = STEPS_STOPPED if self._stopped else self._steps_up
        (name,) = self._random.choices([*table], [*table.values()])
        if over:
            name = "cancel"
        self._note(name)
        with trio.fail_after(NET):
            await getattr(self, f"_{name}")()

    def _note(self, step: str) -> None:
        self.steps.append(step)

    # -- steps of an actor that runs ---------------------------------------------------

    async def _call(self) -> None:
        self._bumps += 1
        assert await self._portal.run(do.bump) == self._bumps

    async def _burst(self) -> None:
        expected = [self._bumps + n + 1 for n in range(self._random.randrange(2, 20))]
        self._bumps += len(expected)
        answers: list[int] = []

        async def call() -> None:
            answers.append(await self._portal.run(do.bump))

        async with trio.open_nursery() as nursery:
            for _ in expected:
                nursery.start_soon(call)
        assert sorted(answers) == expected

    async def _fail(self) -> None:
        with pytest.raises(RemoteActorError, match="chaos") as caught:
            await self._portal.run(mis.fails, "chaos")
        assert caught.value.boxed_type is ValueError

    async def _stream(self) -> None:
        sent = [self._random.random() for _ in range(self._random.randrange(1, 100))]
        received = []
        async with self._portal.open_context(do.echo) as (ctx, _):
            async with ctx.open_stream() as stream:
                for item in sent:
                    await stream.send(item)
                    received.append(await stream.receive())
            assert await ctx.wait_for_result() == len(sent)
        assert received == sent

    async def _listen(self) -> None:
        heard = trio.Event()

        async def read() -> None:
            expected = 0
            async with self._portal.open_stream_from(do.count_up) as stream:
                async for number in stream:
                    assert number == expected
                    expected += 1
                    heard.set()
                    await trio.sleep(0.001)  # others are to have a turn
            raise AssertionError("it ended")

        self._open(read)
        await heard.wait()

    async def _hang(self) -> None:
        self._open(lambda: self._portal.run(mis.waits, self._bell.path))
        await self._bell.heard()

    async def _nest(self) -> None:
        call = self._portal.run
        self._open(lambda: call(mis.has_child, "waits", self._bell.path))
        below = int(await self._bell.heard())
        if below != os.getpid():
            self._below.append(below)

    def _open(self, call: Callable[[], Awaitable[Any]]) -> None:
        pending = Pending(call)
        self._pending.append(pending)
        self._tasks.start_soon(pending.run)

    async def _take_back(self) -> None:
        if self._pending:
            chosen = self._random.randrange(len(self._pending))
            pending = self._pending.pop(chosen)
            pending.scope.cancel()
            await pending.over.wait()
            assert pending.scope.cancelled_caught
            assert pending.outcome is None, pending.outcome

    async def _exit(self) -> None:
        self._death = (self._random.randrange(1, 100), None)
        await self._portal.run(mis.exits, self._death[0])

    async def _stop(self) -> None:
        faults.stop(self._portal)
        self._stopped = True

    # -- steps of one that is stopped --------------------------------------------------

    async def _resume(self) -> None:
        faults.resume(self._portal)
        self._stopped = False

    async def _call_in_vain(self) -> None:
        with trio.move_on_after(SHORT) as scope:
            await self._portal.run(mis.behaves)
        assert scope.cancelled_caught

    # -- steps of either ---------------------------------------------------------------

    async def _kill(self) -> None:
        self._death = (None, signal_of_strike(self._traits))
        strike(self._portal)
        await trio.sleep_forever()  # until the nursery cancels this

    async def _cancel(self) -> None:
        await self._an.cancel()
        assert not (self._stopped and self._an.cancelled_caught)


# Names of steps, and how likely each of them is.
STEPS_UP: Final = {
    "call": 6,
    "burst": 2,
    "fail": 2,
    "stream": 3,
    "listen": 2,
    "hang": 3,
    "nest": 1,
    "take_back": 4,
    "stop": 3,
    "exit": 1,
    "kill": 2,
    "cancel": 2,
}
STEPS_OF_PROCESSES: Final = {"stop", "exit"}
STEPS_STOPPED: Final = {"resume": 8, "call_in_vain": 2, "kill": 1, "cancel": 1}


async def run_chaos(
    start_method: str, seed: str, seconds: float, *, slots: int
) -> list[list[str]]:
    """Do it for that long; the steps of each slot."""
    async with tractor.open_root_actor(start_method=start_method, graces=GRACES):
        until = trio.current_time() + seconds
        with_bells = [(f"{seed}/{number}", Bell()) for number in range(slots)]
        traits = get_backend(start_method).traits
        running = [Slot(*each, traits) for each in with_bells]
        try:
            async with trio.open_nursery() as nursery:
                for slot in running:
                    nursery.start_soon(slot.run, until)
        finally:
            for _, bell in with_bells:
                bell.__exit__()
    return [slot.steps for slot in running]
