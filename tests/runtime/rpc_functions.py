"""What the tests call in other actors; imports nothing that is slow to import."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Never

import trio
from msgspec import Struct
from trio.lowlevel import checkpoint  # noqa: F401 (a function that is not defined here)

import tractor
from tractor._instrument import Event, hub


class Log:
    """What happened in this actor; tests ask for it and wait for it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = trio.Event()
        self.released = False

    def add(self, entry: Any) -> None:
        self.entries.append(entry)
        self.change()

    def change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def changed(self) -> None:
        await self._changed.wait()


log = Log()

constant = 1


# -- Plain -----------------------------------------------------------------------------


async def echo(value: Any) -> Any:
    return value


async def zeros(size: int) -> bytes:
    return bytes(size)


async def add(a: int, b: int = 0) -> int:
    return a + b


async def note(entry: Any, ballast: bytes = b"") -> None:
    del ballast  # its size was the point
    log.add(entry)


async def noted() -> list[Any]:
    return log.entries


async def wait_noted(entry: Any) -> None:
    while entry not in log.entries:
        await log.changed()


async def who() -> str:
    return tractor.current_actor().name


async def pid() -> int:
    return os.getpid()


# -- Cancellation ----------------------------------------------------------------------


async def forever(entry: Any = "forever") -> Never:
    """Note the start, and the end with a dash."""
    log.add(entry)
    try:
        await trio.sleep_forever()
    finally:
        log.add(f"-{entry}")


async def forever_cleaning() -> None:
    """When cancelled, take until `release` to clean up."""
    try:
        await forever("cleaning")
    finally:
        with trio.CancelScope(shield=True):
            while not log.released:
                await log.changed()
        log.add("cleaned")


async def release() -> None:
    log.released = True
    log.change()


async def forever_failing(error: str) -> None:
    """When cancelled, raise instead."""
    log.add("failing")
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise ValueError(error) from None


async def forever_returning(result: int) -> int:
    """When cancelled, return all the same."""
    log.add("returning")
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        return result


# -- What cannot be called -------------------------------------------------------------


def sync() -> None:
    pass


async def generator() -> Any:
    yield 1


async def _private() -> None:
    pass


class Holder:
    async def method(self) -> None:
        pass


@asynccontextmanager
async def manager() -> Any:
    yield 1


# -- Errors ----------------------------------------------------------------------------


class Custom(Exception):
    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


class Unknown(Exception):
    pass


async def fail(kind: str) -> None:
    raise ERRORS[kind]


async def fail_in_a_group(size: int) -> None:
    raise ExceptionGroup("many", [ValueError("x")] * size)


async def fail_at_length(size: int) -> None:
    raise ValueError("x" * size)


class _BadText(Exception):
    def __str__(self) -> Never:
        raise KeyboardInterrupt

    __repr__ = __str__


class _BadClass(Exception):
    __class__ = property(lambda _: sys.exit())


class _BadAttributes(Exception):
    def __getattribute__(self, name: str) -> Never:
        raise RecursionError


class _BadMeta(type):
    @property
    def __module__(cls) -> Never:  # type: ignore[override]
        raise ZeroDivisionError


class _BadName(Exception, metaclass=_BadMeta):
    pass


class _BadCause(Exception):
    __cause__ = property(lambda self: self)
    __notes__ = property(lambda _: 1 / 0)


async def _cancelled() -> BaseException:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            return exc
    raise AssertionError


async def fail_with_a_stray_cancelled() -> None:
    """Raise a `Cancelled` that belongs to no scope any more."""
    raise await _cancelled()


ERRORS: dict[str, BaseException] = {
    "value": ValueError("no", 3),
    "os": FileNotFoundError(2, "no such file", "here"),
    "key": KeyError("k"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator": GeneratorExit(),
    "custom": Custom(7, why="because"),
    "unknown": Unknown("oops"),
    "group": ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError(2)])]),
    "unencodable": ValueError(object()),
    "text": _BadText(),
    "class": _BadClass(),
    "attributes": _BadAttributes(),
    "name": _BadName(),
    "cause": _BadCause(),
    "length": type("X" * 100_000, (Exception,), {})(),
}


# -- Payloads --------------------------------------------------------------------------


class Opaque(Struct):
    """Encodes, unless something that does not is in it."""

    inside: Any


async def unencodable(kind: str) -> Any:
    return {"object": object(), "struct": Opaque(object()), "int": 2**70}[kind]


async def nested(depth: int) -> Any:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


async def depth_of(value: Any) -> int:
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    return depth


# -- Trees -----------------------------------------------------------------------------


async def dig(names: list[str], error: str) -> None:
    """Raise in the last of a chain of actors of these names."""
    if not names:
        await fail(error)
        return
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(names[0], enable_modules=[__name__])
        await portal.run(dig, names[1:], error)


async def call_parent(name: str, value: Any) -> Any:
    """Call a function of this module in the actor that started this one."""
    parent = tractor.current_actor().get_parent()
    return await parent.run_from_ns(__name__, name, value=value)


async def wait_in_parent(entry: str) -> None:
    await tractor.current_actor().get_parent().run(forever, entry)


async def cancel_parent() -> bool:
    return await tractor.current_actor().get_parent().cancel_actor()


# -- Ends ------------------------------------------------------------------------------


async def die(number: int) -> Never:
    os.kill(os.getpid(), number)
    await trio.sleep_forever()


async def break_the_link(data: bytes) -> Never:
    """Write raw bytes to the parent; the end of them is the end of the link."""
    parent = tractor.current_actor().parent
    assert parent is not None
    sock: socket.socket = parent.channel._transport._sock  # type: ignore[attr-defined]
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    await trio.sleep_forever()


async def send_records(data: bytes) -> None:
    """Write whole frames to the parent, before the reply."""
    parent = tractor.current_actor().parent
    assert parent is not None
    sock: socket.socket = parent.channel._transport._sock  # type: ignore[attr-defined]
    sock.sendall(data)


# -- Events ----------------------------------------------------------------------------


@contextmanager
def recorded() -> Iterator[list[Event]]:
    """Events of this interpreter, as long as the block runs."""
    events: list[Event] = []
    with hub.subscribed(events.append):
        yield events


async def record_events() -> None:
    """Note each event of this actor from now on, as kind and data."""
    stack = tractor.current_actor().lifetime_stack
    stack.enter_context(
        hub.subscribed(lambda event: log.add([event.kind, event.aid.name, event.data]))
    )
