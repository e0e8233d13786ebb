"""Every backend keeps the contract, and the suite notices those that do not."""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
import trio

from tractor._types import ExitStatus
from tractor.spawn import (
    Child,
    ChildSpec,
    SpawnBackend,
    Traits,
    available_backends,
    get_backend,
)
from tractor.testing import (
    PROMISES,
    _backend_parent,
    _backend_suite,
    check_spawn_backend,
)


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("key", available_backends())
async def test_the_contract(key: str, promise: str) -> None:
    """Each backend that works here keeps each promise."""
    await check_spawn_backend(get_backend(key), promises=[promise])


async def test_all_promises_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call checks them all, save those that need a trait which is not there."""
    checked: list[str] = []

    def note(name: str) -> Callable[[SpawnBackend], Any]:
        async def check(backend: SpawnBackend) -> None:
            checked.append(name)

        return check

    for name, (_, needs) in PROMISES.items():
        monkeypatch.setitem(PROMISES, name, (note(name), needs))
    await check_spawn_backend(get_backend("trio"))
    assert checked == list(PROMISES)
    checked.clear()
    await check_spawn_backend(Thread())
    assert checked == [name for name, (_, needs) in PROMISES.items() if not needs]


# -- Backends that break one promise ---------------------------------------------------


class Broken:
    """The subprocess backend, with a child of a class that breaks a promise."""

    key = "broken"
    traits = get_backend("trio").traits

    def __init__(self, child_class: "type[BrokenChild] | None" = None) -> None:
        self.made: list[Child] = []
        self._child_class = child_class or BrokenChild

    async def start(self, spec: ChildSpec) -> Child:
        return self._child_class(await self.make(spec))

    async def make(self, spec: ChildSpec) -> Child:
        self.made.append(await get_backend("trio").start(spec))
        return self.made[-1]


class BrokenChild:
    def __init__(self, child: Child) -> None:
        self.real = child

    @property
    def pid(self) -> int | None:
        return self.real.pid

    async def wait(self) -> ExitStatus:
        return await self.real.wait()

    def terminate(self) -> None:
        self.real.terminate()

    def kill(self) -> None:
        self.real.kill()

    def stderr_tail(self) -> str:
        return self.real.stderr_tail()


class Thread(Broken):
    """Says that its children are threads."""

    traits = Traits(
        can_kill=False,
        own_process=False,
        own_gil=False,
        inherits_fds=False,
        main_thread=False,
    )


class KeepsTheLink(Broken):
    async def start(self, spec: ChildSpec) -> Child:
        copy = spec.link.dup()
        return await self.make(
            ChildSpec(aid=spec.aid, link=copy, lifeline_fd=spec.lifeline_fd)
        )


class IgnoresOptions(Broken):
    async def start(self, spec: ChildSpec) -> Child:
        spec.options.clear()
        return await self.make(spec)


class FailsHalfWay(Broken):
    async def start(self, spec: ChildSpec) -> Child:
        raise TypeError


class ForgetsWhatItStarted(Broken):
    async def start(self, spec: ChildSpec) -> Child:
        child = await self.make(spec)
        await trio.sleep(0.05)
        return child


class SharesHandles(Broken):
    async def start(self, spec: ChildSpec) -> Child:
        await self.make(spec)
        return self.made[0]


class CutsTheLifeline(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.pipe = os.pipe()

    async def start(self, spec: ChildSpec) -> Child:
        return await self.make(
            ChildSpec(aid=spec.aid, link=spec.link, lifeline_fd=self.pipe[0])
        )


class Anonymous(BrokenChild):
    @property
    def pid(self) -> int | None:
        return None


class SaysItWentWell(BrokenChild):
    async def wait(self) -> ExitStatus:
        await self.real.wait()
        return ExitStatus(exit_code=0)


class SaysNothing(BrokenChild):
    async def wait(self) -> ExitStatus:
        await self.real.wait()
        return ExitStatus()


class TellsTooSoon(BrokenChild):
    async def wait(self) -> ExitStatus:
        await trio.lowlevel.checkpoint()
        return ExitStatus(exit_code=0)


class TellsOnce(BrokenChild):
    told = False

    async def wait(self) -> ExitStatus:
        status = await self.real.wait()
        if self.told:
            await trio.sleep_forever()
        self.told = True
        return status


class TellsOneAtATime(BrokenChild):
    def __init__(self, child: Child) -> None:
        super().__init__(child)
        self.conflict = trio.Lock()

    async def wait(self) -> ExitStatus:
        self.conflict.acquire_nowait()
        try:
            return await self.real.wait()
        finally:
            self.conflict.release()


class HoldsTheLoop(BrokenChild):
    async def wait(self) -> ExitStatus:
        time.sleep(0.3)  # noqa: ASYNC251 (that is what is wrong with it)
        return await self.real.wait()


class KeepsItsHandle(BrokenChild):
    handles: ClassVar[list[int]] = []

    async def wait(self) -> ExitStatus:
        self.handles.append(os.open(os.devnull, os.O_RDONLY))
        return await self.real.wait()


class SignalsTheDead(BrokenChild):
    def terminate(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGTERM)


class HasNoPatience(BrokenChild):
    def terminate(self) -> None:
        self.real.kill()


class AsksWhereItShouldKill(BrokenChild):
    def kill(self) -> None:
        self.real.terminate()


class IsDeaf(BrokenChild):
    def stderr_tail(self) -> str:
        return self.real.stderr_tail()[:100]


class WaitsForHelpers(BrokenChild):
    async def wait(self) -> ExitStatus:
        status = await self.real.wait()
        if self.stderr_tail() == "bye":
            await trio.sleep_forever()
        return status


BROKEN: list[tuple[str, Callable[[], Broken], str]] = [
    ("a child boots", KeepsTheLink, "end of the link is still open"),
    ("a child boots", Thread, "in another process"),
    ("a child boots", lambda: Broken(Anonymous), "`pid` is None"),
    ("a child boots", lambda: Broken(KeepsItsHandle), "left behind: descriptor"),
    ("a child boots", lambda: Broken(HoldsTheLoop), "the loop stood still"),
    ("children start at once", SharesHandles, "a handle is shared"),
    ("a failed start leaves nothing", IgnoresOptions, "not refused with a TypeError"),
    ("a failed start leaves nothing", FailsHalfWay, "end of the link is still open"),
    ("a cancelled start leaves nothing", ForgetsWhatItStarted, "a process was left"),
    ("an orderly end", lambda: Broken(TellsTooSoon), "left behind: "),
    ("an orderly end", lambda: Broken(SaysNothing), "no exit status, not exit code 0"),
    ("exit codes", lambda: Broken(SaysItWentWell), "exit code 0, not 1"),
    ("signals that kill", lambda: Broken(SaysItWentWell), "exit code 0, not SIGKILL"),
    ("many wait", lambda: Broken(TellsTooSoon), "returned while it was alive"),
    ("many wait", lambda: Broken(TellsOnce), "not within"),
    ("many wait", lambda: Broken(TellsOneAtATime), "WouldBlock"),
    ("requests to the dead", lambda: Broken(SignalsTheDead), "ProcessLookupError"),
    ("terminate asks", lambda: Broken(HasNoPatience), "but by signal SIGKILL"),
    ("kill needs no cooperation", lambda: Broken(AsksWhereItShouldKill), "not within"),
    (
        "kill ends a stopped process",
        lambda: Broken(AsksWhereItShouldKill),
        "not within",
    ),
    ("nobody outlives the lifeline", CutsTheLifeline, "not within"),
    ("the end of stderr", lambda: Broken(IsDeaf), "it ends with"),
    ("helpers do not delay the news", lambda: Broken(WaitsForHelpers), "not within"),
]


@pytest.fixture
async def clean_up() -> AsyncIterator[list[Broken]]:
    """Backends to clean up after."""
    backends: list[Broken] = []
    yield backends
    for backend in backends:
        for child in backend.made:
            child.kill()
            await child.wait()
        for fd in getattr(backend, "pipe", ()):
            os.close(fd)
    while KeepsItsHandle.handles:
        os.close(KeepsItsHandle.handles.pop())


@pytest.mark.parametrize(("promise", "make", "text"), BROKEN)
async def test_a_broken_promise_is_noticed(
    promise: str,
    make: Callable[[], Broken],
    text: str,
    clean_up: list[Broken],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The suite names the promise that a backend breaks, and says how."""
    if text == "not within":
        monkeypatch.setattr(_backend_suite, "LIMIT", 2.0)
    monkeypatch.setattr(_backend_suite, "SLOW_STEP", 0.25)
    monkeypatch.setattr(_backend_suite, "SETTLE", 0.1)
    monkeypatch.setattr(_backend_parent, "PATIENCE", 0.1)
    clean_up.append(make())
    with pytest.raises(AssertionError, match=f"'broken': {promise}: .*({text})"):
        await check_spawn_backend(clean_up[0], promises=[promise])


def test_each_promise_can_be_broken() -> None:
    """There is no check that cannot fail."""
    assert {promise for promise, _, _ in BROKEN} == PROMISES.keys()
