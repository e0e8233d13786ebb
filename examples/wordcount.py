"""Count the identifiers of the whole standard library with a pool of actors.

Each actor gets a batch of files, and the next one when it is done. Then one of them is
killed in the middle of a call, on purpose, to show what its caller gets to see.

Run it by ``make demo``, or with options: ``python examples/wordcount.py --help``.
"""

import argparse
import keyword
import os
import signal
import sys
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path
from time import perf_counter

import trio

import tractor
from tractor.testing import find_leaks, take_census

BATCH = 16  # files in one call: few calls, and no actor gets a long last one


# -- What runs in the actors of the pool -----------------------------------------------


async def count_identifiers(paths: Sequence[str]) -> dict[str, int]:
    """How often each identifier stands in these files."""
    counts: Counter[str] = Counter()
    for path in paths:
        counts.update(identifiers(path))
        await trio.lowlevel.checkpoint()  # where this call can be cancelled
    return counts


def identifiers(path: str) -> Iterator[str]:
    """The names in a file."""
    try:
        with open(path, "rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                    yield token.string
    except (SyntaxError, tokenize.TokenError):
        return  # some files of the library's own tests are meant to be wrong


under_way = trio.Event()  # each actor has its own


async def count_for_ever(paths: Sequence[str]) -> None:
    """Never return."""
    while True:
        await count_identifiers(paths)
        under_way.set()


async def pid_once_under_way() -> int:
    """Return when `count_for_ever` is at work in this actor."""
    await under_way.wait()
    return os.getpid()


# -- What runs in the root -------------------------------------------------------------

type Pool = list[tractor.Portal]
type Loss = tuple[tractor.ActorDied, float]  # and the seconds from the kill to it


@dataclass
class Run:
    """What one pool did, and how many seconds it took."""

    spawning: float = 0.0
    counting: float = 0.0
    files: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Files per second."""
        return self.files / self.counting


async def start_pool(an: tractor.ActorNursery, key: str, size: int) -> Pool:
    """Start `size` actors at the same time."""
    pool: Pool = []

    async def start(name: str) -> None:
        portal = await an.start_actor(name, enable_modules=[__name__], start_method=key)
        pool.append(portal)

    async with trio.open_nursery() as starting:
        for number in range(size):
            starting.start_soon(start, f"counter {number}")
    return pool


async def share_out(files: list[str], pool: Pool, run: Run) -> None:
    """Give each actor a batch, and its next one when it is done with it."""
    batches = batched(files, BATCH, strict=False)

    async def feed(portal: tractor.Portal) -> None:
        for batch in batches:  # the same iterator for all
            run.counts.update(await portal.run(count_identifiers, batch))
            run.files += len(batch)
            show_progress(run.files, len(batch), len(files))

    async with trio.open_nursery() as feeding:
        for portal in pool:
            feeding.start_soon(feed, portal)


async def count(key: str, size: int, files: list[str]) -> Run:
    """Count all files with `size` actors."""
    run, began = Run(), perf_counter()
    async with tractor.open_nursery() as an:
        pool = await start_pool(an, key, size)
        run.spawning = perf_counter() - began
        await share_out(files, pool, run)
        run.counting = perf_counter() - began - run.spawning
        await an.cancel()
    return run


async def kill_in_mid_call(portal: tractor.Portal, files: list[str]) -> Loss:
    """SIGKILL an actor that is at work; what its caller gets, and how soon."""
    losses: list[Loss] = []

    async def call() -> None:
        try:
            await portal.run(count_for_ever, files)
        except tractor.ActorDied as error:
            losses.append((error, perf_counter() - killed_at))

    async with trio.open_nursery() as calling:
        calling.start_soon(call)
        pid = await portal.run(pid_once_under_way)
        killed_at = perf_counter()
        os.kill(pid, signal.SIGKILL)
    return losses[0]


async def lose_one(key: str, size: int, files: list[str]) -> Loss | None:
    """Kill one actor of a pool: the others do not outlive the error."""
    loss = None
    try:
        async with tractor.open_nursery() as an:
            first, *_ = await start_pool(an, key, size)
            if first.aid.pid == os.getpid():  # a thread; SIGKILL would end us all
                await an.cancel()
            else:
                loss = await kill_in_mid_call(first, files[:1])
    except tractor.ActorDied:
        if loss is None:  # not the death that we caused
            raise
    return loss


async def demonstrate(key: str, size: int, files: list[str]) -> list[str]:
    """All of it on one spawn backend; its row of the table."""
    print(f"\n[{key}] {len(files)} files, {size} actors")
    run = await count(key, size, files)
    print(f"[{key}] the same with one actor")
    alone = await count(key, 1, files)
    if run.counts != alone.counts:
        sys.exit("the two counted differently")
    show_counts(run.counts)
    print(f"[{key}] one of {size} actors is killed in the middle of a call")
    loss = await lose_one(key, size, files)
    print(f"  its caller got {loss[0]!r}" if loss else "  left out: no process")
    return [
        key,
        f"{run.rate:.0f}",
        f"{run.rate / alone.rate:.2f} ×",
        f"{alone.spawning * 1e3:.0f} ms",
        f"{run.spawning * 1e3:.0f} ms",
        f"{loss[1] * 1e3:.1f} ms" if loss else "-",
    ]


# -- Input and output ------------------------------------------------------------------


def library_files(limit: int | None) -> list[str]:
    """The standard library; read once, so that every run finds it in memory."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in sorted(root.rglob("*.py")) if path.is_file()]
    own = [path for path in paths if "-packages" not in str(path.relative_to(root))]
    size = sum(len(path.read_bytes()) for path in own[:limit]) / 1e6
    print(f"{len(own[:limit])} files, {size:.1f} MB, in {root}")
    return list(map(str, own[:limit]))


def show_progress(files: int, new: int, total: int) -> None:
    """On a terminal one line that changes; elsewhere a line for each quarter."""
    text = f"  {files} of {total} files"
    if sys.stdout.isatty():
        print(text, end="\n" if files == total else "\r", flush=True)
    elif files * 4 // total > (files - new) * 4 // total:
        print(text, flush=True)


def show_counts(counts: Counter[str]) -> None:
    """The most frequent identifiers."""
    print(f"  {counts.total()} identifiers, {len(counts)} different; most frequent:")
    for row in batched(counts.most_common(20), 5, strict=False):
        print("".join(f"  {word:<11}{number:>7}" for word, number in row))


def show_table(rows: list[list[str]], size: int) -> None:
    """One row for each spawn backend."""
    head = ["files/s", "speed-up", "spawn 1", f"spawn {size}", "kill to error"]
    table = [["backend", *head], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(f"{text:>{w}}" for text, w in zip(row, widths, strict=True)))


def parse_args() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=os.process_cpu_count() or 1)
    parser.add_argument("--limit", type=int, help="count so many files only")
    keys = tractor.available_backends()
    parser.add_argument("--spawn-backend", nargs=1, default=keys, choices=keys)
    return parser.parse_args()


async def main(args: argparse.Namespace) -> None:
    """Run the demonstration, and look whether anything is left of it."""
    files = library_files(args.limit)
    before = take_census()
    rows = [await demonstrate(key, args.workers, files) for key in args.spawn_backend]
    print()
    show_table(rows, args.workers)
    if leaks := find_leaks(before):
        sys.exit("left behind: " + "; ".join(leaks))
    print("nothing is left behind: no process, thread, descriptor or file")


if __name__ == "__main__":
    trio.run(main, parse_args())
