"""What tests let workers do."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Final

import trio

SAFETY: Final = 40  # seconds; a net, never what is tested
FOREVER: Final = 3600  # seconds


class Oops(Exception):
    """An error that only this module knows."""


def echo(*args: Any, **kwargs: Any) -> Any:
    """What came."""
    return [list(args), kwargs]


def pid() -> int:
    """The process."""
    return os.getpid()


def place() -> list[int]:
    """Process and thread."""
    return [os.getpid(), threading.get_ident()]


def nothing() -> None:
    """Do nothing."""


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


def boom(text: str = "on purpose") -> None:
    """Raise what everybody knows."""
    raise ValueError(text, 7)


def oops() -> None:
    """Raise what only this module knows."""
    raise Oops("own class")


def leave() -> None:
    """Raise no Exception."""
    raise SystemExit(3)


def die() -> None:
    """End the worker as nothing else can."""
    os.kill(os.getpid(), signal.SIGKILL)


def unsendable() -> object:
    """Return what msgpack cannot carry."""
    return object()


def tuple_of(a: int, b: int) -> tuple[int, int]:
    """An annotated result that msgpack alone would change."""
    return a, b


def touch(path: str) -> str:
    """Leave a trace."""
    Path(path).touch()
    return path


def touch_and_block(path: str) -> None:
    """Say that it runs, and run for ever."""
    Path(path).touch()
    time.sleep(FOREVER)


def touch_and_spin(path: str) -> None:
    """Likewise, in Python."""
    Path(path).touch()
    while True:
        pass


def wait_for(path: str) -> str:
    """Wait until there is a file."""
    while not Path(path).exists():
        time.sleep(0.005)
    return path


def burn(count: int) -> int:
    """Compute."""
    total = 0
    for number in range(count):
        total += number * number % 7
    return total


async def later(value: int) -> int:
    """An async function."""
    await trio.lowlevel.checkpoint()
    return value


async def touch_and_sleep(path: str, cleaned: str) -> None:
    """Say that it runs, sleep for ever, and say that it was cancelled."""
    touch(path)
    try:
        await trio.sleep_forever()
    finally:
        touch(cleaned)


def nested_submit() -> int:
    """Use an executor of its own."""
    from tractor.futures import Executor

    with Executor(1, flavor="threads") as executor:
        return executor.submit(add, 1).result(SAFETY)


def nested_processes() -> int:
    """Likewise, with processes."""
    from tractor.futures import Executor

    with Executor(1, flavor="processes") as executor:
        return executor.submit(add, 1).result(SAFETY)


def set_up(path: str) -> str:
    """An initializer."""
    Path(path).touch()
    return "x" * 10_000


def until(path: Path) -> None:
    """Wait, in a test, until a worker has made the file."""
    deadline = time.monotonic() + SAFETY
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} was never made"
        time.sleep(0.005)


def blob(size: int) -> bytes:
    """So many bytes."""
    return b"x" * size


def nothing_of(_: int) -> None:
    """Do nothing with it."""


async def open_worker(name: str, journal: str) -> str:
    """Ask a worker of somebody else for work; the text of its refusal."""
    import tractor
    from tractor.futures._worker import serve

    async with tractor.wait_for_actor(name) as portal:
        try:
            async with portal.open_context(serve, None, None, journal):
                return "it works for everybody"
        except tractor.RemoteActorError as error:
            return str(error)


def die_once(path: str) -> None:
    """End the first worker that does this, and no other."""
    if not Path(path).exists():
        touch(path)
        die()


def slow_place(_: int) -> str:
    """Which actor did it, after a while."""
    import tractor

    time.sleep(0.02)
    return tractor.current_actor().name


def spin_until(path: str) -> str:
    """Compute until there is a file."""
    while not Path(path).exists():
        sum(range(1000))
    return path


def nap_after(begun: str, seconds: float) -> None:
    """Say that it runs, and block for a while."""
    touch(begun)
    time.sleep(seconds)


async def touch_and_hold(path: str) -> None:
    """An async function that never lets its loop run."""
    touch(path)
    while True:
        time.sleep(0.005)  # noqa: ASYNC251 (what it does wrong)


def dooms() -> None:
    """An initializer after which the worker dies of whatever it is sent."""
    from tractor.futures import _worker

    def die_instead(self: object, job: object) -> None:
        os._exit(1)

    setattr(_worker._Worker, "_run_one", die_instead)  # noqa: B010 (a private method)


def leaves_a_pool(flavor: str) -> int:
    """Use a default executor, and do not end it."""
    from tractor.futures import Executor, set_default_executor

    executor = Executor(1, flavor=flavor)
    set_default_executor(executor)
    return executor.submit(add, 1).result(SAFETY)
