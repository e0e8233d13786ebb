"""`PinnedResource`: the handle goes anywhere, the value nowhere."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing

from tests._helpers import open_tree, raises
from tests.pinned import _things as do
from tests.pinned._things import HERE, SAFETY, Window, dropped_in
from tractor import pinned
from tractor.pinned import PinnedResource, ResourceClosed
from tractor.pinned._main_thread import main
from tractor.pinned._registry import registry

SERVED = [HERE]
HOME = threading.main_thread().ident


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    """No window from another test has yet to end."""
    gc.collect()
    dropped_in.clear()
    yield
    dropped_in.clear()


def in_thread(fn: Callable[[], Any]) -> Any:
    """What it returns in another thread; what it raises there."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((fn(), None))
        except BaseException as exc:  # noqa: BLE001 (raised below)
            found.append((None, exc))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SAFETY)
    value, error = found[0]
    if error is not None:
        raise error
    return value


# -- Here ------------------------------------------------------------------------------


async def test_the_value_is_the_very_same() -> None:
    """At every use, without any copy."""
    window = Window()
    handle = PinnedResource(window)
    async with open_tree("trio"):
        for _ in range(64):
            assert await handle.call(id) == id(window)
    assert handle.value is window
    handle.close()
    del window
    assert dropped_in == [HOME]


def test_off_the_main_thread_there_is_no_value() -> None:
    """It is neither made, nor read, nor closed there; the text says what to do."""
    handle = PinnedResource(Window())
    with pytest.raises(RuntimeError, match=r"made on the main thread.*pinned\.call"):
        in_thread(lambda: PinnedResource(1))
    with pytest.raises(RuntimeError, match="read on the main thread of the root"):
        in_thread(lambda: handle.value)
    with pytest.raises(RuntimeError, match=r"closed by close\(\) on"):
        in_thread(handle.close)
    assert isinstance(handle.value, Window)


def test_the_last_handle_takes_the_value_along() -> None:
    """At once, where that is the main thread."""
    handle = PinnedResource(Window())
    other = handle
    del handle
    assert dropped_in == []
    del other
    assert dropped_in == [HOME]
    assert len(registry) == 0


def test_a_handle_that_dies_elsewhere_ends_its_value_here() -> None:
    """Another thread drops the handle; the value waits for the main thread."""
    handles = [PinnedResource(Window())]
    in_thread(handles.clear)
    assert (dropped_in, len(main.queue)) == ([], 1)
    assert pinned.pump() == (1, False, 0)
    assert dropped_in == [HOME]


async def test_where_trio_runs_here_nobody_has_to_pump() -> None:
    """The loop is woken by the thread that drops the handle."""
    gone = trio.Event()
    async with open_tree("trio"):
        handles = [PinnedResource(Telling(gone))]
        await trio.to_thread.run_sync(handles.clear)
        await gone.wait()


class Telling:
    """Sets an event when it ends."""

    def __init__(self, gone: trio.Event) -> None:
        self.gone = gone

    def __del__(self) -> None:
        self.gone.set()


async def test_closing_is_in_turn_and_may_be_done_again() -> None:
    """`aclose` comes after the calls that wait, `close` at once."""
    handle = PinnedResource(Window("it"))
    said: list[str] = []
    async with open_tree("trio"):
        async with trio.open_nursery() as nursery:
            queued = trio.Event()
            pinned.set_pump_wakeup(queued.set)

            async def ask() -> None:
                said.append(await handle.call(do.title_of))

            nursery.start_soon(ask)
            await queued.wait()
            nursery.start_soon(handle.aclose)
            await trio.testing.wait_all_tasks_blocked()
            pinned.set_pump_wakeup(None)
        assert (said, dropped_in) == (["it"], [HOME])
        await handle.aclose()
        handle.close()
        with raises(ResourceClosed, match="is gone: it was closed"):
            await handle.call(do.title_of)
    with pytest.raises(ResourceClosed):
        _ = handle.value


async def test_the_value_itself_is_not_a_result() -> None:
    """Else it would be had off the main thread."""
    handle = PinnedResource(Window())
    async with open_tree("trio"):
        with raises(TypeError, match="'itself' returned the pinned value itself"):
            await handle.call(do.itself)
        with raises(TypeError, match="is async"):
            await handle.call(cast("Any", do.where))


