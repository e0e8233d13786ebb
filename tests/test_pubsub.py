"""`msgpub`: one publisher, any number of subscribers with topics of their own.

Most of it needs no second actor: the decorated function is an async generator.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests._helpers import SAFETY, open_tree
from tests.runtime import supervised as do
from tractor import RemoteActorError
from tractor.experimental import msgpub

type GetTopics = Callable[[], set[str]]


class Press:
    """A publisher that publishes what the test says, and tells what happened to it."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.ended = 0
        self.topics: GetTopics = set
        self._send, self._receive = trio.open_memory_channel[Any](0)

    async def run(
        self, get_topics: GetTopics, **options: Any
    ) -> AsyncIterator[dict[str, Any]]:
        self.runs.append(options)
        self.topics = get_topics
        try:
            async for item in self._receive.clone():
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    return
                yield item
        finally:
            self.ended += 1

    async def publish(self, item: Any) -> None:
        """A mapping, an error, or `None` for the end."""
        await self._send.send(item)
        await wait_all_tasks_blocked()


@pytest.fixture
def press() -> Press:
    return Press()


@pytest.fixture
def subscribe(press: Press) -> Any:
    """The decorated publisher."""

    @msgpub(tasks=["one", "two"])
    async def publisher(
        get_topics: GetTopics, **options: Any
    ) -> AsyncIterator[dict[str, Any]]:
        async with aclosing(press.run(get_topics, **options)) as items:  # type: ignore[type-var]
            async for item in items:
                yield item

    def call(*topics: str, task_name: str = "one", **options: Any) -> Any:
        return publisher(topics=topics, task_name=task_name, **options)

    return call


class Reader:
    """Collects what one subscriber gets, in a task."""

    def __init__(self, nursery: trio.Nursery, values: Any) -> None:
        self.got: list[Any] = []
        self.over = False
        self.scope = trio.CancelScope()
        nursery.start_soon(self._run, values)

    async def _run(self, values: Any) -> None:
        with self.scope:
            async with aclosing(values):
                try:
                    async for value in values:
                        self.got.append(value)
                except ValueError as exc:
                    self.got.append(exc)
            self.over = True


async def test_each_gets_its_topics(press: Press, subscribe: Any) -> None:
    """One publisher serves all, and knows which topics anybody wants."""
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        first = Reader(nursery, subscribe("a", "b", rate=1))
        second = Reader(nursery, subscribe("b", "c", rate=2))
        await wait_all_tasks_blocked()
        assert press.topics() == {"a", "b", "c"}
        await press.publish({"a": 1, "b": 2, "c": 3, "d": 4})
        await press.publish({"d": 5})
        assert first.got == [{"a": 1}, {"b": 2}]
        assert second.got == [{"b": 2}, {"c": 3}]
        second.scope.cancel()
        await wait_all_tasks_blocked()
        assert press.topics() == {"a", "b"}
        assert press.runs in ([{"rate": 1}], [{"rate": 2}])
        nursery.cancel_scope.cancel()


async def test_the_publisher_ends_with_its_last_subscriber(
    press: Press, subscribe: Any
) -> None:
    """And begins again with the next one."""
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        for runs in (1, 2):
            readers = [Reader(nursery, subscribe("a")) for _ in range(2)]
            await wait_all_tasks_blocked()
            readers[0].scope.cancel()
            await wait_all_tasks_blocked()
            assert (len(press.runs), press.ended) == (runs, runs - 1)
            readers[1].scope.cancel()
            await wait_all_tasks_blocked()
            assert (len(press.runs), press.ended) == (runs, runs)


@pytest.mark.parametrize("end", [None, ValueError("of the publisher")])
async def test_the_end_of_the_publisher_is_that_of_all(
    press: Press, subscribe: Any, end: ValueError | None
) -> None:
    """They get what was published before it, and then its error, if it has one."""
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        readers = [Reader(nursery, subscribe("a")) for _ in range(2)]
        await wait_all_tasks_blocked()
        await press.publish({"a": 1})
        await press.publish(end)
        for reader in readers:
            assert reader.got == [{"a": 1}, *([end] if end else [])]
            assert reader.over


