"""The hub through which the events of the runtime pass."""

import ast
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, Final, get_args

import pytest

from tractor import Aid, _instrument
from tractor._instrument import Event, Hub, Kind

PACKAGE: Final = Path(_instrument.__file__).parent
AID: Final = Aid("worker", "1" * 32)


def test_subscribers_hear_of_each_event_in_order() -> None:
    """Synchronously, with the actor, the time and the data."""
    hub = Hub()
    heard: list[tuple[str, Event]] = []
    before = perf_counter()
    with (
        hub.subscribed(lambda event: heard.append(("first", event))),
        hub.subscribed(lambda event: heard.append(("second", event))),
    ):
        hub.emit("cancel", AID, canceller=AID.uid)
    assert [name for name, _ in heard] == ["first", "second"]
    event = heard[0][1]
    assert (event.kind, event.aid, event.data) == (
        "cancel",
        AID,
        {"canceller": AID.uid},
    )
    assert before <= event.at <= perf_counter()


def test_the_hub_is_active_while_somebody_listens() -> None:
    """Emitters test this and nothing else (architecture §10)."""
    hub = Hub()
    assert not hub.active
    with hub.subscribed(print):
        with hub.subscribed(print):
            assert hub.active
        assert hub.active
    assert not hub.active
    hub.emit("cancel", AID)  # harmless


def test_a_subscriber_that_raises_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged; the others hear on, and so does what it observed."""
    hub = Hub()
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError(event.kind)

    with hub.subscribed(broken), hub.subscribed(heard.append):
        hub.emit("cancel", AID)
        hub.emit("rung", AID)
        assert hub.active
    assert [event.kind for event in heard] == ["cancel", "rung"]
    (record,) = caplog.records
    assert "raised and was dropped" in record.getMessage()
    assert record.exc_info is not None


def test_a_subscriber_may_leave_while_it_is_told() -> None:
    """The others are told of that event all the same."""
    hub = Hub()
    heard: list[Event] = []

    def leave(_: Event) -> None:
        leaving.close()

    leaving = ExitStack()
    with hub.subscribed(heard.append):
        leaving.enter_context(hub.subscribed(leave))
        with hub.subscribed(heard.append):
            hub.emit("cancel", AID)
            assert len(heard) == 2
        assert hub.active
    assert not hub.active


# -- What is promised of each kind -----------------------------------------------------


def promised() -> dict[str, set[str]]:
    """The keys of each kind, as they are listed beside it."""
    source = Path(_instrument.__file__).read_text()
    lines = re.findall(
        r'^    "(\w+)",  # [^:\n]+(?:: ([^(\n]+))?', source, re.MULTILINE
    )
    return {kind: set(re.findall(r"\w+", keys)) for kind, keys in lines}


def emitted() -> Iterator[tuple[str, str, set[str]]]:
    """Place, kind and keys of each call of `hub.emit` in the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name("hub"), attr="emit"),
                    args=[kind, _],
                    keywords=keywords,
                ):
                    keys = {str(keyword.arg) for keyword in keywords}
                    for name in _texts(kind):
                        yield f"{path.name}:{node.lineno}", name, keys


def _texts(node: ast.expr) -> list[Any]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def test_every_kind_says_what_comes_with_it() -> None:
    """The list beside `Kind` is complete."""
    assert promised().keys() == set(get_args(Kind.__value__))


def test_every_event_has_the_keys_that_are_promised() -> None:
    """Subscribers can rely on the list."""
    for place, kind, keys in emitted():
        assert keys == promised()[kind], place