def test_an_error_takes_no_reference_of_the_value_along() -> None:
    """Its traceback goes to another thread, and the value must not end there."""
    errors: list[BaseException] = []
    waits = threading.Event()
    handle = PinnedResource(Window())

    async def ask() -> None:
        async with open_tree("trio"):
            with pytest.raises(ValueError) as caught:  # noqa: PT011 (which one is known)
                await handle.call(do.spoil)
            errors.append(caught.value)
            waits.set()

    pinned.set_pump_wakeup(waits.set)
    thread = threading.Thread(target=trio.run, args=(ask,))
    thread.start()
    assert waits.wait(SAFETY)
    waits.clear()
    assert pinned.pump() == (1, False, 1)
    assert waits.wait(SAFETY)
    thread.join(SAFETY)
    handle.close()
    assert (dropped_in, len(errors)) == ([HOME], 1)


def test_handles_compare_and_print() -> None:
    """By what they stand for; that sends nothing."""
    one, two = PinnedResource(1), PinnedResource(1)
    again = msgspec.convert(msgspec.to_builtins(one), PinnedResource[int])
    assert one == again
    assert hash(one) == hash(again)
    assert one != two
    assert one != 1
    assert repr(one).startswith("<PinnedResource ")
    assert not hasattr(two, "title")
    gone = weakref.ref(two)
    del two
    assert gone() is None
    assert len(registry) == 1
    again.close()


def pickled[T](thing: T) -> T:
    """A copy."""
    return cast("T", pickle.loads(pickle.dumps(thing)))


def crossed(handle: PinnedResource[Window]) -> PinnedResource[Window]:
    """A copy, as another actor gets one."""
    data = msgspec.msgpack.encode(handle)
    return msgspec.msgpack.decode(data, type=PinnedResource[Window])


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, crossed])
def test_a_copy_keeps_the_value(copied: Callable[[Any], Any]) -> None:
    """Nobody knows who else has one, so it stays until it is closed."""
    handle = PinnedResource(Window("it"))
    other = copied(handle)
    del handle
    assert dropped_in == []
    assert other.value.title == "it"
    other.close()
    assert dropped_in == [HOME]


async def test_one_of_another_process_is_unknown_here() -> None:
    """It says so, instead of being mistaken for one of here."""
    stranger = msgspec.convert({"home": "elsewhere", "number": 1}, PinnedResource[int])
    async with open_tree("trio"):
        with raises(ResourceClosed, match="does not belong to this tree"):
            await stranger.call(abs)
        await stranger.aclose()


# -- In other actors -------------------------------------------------------------------


async def test_actors_make_and_use_and_close_them(start_method: str) -> None:
    """From anywhere; the value is touched on the main thread alone."""
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        said = await portal.run(do.use_windows)
        await portal.cancel_actor()
    assert said == [
        "PinnedResource",
        "first",
        "second",
        ["a", "b"],
        "ResourceClosed",
        "a pinned value is read",
        "a pinned value is made",
        "a pinned value is closed by close()",
    ]
    assert dropped_in == [HOME] * 3


async def test_a_handle_travels_and_comes_back(start_method: str) -> None:
    """As an argument and as a result, and it is still the same."""
    handle = PinnedResource(Window("before"))
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        assert await portal.run(do.retitle_from_here, handle, "after") == "before"
        back = await portal.run(do.pass_on, handle)
        assert back == handle
        assert back.value is handle.value
        assert back.value.title == "after"
        assert set(back.value.touched) == {HOME}
        await portal.cancel_actor()


async def test_what_was_sent_lasts_until_the_tree_has_ended(start_method: str) -> None:
    """And then goes, unless the root still has its handle."""
    kept = PinnedResource(Window("kept"))
    async with open_tree(start_method, enable_modules=SERVED) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        lost = PinnedResource(Window("lost"))
        for handle in (kept, lost):
            await portal.run(do.pass_on, handle)
        del handle, lost
        gc.collect()
        assert dropped_in == []
        await portal.cancel_actor()
    assert dropped_in == [HOME]
    assert kept.value.title == "kept"
    del kept
    assert dropped_in == [HOME] * 2


def test_a_tree_elsewhere_leaves_its_end_to_the_host() -> None:
    """What is to be dropped waits for the next pump, also after the tree."""
    ready = threading.Event()
    pinned.set_pump_wakeup(ready.set)

    async def make() -> None:
        async with open_tree("trio"):
            handle = await pinned.call(partial(do.make_window, "it"))
            msgspec.to_builtins(handle)

    thread = threading.Thread(target=trio.run, args=(make,))
    thread.start()
    assert ready.wait(SAFETY)
    ready.clear()
    pinned.pump()
    thread.join(SAFETY)
    assert dropped_in == []
    assert ready.wait(SAFETY)
    assert pinned.pump() == (1, False, 0)
    assert dropped_in == [HOME]
