"""`top`: all actors, again and again, those that compute the most first."""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from tractor.cli._codes import DONE, USAGE, CommandError
from tractor.cli._look import NO_ACTORS, chosen
from tractor.cli._usage import Meter, Usage
from tractor.devx import ActorTree, find_trees, printable

if TYPE_CHECKING:
    from rich.table import Table

DELAY: Final = 2.0  # seconds between two refreshes

_HOME: Final = "\x1b[H\x1b[J"  # to the first line, and all below it is gone
_HEADS: Final = (
    *("PID", "NAME", "S", "CPU%", "RSS"),
    *("TASKS", "CALLS", "CTXS", "UNREAD", "QUEUED", "STATUS"),
)
_TEXTS: Final = ("NAME", "S", "STATUS")  # all others are numbers
_KIB: Final = 1024

type Show = Callable[[list[Usage]], None]


def top(args: argparse.Namespace) -> int:
    """Show it; an exit code. Ctrl-C ends it, which is no error."""
    if args.count is not None and args.count < 1:
        msg = f"-n must be ≥ 1, not {args.count}"
        raise CommandError(msg, USAGE)
    if not args.delay >= 0:
        msg = f"-d must be ≥ 0 seconds, not {args.delay!r}"
        raise CommandError(msg, USAGE)
    with suppress(KeyboardInterrupt), _display(as_json=args.json) as show:
        _refresh(show, args.actor, args.count, args.delay)
    return DONE


def _refresh(show: Show, actor: str | None, times: int | None, delay: float) -> None:
    meter = Meter()
    for number in count(1):
        trees = find_trees(last_resort=False)
        if number == 1 and not trees:
            raise CommandError(NO_ACTORS)
        if actor is not None:
            nodes = chosen(trees, actor, needed=number == 1)
            trees = [ActorTree(node) for node in nodes]
        usage = meter.read(trees)
        show(usage)
        if number == times:
            return
        time.sleep(delay)


# -- Displays --------------------------------------------------------------------------


@contextmanager
def _display(*, as_json: bool) -> Iterator[Show]:
    if as_json:
        yield _show_json
    elif not sys.stdout.isatty():
        yield _show_text
    else:
        try:
            from rich.live import Live
        except ImportError:
            yield _redraw_text
            return
        with Live(auto_refresh=False, vertical_overflow="ellipsis") as live:
            yield lambda usage: live.update(_as_table(usage), refresh=True)


def _show_json(usage: list[Usage]) -> None:
    line = {"at": datetime.now().astimezone(), "actors": usage}
    print(msgspec.json.encode(line).decode(), flush=True)


def _show_text(usage: list[Usage]) -> None:
    """One below the other, for a file or another program."""
    print(*_lines(usage), "", sep="\n", flush=True)


def _redraw_text(usage: list[Usage]) -> None:
    """One over the other, as far as there is room for it."""
    columns, rows = shutil.get_terminal_size()
    lines = [line[:columns] for line in _lines(usage)]
    if len(lines) >= rows:
        hidden = len(lines) - rows + 2
        lines[rows - 2 :] = [f"… {hidden} more"]
    print(_HOME, end="")
    print(*lines, sep="\n", flush=True)


def _lines(usage: list[Usage]) -> Iterator[str]:
    yield _title(usage)
    rows = [_HEADS, *map(_cells, usage)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if head in _TEXTS else cell.rjust(width)
            for head, cell, width in zip(_HEADS, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _as_table(usage: list[Usage]) -> "Table":
    from rich.table import Table
    from rich.text import Text  # in which brackets are no markup

    table = Table(title=_title(usage), title_justify="left", box=None)
    rows = [_cells(each) for each in usage]
    for column, head in enumerate(_HEADS):
        # Where there is no room for all, the status is what is cut off.
        width = max(map(len, (head, *(row[column] for row in rows))))
        table.add_column(
            head,
            justify="left" if head in _TEXTS else "right",
            no_wrap=True,
            min_width=width if head != _HEADS[-1] else None,
        )
    for each, row in zip(usage, rows, strict=True):
        # What does not answer is what one looks for.
        style = "bold red" if each.tasks is None else ""
        table.add_row(*map(Text, row), style=style)
    return table


def _title(usage: list[Usage]) -> str:
    silent = sum(each.tasks is None for each in usage)
    words = f"{len(usage)} actors, {silent} silent"
    return f"{time.strftime('%H:%M:%S')}  {words}"


def _cells(usage: Usage) -> Sequence[str]:
    return (
        usage.place,
        printable(usage.name),
        usage.state,
        "-" if usage.cpu is None else f"{usage.cpu:.1f}",
        "-" if usage.rss is None else _size(usage.rss),
        *(
            "-" if number is None else str(number)
            for number in (usage.tasks, usage.calls, usage.contexts, usage.unread)
        ),
        "-" if usage.queued is None else _size(usage.queued),
        printable(usage.status),
    )


def _size(count: float) -> str:
    for unit in ("", "K", "M"):
        if count < _KIB:
            return f"{count:.0f}{unit}"
        count /= _KIB
    return f"{count:.1f}G"
