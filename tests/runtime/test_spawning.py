"""Starting actors: what is ready when, what is found where, what is refused."""

import inspect
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests import _actors as do
from tests import _misbehaviours as mis
from tests._helpers import (
    MODULES,
    ROOT,
    Bell,
    events,
    is_gone,
    open_tree,
    pid_of,
    raises,
    run_python,
    write_program,
)
from tractor import (
    ActorDied,
    BackendUnavailable,
    MsgTypeError,
    RemoteActorError,
    SpawnError,
)
from tractor.spawn import Traits


async def add(a: int, b: int) -> int:
    """For children that can import this very module."""
    return a + b


async def crashes_when_cancelled(bell: str) -> None:
    mis.ring(bell)
    try:
        await trio.sleep_forever()
    finally:
        os._exit(3)


def sync() -> None:
    pass


async def generate() -> Any:
    yield 1


@pytest.fixture
def bell() -> Iterator[Bell]:
    with Bell() as bell:
        yield bell


# -- Ready -----------------------------------------------------------------------------


async def test_a_started_actor_has_its_modules(start_method: str) -> None:
    """`start_actor` returns when the modules are imported (semantics §2.1)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=[__name__, *MODULES, "wave"])
        assert await portal.run(do.is_loaded, "wave")
        assert await portal.run(add, 1, b=2) == 3
        await an.cancel()


async def test_actors_start_concurrently(
    start_method: str, bell: Bell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those asked for concurrently do not wait for each other (semantics §2.4)."""
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    text = f"""
        from tests._misbehaviours import ring
        ring({bell.path!r})
        open({gate!r}).close()  # until somebody may write
    """
    write_program(tmp_path, text, "waits_for_gate.py")
    monkeypatch.syspath_prepend(tmp_path)
    async with open_tree(start_method) as an:
        async with trio.open_nursery() as nursery:
            for name in "abc":
                start = partial(an.start_actor, enable_modules=["waits_for_gate"])
                nursery.start_soon(start, name)
            for _ in "abc":
                await bell.heard()  # all are booting, and none is ready
            opened = os.open(gate, os.O_RDWR)
        os.close(opened)
        await an.cancel()


# -- Not ready -------------------------------------------------------------------------


async def test_a_cancelled_start_leaves_nothing(
    start_method: str, bell: Bell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled half-way, the child is gone when the call ends (semantics §2.1)."""
    text = mis.HANGS_AT_IMPORT.format(bell=bell.path)
    write_program(tmp_path, text, "hangs.py")
    monkeypatch.syspath_prepend(tmp_path)
    with events("spawn") as spawned, events("exit") as exits:
        async with open_tree(start_method) as an:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    start = partial(an.start_actor, enable_modules=["hangs"])
                    nursery.start_soon(start, "x")
                    await bell.heard()
                    scope.cancel()
            assert len(exits) == 1
            assert is_gone(exits[0].aid)
            # Nothing is even begun when the caller is cancelled already.
            with trio.CancelScope() as scope:
                scope.cancel()
                await an.start_actor("y")
            assert len(spawned) == 1
            assert not an.cancel_called


async def test_a_start_in_a_nursery_that_is_cancelled(
    start_method: str, bell: Bell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told so, and a later one is refused (semantics §2.1)."""
    text = mis.HANGS_AT_IMPORT.format(bell=bell.path)
    write_program(tmp_path, text, "hangs.py")
    monkeypatch.syspath_prepend(tmp_path)

    async def start(an: tractor.ActorNursery) -> None:
        with pytest.raises(SpawnError, match="was stopped in its stage 'import'"):
            await an.start_actor("x", enable_modules=["hangs"])

    async with open_tree(start_method) as an, trio.open_nursery() as nursery:
        nursery.start_soon(start, an)
        await bell.heard()
        await an.cancel()
        with pytest.raises(RuntimeError, match="this nursery is cancelled"):
            await an.start_actor("y")
    with pytest.raises(RuntimeError, match="this nursery is closed"):
        await an.start_actor("z")


async def test_no_descriptor_left(start_method: str, traits: Traits) -> None:
    """That is a `SpawnError`, it leaks none, and passes (semantics §2.1)."""
    async with open_tree(start_method) as an:
        # In a process that is not that of the tests.
        portal = await an.start_actor("x", enable_modules=MODULES, start_method="trio")
        failures, leaked = await portal.run(do.start_without_descriptors)
        assert "start: [Errno 24] Too many open files" in failures
        if traits.own_process:  # a child that shares them may be the first to notice
            assert {failure.partition(":")[0] for failure in failures} == {"start"}
        assert leaked == 0
        await an.cancel()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"enable_modules": "text"}, TypeError),
        ({"start_method": "nope"}, ValueError),
        ({"proc_kwargs": {"nope": 1}}, TypeError),
        ({"proc_kwargs": {"shell": True}}, TypeError),
        ({"proc_kwargs": {"stdout": subprocess.PIPE}}, TypeError),
    ],
    ids=str,
)
async def test_bad_options(
    start_method: str, options: dict[str, Any], error: type[Exception]
) -> None:
    """What cannot start is refused at the call, and harms nobody (semantics §2.1)."""
    async with open_tree(start_method) as an:
        with pytest.raises(error):
            await an.start_actor("x", **options)
        assert not an.cancel_called
        assert an.errors == {}


