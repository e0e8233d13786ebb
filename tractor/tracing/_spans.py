"""Spans and notes of the program's own."""

from types import TracebackType
from typing import Any, Self

from tractor.tracing._switch import slot
from tractor.tracing._tracer import OpenSpan, Tracer, current, described, outcome_of


class Span:
    """A part of the program that is to be seen in a trace; see `span`."""

    __slots__ = ("_data", "_name", "_outer", "_span", "_tracer")

    def __init__(self, name: str, data: dict[str, Any]) -> None:
        self._name = name
        self._data = data
        self._tracer: Tracer | None = None
        self._span: OpenSpan | None = None
        self._outer: tuple[str, str] | None = None

    def add(self, **data: Any) -> None:
        """Say more about it."""
        self._data.update(data)

    def __enter__(self) -> Self:
        tracer = slot.tracer
        if tracer is not None:
            self._tracer, self._outer = tracer, current.get()
            # `add` changes the same dictionary.
            self._span = tracer.open("span", self._name, tracer.now(), self._data)
            current.set((tracer.session.key, self._span.task_id))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tracer is None or self._span is None:
            return
        current.set(self._outer)
        if self._tracer is slot.tracer:  # else it was closed as one that is open
            now = self._tracer.now()
            self._tracer.close(self._span, now, outcome_of(error), **described(error))


def span(name: str, /, **data: Any) -> Span:
    """A block that is to be seen in a trace.

        with span("parse", path=path) as parsing:
            ...
            parsing.add(lines=lines)

    What is called, started or traced inside, also by tasks and threads that are started
    there, has it for its parent. With tracing off it does next to nothing.

    Args:
        name: What it is called.
        **data: More about it. What JSON does not know is there as its `repr`.
    """
    return Span(name, data)


def note(name: str, /, **data: Any) -> None:
    """Write down a moment, a decision with its reasons for example.

    Args:
        name: What it is called.
        **data: More about it, as for `span`.
    """
    if slot.tracer is not None:
        slot.tracer.moment("note", name, slot.tracer.now(), data)
