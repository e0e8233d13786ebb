"""Ctrl-C: once it ends the tree in order, twice at once (reliability B3).

Pressed on a terminal of the program's own, so that the kernel decides who gets it.
"""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

import pytest
import trio

import tractor
from tests import _misbehaviours as mis
from tests._helpers import (
    ROOT,
    SAFETY,
    T_DOWN,
    Bell,
    Stopwatch,
    open_tree,
    stubborn,
    write_program,
)
from tests.ipc.fakes import LIMIT, FakeTransport, frames
from tractor.ipc import Channel
from tractor.msg import types as t
from tractor.runtime._supervised import Supervised
from tractor.runtime._supervisor import Supervisor
from tractor.spawn import Traits
from tractor.testing import take_census, wait_for_end

T_TWICE = 0.5  # seconds; docs/reference/failure-semantics.md

# A process gets a controlling terminal only by itself. What a shell runs in its
# background ignores Ctrl-C, and so would this.
LAUNCHER = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# Arguments: a bell, then what its actors do.
PROGRAM = """
import sys, trio, tractor
from tests import _misbehaviours as mis

bell, *bodies = sys.argv[1:]

async def start(an):
    for name in bodies:
        await an.run_in_actor(getattr(mis, name), bell=bell, name=name)

{shape}

if __name__ == "__main__":
    trio.run(main)
"""
IN_THE_BODY = """
async def main():
    async with tractor.open_nursery() as an:
        await start(an)
        await trio.sleep_forever()
"""
AT_THE_END = """
async def main():
    async with tractor.open_nursery() as an:
        await start(an)
"""
NESTED = """
async def main():
    async with tractor.open_nursery() as outer:
        await start(outer)
        async with tractor.open_nursery() as inner:
            await start(inner)
            await trio.sleep_forever()
"""
CANCELLING = """
async def main():
    async with tractor.open_nursery() as an:
        try:
            await start(an)
            await trio.sleep_forever()
        finally:
            await an.cancel()
"""
IN_A_TASK = """
async def use():
    async with tractor.open_nursery() as an:
        await start(an)
        await trio.sleep_forever()

async def main():
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        nursery.start_soon(use)
"""
SUPERVISED = """
async def main():
    async with tractor.open_root_actor(), tractor.open_supervisor() as supervisor:
        await start(supervisor)
        await trio.sleep_forever()
"""
CALLING = """
async def main():
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("x", enable_modules=["tests._misbehaviours"])
        async with trio.open_nursery() as nursery:
            for name in bodies:
                nursery.start_soon(portal.run, getattr(mis, name), bell)
"""


class Terminal:
    """A program in the foreground of a terminal of its own."""

    def __init__(self, start_method: str, program: Path, *args: str) -> None:
        self._master, terminal = pty.openpty()
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHON_COLORS": "0",
            "TRACTOR_SPAWN_METHOD": start_method,
        }
        self._root = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(program), *args],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            env=env,
        )
        os.close(terminal)

    @property
    def pid(self) -> int:
        """Of the root."""
        return self._root.pid

    def press_ctrl_c(self) -> None:
        """The kernel sends SIGINT to the foreground."""
        os.write(self._master, b"\x03")

    def wait_heard(self, bell: Bell) -> str:
        """The next word of it, unless the root ends before."""
        pidfd = os.pidfd_open(self.pid)
        try:
            return bell.wait_heard(pidfd)
        finally:
            os.close(pidfd)

    def read_to_the_end(self) -> str:
        """What was written to it, once nobody holds it any more."""
        output = b""
        with suppress(OSError):  # how a terminal ends
            while select.select([self._master], [], [], SAFETY)[0]:
                output += os.read(self._master, 4096)
        return output.decode()

    def kill_and_read(self) -> str:
        """What was written to it, where nobody knows what hangs."""
        self._root.kill()
        return self.read_to_the_end()

    def exit_code(self) -> int:
        """Of the root, once it has one."""
        return self._root.wait(SAFETY)

    def close(self) -> None:
        self._root.kill()
        self._root.wait()
        os.close(self._master)


