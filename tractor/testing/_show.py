"""What our plugin says at the terminal of pytest."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tractor.devx import dump_to_text

if TYPE_CHECKING:
    import pytest


def count_by_backend(
    stats: Mapping[str, Iterable[Any]], keys: Iterable[str]
) -> Iterator[str]:
    """A line on each spawn backend: what became of its tests.

    Args:
        stats: Reports of tests by what became of them, as pytest's terminal has them;
            the backend is the property ``spawn_backend`` of a report.
        keys: Of the backends.
    """
    counts = {key: Counter[str]() for key in keys}
    for outcome, reports in stats.items():
        for report in reports if outcome else ():
            for key in counts.keys() & _backends_of(report):
                counts[key][outcome] += 1
    for key, of_key in counts.items():
        words = ", ".join(f"{count} {outcome}" for outcome, count in of_key.items())
        yield f"{key}: {words or 'no tests'}"


def _backends_of(report: Any) -> set[str]:
    if getattr(report, "when", "") != "???":
        noted = dict(getattr(report, "user_properties", ()))
        return {str(noted.get("spawn_backend", ""))}
    # pytest-xdist reports a test whose worker has died, and knows but its name.
    return set(report.nodeid.partition("[")[2].rstrip("]").split("-"))


def show_actors(item: "pytest.Item", why: str) -> None:
    """Write a dump where pytest's own reports go, whatever it captures.

    A worker of pytest-xdist has no such place, and its stderr is that of the run.

    Args:
        item: The test, which will not end.
        why: What the dump says at its top.
    """
    text = dump_to_text(why)
    plugins = item.config.pluginmanager
    if (capture := plugins.getplugin("capturemanager")) is not None:
        capture.suspend_global_capture(item)
    if hasattr(item.config, "workerinput"):
        print(f"\n~ Actors ~\n{text}", file=sys.__stderr__, flush=True)
        return
    writer = item.config.get_terminal_writer()
    writer.line()
    writer.sep("~", title="Actors")
    writer.write(text)
    writer.flush()
