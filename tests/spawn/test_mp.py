"""The `multiprocessing` backends: what the contract of all of them does not say."""

import errno
import itertools
import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import util
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests import _misbehaviours as mis
from tests._helpers import Bell, run_python, start_python, write_program
from tractor._exceptions import BackendUnavailable
from tractor._types import Aid, ExitStatus
from tractor.spawn import ChildSpec, Lifeline, SpawnBackend, _threaded, get_backend
from tractor.spawn._death import wait_process_exited
from tractor.spawn._mp import MpBackend, MpChild, MpForkserver, MpSpawn, server
from tractor.spawn._mp_popen import Forked, Spawned
from tractor.testing import wait_for_end

SAFETY = 20  # seconds; a net, never what is tested
BOOT = "tests.spawn.kids:run_told"
FOREVER = "say('ready')\nsignal.pause()"


class Started:
    """A child and the parent's end of its link."""

    def __init__(self, child: MpChild, link: socket.socket) -> None:
        self.child = child
        self._link = trio.socket.from_stdlib_socket(link)

    async def hear(self) -> Any:
        """The next thing that it says."""
        heard = b""
        with trio.fail_after(SAFETY):
            while not heard.endswith(b"\n"):
                piece = await self._link.recv(1)
                assert piece, "the link ended"
                heard += piece
        return eval(heard)

    async def wait(self) -> ExitStatus:
        with trio.fail_after(SAFETY):
            return await self.child.wait()


class Making:
    """Our end of a link, a lifeline, and what a backend needs to know of both."""

    def __init__(self, code: str = "", **options: Any) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.lifeline = Lifeline()
        self.ours.sendall(len(code.encode()).to_bytes(4) + code.encode())
        self.spec = ChildSpec(
            aid=Aid("the kid", "0" * 32),
            link=self.theirs,
            lifeline_fd=self.lifeline.fd,
            options=options,
        )

    def close(self) -> None:
        self.ours.close()
        self.lifeline.close()


@contextmanager
def making(code: str = "", **options: Any) -> Iterator[Making]:
    it = Making(code, **options)
    try:
        yield it
        assert it.theirs.fileno() == -1
    finally:
        it.close()


@asynccontextmanager
async def running(backend: MpBackend, code: str) -> AsyncIterator[Started]:
    """A child that runs `code`; killed and waited for at the end."""
    with making(code) as it:
        child = await backend.start(it.spec)
        try:
            yield Started(child, it.ours)
        finally:
            child.kill()
            with trio.CancelScope(shield=True):
                await child.wait()


def reap(pid: int) -> None:
    os.waitpid(pid, 0)


@pytest.fixture(params=[MpSpawn, MpForkserver])
def backend(request: pytest.FixtureRequest) -> MpBackend:
    made: MpBackend = request.param(boot=BOOT)
    return made


@pytest.fixture
def forkserver_backend() -> MpForkserver:
    return MpForkserver(boot=BOOT)


@pytest.fixture
async def forkserver(forkserver_backend: MpForkserver) -> int:
    """The process id of the one that runs now."""
    async with running(forkserver_backend, "") as kid:
        await kid.wait()
    pid: int = server._forkserver_pid  # type: ignore[attr-defined]
    return pid


@pytest.mark.parametrize("key", ["mp_spawn", "mp_forkserver"])
def test_both_are_registered(key: str) -> None:
    """Both are there under their keys, and say that they can kill."""
    backend: SpawnBackend = get_backend(key)
    assert backend.key == key
    assert backend.traits.can_kill


