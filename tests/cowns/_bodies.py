"""What tests let behaviours do, and what they are done to."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import trio

from tractor.cowns import REMOVED, Cown, current_scope, when

SAFETY: Final = 60  # seconds; a net, never what is tested
FOREVER: Final = 3600  # seconds


def nothing(*_: Any) -> None:
    """Do nothing."""


def add(cown: Cown[int], number: int = 1) -> int:
    """Add, and say what it is now."""
    cown.value += number
    return cown.value


def append(cown: Cown[list[Any]], item: Any) -> int:
    """Change a list from within."""
    cown.value.append(item)
    return len(cown.value)


def move(mine: Cown[int], yours: Cown[int], amount: int) -> None:
    """A transfer."""
    mine.value -= amount
    yours.value += amount


def look(cown: Cown[Any]) -> Any:
    """The value, as a result."""
    return cown.value


def seen(cown: Cown[Any]) -> list[Any]:
    """Whether it is an error, and which."""
    return [cown.exception, repr(cown.value)]


def boom(*_: Any) -> None:
    """Raise what everybody knows."""
    raise ValueError("on purpose", 7)


def set_and_raise(cown: Cown[Any], value: Any) -> None:
    """Change it, and then fail."""
    cown.value = value
    raise ValueError("after the change")


def leave(kind: Cown[str]) -> None:
    """Raise no Exception."""
    raise {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit}[kind.value]


class Falsy(Exception):
    """An error that looks like nothing."""

    def __bool__(self) -> bool:
        return False


def raise_falsy() -> None:
    """Raise it."""
    raise Falsy


def unsendable() -> object:
    """Return what nothing carries."""
    return lambda: None


def spoil(cown: Cown[Any]) -> None:
    """Leave what nothing carries."""
    cown.value = lambda: None


def pid(*_: Any) -> int:
    """The process."""
    return os.getpid()


def die(*_: Any) -> None:
    """End the worker as nothing else can."""
    os.kill(os.getpid(), signal.SIGKILL)


def touch(path: str) -> None:
    """Leave a trace."""
    Path(path).touch()


def touch_and_block(*args: Any) -> None:
    """Say that it runs, and run for ever; the last argument is a path."""
    touch(args[-1])
    time.sleep(FOREVER)


def wait_for(*args: Any) -> None:
    """Wait until there is a file; the last argument is its path."""
    late = time.monotonic() + SAFETY
    while not Path(args[-1]).exists():
        if time.monotonic() > late:
            raise TimeoutError(args[-1])
        time.sleep(0.002)


async def touch_and_sleep(cown: Cown[Any], begun: str, cleaned: str) -> None:
    """Say that it runs, sleep for ever, and say that it was cancelled."""
    touch(begun)
    try:
        await trio.sleep_forever()
    finally:
        cown.value = "cleaned"
        touch(cleaned)


async def add_later(cown: Cown[int], number: int = 1) -> int:
    """Hold it across a checkpoint."""
    before = cown.value
    await trio.lowlevel.checkpoint()
    cown.value = before + number
    return cown.value


async def meet(_: Cown[Any], mine: str, yours: str) -> None:
    """Be here while the other one is here."""
    touch(mine)
    await trio.to_thread.run_sync(wait_for, yours)


def note(log: Cown[list[str]], word: str) -> None:
    """Write it down."""
    log.value.append(word)


def outer(log: Cown[list[str]]) -> None:
    """Schedule over what it holds itself."""
    log.value.append("outer-start")
    current_scope().schedule(note, log, captures=("inner",))
    log.value.append("outer-end")


def countdown(cown: Cown[int]) -> None:
    """A loop: each turn schedules the next."""
    cown.value -= 1
    if cown.value:
        current_scope().schedule(countdown, cown)


def fan_out(cown: Cown[int], count: int) -> None:
    """Many children over the same cown."""
    for _ in range(count):
        when(cown)(add)


def make_child(box: Cown[list[Any]]) -> None:
    """Make a cown, schedule over it, and leave both handles in a value."""
    child = Cown(20)
    result = current_scope().schedule(add, child)
    box.value = [child, result]


def total(cowns: list[Cown[int]]) -> int:
    """Of a group."""
    return sum(cown.value for cown in cowns)


def shape(first: Cown[int], group: list[Cown[int]], last: Cown[int]) -> list[Any]:
    """What came."""
    return [first.value, [cown.value for cown in group], last.value]


def peek(_: Cown[Any], other: Cown[Cown[int]]) -> Any:
    """Look at what a handle stands for, without holding it."""
    return other.value.value


KEPT: Final[list[Cown[Any]]] = []


def keep(cown: Cown[Any]) -> None:
    """Hide a handle in the worker."""
    KEPT.append(cown)


def use_kept() -> Any:
    """Look through it later."""
    return KEPT[-1].value


def make_pinned() -> None:
    """Where it must not be made."""
    from tractor.cowns import PinnedCown

    PinnedCown(object())


def write_and_read(_: Cown[Any], key: str, value: Any) -> Any:
    """Change a notice, and look at it."""
    notices = current_scope().notices
    notices.write(key, value)
    return notices.read(key)


def read_notice(_: Cown[Any], key: str) -> Any:
    """Look at one."""
    return current_scope().notices.read(key)


def count_up(_: Cown[Any], key: str) -> None:
    """Change one."""
    current_scope().notices.update(key, one_more, 0)


def one_more(value: int) -> int:
    """Add."""
    return value + 1


def refuse(value: int) -> int:
    """Fail to change it."""
    raise ValueError(value)


def remove(value: int) -> Any:
    """Remove it."""
    return REMOVED


def generator(cown: Cown[Any]) -> Iterator[int]:
    """No behaviour."""
    yield cown.value


def burn(cown: Cown[int], count: int) -> None:
    """Compute."""
    value = cown.value
    for number in range(count):
        value += number * number % 7
    cown.value = value


class Point:
    """A class that only a serializer carries."""

    def __init__(self, x: int) -> None:
        self.x = x


class Slots:
    """Likewise, with slots."""

    __slots__ = ("cown",)

    def __init__(self, cown: Cown[Any]) -> None:
        self.cown = cown


class Unreadable:
    """What can be packed and not unpacked."""

    def __reduce__(self) -> Any:
        return boom, ()


def forward(point: Cown[Point]) -> int:
    """Change an object from within."""
    point.value.x += 1
    return point.value.x


def schedule_inner(box: Cown[Any]) -> None:
    """Schedule over the handle that is in a value."""
    value = box.value
    if isinstance(value, dict):
        value = value["cown"]
    elif isinstance(value, list):
        value = value[0]
    elif isinstance(value, Slots):
        value = value.cown
    current_scope().schedule(add, value)


def set_to(cown: Cown[Any], value: Any) -> None:
    """Assign."""
    cown.value = value


def return_error() -> Exception:
    """Return what others raise."""
    return ValueError("a value")


def grow(cown: Cown[bytes], count: int) -> None:
    """Make it longer."""
    cown.value += bytes(count)


def use_msgspec(cown: Cown[list[int]]) -> Any:
    """Use an extension module."""
    import msgspec

    return msgspec.msgpack.decode(msgspec.msgpack.encode(cown.value))


def sizes(cowns: list[Cown[bytes]]) -> list[int]:
    """Make all of them longer, and say how long they are."""
    for cown in cowns:
        cown.value += b"!"
    return [len(cown.value) for cown in cowns]
