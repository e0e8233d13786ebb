"""The `trio` backend, with real subprocesses that run a few lines of Python."""

import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor._types import Aid, ExitStatus, Graces
from tractor.spawn import Child, ChildSpec, Lifeline, SpawnBackend, stop_child
from tractor.spawn._trio import CHILD_BOOT, Subprocess, TrioBackend, backend

SAFETY = 20  # seconds; a net, never what is tested

# Before each test's lines: `link` is its end of the link, `say` answers on it.
PRELUDE = """
import os, signal, socket, sys
link = socket.socket(fileno=int(sys.argv[sys.argv.index("--link") + 1]))
def say(value):
    link.sendall(repr(value).encode() + b"\\n")
"""
FOREVER = "say('ready')\nsignal.pause()"
STUBBORN = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{FOREVER}"


class Started:
    """A child and the parent's end of its link."""

    def __init__(self, child: Subprocess, link: socket.socket) -> None:
        self.child = child
        self._link = trio.socket.from_stdlib_socket(link)

    async def hear(self) -> str:
        """The next thing that it says, or nothing when its link is closed."""
        heard = b""
        with trio.fail_after(SAFETY):
            while not heard.endswith(b"\n"):
                if not (piece := await self._link.recv(1)):
                    break
                heard += piece
        return heard.decode().strip()

    async def wait(self) -> ExitStatus:
        with trio.fail_after(SAFETY):
            return await self.child.wait()


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    with Lifeline() as line:
        yield line


@pytest.fixture
def links() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and theirs."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def make_spec(
    link: socket.socket, lifeline: Lifeline, name: str = "kid", **options: Any
) -> ChildSpec:
    return ChildSpec(
        aid=Aid(name, "0" * 32), link=link, lifeline_fd=lifeline.fd, options=options
    )


@asynccontextmanager
async def running(
    code: str, *, name: str = "kid", **options: Any
) -> AsyncIterator[Started]:
    """A child that runs `code`; killed and waited for at the end."""
    ours, theirs = socket.socketpair()
    with ours, Lifeline() as lifeline:
        spec = make_spec(theirs, lifeline, name, **options)
        child = await TrioBackend(boot=("-c", PRELUDE + code)).start(spec)
        assert theirs.fileno() == -1
        try:
            yield Started(child, ours)
        finally:
            child.kill()
            with trio.CancelScope(shield=True):
                await child.wait()


def still_ours(pid: int) -> bool:
    """Whether `pid` is a child of ours, dying or dead; reaped then."""
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return False
    return True


# -- What a child gets -----------------------------------------------------------------


async def test_the_command_line() -> None:
    """A child is told its name, its link and its lifeline, and both are open."""
    code = """
say(sys.argv[1:])
line = int(sys.argv[-1])
say(os.fstat(line) and [os.get_inheritable(line), link.family == socket.AF_UNIX])
"""
    async with running(code, name="a b") as kid:
        argv = eval(await kid.hear())
        assert argv[::2] == ["--name", "--link", "--lifeline"]
        assert argv[1] == "a b"
        assert argv[3].isdigit()
        assert await kid.hear() == "[True, True]"
        assert await kid.wait() == ExitStatus(exit_code=0)


def test_the_backend_boots_the_child_module() -> None:
    """The registered backend runs the runtime's entry, which nothing here imports."""
    known: SpawnBackend = backend
    assert known.key == "trio"
    assert known.traits.can_kill
    assert "from tractor._child import main" in " ".join(CHILD_BOOT)


async def test_interpreter_flags_are_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the parent's Python was told on its command line, the child's is too."""
    monkeypatch.setattr(sys, "warnoptions", ["error::UserWarning"])
    async with running("say(sys.warnoptions)") as kid:
        assert await kid.hear() == "['error::UserWarning']"


async def test_it_has_a_group_of_its_own_and_no_stdin() -> None:
    """A terminal's Ctrl-C does not reach it, nor does it read the terminal."""
    async with running("say((os.getpgrp(), sys.stdin.read()))") as kid:
        assert await kid.hear() == f"({kid.child.pid}, '')"


async def test_nothing_else_is_inherited(
    links: tuple[socket.socket, socket.socket],
) -> None:
    """Even an inheritable descriptor of ours stays here."""
    os.set_inheritable(links[0].fileno(), True)
    code = "say(sorted(int(fd) for fd in os.listdir('/dev/fd')))"
    async with running(code) as kid:
        assert links[0].fileno() not in eval(await kid.hear())


