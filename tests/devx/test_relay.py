"""A dump shows the whole tree: what each actor below hangs in, and who is silent.

The hangs are planted on real children, of every spawn backend where they can be ended
again. A dump has to name the function and the line.
"""

import inspect
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import tractor
from tests import _misbehaviours
from tests._helpers import (
    QUICK,
    SAFETY,
    Bell,
    open_tree,
    pid_of,
    run_python,
    within,
    write_program,
)
from tests.devx import hangs
from tractor import spawn
from tractor.devx import ActorNode, actor_tree, dump_on_hang

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="needs Linux's memfd"
)
own_process = pytest.mark.requires_trait("own_process")
can_kill = pytest.mark.requires_trait("can_kill")  # where it is stuck in C

SOON: Final = 0.01  # seconds until a dump
ANSWERS: Final = 1.0  # seconds for all that answer, and all that do not


@pytest.fixture
def bell() -> Iterator[Bell]:
    """On which actors say that they are in place."""
    with Bell() as made:
        yield made


@asynccontextmanager
async def actor_that(
    start_method: str, fn: str, bell: Bell, module: str = hangs.MISBEHAVE
) -> AsyncIterator[tractor.Portal]:
    """An actor that hangs in `fn`, and is stopped when the block is left."""
    async with open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("stuck", enable_modules=hangs.SERVED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_to_its_end, portal, module, fn, bell.path)
            await bell.heard()
            yield portal
            await an.cancel()


async def _run_to_its_end(portal: tractor.Portal, ns: str, fn: str, bell: str) -> None:
    with pytest.raises((tractor.TractorError, trio.Cancelled)):
        await portal.run_from_ns(ns, fn, bell=bell)


async def take_dump(path: Path) -> str:
    """What a dump made now says."""
    with within(ANSWERS), dump_on_hang(SOON, path=path) as hang:
        assert await trio.to_thread.run_sync(hang.wait_dumped, SAFETY)
    return await trio.Path(path).read_text()


def brief(text: str) -> str:
    """The part of a dump that is read first."""
    return text.partition("== the tree in short\n")[2].partition("\n==")[0]


def assert_named(text: str, fn: Callable[..., Any], source: str) -> None:
    """Fail unless the brief part of a dump has the function, its file and the line.

    Args:
        text: The dump.
        fn: The culprit, or what it is defined in.
        source: Part of that line.
    """
    name = source.partition("@")[2] or fn.__name__
    code = source.partition("@")[0]
    path = Path(inspect.getfile(fn))
    place = rf" in \S*\b{name} \({path.name}:(\d+)\): (.*)"
    found = re.findall(place, brief(text))
    assert found, brief(text)
    lines, first = inspect.getsourcelines(fn)
    for number, shown in found:
        line = lines[int(number) - first].strip()
        assert line == shown
        assert code in line


# -- Planted hangs ---------------------------------------------------------------------


@pytest.mark.parametrize("fn", ["loops", pytest.param("sleeps", marks=can_kill)])
async def test_a_stuck_loop_is_named(
    start_method: str, fn: str, bell: Bell, tmp_path: Path
) -> None:
    """A child answers from a busy loop and from a blocking call."""
    async with actor_that(start_method, fn, bell) as portal:
        text = await take_dump(tmp_path / "dump")
    assert f"task 'tests._misbehaviours.{fn}' runs in {fn} (" in brief(text)
    assert_named(text, getattr(_misbehaviours, fn), "")
    assert f"root called stuck, 0: tests._misbehaviours.{fn}" in text
    assert f"stuck@{pid_of(portal)}" in brief(text)