@pytest.mark.parametrize("key", ["mp_spawn", "mp_forkserver"])
@pytest.mark.parametrize(
    ("where", "value", "text"),
    [
        ("os.name", "nt", "needs POSIX"),
        ("multiprocessing.spawn.get_executable", str, r"needs sys\.executable"),
        ("tractor.spawn._mp.get_all_start_methods", list, "needs a platform where"),
    ],
)
def test_they_say_what_they_miss(
    key: str, where: str, value: object, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they cannot work, they name what is missing."""
    with monkeypatch.context() as patch:
        patch.setattr(where, value)
        with pytest.raises(BackendUnavailable, match=text):
            get_backend(key)


# -- What a child gets -----------------------------------------------------------------


async def test_it_is_at_home_in_multiprocessing(backend: MpBackend) -> None:
    """It knows its name and its parent, and may have children of its own there."""
    code = """
import multiprocessing as mp
me, parent = mp.current_process(), mp.parent_process()
say((me.name, me.daemon, parent.pid, parent.is_alive()))
with mp.Lock():
    helper = mp.get_context("fork").Process(target=say, args=("helped",))
    helper.start()
    helper.join()
"""
    async with running(backend, code) as kid:
        assert await kid.hear() == ("the kid", False, os.getpid(), True)
        assert await kid.hear() == "helped"
        assert await kid.wait() == ExitStatus(exit_code=0)


async def test_the_parent_may_forget_it(backend: MpBackend) -> None:
    """`multiprocessing` of the parent does not list it, so it will not wait for it."""
    async with running(backend, FOREVER) as kid:
        await kid.hear()
        assert multiprocessing.active_children() == []


async def test_it_is_out_of_reach_of_the_terminal(backend: MpBackend) -> None:
    """It has a group of its own and no stdin; SIGINT neither ends it nor is blocked."""
    code = f"""
say(sys.stdin.read())
say((os.getpgrp(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])))
os.kill(os.getpid(), signal.SIGINT)
{FOREVER}
"""
    async with running(backend, code) as kid:
        assert await kid.hear() == ""
        assert await kid.hear() == (kid.child.pid, False)
        assert await kid.hear() == "ready"


async def test_ctrl_c_is_blocked_while_it_boots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fresh Python inherits that from the thread that starts it."""
    masks = []
    start = util.spawnv_passfds

    def spy(*args: Any) -> int:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return start(*args)

    monkeypatch.setattr(util, "spawnv_passfds", spy)
    async with running(MpSpawn(boot=BOOT), "") as kid:
        await kid.wait()
    assert [signal.SIGINT in mask for mask in masks][-1]


async def test_the_forkserver_blocks_ctrl_c(forkserver: int) -> None:
    """So a fork of it is not hit before it is out of reach."""
    status = await trio.Path(f"/proc/{forkserver}/status").read_text(encoding="ascii")
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    assert blocked & (1 << (signal.SIGINT - 1))
    assert "Threads:\t1\n" in status


async def test_only_what_it_needs_is_open(backend: MpBackend) -> None:
    """Neither our descriptors are, nor those of other children."""
    code = """
mine = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3, 100)
        if os.path.exists(f"/proc/self/fd/{fd}")]
say([each for each in mine if each.startswith("socket:")])
say(os.readlink(f"/proc/self/fd/{link.fileno()}"))
signal.pause()
"""
    async with running(backend, code) as first, running(backend, code) as second:
        for kid in (first, second):
            assert await kid.hear() == [await kid.hear()]