async def test_options_go_to_popen(tmp_path: Path) -> None:
    """`proc_kwargs` such as `cwd` and `env` take effect."""
    env = {**os.environ, "FOLDER": str(tmp_path)}
    code = "say(os.path.samefile('.', os.environ['FOLDER']))"
    async with running(code, cwd=tmp_path, env=env) as kid:
        assert await kid.hear() == "True"


async def test_the_executable_can_be_chosen(tmp_path: Path) -> None:
    """`executable` is the Python that runs, and it knows itself by that path."""
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    env = {**os.environ, "PYTHONHOME": sys.base_prefix}
    async with running("say(sys.executable)", executable=other, env=env) as kid:
        assert await kid.hear() == repr(str(other))


# -- How it ends -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7])
async def test_exit_codes(code: int) -> None:
    """A child that ends by itself leaves its exit code, and no zombie."""
    async with running(f"sys.exit({code})") as kid:
        assert await kid.wait() == ExitStatus(exit_code=code)
        assert not still_ours(kid.child.pid)


async def test_terminate_asks() -> None:
    """`terminate` is SIGTERM, which ends a child that does not care."""
    async with running(FOREVER) as kid:
        await kid.hear()
        kid.child.terminate()
        assert await kid.wait() == ExitStatus(signal=signal.SIGTERM)


async def test_kill_needs_no_cooperation() -> None:
    """`kill` ends a child that ignores SIGTERM and is stopped besides."""
    async with running(STUBBORN) as kid:
        await kid.hear()
        os.kill(kid.child.pid, signal.SIGSTOP)
        kid.child.terminate()
        kid.child.kill()
        assert await kid.wait() == ExitStatus(signal=signal.SIGKILL)


async def test_the_dead_are_never_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end both requests do nothing: the pid may be somebody else's."""
    async with running("") as kid:
        await kid.wait()
        monkeypatch.setattr(os, "kill", lambda *args: pytest.fail(f"kill{args}"))
        kid.child.terminate()
        kid.child.kill()
        assert await kid.wait() == ExitStatus(exit_code=0)


async def test_many_wait_again_and_again() -> None:
    """Every waiter gets the status, late ones too; a cancelled one harms nobody."""
    seen: list[ExitStatus] = []

    async def wait(child: Child) -> None:
        seen.append(await child.wait())

    async with running(FOREVER) as kid, trio.open_nursery() as nursery:
        await kid.hear()
        with trio.CancelScope() as impatient:
            impatient.cancel()
            await kid.child.wait()
        for _ in range(10):
            nursery.start_soon(wait, kid.child)
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(wait, kid.child)
            await wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
        assert seen == []
        kid.child.terminate()
        await wait(kid.child)
        await wait(kid.child)
    assert seen == [ExitStatus(signal=signal.SIGTERM)] * 12


async def test_the_ladder_ends_a_real_child() -> None:
    """A child that ignores every request is killed, with its status."""
    async with running(STUBBORN) as kid:
        await kid.hear()
        graces = Graces(ack=0, cancel=0, terminate=0.05, kill=SAFETY)
        report = await stop_child(kid.child, backend.traits, graces, ask=None)
        assert (report.outcome, report.rung) == ("killed", "kill")
        assert report.status == ExitStatus(signal=signal.SIGKILL)


# -- Its last words --------------------------------------------------------------------


