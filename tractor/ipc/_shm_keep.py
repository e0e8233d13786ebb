"""What happens to shared memory when nobody closes it: it ends with the trio run.

The system frees what a process had. A sub-interpreter is no process, and so all memory
that is opened in a trio run is closed at its end. One system task of that run does it,
which also keeps what was handed over and not yet taken.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from weakref import WeakSet

import trio
from trio.lowlevel import RunVar, in_trio_run, spawn_system_task

from tractor.ipc._shm_memory import Memory
from tractor.ipc._shm_token import ERRORS
from tractor.log import get_logger
from tractor.msg import reg_err_types

log = get_logger("shm")

# Seconds between looks at what is kept: nothing tells of its being taken. It can be
# wrong by that much only in when memory is freed that nobody needs any more.
FIRST_LOOK: Final = 0.05
LAST_LOOK: Final = 1.0


@dataclass(frozen=True)
class _Kept:
    memory: Memory
    turn: int
    deadline: float


class Keeper:
    """The memory of one trio run."""

    def __init__(self) -> None:
        self._open: WeakSet[Memory] = WeakSet()
        self._kept: list[_Kept] = []
        self._more = trio.Event()

    def note(self, memory: Memory) -> None:
        """See to it that this is closed at the end of the run."""
        self._open.add(memory)

    def keep(self, memory: Memory, seconds: float) -> int:
        """Keep it until somebody takes it, or for so long; which turn that is."""
        self._look()
        turn = memory.turn()
        kept = _Kept(memory.moved(), turn, trio.current_time() + seconds)
        self._kept.append(kept)
        self._more.set()
        return kept.turn

    async def run(self) -> None:
        """Look after it until the run ends."""
        try:
            while True:
                await self._more.wait()
                await self._watch()
        finally:
            for memory in [*self._open, *(kept.memory for kept in self._kept)]:
                memory.close()
            self._kept.clear()

    async def _watch(self) -> None:
        pause = FIRST_LOOK
        while self._kept:
            if self._more.is_set():
                self._more, pause = trio.Event(), FIRST_LOOK
            nearest = min(kept.deadline for kept in self._kept)
            with trio.move_on_after(min(pause, nearest - trio.current_time())):
                await self._more.wait()
            self._look()
            pause = min(2 * pause, LAST_LOOK)
        self._more = trio.Event()

    def _look(self) -> None:
        """Give up what was taken, and what nobody wanted in time."""
        now = trio.current_time()
        waiting = []
        for kept in self._kept:
            if kept.memory.closed or kept.memory.turn() > kept.turn:
                kept.memory.close()
            elif now >= kept.deadline:
                log.warning("nobody took %d bytes in time", kept.memory.size)
                kept.memory.close()
            else:
                waiting.append(kept)
        self._kept = waiting


_keeper: Final[RunVar[Keeper]] = RunVar("tractor.ipc.shm")


def note(memory: Memory) -> Memory:
    """The same, to be closed at the end of this trio run, if there is one."""
    if in_trio_run():
        with suppress(RuntimeError):  # the run is over but for its async generators
            _here().note(memory)
    return memory


def keep(memory: Memory, seconds: float) -> int:
    """Keep it in this trio run until it is taken, or for so long; which turn it is.

    Raises:
        RuntimeError: No trio run here could keep it.
    """
    if not in_trio_run():
        msg = "hand_over() needs a trio run, which keeps the memory until it is taken"
        raise RuntimeError(msg)
    return _here().keep(memory, seconds)


def _here() -> Keeper:
    try:
        return _keeper.get()
    except LookupError:
        reg_err_types(ERRORS)  # again, in an interpreter that had an actor before
        keeper = Keeper()
        spawn_system_task(keeper.run, name="shared memory")
        _keeper.set(keeper)  # only when that has worked: not in the end of a run
        return keeper