async def test_it_has_what_its_parent_has_now(
    forkserver: int,
    forkserver_backend: MpForkserver,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Environment, folder and stdout are not those that the forkserver was given."""
    monkeypatch.setenv("SAID", "to the kid")
    monkeypatch.delenv("HOME")
    monkeypatch.chdir(tmp_path)
    code = """
print(os.environ["SAID"], "HOME" in os.environ, flush=True)
say(os.path.samefile(os.getcwd(), sys.argv[-1]))
"""
    monkeypatch.setattr(sys, "argv", [str(tmp_path)])
    async with running(forkserver_backend, code) as kid:
        assert await kid.hear() is True
        await kid.wait()
    assert capfd.readouterr().out == "to the kid False\n"


async def test_a_folder_that_was_deleted(
    backend: MpBackend, forkserver: int, tmp_path: Path
) -> None:
    """A child needs none to start, once there is a forkserver."""
    before = os.getcwd()
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    try:
        gone.rmdir()
        async with running(backend, "say('ready')") as kid:
            assert await kid.hear() == "ready"
    finally:
        os.chdir(before)


async def test_a_socket_goes_with_its_process(backend: MpBackend) -> None:
    """Forkservers of actors leave nothing in the folder of the root."""
    code = """
from tractor.spawn._mp import server
server.ensure_running()
say(server._forkserver_address)
"""
    async with running(backend, code) as kid:
        address = await kid.hear()
        await kid.wait()
        assert not await trio.Path(address).exists()


async def test_stdout_may_be_closed(backend: MpBackend) -> None:
    """Then there is none to hand over, and nothing takes its place."""
    stdout = os.dup(1)
    try:
        with making("os.write(1, b'x')") as it:  # not the one that gets its number
            os.close(1)
            child = await backend.start(it.spec)
            await child.wait()
            assert it.ours.recv(1) == b""
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


PROGRAM = """
    import multiprocessing, sys
    import trio, tractor

    async def what_is_there():
        return [name for name in ("this", "antigravity") if name in sys.modules]

    async def main():
        modules = [__name__]
        async with tractor.open_nursery(start_method="mp_forkserver") as an:
            portal = await an.start_actor("x", enable_modules=modules)
            print(await portal.run(what_is_there))
            await an.cancel()

    if __name__ == "__main__":
        multiprocessing.set_forkserver_preload(["__main__", "this"])
        trio.run(main)
    elif multiprocessing.parent_process() is None:
        print("imported by the forkserver")
"""


def test_the_preload_of_the_program_is_kept(tmp_path: Path) -> None:
    """What it has its own forkserver import, ours imports, but for the program."""
    done = run_python("mp_forkserver", write_program(tmp_path, PROGRAM))
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "['this']"
    assert "imported" not in done.stdout


UNGUARDED = """
    import multiprocessing
    import trio, tractor

    async def main():
        async with tractor.open_nursery():
            child = multiprocessing.get_context("spawn").Process(target=print)
            child.start()
            await trio.to_thread.run_sync(child.join)
            raise SystemExit(child.exitcode)

    trio.run(main)
"""


def test_a_program_of_multiprocessing_without_a_guard(tmp_path: Path) -> None:
    """A tree in a child that imports the program is refused (reliability B5)."""
    program = write_program(tmp_path, UNGUARDED)
    done = run_python("trio", program)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "RuntimeFailure" in last
    assert str(program) in last
    assert "if __name__ == '__main__':" in last


# -- How it ends -----------------------------------------------------------------------


async def test_the_dead_are_never_signalled(
    backend: MpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the end both requests do nothing: the pid may be somebody else's."""
    async with running(backend, "") as kid:
        await kid.wait()
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", pytest.fail)
            patch.setattr(signal, "pidfd_send_signal", pytest.fail)
            kid.child.terminate()
            kid.child.kill()


@pytest.mark.parametrize("how", ["reaped", "ignored"])
async def test_somebody_else_may_reap_it(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is gone all the same, nobody knows how, and no signal is sent."""
    action = signal.SIG_IGN if how == "ignored" else signal.SIG_DFL
    before = signal.signal(signal.SIGCHLD, action)
    try:
        async with running(MpSpawn(boot=BOOT), FOREVER) as kid:
            await kid.hear()
            kid.child.kill()
            if how == "reaped":
                reap(kid.child.pid)
            assert await kid.wait() == ExitStatus()
            monkeypatch.setattr(os, "kill", pytest.fail)
            monkeypatch.setattr(signal, "pidfd_send_signal", pytest.fail)
            kid.child.terminate()
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_without_pidfds(
    backend: MpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has none, children are killed and waited for all the same."""
    monkeypatch.delattr(os, "pidfd_open")
    async with running(backend, FOREVER) as kid:
        await kid.hear()
        kid.child.kill()
        assert await kid.wait() == ExitStatus(signal=signal.SIGKILL)


async def test_a_traceback_is_in_the_tail(backend: MpBackend) -> None:
    """An error that nobody caught can be read by the parent."""
    async with running(backend, "1 / 0") as kid:
        assert await kid.wait() == ExitStatus(exit_code=1)
        assert "ZeroDivisionError" in kid.child.stderr_tail()


async def test_an_end_that_cannot_be_told(
    backend: MpBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A watch that fails is logged, and takes nobody along."""

    async def fail(_popen: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError

    with making(FOREVER) as it, monkeypatch.context() as patch:
        for popen in (Spawned, Forked):
            patch.setattr(popen, "exited", fail)
        child = await backend.start(it.spec)
        await wait_all_tasks_blocked()
        assert f"cannot tell how process {child.pid} ends" in caplog.text
        await trio.to_thread.run_sync(child._popen.end)
        child._stderr.child_gone()


# -- The forkserver may die, or stand still --------------------------------------------


@pytest.mark.parametrize("has_pidfds", [True, False])
async def test_a_child_may_outlive_the_forkserver(
    forkserver: int,
    forkserver_backend: MpForkserver,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_pidfds: bool,
) -> None:
    """It works on; only how it ends can then not be told. The next one starts."""
    if not has_pidfds:
        monkeypatch.delattr(os, "pidfd_open")
    async with running(forkserver_backend, f"link.recv(1)\n{FOREVER}") as kid:
        os.kill(forkserver, signal.SIGKILL)
        await wait_process_exited(forkserver)
        if has_pidfds:
            await kid._link.send(b"x")
            assert await kid.hear() == "ready"
            kid.child.kill()
        assert await kid.wait() == ExitStatus()
        monkeypatch.undo()
        wait_for_end([kid.child.pid])  # where orphans are adopted
    async with running(forkserver_backend, "") as kid:
        assert await kid.wait() == ExitStatus(exit_code=0)


async def test_a_forkserver_that_stands_still(
    forkserver: int, forkserver_backend: MpForkserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start can be given up; what it starts in the end does not stay."""
    monkeypatch.setattr(_threaded, "PATIENCE", 0.01)
    os.kill(forkserver, signal.SIGSTOP)
    try:
        with making(FOREVER) as it, trio.move_on_after(0.01) as scope:
            await forkserver_backend.start(it.spec)
        assert scope.cancelled_caught
    finally:
        os.kill(forkserver, signal.SIGCONT)
    async with running(forkserver_backend, "") as kid:
        assert await kid.wait() == ExitStatus(exit_code=0)


async def test_a_child_may_die_while_the_forkserver_stands_still(
    forkserver: int, forkserver_backend: MpForkserver
) -> None:
    """It is gone; only how it ended is not known."""
    async with running(forkserver_backend, FOREVER) as kid:
        await kid.hear()
        os.kill(forkserver, signal.SIGSTOP)
        try:
            kid.child.kill()
            assert await kid.wait() == ExitStatus()
        finally:
            os.kill(forkserver, signal.SIGCONT)


def test_a_forkserver_that_fails_to_import(tmp_path: Path) -> None:
    """A start says where to look, and does not hang."""
    write_program(tmp_path, "1 / 0", "broken.py")
    program = write_program(
        tmp_path,
        """
        import multiprocessing, trio, tractor

        async def main():
            async with tractor.open_nursery(start_method="mp_forkserver") as an:
                await an.start_actor("x")

        if __name__ == "__main__":
            multiprocessing.set_forkserver_preload(["broken"])
            trio.run(main)
        """,
    )
    done = run_python("mp_forkserver", program, cwd=tmp_path)
    assert done.returncode == 1
    assert "SpawnError" in done.stderr
    assert "the forkserver ended; if an import did it, stderr has" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_forkserver_that_hangs_goes_with_its_root(tmp_path: Path) -> None:
    """Also one that has not imported everything yet, when its root is killed."""
    program = """
        import multiprocessing, trio, tractor

        async def main():
            async with tractor.open_nursery(start_method="mp_forkserver") as an:
                await an.start_actor("x")

        if __name__ == "__main__":
            multiprocessing.set_forkserver_preload(["hangs"])
            trio.run(main)
    """
    with Bell() as bell:
        write_program(tmp_path, mis.HANGS_AT_IMPORT.format(bell=bell.path), "hangs.py")
        path = write_program(tmp_path, program)
        with start_python("mp_forkserver", path, cwd=tmp_path) as root:
            hung = int(bell.wait_heard())
            assert hung != root.pid
            root.kill()
            assert wait_for_end([hung]) == []


# -- Starts that fail ------------------------------------------------------------------


async def test_options_are_refused(backend: MpBackend) -> None:
    """`multiprocessing` takes none, and the text names backend and options."""
    text = rf"'{backend.key}'.*: cwd, env$"
    with making("", cwd="/", env={}) as it, pytest.raises(TypeError, match=text):
        await backend.start(it.spec)


async def test_a_cancelled_start(backend: MpBackend) -> None:
    """One that is cancelled already makes nothing."""
    with making() as it, trio.CancelScope() as scope:
        scope.cancel()
        await backend.start(it.spec)
    assert scope.cancelled_caught


async def test_a_python_that_cannot_be_executed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was forked already, and so is a death or an error, but stays no zombie."""
    backend = MpSpawn(boot=BOOT)
    monkeypatch.setattr(
        "multiprocessing.spawn.get_executable", lambda: b"/nowhere/python"
    )
    for _ in range(5):
        with making("x" * 10) as it:
            try:
                child = await backend.start(it.spec)
            except BrokenPipeError:
                continue
            assert (await child.wait()).exit_code == 255


async def test_a_launch_that_fails_early(
    backend: MpBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be forked, or reached, leaves nothing."""

    def fail(*_args: Any) -> None:
        raise BlockingIOError

    monkeypatch.setattr(util, "spawnv_passfds", fail)
    monkeypatch.setattr(server, "connect_to_new_process", fail)
    with making() as it, pytest.raises(BlockingIOError):
        await backend.start(it.spec)


@pytest.fixture
def fd_limit() -> Iterator[Callable[[int | None], None]]:
    """Set how many descriptors can be opened now; `None` is for "many"."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = max(int(fd) for fd in os.listdir("/dev/fd"))
    fillers = [os.open(os.devnull, os.O_RDONLY)]
    while fillers[-1] < last:
        fillers.append(os.open(os.devnull, os.O_RDONLY))

    def set_limit(extra: int | None) -> None:
        soft = limits[0] if extra is None else fillers[-1] + 1 + extra
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1]))

    yield set_limit
    set_limit(None)
    for fd in fillers:
        os.close(fd)


async def test_too_few_descriptors(
    backend: MpBackend, fd_limit: Callable[[int | None], None]
) -> None:
    """However many are missing, a start fails cleanly, until none is."""
    async with running(backend, "") as kid:  # the helpers run now
        await kid.wait()
    for extra in itertools.count(4):
        fd_limit(None)
        with making() as it:
            fd_limit(extra)
            try:
                child = await backend.start(it.spec)
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                continue
            fd_limit(None)
            assert await child.wait() == ExitStatus(exit_code=0)
            assert extra > 10
            return