async def test_deadlocked_contexts_are_named(
    start_method: str, bell: Bell, tmp_path: Path
) -> None:
    """Both sides wait to hear first; the dump shows both lines and both ends."""

    async def hears_nothing(stream: tractor.MsgStream) -> None:
        await stream.receive()

    async with open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("deadlocked", enable_modules=hangs.SERVED)
        async with (
            portal.open_context(hangs.wants_to_hear_first, bell.path) as (ctx, _),
            ctx.open_stream() as stream,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(hears_nothing, stream)
            await bell.heard()
            text = await take_dump(tmp_path / "dump")
            nursery.cancel_scope.cancel()
            await ctx.cancel()
        await an.cancel()
    assert_named(text, hears_nothing, "await stream.receive()")
    assert_named(text, hangs.wants_to_hear_first, "await stream.receive()")
    calls = text.partition("root called deadlocked")[2].partition("\n==")[0]
    assert calls.count("1 waiting to receive") == 2


async def test_a_sender_without_credit_is_shown(
    start_method: str, tmp_path: Path
) -> None:
    """The numbers of the stream say who keeps whom waiting."""
    async with open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("eager", enable_modules=hangs.SERVED)
        async with portal.open_context(hangs.sends_and_sends) as (ctx, _):
            await _until_full(ctx)
            text = await take_dump(tmp_path / "dump")
            await ctx.cancel()
        await an.cancel()
    calls = text.partition("root called eager")[2].partition("\n==")[0]
    assert "the caller: context: sent 0, received 0; unread 64 of 64" in calls
    assert "credit 0; 1 waiting to send" in calls


async def _until_full(ctx: tractor.Context) -> None:
    # What arrives and is not read sets no event.
    while ctx.end.statistics().unread < ctx.end.window:
        await trio.lowlevel.checkpoint()


# -- Where things go wrong at the root -------------------------------------------------


def hold_the_loop(path: Path) -> None:
    """Until a dump of that is made."""
    with within(ANSWERS), dump_on_hang(SOON, path=path) as hang:
        assert hang.wait_dumped(SAFETY)


@pytest.mark.allow_slow_step(reason="the loop of the root is blocked on purpose")
async def test_the_whole_tree_is_dumped_while_the_loop_of_the_root_is_blocked(
    start_method: str, bell: Bell, tmp_path: Path
) -> None:
    """A thread makes the dump; both culprits are in it, the root's and the actor's."""
    async with actor_that(start_method, "loops", bell):
        hold_the_loop(tmp_path / "dump")
    text = await trio.Path(tmp_path / "dump").read_text()
    assert_named(text, hold_the_loop, "hang.wait_dumped(SAFETY)")
    assert_named(text, _misbehaviours.loops, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
async def test_the_whole_tree_is_at_stderr_when_the_disk_is_full(
    start_method: str, bell: Bell, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the tree goes on as if nothing was."""
    async with actor_that(start_method, "waits", bell):
        with dump_on_hang(SOON, path="/dev/full") as hang:
            assert await trio.to_thread.run_sync(hang.wait_dumped, SAFETY)
    text = capfd.readouterr().err
    assert hang.dumped is None
    assert_named(text, _misbehaviours.waits, "await trio.sleep_forever()")


# -- Those that do not answer ----------------------------------------------------------


@can_kill
async def test_who_holds_the_interpreter_is_named_by_faulthandler(
    start_method: str, bell: Bell, tmp_path: Path
) -> None:
    """No Python runs there any more, and still the function is found."""
    async with actor_that(start_method, "holds_the_gil", bell):
        text = await take_dump(tmp_path / "dump")
    assert "no answer within 1 s" in brief(text)
    assert "a thread is in holds_the_gil (" in brief(text)


@own_process
async def test_a_stopped_process_is_described_from_outside(
    start_method: str, bell: Bell, tmp_path: Path
) -> None:
    """At once: it is known that it will not answer."""
    async with actor_that(start_method, "waits", bell) as portal:
        os.kill(pid_of(portal), signal.SIGSTOP)
        text = await take_dump(tmp_path / "dump")
        os.kill(pid_of(portal), signal.SIGCONT)
    assert f"stuck@{pid_of(portal)} T: it is stopped" in brief(text)


@own_process
async def test_a_process_without_a_handler_is_left_alone(
    start_method: str, tmp_path: Path
) -> None:
    """The signal would end it; the dump says what is missing."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("deaf", enable_modules=["tests._actors"])
        text = await take_dump(tmp_path / "dump")
        assert await portal.run_from_ns("tests._actors", "note", word="alive")
        await an.cancel()
    assert "it is not ready to answer; see enable_stack_on_sig" in brief(text)
    assert "kernel thread" in text


@can_kill
async def test_silent_ones_are_waited_for_together(
    start_method: str, bell: Bell, tmp_path: Path
) -> None:
    """Three that say nothing take as long as one."""
    hang = (hangs.MISBEHAVE, "holds_the_gil", bell.path)
    async with (
        open_tree(start_method, graces=QUICK) as an,
        trio.open_nursery() as nursery,
    ):
        for _ in range(3):
            portal = await an.start_actor("silent", enable_modules=hangs.SERVED)
            nursery.start_soon(_run_to_its_end, portal, *hang)
            await bell.heard()
        text = await take_dump(tmp_path / "dump")
        await an.cancel()
    assert brief(text).count("no answer within 1 s") == 3


STUCK_IN_C: Final = """
    import sys, trio, tractor
    from functools import partial
    from tests._helpers import QUICK, Bell
    from tests.devx import hangs
    from tractor.devx import dump_on_hang

    async def dump(path):
        with dump_on_hang(0.01, path=path) as hang:
            assert await trio.to_thread.run_sync(hang.wait_dumped, 30)

    async def main():
        async with tractor.open_root_actor(graces=QUICK):
            try:
                with Bell() as bell, trio.fail_after(30):
                    async with tractor.open_nursery() as an:
                        portal = await an.start_actor(
                            "stuck", enable_modules=hangs.SERVED
                        )
                        async with trio.open_nursery() as nursery:
                            ns, fn, words = HANG
                            run = partial(portal.run_from_ns, bell=bell.path, **words)
                            nursery.start_soon(run, ns, fn)
                            await bell.heard()
                            await dump(sys.argv[1])
                            nursery.cancel_scope.cancel()
                        await an.cancel()
            except* tractor.ActorAbandoned:
                print("abandoned")
            await dump(sys.argv[2])

    if __name__ == "__main__":
        trio.run(main)
"""


def dumps_of_hang(
    start_method: str, folder: Path, ns: str, fn: str, /, **words: str
) -> tuple[str, str, str]:
    """What the program says, and its dumps while it hangs and after it was stopped."""
    text = STUCK_IN_C.replace("HANG", repr((ns, fn, words)))
    program = write_program(folder, text)
    dumps = [folder / "before", folder / "after"]
    done = run_python(start_method, program, *dumps)
    assert done.returncode == 0, done.stderr
    return done.stdout, *(path.read_text() for path in dumps)  # type: ignore[return-value]


def test_who_cannot_be_stopped_is_still_seen(
    start_method: str, traits: spawn.Traits, tmp_path: Path
) -> None:
    """An interpreter that is blocked in C is named, also when it was left behind."""
    said, before, after = dumps_of_hang(
        start_method, tmp_path, hangs.MISBEHAVE, "sleeps"
    )
    assert_named(before, _misbehaviours.sleeps, "time.sleep(3600)")
    left = not traits.can_kill
    assert ("abandoned" in said) == left
    assert ("could not be stopped and was left behind: stuck@" in after) == left
    assert ("runs in sleeps (" in brief(after)) == left


def test_a_thread_of_a_grandchild_is_named(start_method: str, tmp_path: Path) -> None:
    """A job of `trio.to_thread` that never returns is found two levels down.

    In a program of its own, since a thread of an interpreter cannot be ended.
    """
    hang = (hangs.__name__, "have_child_that")
    _, text, _ = dumps_of_hang(start_method, tmp_path, *hang, fn="wait_in_thread")
    assert "thread 'stuck_in_c from tests.devx.hangs.wait_in_thread'" in brief(text)
    assert_named(text, hangs.wait_in_thread, "_never.wait()@stuck_in_c")
    assert "stuck called below, 0: tests.devx.hangs.wait_in_thread" in text


# -- People and pictures ---------------------------------------------------------------


@own_process
async def test_a_person_gets_a_dump_by_a_signal(
    start_method: str, bell: Bell, runtime_dir: str
) -> None:
    """The actor dumps itself and those below it into a file that its log names."""
    async with actor_that(
        start_method, "have_child_that_waits", bell, hangs.__name__
    ) as portal:
        os.kill(pid_of(portal), signal.SIGUSR1)
        assert await bell.heard() == "dumped"
    text = _take_away(runtime_dir, f"dump-{pid_of(portal)}-*.txt")
    assert "asked for by a signal" in text
    assert "below@" in brief(text)
    assert "waits (" in brief(text)


def _take_away(folder: str, pattern: str) -> str:
    [path] = Path(folder, "tractor").glob(pattern)
    try:
        return path.read_text()
    finally:
        path.unlink()


async def test_a_child_makes_a_dump_of_its_own(
    start_method: str, tmp_path: Path
) -> None:
    """It begins with that child, whatever is above it."""
    path = tmp_path / "dump"
    async with open_tree(start_method) as an:
        portal = await an.start_actor("lower", enable_modules=hangs.SERVED)
        await portal.run(hangs.dump_hang, str(path))
        await an.cancel()
    text = await trio.Path(path).read_text()
    assert brief(text).strip().startswith("lower@")


async def test_the_tree_is_as_the_actors_say(start_method: str, bell: Bell) -> None:
    """Actors stand below their parents, also where another process forks them."""
    async with actor_that(start_method, "have_child_that_waits", bell, hangs.__name__):
        tree = await trio.to_thread.run_sync(actor_tree)
        # Beside them may be processes that are no actors: a forkserver is one.
        [stuck] = [node for node in tree.root.children if node.aid is not None]
        [below] = [node for node in stuck.children if node.aid is not None]
    assert names(tree.root, stuck, below) == ["root", "stuck", "below"]
    assert below.actor is not None
    assert below.actor.state == "running"
    for picture in (str(tree), tree.mermaid(), tree.dot()):
        assert f"below@{below.answer.process.pid}" in picture


def names(*nodes: ActorNode) -> list[str]:
    """Of actors."""
    return [node.aid.name for node in nodes if node.aid is not None]
