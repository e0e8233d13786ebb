"""`call`: functions of running actors, from outside."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import trio

import tractor
from tests._helpers import QUICK, SAFETY, Bell, run_python, start_python
from tests._misbehaviours import ring
from tests.cli.test_trees import own_runtime_dir
from tractor import cli
from tractor.ipc import TcpAddress
from tractor.testing import private_address

if TYPE_CHECKING:
    import subprocess

HERE: Final = "tests.cli.test_call"


# -- What is called --------------------------------------------------------------------


async def echo(word: object = None) -> object:
    """It again."""
    return word


async def add(a: int, b: int) -> int:
    """Their sum."""
    return a + b


async def fails(why: str) -> None:
    """Raise that."""
    raise ValueError(why)


async def rings(bell: str) -> None:
    """Ring, and never return."""
    ring(bell)
    await trio.sleep_forever()


async def main(bell: str, *addresses: str) -> None:
    """The program of the tests: a shop with a till and two clerks."""
    async with tractor.open_nursery(
        name="shop",
        graces=QUICK,
        enable_modules=[HERE],
        registry_addrs=addresses or None,
        enable_transports=["uds", "tcp"] if addresses else ["uds"],
    ) as an:
        for name in ("till", "clerk", "clerk"):
            await an.start_actor(name, enable_modules=[HERE])
        ring(bell)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], *sys.argv[2:])


@contextmanager
def shop(start_method: str, *addresses: str) -> Iterator["subprocess.Popen[str]"]:
    """That program, once it is open."""
    with (
        Bell() as bell,
        start_python(start_method, "-m", HERE, bell.path, *addresses) as process,
    ):
        try:
            bell.wait_heard()
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate(timeout=SAFETY)


@pytest.fixture
def alone() -> Iterator[None]:
    """A runtime directory in which no other tree is."""
    with own_runtime_dir():
        yield


def call(*args: str, code: int = 0) -> str:
    """What it prints, where it is to be looked for by that exit code."""
    done = run_python("", "-m", "tractor", "call", *args)
    assert done.returncode == code, done.stdout + done.stderr
    if code == cli.DONE:
        assert done.stderr == ""
        return done.stdout
    assert done.stdout == ""
    return done.stderr


# -- Calling ---------------------------------------------------------------------------


@pytest.mark.usefixtures("alone")
def test_functions_are_called_by_name(start_method: str) -> None:
    """Of a child and of the root; values are JSON, or else text."""
    with shop(start_method):
        assert call("till", HERE, "add", "a=1", "b=2") == "3\n"
        assert call("shop", HERE, "echo", "word=two words") == "two words\n"
        assert call("till", "--json", HERE, "echo", "word=[1, null]") == (
            "[\n  1,\n  null\n]\n"
        )
        assert call("till", HERE, "echo") == ""
        assert json.loads(call("till", HERE, "echo", "--json")) is None


@pytest.mark.usefixtures("alone")
def test_what_goes_wrong_over_there_is_told() -> None:
    """An error of the function with its traceback; what is not exposed, in a line."""
    with shop("trio"):
        told = call("till", HERE, "fails", "why=no bread", code=cli.RAISED)
        assert "raise ValueError(why)" in told
        assert told.endswith("tractor: ValueError: no bread [from actor till]\n")
        told = call("till", "os", "getpid", code=cli.FAILED)
        assert told.startswith("tractor: module 'os' is not exposed by this actor")
        assert told.count("\n") == 1


@pytest.mark.usefixtures("alone")
def test_who_is_meant_must_be_clear() -> None:
    """No such actor, or several of that name."""
    with shop("trio"):
        told = call("nobody", HERE, "echo", code=cli.FAILED)
        assert told.startswith("tractor: there is no actor 'nobody'; there are clerk@")
        told = call("clerk", HERE, "echo", code=cli.USAGE)
        assert told.startswith("tractor: 'clerk' may be any of clerk@")
        clerk = told.split()[-2].rstrip(",")
        assert call(clerk, HERE, "echo", "word=hi") == "hi\n"


@pytest.mark.usefixtures("alone")
def test_who_does_not_answer_is_an_exit_code() -> None:
    """A function that takes too long, and a root that is stopped."""
    with shop("trio") as process, Bell() as bell:
        args = ("till", HERE, "rings", f"bell={bell.path}")
        told = call(*args, "--timeout", "1", code=cli.SILENT)
        assert told == "tractor: 'till' has not answered within 1 s\n"
        process.send_signal(signal.SIGSTOP)
        told = call("till", HERE, "echo", code=cli.SILENT)
        assert told.startswith("tractor: no registrar answers at /unix/")


@pytest.mark.usefixtures("alone")
def test_ctrl_c_ends_it() -> None:
    """By the exit code of shells, and without a traceback."""
    with shop("trio"), Bell() as bell:
        args = ("-m", "tractor", "call", "till", HERE, "rings", f"bell={bell.path}")
        with start_python("", *args) as caller:
            bell.wait_heard()
            caller.send_signal(signal.SIGINT)
            assert caller.communicate(timeout=SAFETY) == ("", "")
        assert caller.returncode == 130


# -- Trees -----------------------------------------------------------------------------


@pytest.mark.usefixtures("alone")
def test_one_of_several_trees_is_chosen() -> None:
    """By its folder or its root; none, and several, are errors."""
    told = call("till", HERE, "echo", code=cli.FAILED)
    assert told.startswith("tractor: no tree of actors runs here")
    with shop("trio") as one, shop("trio"):
        told = call("till", HERE, "echo", code=cli.USAGE)
        assert told.startswith("tractor: several trees run, choose one by --tree: ")
        assert f"(root {one.pid})" in told
        name = told.split(f" (root {one.pid})")[0].split()[-1]
        for tree in (name, str(one.pid)):
            assert call("--tree", tree, "till", HERE, "echo", "word=1") == "1\n"
        told = call("--tree", "x", "till", HERE, "echo", code=cli.FAILED)
        assert told.startswith("tractor: there is no tree 'x'")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("transport", ["tcp", "uds"])
def test_a_registrar_is_found_by_its_address(transport: str) -> None:
    """One that programs of the user share; and where there is none, that is told."""
    folder = Path(os.environ["XDG_RUNTIME_DIR"])
    given = private_address(transport, folder)
    address = f"/unix{given}" if isinstance(given, Path) else str(TcpAddress(*given))
    told = call("--addr", address, "till", HERE, "echo", code=cli.SILENT)
    assert told.startswith(f"tractor: no registrar answers at {address}")
    with shop("trio", address):
        assert call("--addr", address, "till", HERE, "echo", "word=1") == "1\n"
        [folder] = [each.parent for each in folder.glob("tractor/*/*.sock")][:1]
        inside = f"/unix{min(folder.glob('*.sock'), key=lambda p: p.stat().st_mtime)}"
        assert call("--addr", inside, "till", HERE, "echo", "word=1") == "1\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("x", "m", "f", "3"), "an argument is NAME=VALUE, each once, and not '3'"),
        (("x", "m", "f", "a=1", "a=2"), "each once, and not 'a=2'"),
        (("x", "m", "f", "--timeout", "0"), "--timeout must be > 0 seconds, not 0.0"),
        (("--addr", "pigeon", "x", "m", "f"), "'pigeon' is not an address"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    args: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked."""
    assert cli.main(["call", *args]) == cli.USAGE
    assert told in capsys.readouterr().err


def test_the_address_of_another_machine_needs_more() -> None:
    """There is no encryption here, so it is refused."""
    told = call("--addr", "/ip4/192.0.2.1/tcp/9", "x", "m", "f", code=cli.FAILED)
    assert "needs encryption" in told
