"""The catalogue of misbehaviour: what actors in tests do to those who run them.

The functions are called by RPC, so this imports as little as `_actors` does. Those
that never return ring a bell first, so that a test need not guess when they are in
place. The texts are modules that misbehave while a child imports them.
"""

import os
import signal
import sys
import time
from typing import Final, NoReturn

import trio

import tractor


async def behaves() -> None:
    """Do nothing wrong."""


def ring(bell: str, word: str = "") -> None:
    """Tell the test a word, by default the process id; see `Bell` in `_helpers`."""
    with open(bell, "w", encoding="ascii") as pipe:
        pipe.write(f"{word or os.getpid()}\n")


# -- They do not stop ------------------------------------------------------------------


async def waits(bell: str) -> NoReturn:
    """Never return; the only well-behaved one here."""
    ring(bell)
    await trio.sleep_forever()
    raise AssertionError


async def ignores_cancel(bell: str) -> None:
    """Never return, whoever cancels; the first signal ends the actor."""
    with trio.CancelScope(shield=True):
        await waits(bell)


async def rings_when_cancelled(bell: str) -> None:
    """Say so, and then ignore it."""
    try:
        await waits(bell)
    finally:
        ring(bell, "cancelled")
        await ignores_cancel(os.devnull)


async def ignores_everything(bell: str) -> None:
    """Never return, and ignore each signal that can be ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    await ignores_cancel(bell)


async def loops(bell: str) -> None:
    """Never give the loop a turn, nor the processor."""
    ring(bell)
    while True:
        pass


async def sleeps(bell: str) -> None:
    """Never give the loop a turn; the GIL is free."""
    ring(bell)
    while True:
        time.sleep(3600)  # noqa: ASYNC251


async def holds_the_gil(bell: str) -> None:
    """Wait in C code with the GIL held; no signal handler of Python's ever runs."""
    import ctypes

    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(256)  # zeros: PTHREAD_MUTEX_INITIALIZER
    ring(bell)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


async def cleans_up_slowly(bell: str) -> None:
    """Take 30 s to clean up, shielded."""
    try:
        await waits(bell)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)


async def refuses_to_exit(bell: str) -> NoReturn:
    """Be cancelled well, yet keep the process with a thread that is no daemon."""
    from threading import Event, Thread

    Thread(target=Event().wait).start()
    await waits(bell)


async def has_child(fn: str, bell: str, depth: int = 1) -> None:
    """Have a child that does `fn`, `depth` levels below."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(f"level{depth}", enable_modules=[__name__])
        if depth > 1:
            await portal.run(has_child, fn, bell, depth - 1)
        await portal.run_from_ns(__name__, fn, bell=bell)


async def says_goodbye(bell: str) -> None:
    """Be cancelled well, and ring once more then."""
    try:
        await waits(bell)
    finally:
        ring(bell, "goodbye")


# -- They end badly --------------------------------------------------------------------


async def fails(message: str = "on purpose") -> NoReturn:
    """Raise."""
    raise ValueError(message)


async def wait_for_gate(gate: str) -> None:
    """Wait until the named pipe `gate` is opened for writing, and closed again."""
    # In the loop: a thread that waits for it could not be made to end.
    pipe = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await trio.lowlevel.wait_readable(pipe)
    finally:
        os.close(pipe)


async def fails_at_gate(gate: str) -> NoReturn:
    """Raise after that."""
    await wait_for_gate(gate)
    raise ValueError("at the gate")


async def fails_in_cleanup(bell: str) -> None:
    """Raise because of being cancelled."""
    try:
        await waits(bell)
    finally:
        raise ValueError("in its clean-up")


async def fails_at_its_end(bell: str) -> NoReturn:
    """Leave an exit callback that raises."""

    def fail() -> NoReturn:
        raise ValueError("in its lifetime stack")

    tractor.current_actor().lifetime_stack.callback(fail)
    await waits(bell)


async def fails_twice(bell: str) -> None:
    """Do both."""
    try:
        await fails_at_its_end(bell)
    finally:
        raise ValueError("in its clean-up")


async def raises_exit(code: int) -> NoReturn:
    """Raise what ends a program."""
    raise SystemExit(code)


async def raises_interrupt() -> NoReturn:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


async def dies(number: int) -> NoReturn:
    """Be ended by a signal; where the process is not its own, break its link."""
    actor = tractor.current_actor()
    if has_process():
        os.kill(os.getpid(), number)
    elif actor.parent is not None:
        actor.parent.channel.close()
    await trio.sleep_forever()
    raise AssertionError


def has_process() -> bool:
    """Whether this is the main interpreter, and what it does is its process's."""
    import _interpreters

    return bool(_interpreters.get_current()[0] == 0)


async def dies_at_gate(gate: str, bell: str) -> NoReturn:
    """Die when the named pipe `gate` is opened for writing."""
    ring(bell)
    await wait_for_gate(gate)
    await dies(signal.SIGKILL)


async def exits(code: int, words: str = "") -> NoReturn:
    """End the process in the middle of everything."""
    sys.stderr.write(words)
    sys.stderr.flush()
    os._exit(code)


async def crashes() -> None:
    """Read where nothing is."""
    import ctypes

    ctypes.string_at(0)


async def leaves_a_fork(bell: str) -> NoReturn:
    """Die, and leave behind a process with all the descriptors."""
    if os.fork() == 0:
        signal.pause()
    ring(bell)
    os._exit(7)


async def closes_its_link() -> None:
    """Go on without the link."""
    actor = tractor.current_actor()
    assert actor.parent is not None
    actor.parent.channel.close()
    await ignores_cancel(os.devnull)


# -- They do not start -----------------------------------------------------------------

NEVER_CONNECTS: Final = """\
#!/bin/sh
kill -9 $$
"""
DIES_AT_IMPORT: Final = """
import os, tests._misbehaviours
tests._misbehaviours.ring({bell!r})
os.kill(os.getpid(), 9)
"""
DIES_BEFORE_READY: Final = """
import os, trio, tests._misbehaviours
go_on = trio.run
def run(*args):
    trio.run = go_on
    tests._misbehaviours.ring({bell!r})
    if tests._misbehaviours.has_process():
        os._exit(7)
    raise SystemExit(7)
trio.run = run
"""
HANGS_AT_IMPORT: Final = """
import time, tests._misbehaviours
tests._misbehaviours.ring({bell!r})
while True:
    time.sleep(0.05)
"""
FAILS_AT_IMPORT: Final = """
import sys
print("last words", file=sys.stderr, flush=True)
raise RuntimeError("no import today")
"""