@pytest.mark.parametrize(
    "options", [{"cwd": "/nowhere"}, {"preexec_fn": lambda: 1 / 0}], ids=str
)
@pytest.mark.requires_trait("popen_options")
async def test_options_that_fail(start_method: str, options: dict[str, Any]) -> None:
    """What the system refuses is a `SpawnError`, and harms nobody (semantics §2.1)."""
    async with open_tree(start_method) as an:
        with pytest.raises(SpawnError):
            await an.start_actor("x", proc_kwargs=options)
        assert not an.cancel_called
        assert an.errors == {}


async def test_a_backend_that_cannot_work_here(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text names what is missing (semantics §1.5)."""
    async with open_tree(start_method) as an:
        monkeypatch.setattr(sys, "executable", "")
        with pytest.raises(BackendUnavailable, match=r"'trio'.*sys\.executable"):
            await an.start_actor("x", start_method="trio")


# -- Which backend ---------------------------------------------------------------------


async def test_the_environment_chooses_the_backend(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`TRACTOR_SPAWN_METHOD` wins over `start_method` (semantics §1.5)."""
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", start_method)
    async with open_tree("nope"):
        assert (await do.get_vars())["start_method"] == repr(start_method)
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "nope")
    with raises(ValueError, match=r"unknown spawn backend 'nope'.*trio"):
        async with open_tree(start_method):
            pass


async def test_each_actor_may_have_its_backend(start_method: str) -> None:
    """`start_method` of one child changes nothing for the tree (semantics §1.5)."""
    with events("spawn") as spawned:
        async with open_tree("trio") as an:
            for method in (start_method, "trio"):
                portal = await an.start_actor(
                    "x", enable_modules=MODULES, start_method=method
                )
                assert (await portal.run(do.get_vars))["start_method"] == "'trio'"
            await an.cancel()
    assert [event.data["backend"] for event in spawned] == [start_method, "trio"]


# -- Names and arguments ---------------------------------------------------------------


async def test_odd_names(start_method: str) -> None:
    """Any text is a name (semantics §1.2)."""
    names = ["", "--link", "a b\n'c'", "é🦊", "x" * 5000, "../$(ls)"]
    async with open_tree(start_method) as an:
        for name in names:
            portal = await an.start_actor(name, enable_modules=MODULES)
            assert (await portal.run(do.name_and_argv))[0] == portal.aid.name == name
        await an.cancel()


async def test_what_is_no_text_is_no_name(start_method: str) -> None:
    """A name that cannot be sent starts nothing (semantics §2.1)."""
    with events("exit") as exits:
        async with open_tree(start_method) as an:
            with pytest.raises(ValueError, match="surrogates"):
                await an.start_actor("\udc80")
    assert [event.aid.pid for event in exits] == [None]


