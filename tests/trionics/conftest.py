"""What is logged by `tractor.trionics`."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

LOGGER = logging.getLogger("tractor.trionics")


class Logged(logging.Handler):
    """Keeps what is logged; calls `on_record` each time."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.on_record: Callable[[], Any] = lambda: None

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.on_record()

    @property
    def lines(self) -> list[str]:
        """The messages."""
        return [record.getMessage() for record in self.records]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """All that is logged, at any level."""
    handler, level = Logged(), LOGGER.level
    LOGGER.setLevel(1)
    LOGGER.addHandler(handler)
    yield handler
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(level)