async def test_last_words_are_complete_after_wait(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """When `wait` returns, the tail holds all of what it should; so does our stderr."""
    async with running("sys.stderr.write('x' * 100_000 + 'the end')") as kid:
        assert await kid.wait() == ExitStatus(exit_code=0)
        assert kid.child.stderr_tail() == ("x" * 100_000 + "the end")[-16384:]
    assert capfd.readouterr().err == "x" * 100_000 + "the end"


async def test_a_traceback_is_in_the_tail(capfd: pytest.CaptureFixture[str]) -> None:
    """An error that nobody caught can be read by the parent."""
    async with running("1 / 0") as kid:
        assert await kid.wait() == ExitStatus(exit_code=1)
        assert "ZeroDivisionError" in kid.child.stderr_tail()


async def test_a_grandchild_does_not_delay_the_notice() -> None:
    """What a child started may keep its stderr; its death is told all the same."""
    code = """
import subprocess
helper = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL)
sys.stderr.write("bye")
sys.stderr.flush()
say(helper.pid)
os._exit(3)
"""
    async with running(code) as kid:
        helper = int(await kid.hear())
        try:
            assert await kid.wait() == ExitStatus(exit_code=3)
            assert kid.child.stderr_tail() == "bye"
        finally:
            os.kill(helper, signal.SIGKILL)
            still_ours(helper)  # where orphans are adopted


# -- Starts that fail ------------------------------------------------------------------


async def refused(
    links: tuple[socket.socket, socket.socket],
    lifeline: Lifeline,
    error: type[BaseException],
    match: str | None,
    **options: Any,
) -> None:
    """A start with `options` fails, and leaves nothing but our end of the link."""
    before = set(os.listdir("/dev/fd"))
    with pytest.raises(error, match=match):
        await backend.start(make_spec(links[1], lifeline, **options))
    assert len(before) - len(set(os.listdir("/dev/fd"))) == 1
    assert links[1].fileno() == -1
    assert links[0].recv(1) == b""  # so no child holds the other end


async def test_a_missing_executable(
    links: tuple[socket.socket, socket.socket], lifeline: Lifeline
) -> None:
    """A child that cannot be started raises, and leaves nothing behind."""
    await refused(
        links, lifeline, FileNotFoundError, "nowhere", executable="/nowhere/python"
    )


@pytest.mark.parametrize("option", ["args", "close_fds", "pass_fds", "shell", "stderr"])
async def test_options_that_are_ours(
    option: str, links: tuple[socket.socket, socket.socket], lifeline: Lifeline
) -> None:
    """An argument that the link depends on is refused by name."""
    await refused(
        links, lifeline, TypeError, f"may not contain {option}:", **{option: ()}
    )


@pytest.mark.parametrize("option", ["stdin", "stdout"])
async def test_pipes_to_nobody(
    option: str, links: tuple[socket.socket, socket.socket], lifeline: Lifeline
) -> None:
    """A pipe that only `Popen` would know of is refused."""
    await refused(
        links, lifeline, TypeError, f"{option}=PIPE", **{option: subprocess.PIPE}
    )


async def test_a_session_of_its_own() -> None:
    """It may be asked for, and brings the process group that a child has."""
    code = "say((os.getsid(0), os.getpgrp()))"
    async with running(code, start_new_session=True) as kid:
        assert eval(await kid.hear()) == (kid.child.pid, kid.child.pid)


async def test_options_that_nobody_knows(
    links: tuple[socket.socket, socket.socket], lifeline: Lifeline
) -> None:
    """What `Popen` does not take, it refuses itself."""
    await refused(links, lifeline, TypeError, "colour", colour="blue")


async def test_a_cancelled_start(
    links: tuple[socket.socket, socket.socket], lifeline: Lifeline
) -> None:
    """Cancellation comes before anything exists."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await refused(links, lifeline, trio.Cancelled, None)


async def test_an_import_error_is_an_exit(
    lifeline: Lifeline, capfd: pytest.CaptureFixture[str]
) -> None:
    """A child whose boot module is missing did start: its end tells."""
    ours, theirs = socket.socketpair()
    with ours:
        boot = ("-m", "tractor._no_such_module")
        child = await TrioBackend(boot=boot).start(make_spec(theirs, lifeline))
        with trio.fail_after(SAFETY):
            assert await child.wait() == ExitStatus(exit_code=1)
        assert "No module named tractor._no_such_module" in child.stderr_tail()


async def test_no_resource_is_left_unclosed() -> None:
    """A child that was waited for can be forgotten without a warning."""
    before = sorted(os.listdir("/dev/fd"))
    async with running("") as kid:
        await kid.wait()
    del kid
    gc.collect()  # would raise a ResourceWarning, which pytest turns into a failure
    assert sorted(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("first", ["wait", "kill"])
async def test_somebody_else_may_reap_it(first: str) -> None:
    """Then it is gone all the same, and nobody says that it ended well."""
    async with running(FOREVER) as kid:
        await kid.hear()
        os.kill(kid.child.pid, signal.SIGKILL)
        assert still_ours(kid.child.pid)  # and reap it
        if first == "kill":
            kid.child.kill()
        assert await kid.wait() == ExitStatus()