async def test_a_subscriber_that_comes_after_the_end(
    press: Press, subscribe: Any
) -> None:
    """It gets a new publisher, though an earlier one has not left yet."""
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        idle = subscribe("a")
        async with aclosing(idle):
            nursery.start_soon(press.publish, {"a": 1})
            assert await anext(idle) == {"a": 1}
            await press.publish(None)
            late = Reader(nursery, subscribe("a"))
            await wait_all_tasks_blocked()
            await press.publish({"a": 2})
            assert late.got == [{"a": 2}]
            with pytest.raises(StopAsyncIteration):
                await anext(idle)
        late.scope.cancel()


async def test_a_slow_subscriber_loses_the_oldest(press: Press, subscribe: Any) -> None:
    """It slows nobody, and then gets the newest 64."""
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        slow = subscribe("a", packetizer=lambda _, value: value)
        async with aclosing(slow):
            nursery.start_soon(press.publish, {"a": -1})
            assert await anext(slow) == -1
            fast = Reader(nursery, subscribe("a", packetizer=lambda *pair: pair))
            await wait_all_tasks_blocked()
            for number in range(100):
                await press.publish({"a": number})
            assert fast.got == [("a", number) for number in range(100)]
            assert [await anext(slow) for _ in range(64)] == [*range(36, 100)]
        fast.scope.cancel()


async def test_named_tasks_are_apart(press: Press, subscribe: Any) -> None:
    """Each has a publisher of its own."""
    async with tractor.open_root_actor(), trio.open_nursery() as nursery:
        for name in ("one", "two"):
            Reader(nursery, subscribe("a", task_name=name))
        await wait_all_tasks_blocked()
        assert len(press.runs) == 2
        nursery.cancel_scope.cancel()


async def test_a_call_needs_its_arguments(subscribe: Any) -> None:
    """What is missing is a `TypeError` that says so."""

    @msgpub
    async def plain(get_topics: GetTopics) -> AsyncIterator[dict[str, Any]]:
        yield {topic: 1 for topic in get_topics()}

    async with tractor.open_root_actor():
        for values, what in (
            (plain(), "needs `topics`"),
            (plain(topics=["a"], task_name="x"), "as `task_name` one of"),
            (subscribe("a", task_name="three"), r"one of \['one', 'two'\]"),
        ):
            with pytest.raises(TypeError, match=what):
                await anext(values)
        async for value in plain(topics=["a"]):
            assert value == {"a": 1}


async def test_wrong_options_of_the_publisher(subscribe: Any) -> None:
    """They are an error of the subscriber, not of the actor."""

    @msgpub
    async def plain(get_topics: GetTopics) -> AsyncIterator[dict[str, Any]]:
        yield {topic: 1 for topic in get_topics()}

    async with tractor.open_root_actor():
        with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
            await anext(plain(topics=["a"], rate=1))


def test_only_a_publisher_can_be_decorated() -> None:
    """Anything else is refused where it is written."""

    async def one() -> None:
        pass

    async def no_topics() -> AsyncIterator[dict[str, Any]]:
        yield {}

    with pytest.raises(TypeError, match="needs an async generator function"):
        msgpub(one)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has no parameter `get_topics`"):
        msgpub(no_topics)


async def test_subscribers_in_another_actor(start_method: str) -> None:
    """They share the publisher over there, and leave it when their block ends."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor("x", enable_modules=[do.__name__])

        async def read(topic: str) -> None:
            async with portal.open_stream_from(do.publishes, topics=[topic]) as stream:
                first, second = [await stream.receive() for _ in range(2)]
                assert first.keys() == second.keys() == {topic}
                assert first[topic] < second[topic]

        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                for topic in "ab":
                    nursery.start_soon(read, topic)
            assert await portal.run(do.publishers) == (0, True)
            with pytest.raises(RemoteActorError, match="needs `topics`"):
                async with portal.open_stream_from(do.publishes) as stream:
                    await stream.receive()
        await an.cancel()
