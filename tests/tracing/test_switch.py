"""On, off, by the program and by the environment; and what tracing costs then."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import tractor
from tests._helpers import ROOT, SAFETY, open_tree, strike, within, write_program
from tests.tracing import traced
from tractor.testing import faults
from tractor.tracing import (
    disable_tracing,
    enable_tracing,
    note,
    read_trace,
    span,
    tracing,
)
from tractor.tracing._switch import END_TIMEOUT

HERE: Final = traced.__name__
CALLS: Final = 100  # that are counted
PACKAGE: Final = str(Path(tractor.__file__).parent)


@pytest.fixture(autouse=True)
def off() -> Iterator[None]:
    """Tracing is off after each test."""
    yield
    disable_tracing()


def run(program: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run it in its own folder."""
    return subprocess.run(
        [sys.executable, program],
        capture_output=True,
        check=True,
        cwd=program.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        text=True,
        timeout=SAFETY,
    )


# -- The program's own -----------------------------------------------------------------


def test_t1_a_second_trace_is_refused(tmp_path: Path) -> None:
    """The first one goes on."""
    path = enable_tracing(tmp_path / "first")
    with pytest.raises(RuntimeError, match=r"tracing is on, to .*first"):
        enable_tracing(tmp_path / "second")
    note("still here")
    disable_tracing()
    assert [line.name for line in read_trace(path)] == ["still here"]
    assert not (tmp_path / "second").exists()


def test_t3_off_is_off(tmp_path: Path) -> None:
    """To end it twice does nothing, and afterwards there are no lines."""
    disable_tracing()
    with tracing(tmp_path / "trace") as path:
        note("one")
    disable_tracing()
    with span("two"):
        note("three")
    assert [line.name for line in read_trace(path)] == ["one"]


def test_t1_the_default_is_a_new_file_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the current folder, named after the process, for this user alone."""
    monkeypatch.chdir(tmp_path)
    path = enable_tracing()
    assert path == tmp_path / f"tractor-trace-{os.getpid()}.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    note("old")
    disable_tracing()
    with tracing(path.name):
        pass
    assert list(read_trace(path)) == []


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """At once, and tracing stays off."""
    with pytest.raises(FileNotFoundError):
        enable_tracing(tmp_path / "no" / "trace")
    with tracing(tmp_path / "trace"):
        pass


def test_t6_a_program_that_forgets_to_end_it_is_ended(tmp_path: Path) -> None:
    """What is open at its end is written then."""
    program = write_program(
        tmp_path,
        """
        from tractor.tracing import enable_tracing, span
        enable_tracing("trace")
        span("never left").__enter__()
        """,
    )
    assert run(program).stderr == ""
    [line] = read_trace(tmp_path / "trace")
    assert (line.name, line.outcome) == ("never left", "open")


# -- The environment's -----------------------------------------------------------------

PROGRAM: Final = """
    import trio, tractor
    from tractor.tracing import disable_tracing, enable_tracing, note

    async def leaf():
        pass

    async def main():
        for _ in range(2):
            async with tractor.open_nursery() as an:
                portal = await an.start_actor("leaf", enable_modules=[__name__])
                await portal.run(leaf)
                print(enable_tracing("another"))
                disable_tracing()  # without effect
                note("after that")
                await an.cancel()

    if __name__ == "__main__":
        trio.run(main)
"""


def test_the_environment_traces_any_program(start_method: str, tmp_path: Path) -> None:
    """From the start of its root to the end, also of the next root; and it wins."""
    program = write_program(tmp_path, PROGRAM)
    env = {"TRACTOR_TRACE": "trace-{pid}", "TRACTOR_SPAWN_METHOD": start_method}
    done = run(program, **env)
    [path] = tmp_path.glob("trace-*")
    assert done.stdout.split() == [str(path)] * 2
    assert path.name.removeprefix("trace-").isdigit()
    lines = list(read_trace(path))
    assert not (tmp_path / "another").exists()
    assert [line.name for line in lines if line.kind == "task"] == ["__main__.leaf"] * 2
    assert [line.name for line in lines if line.kind == "note"] == ["after that"] * 2
    assert len([line for line in lines if line.kind == "exit"]) == 2


def test_t1_the_environment_adds_to_what_is_there(tmp_path: Path) -> None:
    """A program inherits the variable from one that is being traced."""
    (tmp_path / "trace").write_text("")
    program = write_program(tmp_path, PROGRAM)
    sizes = []
    for _ in range(2):
        run(program, TRACTOR_TRACE="trace")
        sizes.append(len(list(read_trace(tmp_path / "trace"))))
    assert sizes[1] == 2 * sizes[0]


# -- Where things go wrong -------------------------------------------------------------


async def test_an_actor_that_cannot_write_works_all_the_same(
    start_method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its parent logs why it is not traced."""
    async with open_tree(start_method) as an:
        with tracing(tmp_path / "trace") as path:
            path.unlink()
            portal = await an.start_actor("worker", enable_modules=[HERE])
            assert await portal.run(traced.leaf, 1) == 1
        await an.cancel()
    [message] = [text for text in caplog.messages if "own failed" in text]
    assert "No such file" in message
    assert not path.exists()


