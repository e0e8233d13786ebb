"""One publisher in an actor, any number of subscribers with topics of their own.

The publisher is an async generator that yields mappings from topic to value. It runs
once for all its subscribers, from the first to the last of them, and is told by its
argument `get_topics` which topics anybody wants right now.

A subscriber that is slow loses the oldest values and slows nobody.
"""

import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any, Final, overload

import trio

from tractor.runtime import current_actor

BUFFER: Final = 64  # values that wait for one subscriber; that of a stream

_END: Final = object()

type Publisher = Callable[..., AsyncIterator[Mapping[str, Any]]]
type Subscribe = Callable[..., AsyncIterator[Any]]
type Packetizer = Callable[[str, Any], Any]


class _Subscriber:
    """Values for one subscriber; the oldest give way."""

    publication: "_Publication"  # set once it has joined one

    def __init__(self, topics: Iterable[str], packetizer: Packetizer) -> None:
        self.topics = frozenset(topics)
        self.error: BaseException | None = None
        self.over = False
        self._packetizer = packetizer
        self._values: deque[Any] = deque(maxlen=BUFFER)
        self._news = trio.Event()

    def put(self, published: Mapping[str, Any]) -> None:
        for topic, value in published.items():
            if topic in self.topics:
                self._values.append(self._packetizer(topic, value))
                self._news.set()

    def end(self, error: BaseException | None) -> None:
        self.error, self.over = error, True
        self._news.set()

    async def get(self) -> Any:
        while not self._values:
            if self.error is not None:
                raise self.error
            if self.over:
                return _END
            await self._news.wait()
            self._news = trio.Event()
        await trio.lowlevel.checkpoint_if_cancelled()
        return self._values.popleft()


class _Publication:
    """One running publisher and its subscribers."""

    def __init__(self) -> None:
        self.subscribers: list[_Subscriber] = []
        self.scope = trio.CancelScope()
        self.over = False

    def topics(self) -> set[str]:
        return {topic for each in self.subscribers for topic in each.topics}

    async def run(self, publisher: Publisher, options: dict[str, Any]) -> None:
        """Fan out until the generator ends or nobody listens; never raises."""
        error: BaseException | None = None
        try:
            with self.scope:
                async with aclosing(publisher(**options)) as values:  # type: ignore[type-var]
                    async for published in values:
                        for each in self.subscribers:
                            each.put(published)
                        await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001 (every subscriber raises it)
            error = exc
        finally:
            self.over = True
            for each in self.subscribers:
                each.end(error)


class _Publications:
    """The running publications of one decorated function, by task name."""

    def __init__(self, fn: Publisher, names: frozenset[str]) -> None:
        self._fn = fn
        self._names = names
        self._running: dict[str | None, _Publication] = {}

    def check(self, topics: Iterable[str] | None, task_name: str | None) -> None:
        """Refuse a subscription with a required argument missing."""
        name = self._fn.__qualname__
        if topics is None:
            msg = f"{name}() needs `topics`, the names to subscribe to"
            raise TypeError(msg)
        if task_name not in (self._names or {None}):
            msg = f"{name}() takes as `task_name` one of {sorted(self._names)}"
            raise TypeError(msg)

    def join(
        self, task_name: str | None, subscriber: _Subscriber, options: dict[str, Any]
    ) -> _Publication:
        """Subscribe, and start the publisher when this is the first one."""
        publication = self._running.get(task_name)
        if publication is None or publication.over:
            publication = self._running[task_name] = _Publication()
            options["get_topics"] = publication.topics
            run, name = publication.run, self._fn.__qualname__
            current_actor().spawn(run, self._fn, options, name=name)
        publication.subscribers.append(subscriber)
        return publication

    def leave(self, task_name: str | None, subscriber: _Subscriber) -> None:
        """Unsubscribe, and end the publisher when that was the last one."""
        publication = subscriber.publication
        publication.subscribers.remove(subscriber)
        if not publication.subscribers or subscriber.over:
            publication.scope.cancel()
            if self._running.get(task_name) is publication:
                del self._running[task_name]


@overload
def msgpub(wrapped: Publisher, /, *, tasks: Iterable[str] = ()) -> Subscribe: ...


@overload
def msgpub(*, tasks: Iterable[str] = ()) -> Callable[[Publisher], Subscribe]: ...


def msgpub(wrapped: Publisher | None = None, /, *, tasks: Iterable[str] = ()) -> Any:
    """Make an async generator a publisher for `Portal.open_stream_from`.

    The decorated function takes ``topics``, optionally ``packetizer`` (a function of
    topic and value, mapping to what subscribers get; ``{topic: value}`` by default),
    ``task_name`` where `tasks` are given, and the publisher's own arguments; those of
    the first subscriber count.

    Args:
        wrapped: An async generator function with an argument `get_topics`, which is
            called to learn the topics that are subscribed at the moment.
        tasks: Names of publications that run independently of each other.

    Raises:
        TypeError: `wrapped` is not such a function; at a call, a required argument is
            missing.
    """
    names = frozenset(tasks)
    if wrapped is None:
        return lambda fn: _decorate(fn, names)
    return _decorate(wrapped, names)


def _decorate(fn: Publisher, names: frozenset[str]) -> Any:
    if not inspect.isasyncgenfunction(fn):
        msg = f"@msgpub needs an async generator function, not {fn!r}"
        raise TypeError(msg)
    if "get_topics" not in inspect.signature(fn).parameters:
        msg = f"@msgpub: {fn.__qualname__}() has no parameter `get_topics`"
        raise TypeError(msg)
    publications = _Publications(fn, names)

    @wraps(fn)
    async def subscribe(
        *,
        topics: Iterable[str] | None = None,
        task_name: str | None = None,
        packetizer: Packetizer | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        publications.check(topics, task_name)
        subscriber = _Subscriber(topics or (), packetizer or _as_mapping)
        subscriber.publication = publications.join(task_name, subscriber, options)
        try:
            while (value := await subscriber.get()) is not _END:
                yield value
        finally:
            publications.leave(task_name, subscriber)

    del subscribe.__wrapped__  # its signature is its own, not the publisher's
    return subscribe


def _as_mapping(topic: str, value: Any) -> dict[str, Any]:
    return {topic: value}