async def test_paths_and_arguments_need_not_be_text(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system calls a path or an argument is handed on as it is (§2.2)."""
    monkeypatch.setattr(sys, "argv", ["program", os.fsdecode(b"\xff")])
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/"), os.fsdecode(b"/\xff")])
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        assert (await portal.run(do.name_and_argv))[1] == [b"program", b"\xff"]
        await an.cancel()


# -- run_in_actor ----------------------------------------------------------------------


async def test_run_in_actor(start_method: str) -> None:
    """It calls one function, and reaps the actor after its result (semantics §2.3)."""
    with events("exit") as exits:
        async with open_tree(start_method) as an:
            portal = await an.run_in_actor(add, a=1, b=2)
            assert portal.aid.name == "add"
            assert await portal.wait_for_result() == 3
            named = await an.run_in_actor(add, name="named", a=3, b=4)
            assert named.aid.name == "named"
        assert await named.wait_for_result() == 7
        assert len(exits) == 2
        assert not an.cancel_called


async def test_run_in_actor_calls_first(start_method: str) -> None:
    """Its function starts before any that is called by the portal (§2.3, §4.2)."""
    async with open_tree(start_method) as an:
        for _ in range(3):
            portal = await an.run_in_actor(do.note, word="main", stay=True)
            assert await portal.run(do.note, "after") == ["main", "after"]
        await an.cancel()


async def test_a_portal_without_a_main_task_has_no_result(start_method: str) -> None:
    """`wait_for_result` is for `run_in_actor` alone (semantics §2.3)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        with pytest.raises(tractor.NoResult, match="no main task"):
            await portal.wait_for_result()
        await an.cancel()


def closure() -> Callable[[], Awaitable[None]]:
    async def inside() -> None:
        pass

    return inside


class WithMethod:
    async def method(self) -> None:
        pass


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (sync, TypeError, "async def"),
    (generate, TypeError, "async generator"),
    (lambda: None, TypeError, "async def"),
    (closure(), ValueError, "defined inside a function; move it to the top level"),
    (WithMethod().method, ValueError, "top level"),
    (None, TypeError, "async def"),
]


@pytest.mark.parametrize(("fn", "error", "text"), REFUSED, ids=lambda v: repr(v)[:40])
async def test_what_no_actor_could_find_is_refused_at_once(
    start_method: str, fn: Any, error: type[Exception], text: str
) -> None:
    """The function is checked before anything is started (semantics §2.2, §2.3)."""
    with events("spawn") as spawned:
        async with open_tree(start_method) as an:
            with pytest.raises(error, match=text):
                await an.run_in_actor(fn)
    assert spawned == []


async def test_a_lambda_of_an_async_function_is_refused(start_method: str) -> None:
    """A lambda cannot be found by name, whatever it gives (semantics §2.2)."""
    anonymous = inspect.markcoroutinefunction(lambda: add(1, 2))
    async with open_tree(start_method) as an:
        with pytest.raises(ValueError, match="is a lambda; move it"):
            await an.run_in_actor(anonymous)


async def test_arguments_are_checked_before_anything_is_started(
    start_method: str,
) -> None:
    """An argument that cannot be sent starts nothing (semantics §2.3)."""
    with events("spawn") as spawned:
        async with open_tree(start_method) as an:
            with pytest.raises(MsgTypeError, match=r"an argument of .*add"):
                await an.run_in_actor(add, a=object(), b=1)
    assert spawned == []


async def test_arguments_that_are_too_large_are_an_error(start_method: str) -> None:
    """Nobody has to ask for the result to learn of it (semantics §2.3, §3.2)."""
    with raises(tractor.FrameTooLarge):
        async with open_tree(start_method, max_frame=10**5) as an:
            await an.run_in_actor(add, a="x" * 10**6, b="")


# -- What a child has of its parent ----------------------------------------------------


@pytest.mark.requires_trait("own_process")
async def test_children_ignore_ctrl_c(start_method: str) -> None:
    """SIGINT of a terminal is the root's; in a child it does nothing (§2.4)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        assert os.getpgid(pid_of(portal)) != os.getpgrp()
        os.kill(pid_of(portal), signal.SIGINT)
        assert not (await portal.run(do.who))[-1]
        await an.cancel()


async def test_output_is_passed_on(
    start_method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a child prints appears where its parent prints (semantics §2.5)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=MODULES)
        await portal.run(do.speak, "to stdout", "to stderr")
        await an.cancel()
    out, err = capfd.readouterr()
    assert (out, err) == ("to stdout\n", "to stderr\n")


@pytest.mark.requires_trait("own_process")
async def test_the_last_words_of_the_dead(
    start_method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The last 16 KiB of stderr are attached to the error (semantics §2.5)."""
    words = "".join(f"line {number}\n" for number in range(4000))
    with raises(tractor.ActorDied) as caught:
        async with open_tree(start_method) as an:
            await an.run_in_actor(mis.exits, code=1, words=words)
    assert caught.value.stderr_tail == words[-16 * 1024 :]
    assert capfd.readouterr().err == words