@pytest.mark.requires_trait("own_process", "can_kill")
async def test_the_end_is_bounded(start_method: str, tmp_path: Path) -> None:
    """An actor that does not answer holds it up for one second, and no longer."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("worker", enable_modules=[HERE])
        tracer = tracing(tmp_path / "trace")
        await tracer.__aenter__()
        faults.stop(portal)
        with within(END_TIMEOUT):
            await tracer.__aexit__(None, None, None)
        faults.resume(portal)
        assert await portal.run(traced.leaf, 1) == 1
        await an.cancel()


async def test_actors_that_are_started_again_are_traced(
    start_method: str, tmp_path: Path
) -> None:
    """By their supervisor, in the place of one that died."""
    with tracing(tmp_path / "trace") as path:
        async with open_tree(start_method), tractor.open_supervisor() as supervisor:
            await supervisor.start_actor("worker", enable_modules=[HERE])
            first = await supervisor.portal("worker")
            strike(first)
            await tractor.monitor(first)
            again = await supervisor.portal("worker")
            await again.run(traced.leaf, 1)
            await supervisor.cancel()
    [task] = [line for line in read_trace(path) if line.kind == "task"]
    assert task.uuid == again.aid.uuid != first.aid.uuid


# -- Off, it costs nothing -------------------------------------------------------------


async def frames_of_calls(portal: tractor.Portal, calls: int) -> list[dict[str, int]]:
    """Which functions run for so many calls, at the caller and at the callee."""
    await portal.run(traced.start_frames)
    traced.frames.start()
    for _ in range(calls):
        await portal.run(traced.leaf, 1)
    return [traced.frames.stop(), await portal.run(traced.stop_frames)]


async def cost_of_a_call(portal: tractor.Portal) -> list[dict[str, int]]:
    """Of two numbers of calls the difference: what frames one call takes.

    Rounded: what an actor does now and then, whether it is called or not, is no cost.
    """
    few = await frames_of_calls(portal, CALLS)
    many = await frames_of_calls(portal, 2 * CALLS)
    return [
        {
            name: times
            for name in after
            if name.startswith(PACKAGE)
            and (times := round((after[name] - before.get(name, 0)) / CALLS))
        }
        for before, after in zip(few, many, strict=True)
    ]


async def measure(path: str) -> dict[str, Any]:
    """Costs before tracing was ever on, and after it was turned off again."""
    found: dict[str, Any] = {}
    async with tractor.open_nursery(start_method="trio") as an:
        portal = await an.start_actor("callee", enable_modules=[HERE])
        await cost_of_a_call(portal)  # warm up
        for when in ("never on", "off again"):
            found[when] = await cost_of_a_call(portal)
            before = [await traced.blocks(), await portal.run(traced.blocks)]
            for _ in range(10 * CALLS):
                await portal.run(traced.leaf, 1)
            after = [await traced.blocks(), await portal.run(traced.blocks)]
            found[f"blocks, {when}"] = [
                (b - a) / CALLS / 10 for a, b in zip(before, after, strict=True)
            ]
            async with tracing(path):
                found["on"] = await cost_of_a_call(portal)
        await an.cancel()
    return found


def test_t5_off_a_call_costs_what_it_does_without_tracing(tmp_path: Path) -> None:
    """The same functions run, as often, in both actors, and no memory stays.

    In a program of its own, since tests have instruments in their loop.
    """
    code = "import sys, trio, json; from tests.tracing import test_switch as it\n"
    code += "print(json.dumps(trio.run(it.measure, sys.argv[1])))"
    argv = [sys.executable, "-c", code, str(tmp_path / "trace")]
    # Nothing but the program: a tracer of coverage has frames, too.
    env = {key: value for key, value in os.environ.items() if "TRACTOR_" not in key}
    done = subprocess.run(
        argv,
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=env,
        timeout=SAFETY,
    )
    found = json.loads(done.stdout)
    assert found["never on"] == found["off again"]
    for actor in found["never on"]:
        assert sum(actor.values()) > 10
        assert not any("_instrument" in name or "tracing" in name for name in actor)
    for actor in found["on"]:
        assert any("_tracer.py" in name for name in actor)
    for when in ("never on", "off again"):
        assert max(found[f"blocks, {when}"]) < 0.1


async def test_off_nothing_of_it_is_loaded(start_method: str) -> None:
    """Not even its modules."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("callee", enable_modules=[HERE])
        assert not await portal.run(traced.is_loaded, "tractor.tracing")
        await an.cancel()


def test_on_only_what_goes_on_is_remembered(tmp_path: Path) -> None:
    """However much was traced (§2 of the contract: no history grows)."""
    from tractor.tracing._switch import slot

    async def main() -> None:
        async with tractor.open_nursery(start_method="trio") as an:
            portal = await an.start_actor("callee", enable_modules=[HERE])
            for number in range(CALLS):
                await portal.run(traced.leaf, number)
            async with portal.open_stream_from(traced.count_to, 3) as stream:
                async for _ in stream:
                    pass
            await an.cancel()

    with tracing(tmp_path / "trace"):
        trio.run(main)
        tracer = slot.tracer
        assert tracer is not None
        kept = (tracer.opened, tracer._tasks, tracer._streams, tracer._spawned)
        assert [len(each) for each in kept] == [0] * 4
