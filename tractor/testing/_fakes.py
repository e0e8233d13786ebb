"""Stand-ins for the real thing, for tests under a virtual clock."""

import math
import signal

import trio
from msgspec import Struct

from tractor._types import ExitStatus


class Script(Struct, frozen=True, kw_only=True):
    """How a `FakeChild` behaves; all in seconds, `None` for "never".

    Attributes:
        after: From its making to its death by itself.
        on_ask: From a cancel request to its death.
        on_terminate: From `terminate` to its death.
        on_kill: From `kill` to its death.
        acks: From a cancel request to the acknowledgement.
        linked: Whether it can be asked; if not, `ask` returns `False` after `acks`.
        status: What it leaves when it dies by itself or on request.
    """

    after: float | None = None
    on_ask: float | None = None
    on_terminate: float | None = None
    on_kill: float | None = None
    acks: float | None = 0.0
    linked: bool = True
    status: ExitStatus = ExitStatus(exit_code=0)


class FakeChild:
    """A child that does what its script says; meets `tractor.spawn.Child`.

    Make it inside `trio.run`. It starts no task: its death is a point in time.

    Attributes:
        calls: Each call of `ask`, `terminate` and `kill`, with `trio.current_time`.
        asked: The seconds that each cancel request carried.
    """

    def __init__(self, script: Script | None = None, *, pid: int | None = None) -> None:
        self.calls: list[tuple[str, float]] = []
        self.asked: list[float] = []
        self._script = script if script is not None else Script()
        self._pid = pid
        self._status = self._script.status
        self._dies_at = math.inf
        self._changed = trio.Event()
        self._die_in(self._script.after, self._script.status)

    @property
    def pid(self) -> int | None:
        """As given; no such process need exist."""
        return self._pid

    async def wait(self) -> ExitStatus:
        """Wait until its death; a checkpoint in any case."""
        while trio.current_time() < self._dies_at:
            with trio.move_on_at(self._dies_at):
                await self._changed.wait()
        await trio.lowlevel.checkpoint()
        return self._status

    async def ask(self, seconds: float) -> bool:
        """Be asked to cancel; to be handed to `stop_child` as its `ask`."""
        self._note("ask")
        self.asked.append(seconds)
        if self._script.linked:
            self._die_in(self._script.on_ask, self._script.status)
        await trio.sleep(math.inf if self._script.acks is None else self._script.acks)
        return self._script.linked

    def terminate(self) -> None:
        """Note the call; die if the script says so."""
        self._note("terminate")
        self._die_in(self._script.on_terminate, ExitStatus(signal=signal.SIGTERM))

    def kill(self) -> None:
        """Note the call; die if the script says so."""
        self._note("kill")
        self._die_in(self._script.on_kill, ExitStatus(signal=signal.SIGKILL))

    def stderr_tail(self) -> str:
        """It never writes."""
        return ""

    def die(self, status: ExitStatus) -> None:
        """Die now, by itself."""
        self._die_in(0.0, status)

    def _note(self, call: str) -> None:
        self.calls.append((call, trio.current_time()))

    def _die_in(self, seconds: float | None, status: ExitStatus) -> None:
        if seconds is None or trio.current_time() + seconds >= self._dies_at:
            return
        self._dies_at = trio.current_time() + seconds
        self._status = status
        self._changed.set()
        self._changed = trio.Event()
