"""A pipeline of three actors that follows a log file while it is being written.

Each stage starts the one before it as its own child: the reporter iterates over the
requests of a parser, which iterates over the lines of a tailer. No stage gets further
ahead of the next one than a window of items. When the reporter has seen enough, the
stages behind it end, although the tailer has no end of its own.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import NamedTemporaryFile

import trio
from msgspec import Struct

import tractor

COUNT = 3200
PATTERN = re.compile(r'\S+ - - \[.*?] "\S+ (\S+)" (\d+)')


class Request(Struct):
    """One line of the log; a status of 0 where it makes no sense."""

    path: str = ""
    status: int = 0


class Report(Struct):
    """What the pipeline is for."""

    statuses: dict[int, int]
    failures: dict[str, int]
    unread: int  # requests that waited at the end of the pause


async def follow(path: str) -> AsyncIterator[str]:
    """First stage: the lines of a growing file, as `tail -f` gives them."""
    rest = ""
    async with await trio.open_file(path) as file:
        while True:
            *lines, rest = (rest + await file.read(65536)).split("\n")
            for line in lines:  # without the last one, which may still grow
                yield line
            if not lines:
                await trio.sleep(0.01)


@tractor.context
async def parse(ctx: tractor.Context[None, None, Request], path: str) -> None:
    """Second stage: what the lines say."""
    async with tractor.open_nursery() as an:
        tailer = await an.start_actor("tailer", enable_modules=[__name__])
        await ctx.started()
        async with (
            ctx.open_stream() as requests,
            tailer.open_stream_from(follow, path) as lines,
        ):
            async for line in lines:
                found = PATTERN.fullmatch(line)
                request = Request(found[1], int(found[2])) if found else Request()
                await requests.send(request)


@tractor.context
async def summarize(ctx: tractor.Context[None], path: str, count: int) -> Report:
    """Third stage: a report on the first `count` requests."""
    statuses, failures, unread = Counter[int](), Counter[str](), 0
    async with tractor.open_nursery() as an:
        parser = await an.start_actor("parser", enable_modules=[__name__])
        async with (
            parser.open_context(parse, path) as (parsing, _),
            parsing.open_stream() as requests,
        ):
            await ctx.started()
            async for request in requests:
                statuses[request.status] += 1
                if request.status >= 500:
                    failures[request.path] += 1
                if statuses.total() == count // 2:
                    await trio.sleep(0.5)  # the other stages wait
                    unread = requests.statistics().unread
                if statuses.total() == count:
                    break
            await parsing.cancel()  # it would go on for ever
        await an.cancel()
    return Report(statuses, failures, unread)


async def write_log(path: Path) -> None:
    """As a web server does it: append, and not always whole lines at a time."""
    text = "the disk is full\n"
    for number in range(1, COUNT):
        status = 503 if number % 100 == 7 else 200
        text += f'::1 - - [20/Nov/2026:22:08:36] "GET /{number % 11}" {status}\n'
    with path.open("a") as file:
        for at in range(0, len(text), 5000):
            print(end=text[at : at + 5000], file=file, flush=True)
            await trio.sleep(0.001)


async def main(path: Path) -> None:
    """Start the last stage, and then to write."""
    async with tractor.open_nursery() as an, trio.open_nursery() as tasks:
        reporter = await an.start_actor("reporter", enable_modules=[__name__])
        async with reporter.open_context(summarize, str(path), COUNT) as (ctx, _):
            tasks.start_soon(write_log, path)
            report = await ctx.wait_for_result()
        await an.cancel()
    print("requests by status:", dict(sorted(report.statuses.items())))
    print("most failures:", Counter(report.failures).most_common(1))
    print("unread at the end of the pause:", report.unread)


if __name__ == "__main__":
    with NamedTemporaryFile(suffix=".log") as log:
        trio.run(main, Path(log.name))
