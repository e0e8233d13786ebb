"""`supervise_run_process`, with real processes on a real clock."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.trionics.conftest import Logged
from tractor.log import IO
from tractor.testing import wait_for_end
from tractor.trionics import supervise_run_process

SAFETY = 30  # seconds; nothing here takes nearly as long


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


async def run(script: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    with trio.fail_after(SAFETY):
        return await supervise_run_process(sh(script), **options)


# -- Success and failure ---------------------------------------------------------------


async def test_it_runs_as_a_task() -> None:
    """`start` returns the process while it runs; the nursery waits for its end."""
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(supervise_run_process, sh("exec sleep 100"), check=False)
            )
            assert process.returncode is None
            process.terminate()
    assert process.returncode == -signal.SIGTERM


async def test_it_can_be_awaited() -> None:
    """Then it returns the exit status."""
    done = await run("exit 3", check=False)
    assert done.args == sh("exit 3")
    assert done.returncode == 3


async def test_stdin_is_empty() -> None:
    """Nobody waits for input that cannot come."""
    await run("cat")


async def test_a_failure_has_the_last_words() -> None:
    """As a note, and as attribute."""
    with pytest.raises(subprocess.CalledProcessError, match="status 3") as info:
        await run("echo first >&2; printf last >&2; exit 3", label="it")
    assert info.value.stderr == b"first\nlast"
    assert info.value.cmd[0] == "sh"
    assert info.value.__notes__ == ["--- last words of it on stderr ---\nfirst\nlast"]


async def test_a_failure_may_be_silent() -> None:
    """Then there is no note."""
    with pytest.raises(subprocess.CalledProcessError, match="SIGKILL") as info:
        await run("kill -9 $$")
    assert not hasattr(info.value, "__notes__")


async def test_of_many_words_the_last_are_kept() -> None:
    """16 KiB of them."""
    script = "head -c 300000 /dev/zero | tr '\\0' x >&2; printf last >&2; exit 1"
    with pytest.raises(subprocess.CalledProcessError) as info:
        await run(script)
    assert info.value.stderr == b"x" * (16 * 1024 - 4) + b"last"


async def test_a_command_that_does_not_exist_is_an_error() -> None:
    """It is raised bare, by `start` too."""
    with pytest.raises(FileNotFoundError):
        await supervise_run_process(["/no/such/command"])
    async with trio.open_nursery() as nursery:
        with pytest.raises(FileNotFoundError):
            await nursery.start(supervise_run_process, ["/no/such/command"])


async def test_processes_that_it_leaves_behind_are_not_waited_for(
    tmp_path: Path,
) -> None:
    """Though they hold its stderr open."""
    pid_file = tmp_path / "pid"
    with pytest.raises(subprocess.CalledProcessError) as info:
        await run(f"sleep 100 & echo $! > {pid_file}; echo words >&2; exit 1")
    assert info.value.stderr == b"words\n"
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for_end([pid], SAFETY)


# -- Output ----------------------------------------------------------------------------


async def test_lines_are_logged(logged: Logged) -> None:
    """Of the outputs that are asked for, with the name of the program."""
    await run("echo out; echo err >&2", relay_stdout=True, relay_stderr=True)
    assert sorted(logged.lines) == ["sh: err", "sh: out"]
    assert {record.levelno for record in logged.records} == {IO}


@pytest.mark.parametrize("output", ["stdout", "stderr"])
async def test_only_what_is_asked_for_is_logged(output: str, logged: Logged) -> None:
    """The rest is shown, or kept."""
    options = {f"relay_{output}": True, "stdout": subprocess.DEVNULL}
    if output == "stdout":
        del options["stdout"]
    await run("echo stdout; echo stderr >&2", label="it", **options)
    assert logged.lines == [f"it: {output}"]


@pytest.mark.parametrize("level", [25, "warning"])
async def test_the_level_can_be_chosen(level: int | str, logged: Logged) -> None:
    """By number or name."""
    await run("echo x", relay_stdout=True, relay_level=level)
    assert [record.levelno for record in logged.records] == [
        level if isinstance(level, int) else 30
    ]


async def test_all_kinds_of_lines_are_logged(logged: Logged) -> None:
    """Empty ones, an unfinished last one, with CRLF, or not in UTF-8."""
    await run(r"printf 'a\n\nb\r\n\377\nc'", relay_stdout=True, label="it")
    assert logged.lines == ["it: a", "it: ", "it: b", "it: \ufffd", "it: c"]


async def test_a_line_without_end_is_logged_in_pieces(logged: Logged) -> None:
    """It does not pile up."""
    await run("head -c 200000 /dev/zero | tr '\\0' x", relay_stdout=True, label="it")
    pieces = [line.removeprefix("it: ") for line in logged.lines]
    assert "".join(pieces) == "x" * 200_000
    assert max(map(len, pieces)) <= 16 * 1024 + 64 * 1024


async def test_lines_are_logged_while_it_runs(logged: Logged) -> None:
    """And not only when it is done."""
    line = trio.Event()
    logged.on_record = line.set
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    supervise_run_process,
                    sh("echo ready; exec sleep 100"),
                    check=False,
                    relay_stdout=True,
                )
            )
            await line.wait()
            assert process.poll() is None
            process.kill()


async def test_outputs_can_go_elsewhere(tmp_path: Path) -> None:
    """Then nothing is kept of stderr."""
    path = tmp_path / "output"
    with path.open("wb") as file, pytest.raises(subprocess.CalledProcessError) as info:
        await run(
            "echo out; echo err >&2; exit 1", stdout=file, stderr=subprocess.STDOUT
        )
    assert path.read_text() == "out\nerr\n"
    assert not info.value.stderr


async def test_options_are_passed_on(tmp_path: Path, logged: Logged) -> None:
    """Such as those of `Popen`; a string is for the shell."""
    with trio.fail_after(SAFETY):
        await supervise_run_process("pwd", shell=True, cwd=tmp_path, relay_stdout=True)
    assert logged.lines == [f"pwd: {tmp_path}"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capture_stdout": True}, "does not take capture_stdout"),
        ({"capture_stderr": True}, "does not take capture_stderr"),
        ({"stdin": None}, "does not take stdin"),
        ({"stdout": subprocess.PIPE}, "nobody who reads it"),
        ({"stdout": None, "relay_stdout": True}, "relay_stdout=True reads"),
        ({"stderr": None, "relay_stderr": True}, "relay_stderr=True reads"),
        ({"relay_level": "loud"}, "no log level 'loud'"),
    ],
)
async def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], text: str
) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match=text):
        await supervise_run_process(["/no/such/command"], **options)


async def test_a_pipe_that_is_read_is_no_nonsense(logged: Logged) -> None:
    """It is what relaying needs anyway."""
    pipe = subprocess.PIPE
    await run("echo x", stdout=pipe, stderr=pipe, relay_stdout=True)
    assert logged.lines == ["sh: x"]


@pytest.mark.parametrize(
    ("command", "name"),
    [(["/bin/echo", "x"], "echo"), (Path("/bin/pwd"), "pwd"), ([b"/bin/pwd"], "pwd")],
)
async def test_the_name_is_that_of_the_program(
    command: Any, name: str, logged: Logged
) -> None:
    """Without its directory."""
    await supervise_run_process(command, relay_stdout=True)
    assert logged.lines[0].startswith(f"{name}: ")


# -- Cancellation ----------------------------------------------------------------------


async def test_cancelling_ends_it() -> None:
    """With SIGTERM; its end is waited for, and it is no failure."""
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                supervise_run_process, sh("exec sleep 100")
            )
            nursery.cancel_scope.cancel()
    assert process.returncode == -signal.SIGTERM


async def test_another_way_to_end_it_can_be_given() -> None:
    """As to `run_process`."""

    async def kill(process: trio.Process) -> None:
        process.kill()

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    supervise_run_process, sh("exec sleep 100"), deliver_cancel=kill
                )
            )
            nursery.cancel_scope.cancel()
    assert process.returncode == -signal.SIGKILL


async def test_its_outputs_are_read_to_the_end(logged: Logged) -> None:
    """A process that says much when it is ended does not block on a full pipe."""
    ready = trio.Event()
    logged.on_record = ready.set
    script = (
        "trap 'head -c 1000000 /dev/zero >&2; echo bye; exit 0' TERM; "
        "echo ready; while :; do sleep 0.01; done"
    )
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(
                    supervise_run_process, sh(script), relay_stdout=True, label="it"
                )
            )
            await ready.wait()
            nursery.cancel_scope.cancel()
    assert process.returncode == 0
    assert logged.lines == ["it: ready", "it: bye"]