@pytest.mark.requires_trait("popen_options")
async def test_options_of_the_process(start_method: str, tmp_path: Path) -> None:
    """`proc_kwargs` reach the mechanism underneath (semantics §2.1)."""
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", proc_kwargs=options)
        assert os.readlink(f"/proc/{pid_of(portal)}/cwd") == str(tmp_path)
        await an.cancel()


# -- Functions of the program itself ---------------------------------------------------

PROGRAM = """
    import sys
    import trio, tractor

    print("imported as", __name__)

    async def hello(whom):
        assert "not handed on" not in vars(tractor)
        return f"hello {whom}"

    async def below():
        return await tractor.to_actor.run(hello, "from below")

    async def main():
        vars(tractor)["not handed on"] = True
        print(await tractor.to_actor.run(hello, *sys.argv[1:]))
        print(await tractor.to_actor.run(below))

    if __name__ == "__main__":
        trio.run(main)
"""
EXPECTED = ["imported as __main__"] + [
    line
    for said in ("hello world", "hello from below")
    for line in ["imported as __mp_main__"] * (1 + (said != "hello world")) + [said]
]


@pytest.mark.parametrize(
    ("file", "argv"),
    [
        ("script.py", ["script.py"]),
        ("odd name-1.py", ["odd name-1.py"]),
        ("pkg/mod.py", ["-m", "pkg.mod"]),
        ("pkg/__main__.py", ["-m", "pkg"]),
        ("folder/__main__.py", ["folder"]),
        ("zipped/__main__.py", ["zipped.zip"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_functions_of_the_main_module(
    start_method: str, tmp_path: Path, file: str, argv: list[str]
) -> None:
    """However the program was started, children find its functions (§2.2)."""
    program = write_program(tmp_path, PROGRAM, file)
    if file.startswith("zipped"):
        with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as zipped:
            zipped.write(program, program.name)
    done = run_python(start_method, *argv, "world", cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == EXPECTED


@pytest.mark.parametrize("how", ["-c", "-", "-i"])
def test_functions_of_a_session(start_method: str, how: str) -> None:
    """What was typed in is refused at once, naming the fix (semantics §2.2)."""
    lines = "import trio, tractor\nasync def f(): pass\n\n"
    lines += "trio.run(tractor.to_actor.run, f)\n"
    argv, stdin = ([how, lines], "") if how == "-c" else ([how], lines)
    done = run_python(start_method, *argv, stdin=stdin)
    assert "ValueError: 'f' is defined in an interactive session" in done.stderr
    assert "put it into a file and import it" in done.stderr


async def test_the_main_module_is_not_always_wanted(start_method: str) -> None:
    """`inherit_parent_main=False` leaves it alone (semantics §2.2)."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor(
            "x", enable_modules=[*MODULES, "__main__"], inherit_parent_main=False
        )
        assert not await portal.run(do.is_loaded, "pytest")  # what the program imports
        with pytest.raises(RemoteActorError) as caught:
            await portal.run_from_ns("__main__", "hello")
        assert caught.value.boxed_type is AttributeError
        await an.cancel()


# -- Stopped ---------------------------------------------------------------------------


@pytest.mark.requires_trait("own_process")
@pytest.mark.parametrize("how", ["cancel", "cancel_actor"])
async def test_a_crash_in_the_clean_up_is_an_error(
    start_method: str, bell: Bell, how: str
) -> None:
    """That it was asked to stop does not hide that it died of something else."""
    with raises(ActorDied, match="exit code 3") as caught:
        async with open_tree(start_method) as an:
            portal = await an.run_in_actor(crashes_when_cancelled, bell=bell.path)
            await bell.heard()
            await (an.cancel() if how == "cancel" else portal.cancel_actor())
    assert caught.value.aid == portal.aid


async def test_what_is_gone_is_not_being_stopped(start_method: str) -> None:
    """Whoever stops it once more, say in the moment of its end, leaves no trace."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x")
        await an.cancel()
        assert portal._spawned is not None
        portal._spawned.stop()
        portal._spawned.kill_now()
        assert tractor.current_actor().stopping == set()
