"""What turns the debugger on and off, and what it does where it cannot work."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests._helpers import ROOT, SAFETY, open_tree, raises, write_program
from tests.debugger._session import PROMPT, Session
from tractor.devx import DebugRequestError, debug

type Start = Callable[..., Session]

HEAD = """
import sys, trio, tractor
from tractor.devx import debug

async def fail(word):
    raise ValueError(word)

async def stop():
    breakpoint()
    return "went on"
"""


def program(folder: Path, text: str) -> str:
    """A file with that program, which has what `HEAD` has."""
    return str(write_program(folder, HEAD + textwrap.dedent(text), "options.py"))


def run_detached(path: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a program that has no terminal."""
    return subprocess.run(
        [sys.executable, path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        start_new_session=True,
        text=True,
        timeout=SAFETY,
    )


# -- Off -------------------------------------------------------------------------------


async def test_without_debug_mode(start_method: str) -> None:
    """Whoever wants a REPL is told how to get one, and nothing else changes."""
    hook = sys.breakpointhook
    async with open_tree(start_method):
        assert sys.breakpointhook is hook
        assert not tractor.debug_mode()
        for wanted in (tractor.pause, tractor.breakpoint):
            with pytest.raises(DebugRequestError, match="debug_mode=True"):
                await wanted()
        with pytest.raises(DebugRequestError, match="is not in debug mode"):
            tractor.pause_from_sync()
        assert not await debug.maybe_wait_for_debugger()
        with debug.maybe_open_crash_handler() as box:
            pass
        assert box.value is None
    assert not tractor.debug_mode()


async def test_without_an_actor() -> None:
    """The same, in other words."""
    with pytest.raises(DebugRequestError, match="no actor runs"):
        tractor.pause_from_sync()
    with pytest.raises(RuntimeError, match="there is no error"):
        await tractor.post_mortem()


@pytest.mark.parametrize(("value", "on"), [("1", True), ("", False)])
async def test_the_environment_turns_it_on(
    monkeypatch: pytest.MonkeyPatch, value: str, on: bool
) -> None:
    """Where the option is not given, `TRACTOR_DEBUG_MODE` says it."""
    monkeypatch.setenv("TRACTOR_DEBUG_MODE", value)
    async with tractor.open_root_actor():
        assert tractor.debug_mode() is on
    async with tractor.open_root_actor(debug_mode=False):
        assert not tractor.debug_mode()


async def test_pythons_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has set `PYTHONBREAKPOINT` gets what that says."""
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    hook = sys.breakpointhook
    async with tractor.open_root_actor(debug_mode=True):
        assert sys.breakpointhook is hook


async def test_the_hook_is_restored_after_an_error() -> None:
    """However the block of the root is left."""
    hook = sys.breakpointhook
    with raises(trio.TooSlowError), trio.fail_after(0.01):
        async with tractor.open_root_actor(debug_mode=True):
            assert sys.breakpointhook is not hook
            await trio.sleep_forever()
    assert sys.breakpointhook is hook


async def test_portals_go_with_the_root() -> None:
    """With `maybe_enable_greenback`, sync code in its tasks can wait, and then not."""
    greenback = pytest.importorskip("greenback", reason="greenback is not installed")
    found = []

    async def look() -> None:
        found.append(greenback.has_portal())

    options: Any = {"debug_mode": True, "maybe_enable_greenback": True}
    async with tractor.open_root_actor(**options), trio.open_nursery() as nursery:
        nursery.start_soon(look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
    assert found == [True, False]


def test_a_child_may_be_left_alone(session: Start, tmp_path: Path) -> None:
    """By `start_actor(debug_mode=False)`, and the root by its `debug_filter`."""
    path = program(
        tmp_path,
        """
        async def mode():
            return tractor.debug_mode()

        async def main():
            options = {"debug_filter": lambda error: False}
            async with tractor.open_nursery(debug_mode=True, **options) as an:
                served = {"enable_modules": [__name__], "debug_mode": False}
                quiet = await an.start_actor("quiet", **served)
                loud = await an.start_actor("loud", enable_modules=[__name__])
                print("modes:", await quiet.run(mode), await loud.run(mode))
                for portal in (quiet, loud):
                    try:
                        await portal.run(fail, portal.aid.name)
                    except tractor.RemoteActorError as error:
                        print("caught", error)
                raise KeyError("of the root")

        if __name__ == "__main__":
            trio.run(main)
        """,
    )
    tree = session(path)
    before = tree.prompt()
    assert "modes: False True" in before
    assert "caught ValueError: quiet" in before
    assert "crash in actor 'loud'" in before
    tree.type("c")
    rest = tree.rest()
    assert "KeyError" in rest
    assert "(Pdb)" not in rest


# -- Without actors, without a terminal ------------------------------------------------


def test_a_crash_handler_needs_no_actor(session: Start, tmp_path: Path) -> None:
    """And lets through what it is not for, or what is to go on."""
    path = program(
        tmp_path,
        """
        with debug.open_crash_handler(raise_on_exit=(KeyError,)) as box:
            raise ValueError("shown")
        print("boxed", repr(box.value))
        try:
            with debug.open_crash_handler(catch={KeyError}):
                raise ValueError("not shown")
        except ValueError as error:
            print("through:", error)
        with debug.maybe_open_crash_handler(True):
            raise KeyError("shown again")
        """,
    )
    tree = session(path)
    assert 'raise ValueError("shown")' in tree.prompt()
    before = tree.ask("c")
    assert "boxed ValueError('shown')" in before
    assert "through: not shown" in before
    assert 'raise KeyError("shown again")' in before
    tree.type("c")
    assert "KeyError: 'shown again'" in tree.rest()


def test_without_a_terminal(tmp_path: Path) -> None:
    """A crash is an error as ever, and who asks for a REPL is told why not."""
    path = program(
        tmp_path,
        """
        async def main():
            async with tractor.open_nursery(debug_mode=True) as an:
                portal = await an.start_actor("child", enable_modules=[__name__])
                for call in (portal.run(fail, "no"), portal.run(stop)):
                    try:
                        await call
                    except tractor.RemoteActorError as error:
                        print(error)
                try:
                    await tractor.pause()
                except debug.DebugRequestError as error:
                    print(error)
                await portal.cancel_actor()

        if __name__ == "__main__":
            trio.run(main)
        """,
    )
    done = run_detached(path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "ValueError: no [from actor child]"
    assert "DebugRequestError: there is no terminal" in lines[1]
    assert "there is no terminal" in lines[2]


def test_output_that_is_redirected_stays_so(session: Start, tmp_path: Path) -> None:
    """The REPL is at the terminal all the same, wherever the standard streams lead."""
    path = program(
        tmp_path,
        """
        async def main():
            async with tractor.open_nursery(debug_mode=True) as an:
                portal = await an.run_in_actor(stop)
                print("printed:", await portal.wait_for_result())

        if __name__ == "__main__":
            sys.stdout.flush()
            trio.run(main)
        """,
    )
    out = tmp_path / "out"
    shell = write_program(
        tmp_path,
        f"""
        import os, sys
        with open({str(out)!r}, "w") as file, open(os.devnull) as null:
            os.dup2(file.fileno(), 1)
            os.dup2(null.fileno(), 0)
        os.execv(sys.executable, [sys.executable, {path!r}])
        """,
        "redirected.py",
    )
    tree = session(str(shell))
    tree.expect(PROMPT)
    assert out.read_text() == ""
    tree.type("c")
    tree.rest()
    assert out.read_text() == "printed: went on\n"
