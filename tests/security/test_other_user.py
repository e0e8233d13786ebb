"""Another user of the same machine is refused, by each lock for itself (security §2).

The first lock is the folder, the second the mode of a socket or file in it, the third
what the kernel says of who has connected, and the last one the secret. Each is tried
with those before it left open, as if they had been by mistake.
"""

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import trio

import tractor
from tests._helpers import ROOT, SAFETY
from tests.security.helpers import RAW, SECRET
from tractor import RuntimeDirError
from tractor.ipc import TcpAddress, UnixAddress
from tractor.ipc._hello import GREETING_SIZE
from tractor.ipc.network import Hello, runtime_dir, user_secret

NOBODY: Final = 65534
DENIED: Final = "PermissionError"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be somebody else"
)


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What holds the runtime directory, and is open to all."""
    with tempfile.TemporaryDirectory(prefix="rt-") as name:
        os.chmod(name, 0o755)
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)


@pytest.fixture
async def root(base: Path) -> AsyncIterator[tractor.Actor]:
    """An actor that listens over each transport."""
    del base
    with trio.fail_after(SAFETY):
        async with tractor.open_root_actor(
            enable_transports=["uds", "tcp"], secret=RAW
        ) as root:
            yield root


async def intrude(root: tractor.Actor) -> dict[str, str]:
    """What another user finds open."""
    (socket,) = (each for each in root.addresses if isinstance(each, UnixAddress))
    (port,) = (each.port for each in root.addresses if isinstance(each, TcpAddress))
    path = Path(socket.path)
    greeting = Hello("dialer", SECRET).greeting.hex()
    return await run_intruder(str(path.parent), str(path), str(port), greeting)


async def run_intruder(*argv: str) -> dict[str, str]:
    done = await trio.run_process(
        [sys.executable, "-m", "tests.security.intruder", *argv],
        capture_stdout=True,
        cwd=ROOT,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def open_up(path: Path, mode: int = 0o755) -> None:
    """Be careless."""
    path.chmod(mode)


async def test_nothing_is_open(root: tractor.Actor) -> None:
    """The folder refuses everything, and TCP who has no secret."""
    found = await intrude(root)
    tcp = found.pop("tcp")
    assert found == dict.fromkeys(("list", "write", "read", "remove", "dial"), DENIED)
    assert len(tcp.strip("'")) == 2 * GREETING_SIZE  # in hex, and nothing after that


async def test_an_open_folder_opens_nothing_in_it(root: tractor.Actor) -> None:
    """The secret and the socket are refused by their own modes."""
    folder = tree_of(root)
    open_up(folder.parent)
    open_up(folder)
    found = await intrude(root)
    assert "secret" in found["list"]
    del found["list"], found["tcp"]
    assert found == dict.fromkeys(("write", "read", "remove", "dial"), DENIED)


async def test_the_kernel_tells_who_has_connected(
    root: tractor.Actor, caplog: pytest.LogCaptureFixture
) -> None:
    """Where all modes are open, nobody else is even greeted over a Unix socket."""
    folder = tree_of(root)
    (path,) = folder.glob("*.sock")
    for each in (folder.parent, folder):
        open_up(each)
    open_up(path, 0o666)
    with caplog.at_level("WARNING", "tractor"):
        found = await intrude(root)
    assert found["dial"] == repr("")
    assert f"user {NOBODY}" in caplog.text
    assert len(root.peers) == 0


async def test_the_user_secret_is_refused(base: Path) -> None:
    """What all programs of a user share is for that user."""
    user_secret(runtime_dir())
    folder = base / "tractor"
    found = await run_intruder(str(folder), str(folder / "none.sock"), "-", "")
    assert set(found.values()) == {DENIED}
    open_up(folder)
    found = await run_intruder(str(folder), str(folder / "none.sock"), "-", "")
    assert found["read"] == found["remove"] == DENIED


def test_a_folder_of_somebody_else_is_not_used(
    base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another user has made our runtime directory before us."""
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    (base / "tractor").mkdir(0o700)
    os.chown(base / "tractor", NOBODY, NOBODY)
    with caplog.at_level("WARNING", "tractor"), suppress(RuntimeDirError):
        assert runtime_dir() != base / "tractor"
    assert f"belongs to user {NOBODY}" in caplog.text


def tree_of(root: tractor.Actor) -> Path:
    """The folder of its sockets."""
    (path,) = (each.path for each in root.addresses if isinstance(each, UnixAddress))
    return Path(path).parent