class Tree:
    """What runs on a terminal; `check_end` says how it is to end."""

    def __init__(self, terminal: Terminal, bell: Bell, pids: list[int]) -> None:
        self.bell = bell
        self._terminal = terminal
        self._pids = pids

    def press_ctrl_c(self) -> Stopwatch:
        self._terminal.press_ctrl_c()
        return Stopwatch()

    def check_end(self, watch: Stopwatch, promise: float, *, slack: float = 3) -> str:
        """By KeyboardInterrupt, in time, and with no process left; what it wrote."""
        # Which is when no process of it is left, the root or any other.
        output = self._terminal.read_to_the_end()
        code = self._terminal.exit_code()
        watch.check(promise, slack=slack)
        print(f"gone {perf_counter() - watch._began:.2f} s after Ctrl-C")
        assert code == -signal.SIGINT, output
        assert "KeyboardInterrupt" in output.splitlines()[-1]
        assert wait_for_end(self._pids) == []
        return output


@contextmanager
def running(
    start_method: str, folder: Path, shape: str, *bodies: str, rings: int = 0
) -> Iterator[Tree]:
    """That program, once its actors have rung, by default one for each body."""
    before = take_census().processes.keys()
    program = write_program(folder, PROGRAM.format(shape=shape))
    with Bell() as bell:
        terminal = Terminal(start_method, program, bell.path, *bodies)
        try:
            try:
                for _ in range(rings or len(bodies)):
                    terminal.wait_heard(bell)
            except AssertionError as exc:
                exc.add_note(f"it wrote: {terminal.kill_and_read()}")
                raise
            new = take_census().processes.keys() - before
            yield Tree(terminal, bell, [pid for pid, _ in new if pid != terminal.pid])
        finally:
            terminal.close()


# -- Once ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [IN_THE_BODY, AT_THE_END], ids=["body", "end"])
def test_once_ends_the_tree_in_order(
    start_method: str, tmp_path: Path, shape: str
) -> None:
    """Every actor is asked and cleans up; one traceback is all that is seen."""
    with running(start_method, tmp_path, shape, "says_goodbye", "waits") as tree:
        output = tree.check_end(tree.press_ctrl_c(), T_DOWN)
        assert output.count("Traceback (most recent call last)") == 1
        assert tree.bell.heard_nowait() == ["goodbye"]


def test_once_with_actors_that_do_not_stop(
    start_method: str, traits: Traits, tmp_path: Path
) -> None:
    """They are gone within the bound, whatever they do: C code, too, if it may be."""
    bodies = [*stubborn(traits), "sleeps"][: 3 if traits.can_kill else 2]
    with running(start_method, tmp_path, IN_THE_BODY, *bodies) as tree:
        output = tree.check_end(tree.press_ctrl_c(), T_DOWN, slack=1)
        assert output.count("Traceback (most recent call last)") == 1


def test_once_while_an_actor_boots(start_method: str, tmp_path: Path) -> None:
    """One that hangs in an import is stopped, too."""
    shape = """
async def main():
    async with tractor.open_nursery() as an:
        await start(an)
        await an.start_actor("late", enable_modules=["hangs"])
"""
    with Bell() as bell:
        write_program(tmp_path, mis.HANGS_AT_IMPORT.format(bell=bell.path), "hangs.py")
        with running(start_method, tmp_path, shape, "says_goodbye") as tree:
            late = int(bell.wait_heard())
            output = tree.check_end(tree.press_ctrl_c(), T_DOWN)
            assert output.count("Traceback (most recent call last)") == 1
            assert tree.bell.heard_nowait() == ["goodbye"]
            assert wait_for_end([late], 0) == []


def test_once_in_the_middle_of_calls(start_method: str, tmp_path: Path) -> None:
    """The functions are cancelled first, and then their actor is stopped."""
    bodies = ("says_goodbye", "ignores_cancel")
    with running(start_method, tmp_path, CALLING, *bodies) as tree:
        tree.check_end(tree.press_ctrl_c(), T_DOWN, slack=1)
        assert tree.bell.heard_nowait() == ["goodbye"]


# -- Twice -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [IN_THE_BODY, NESTED, CANCELLING, IN_A_TASK, SUPERVISED],
    ids=["body", "nested", "cancelling", "task", "supervised"],
)
def test_twice_kills_the_tree(
    start_method: str, traits: Traits, tmp_path: Path, shape: str
) -> None:
    """The second one ends the patience, wherever the actors are waited for."""
    bodies = (stubborn(traits)[1], "rings_when_cancelled")
    rings = len(bodies) * (2 if shape == NESTED else 1)
    with running(start_method, tmp_path, shape, *bodies, rings=rings) as tree:
        tree.press_ctrl_c()
        assert tree.bell.wait_heard() == "cancelled"
        slack = 3 if traits.own_gil else 6  # a loop leaves little of a shared one
        tree.check_end(tree.press_ctrl_c(), T_TWICE, slack=slack)


