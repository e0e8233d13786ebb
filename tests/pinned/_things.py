"""What tests let run on the main thread. Children import this, so it imports little."""

import os
import signal
import threading
from typing import Any, Final, cast

import msgspec
import trio

import tractor
from tractor import pinned

SAFETY: Final = 40  # seconds; a net, never what is tested
HERE: Final = __name__


class Oops(Exception):
    """An error that only this module knows."""


class Point(msgspec.Struct, frozen=True):
    """Needs an annotation to arrive as one."""

    x: int
    y: int


class Window:
    """Lives on one thread, and notes where it was touched."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.touched = [threading.get_ident()]

    def __del__(self) -> None:
        dropped_in.append(threading.get_ident())


dropped_in: Final[list[int]] = []  # threads in which windows ended


# -- On the main thread ----------------------------------------------------------------


def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


def place() -> list[Any]:
    """Process, and whether this is its main thread."""
    return [os.getpid(), threading.current_thread() is threading.main_thread()]


def mirror(point: Point) -> Point:
    """The other way round."""
    return Point(point.y, point.x)


def fail(text: str = "on purpose") -> None:
    """Raise what everybody knows."""
    raise ValueError(text, 7)


def oops() -> None:
    """Raise what only this module knows."""
    raise Oops("own class")


def leave() -> None:
    """Raise no Exception."""
    raise SystemExit(3)


def interrupt() -> None:
    """Let Ctrl-C come, and go on for long."""
    signal.raise_signal(signal.SIGINT)
    threading.Event().wait(SAFETY)


def unsendable() -> object:
    """Return what msgpack does not know."""
    return object()


def make_window(title: str) -> pinned.PinnedResource[Window]:
    """A new one; only its handle leaves."""
    return pinned.PinnedResource(Window(title))


def make_windows(titles: list[str]) -> dict[str, pinned.PinnedResource[Window]]:
    """Several."""
    return {title: make_window(title) for title in titles}


def retitle(window: Window, title: str) -> str:
    """Change it; what it was."""
    window.touched.append(threading.get_ident())
    before, window.title = window.title, title
    return before


def title_of(window: Window) -> str:
    """Read it."""
    return window.title


def itself(window: Window) -> Window:
    """What must not be returned."""
    return window


def spoil(window: Window) -> None:
    """Raise, with the window among the variables."""
    raise ValueError(window.title)


# -- In actors -------------------------------------------------------------------------


async def where() -> list[Any]:
    """What `place` says to this actor."""
    return await pinned.call(place)


async def interrupt_root() -> None:
    """Call what Ctrl-C comes to."""
    await pinned.call(interrupt)


async def where_below(levels: int, start_method: str) -> list[Any]:
    """What it says to an actor so many levels below this one."""
    if not levels:
        return await where()
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(
            "deeper", enable_modules=[HERE], start_method=start_method
        )
        found = await portal.run(where_below, levels - 1, start_method)
        await portal.cancel_actor()
        return found


async def mirrored(x: int, y: int) -> list[Any]:
    """What `mirror` says to this actor, and of which class that is."""
    point = await pinned.call(mirror, Point(x, y))
    return [type(point).__name__, point.x, point.y]


async def many(count: int) -> list[int]:
    """So many calls at once, and what came back."""
    found: dict[int, int] = {}

    async def one(number: int) -> None:
        found[number] = await pinned.call(add, number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return [found[number] for number in range(count)]


async def errors() -> dict[str, list[Any]]:
    """What goes wrong in calls of this actor: class, and text."""
    found = {}
    for fn in (fail, oops, unsendable, leave):
        try:
            await pinned.call(fn)
        except tractor.RemoteActorError as exc:
            found[fn.__name__] = [exc.boxed_type_str, str(exc)]
    for wrong, name in ((lambda: 1, "lambda"), (where, "async"), (len, "builtin")):
        try:
            await pinned.call(cast("Any", wrong))
        except (ValueError, TypeError, tractor.RemoteActorError) as exc:
            found[name] = [type(exc).__name__, str(exc)]
    return found


async def use_windows() -> list[Any]:
    """Make, use and lose windows of the root, from here."""
    window = await pinned.call(make_window, "first")
    said: list[Any] = [type(window).__name__]
    said.append(await window.call(retitle, "second"))
    said.append(await window.call(title_of))
    both = await pinned.call(make_windows, ["a", "b"])
    said.append([await each.call(title_of) for each in both.values()])
    for each in (window, *both.values()):
        await each.aclose()
        await each.aclose()
    try:
        await window.call(title_of)
    except tractor.RemoteActorError as exc:
        said.append(exc.boxed_type_str)
    for wrong in (lambda: window.value, lambda: pinned.PinnedResource(1), window.close):
        try:
            wrong()
        except RuntimeError as exc:
            said.append(str(exc).partition(" on the main")[0])
    return said


async def retitle_from_here(window: pinned.PinnedResource[Window], title: str) -> str:
    """Use a handle that came from elsewhere."""
    return await window.call(retitle, title)


async def pass_on(
    window: pinned.PinnedResource[Window],
) -> pinned.PinnedResource[Window]:
    """Give it back."""
    return window


async def sum_up(a: int, b: int) -> int:
    """Nothing for the main thread of the root."""
    return a + b
