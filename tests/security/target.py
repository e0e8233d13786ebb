"""A tree to be attacked, as a program: its root listens, and a child calls it always.

It obeys lines on stdin, and answers each by a line of JSON on stdout. What it reports
is measured here, in the process under attack.
"""

import json
import logging
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

import tractor
from tests.security import exposed
from tractor._instrument import Event, hub

PATIENCE: Final = 5.0  # seconds for connections to end; a net
FEW: Final = 8  # descriptors that `squeeze` leaves

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # proc(5)


class Lines(logging.Handler):
    """Keeps what the runtime logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class LongestTurn(trio.abc.Instrument):
    """The longest turn of the loop, in seconds of processor time.

    That is what the loop does between two looks at its sockets. However busy the
    machine is, no message waits here for longer than two of them.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = time.thread_time()

    def after_io_wait(self, timeout: float) -> None:
        del timeout
        self._began = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        del timeout
        self.seconds = max(self.seconds, time.thread_time() - self._began)


class Watch:
    """What goes on in the root from `begin` to `end`."""

    def __init__(self, root: tractor.Actor, pinger: tractor.Portal) -> None:
        self._root = root
        self._pinger = pinger
        self._log = Lines()
        self._turn = LongestTurn()
        self._started: list[str] = []
        self._memory = 0
        self._peers = 0
        logger = logging.getLogger("tractor")
        logger.setLevel(logging.WARNING)
        logger.addHandler(self._log)
        trio.lowlevel.add_instrument(self._turn)

    def note(self, event: Event) -> None:
        """Of calls that a peer has made."""
        if event.kind == "task_start" and event.data["func"] != "pong":
            self._started.append("{ns}.{func}".format(**event.data))

    async def begin(self) -> None:
        """From now on."""
        await self._pinger.run(exposed.take_pings)
        # A private place: an earlier attack must not silence what is said of this one.
        self._root.network._listener._complaints = type(
            self._root.network._listener._complaints
        )()
        self._log.lines.clear()
        self._started.clear()
        exposed.CALLS.clear()
        self._peers = len(self._root.peers)
        self._memory = memory()
        self._turn.seconds = 0.0

    async def end(self) -> dict[str, Any]:
        """What was seen."""
        with trio.move_on_after(PATIENCE):
            while len(self._root.peers) > self._peers:
                await self._root.wait_members_changed()
        growth = memory(peak=True) - self._memory
        pings = await self._pinger.run(exposed.take_pings)
        return {
            "calls": exposed.CALLS,
            "cancelled": self._root.cancel_called,
            "longest_turn": self._turn.seconds,
            "growth": growth,
            "lines": self._log.lines,
            "peers": len(self._root.peers) - self._peers,
            "pings": pings,
            "started": self._started,
        }


def memory(*, peak: bool = False) -> int:
    """Bytes of this process; or the most that they were since the last such call."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = _STATUS.read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    if not peak:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    return int(line.split()[1]) * 1024


def squeeze() -> int:
    """Leave this process only a few descriptors; how many it may have in all."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + FEW, hard))
    return lowest_free + FEW


async def obey(watch: Watch) -> None:
    """Do what the lines on stdin say, until there are no more."""
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        async for line in stream:
            match line.decode().strip():
                case "begin":
                    await watch.begin()
                    answer: Any = "ok"
                case "end":
                    answer = await watch.end()
                case "squeeze":
                    answer = squeeze()
                case "processor time":
                    answer = time.process_time()
                case _:
                    return
            print(json.dumps(answer), flush=True)


async def main(transport: str, address: str, secret: str, files: str) -> None:
    """Be attacked at that address, with so many descriptors at most."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), hard))
    async with (
        tractor.open_root_actor(
            name="target",
            start_method="trio",
            enable_modules=[exposed.__name__],
            registry_addrs=[address],
            enable_transports=[transport],
            secret=bytes.fromhex(secret),
        ) as root,
        tractor.open_nursery() as an,
    ):
        pinger = await an.start_actor("pinger", enable_modules=[exposed.__name__])
        watch = Watch(root, pinger)
        with hub.subscribed(watch.note):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pinger.run, exposed.ping_the_parent)
                print(json.dumps("up"), flush=True)
                await obey(watch)
                nursery.cancel_scope.cancel()
            await an.cancel()


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