def test_twice_kills_what_is_below_too(
    start_method: str, traits: Traits, tmp_path: Path
) -> None:
    """Those whom the root does not know are gone with those whom it kills."""
    shape = """
async def main():
    async with tractor.open_nursery() as an:
        for fn in bodies:
            await an.run_in_actor(mis.has_child, name=fn, fn=fn, bell=bell, depth=2)
        await trio.sleep_forever()
"""
    bodies = (stubborn(traits)[0], "rings_when_cancelled")
    with running(start_method, tmp_path, shape, *bodies) as tree:
        if traits.own_process:
            assert len(tree._pids) >= 6  # some backends have helpers
        tree.press_ctrl_c()
        assert tree.bell.wait_heard() == "cancelled"
        tree.check_end(tree.press_ctrl_c(), T_TWICE)


# -- Not yet twice ---------------------------------------------------------------------


def test_the_first_one_asks_while_another_actor_is_being_stopped(
    start_method: str, traits: Traits
) -> None:
    """Nobody was asked for these before, so they are (reliability B3)."""
    worst = getattr(mis, stubborn(traits)[0])

    async def main() -> None:
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.says_goodbye, bell=bell.path)
            stuck = await an.run_in_actor(worst, bell=bell.path)
            for _ in range(2):
                await bell.heard()
            await stuck.cancel_actor()
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with Bell() as bell:
        interrupted(main)
        assert bell.heard_nowait() == ["goodbye"]


async def test_patience_comes_back_by_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What stops long after two that the program handled is asked first."""
    async with tractor.open_root_actor() as actor:
        actor.lose_patience()
        assert not actor.patient
        await trio.sleep(actor.graces.bound)
        assert actor.patient


# -- What it does to the runtime -------------------------------------------------------


def interrupted(main: object) -> None:
    """Run it to its Ctrl-C, with that of pytest out of the way."""
    with pytest.raises(KeyboardInterrupt):
        trio.run(main)  # type: ignore[arg-type]


def test_it_never_lands_in_the_background() -> None:
    """Whatever the loop runs at that moment, the body gets it."""
    over: list[str] = []

    async def service(name: str) -> None:
        signal.raise_signal(signal.SIGINT)
        over.append(name)

    async def main() -> None:
        async with tractor.open_root_actor() as actor:
            actor.spawn(service, "service", name="service")
            await trio.sleep_forever()

    interrupted(main)
    assert over == ["service"]


def test_it_never_lands_in_a_channel() -> None:
    """Its writer, a task of its own, goes on."""

    class Interrupting(FakeTransport):
        async def send_ready(self) -> None:
            signal.raise_signal(signal.SIGINT)
            self.give_room()

    async def main() -> None:
        transport = Interrupting(room=0)
        channel = Channel(transport, max_frame=LIMIT)
        async with tractor.open_root_actor() as actor:
            actor.spawn(channel.run, lambda _: None, name="channel")
            channel.send_nowait(t.Ping(1))
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await channel.drain()
                assert transport.sent == frames(t.Ping(1))
                channel.close()

    interrupted(main)


def test_it_never_lands_between_a_child_and_its_start(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor has no child then whose end never comes."""
    begin = Supervisor._begin

    def interrupted_begin(supervisor: Supervisor, child: Supervised) -> None:
        signal.raise_signal(signal.SIGINT)
        begin(supervisor, child)

    async def main() -> None:
        with trio.fail_after(SAFETY):
            async with (
                tractor.open_root_actor(start_method=start_method),
                tractor.open_supervisor() as supervisor,
            ):
                with monkeypatch.context() as patch:
                    patch.setattr(Supervisor, "_begin", interrupted_begin)
                    try:
                        await supervisor.start_actor("x")
                    finally:
                        assert supervisor.children() == []

    interrupted(main)


def test_the_handler_is_put_back() -> None:
    """After the root, Ctrl-C is again what it was before."""

    async def main() -> None:
        before = signal.getsignal(signal.SIGINT)
        async with tractor.open_root_actor():
            assert signal.getsignal(signal.SIGINT) is not before
        assert signal.getsignal(signal.SIGINT) is before

    trio.run(main)


async def test_patience_comes_back(start_method: str) -> None:
    """A program that goes on after all has its new actors asked first."""
    async with open_tree(start_method) as an:
        tractor.current_actor().lose_patience()
        await an.start_actor("x")
        await an.cancel()
        assert an.cancelled_caught
