"""What tests of discovery share: trees, and programs that meet them."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

import tractor
from tests._helpers import SAFETY, Bell, start_python
from tests.discovery.actors import MODULES
from tractor import ActorNursery, Context, Portal
from tractor.ipc import Address
from tractor.ipc._runtime_dir import sweep
from tractor.ipc.network import runtime_dir


@asynccontextmanager
async def opened(portal: Portal, fn: Any, *args: Any) -> AsyncIterator[Context]:
    """A context that is cancelled at the end of the block."""
    async with portal.open_context(fn, *args) as (ctx, _):
        yield ctx
        await ctx.cancel()


async def start(an: ActorNursery, *names: str) -> list[Portal]:
    """Actors of these names, one after the other."""
    return [await an.start_actor(name, enable_modules=MODULES) for name in names]


def uid_of_root() -> list[str]:
    return [*tractor.current_actor().aid.uid]


def uid(portal: Portal) -> list[str]:
    """As it says itself."""
    return [*portal.aid.uid]


# -- Programs --------------------------------------------------------------------------


class Program:
    """A program of that name, at an address that it shares with others.

    Attributes:
        process: It itself.
    """

    def __init__(
        self, start_method: str, name: str, address: Address, bell: Bell, *names: str
    ) -> None:
        argv = ["-m", "tests.discovery.program", name, str(address), bell.path]
        self.process = start_python(start_method, *argv, *names)

    async def end(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it; it must have been quiet, and gone in order unless it was killed."""
        self.process.send_signal(by)
        out, err = await trio.to_thread.run_sync(self._communicate)
        assert (out, err) == ("", "")
        code = -by if by is signal.SIGKILL else 128 + by
        assert self.process.returncode == code

    async def discard(self) -> None:
        """End it in any case, and remove what it had no time to remove."""
        self.process.kill()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._communicate)
        sweep(runtime_dir())

    def _communicate(self) -> tuple[str, str]:
        if self.process.stdout is not None and self.process.stdout.closed:
            return "", ""
        return self.process.communicate(timeout=SAFETY)


@asynccontextmanager
async def running(
    start_method: str, name: str, address: Address, bell: Bell, *names: str
) -> AsyncIterator[Program]:
    """A program with children of these names, once it has rung, until the block ends.

    If the block has not ended it, it is ended in order.
    """
    program = Program(start_method, name, address, bell, *names)
    try:
        with trio.fail_after(SAFETY):
            assert await bell.heard() == name
        yield program
        if program.process.returncode is None:
            await program.end()
    finally:
        await program.discard()
