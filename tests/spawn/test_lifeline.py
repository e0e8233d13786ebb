"""No child outlives its parent: real processes, by either mechanism."""

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tractor.spawn import Hold, Lifeline, _lifeline, hold
from tractor.spawn._lifeline import Mechanism

SAFETY = 20  # seconds; a net, never what is tested
LINUX = sys.platform == "linux"

BODIES = {
    "sleep": "import time; time.sleep(3600)",
    "busy": "while True: pass",
    "holds the GIL in C": "pow(7, 10**9)",
}

CASES = [
    ("signal", "sleep"),
    ("signal", "busy"),
    ("signal", "holds the GIL in C"),
    ("thread", "sleep"),
    ("thread", "busy"),  # not in C: a thread needs the GIL
]

# argv: lifeline, descriptor to report on, mechanism, body
CHILD = """
import os, sys
from tractor.spawn import hold
line, ready, mechanism, body = sys.argv[1:]
held = hold(int(line), mechanism=mechanism)
assert held.mechanism == mechanism
os.write(int(ready), b"%d\\n" % os.getpid())
exec(body)
"""

# argv: descriptor to report on, mechanism, body. Has two children, because what one
# of them arms must not be taken away by the other.
PARENT = f"""
import subprocess, signal, sys
from tractor.spawn import Lifeline
ready, mechanism, body = sys.argv[1:]
line = Lifeline()
for _ in range(2):
    subprocess.Popen(
        [sys.executable, "-c", {CHILD!r}, str(line.fd), ready, mechanism, body],
        pass_fds=(line.fd, int(ready)),
    )
signal.pause()
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children import what we import."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture(params=["signal", "thread"])
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    """Each mechanism that works here."""
    if request.param == "signal" and not LINUX:
        pytest.skip("F_SETSIG is Linux's own")
    chosen: Mechanism = request.param
    return chosen


@contextmanager
def python(
    code: str, *argv: object, fds: tuple[int, ...]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python that runs `code`; killed at the end if it still lives."""
    command = [sys.executable, "-c", code, *map(str, argv)]
    with subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(fd: int) -> bytes:
    """One line, or what there is at end-of-file: when all other holders are gone."""
    data = b""
    while not data.endswith(b"\n"):
        assert select.select([fd], [], [], SAFETY)[0], f"nothing came after {data!r}"
        if not (piece := os.read(fd, 1)):
            break
        data += piece
    return data


def open_fds() -> set[int]:
    # The listing itself uses one, which is closed when it is looked at.
    listed = (int(name) for name in os.listdir("/dev/fd"))
    return {fd for fd in listed if is_open(fd)}


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("mechanism", "body"), CASES, indirect=["mechanism"])
def test_children_die_with_a_killed_parent(body: str, mechanism: Mechanism) -> None:
    """However the parent ends and whatever they do, all its children end."""
    ours, theirs = os.pipe()
    with python(PARENT, theirs, mechanism, BODIES[body], fds=(theirs,)) as parent:
        os.close(theirs)
        children = [int(read_line(ours)) for _ in range(2)]
        parent.send_signal(signal.SIGKILL)
        try:
            assert read_line(ours) == b""
        except AssertionError:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            raise
    os.close(ours)
    for pid in children:  # the session adopts orphans where the system can
        with contextlib.suppress(ChildProcessError):
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_closing_the_lifeline_ends_the_children(mechanism: Mechanism) -> None:
    """A parent that lives on can let go, and do it twice."""
    ours, theirs = os.pipe()
    with Lifeline() as line:
        argv = (line.fd, theirs, mechanism, BODIES["sleep"])
        with python(CHILD, *argv, fds=(line.fd, theirs)) as child:
            os.close(theirs)
            read_line(ours)
            assert child.poll() is None
            line.close()
            assert child.wait(SAFETY) == -signal.SIGKILL
    os.close(ours)


def test_a_parent_that_was_gone_before_is_noticed(mechanism: Mechanism) -> None:
    """A child that takes hold too late dies at once, and runs no line more."""
    read_fd, write_fd = os.pipe()
    ours, theirs = os.pipe()
    os.close(write_fd)
    with python(CHILD, read_fd, theirs, mechanism, "", fds=(read_fd, theirs)) as child:
        os.close(read_fd)
        os.close(theirs)
        assert child.wait(SAFETY) == -signal.SIGKILL
        assert read_line(ours) == b""
    os.close(ours)


@pytest.mark.parametrize("chosen", [None, "thread"])
def test_a_hold_is_not_inherited(chosen: Mechanism | None) -> None:
    """What a child starts by exec gets no descriptor of the lifeline."""
    code = f"""
import os, sys
from tractor.spawn import hold
held = hold(int(sys.argv[1]), mechanism={chosen!r})
assert not os.get_inheritable(held.fd)
if held.fd != int(sys.argv[1]):
    try:
        os.fstat(int(sys.argv[1]))
    except OSError:
        pass
    else:
        raise AssertionError("the first descriptor is still open")
print(held.mechanism)
"""
    with Lifeline() as line, python(code, line.fd, fds=(line.fd,)) as child:
        assert child.stdout is not None
        expected = "signal" if LINUX and chosen is None else "thread"
        assert child.stdout.read().decode().strip() == expected
        assert child.wait(SAFETY) == 0


@pytest.mark.parametrize("missing", ["/proc", "fcntl"])
def test_falls_back_on_the_thread(missing: str) -> None:
    """Where the kernel does not play along, a thread watches, and it works."""
    broken = {"/proc": "os.open", "fcntl": "fcntl.fcntl"}[missing]
    code = f"""
import fcntl, os, sys, time
from tractor.spawn import hold
def fail(*args):
    raise OSError(38, "not here")
{broken} = fail
print(hold(int(sys.argv[1])).mechanism, flush=True)
time.sleep(3600)
"""
    with Lifeline() as line, python(code, line.fd, fds=(line.fd,)) as child:
        assert child.stdout is not None
        assert read_line(child.stdout.fileno()) == b"thread\n"
        line.close()
        assert child.wait(SAFETY) == -signal.SIGKILL


@pytest.mark.parametrize("call", ["open", "fcntl", "platform"])
def test_a_mechanism_that_fails_changes_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for by name, it raises, opens nothing and leaves the descriptor alone."""
    fcntl = pytest.importorskip("fcntl")

    def fail(*args: object) -> None:
        raise OSError(errno.EPERM, "a sandbox")

    with Lifeline() as line, monkeypatch.context() as patch:
        before = sorted(os.listdir("/dev/fd"))
        match call:
            case "open":
                patch.setattr(os, "open", fail)
            case "fcntl":
                patch.setattr(fcntl, "fcntl", fail)
            case _:
                patch.setattr(sys, "platform", "plan9")
        with pytest.raises(OSError, match=r"a sandbox|Linux"):
            hold(line.fd, mechanism="signal")
        assert sorted(os.listdir("/dev/fd")) == before
        # For real the test itself would hold on, and die when `line` is closed.
        patch.setattr(_lifeline, "_hold_by_thread", lambda fd: Hold(fd, "thread"))
        assert hold(line.fd) == Hold(line.fd, "thread")


def test_neither_end_is_inheritable_by_itself() -> None:
    """Programs that the parent starts hold no copy of the write end."""
    before = open_fds()
    with Lifeline() as line:
        added = open_fds() - before
        assert line.fd in added
        assert len(added) == 2
        assert not any(os.get_inheritable(fd) for fd in added)
    assert open_fds() == before
