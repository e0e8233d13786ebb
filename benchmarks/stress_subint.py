"""Sub-interpreters under stress: what is left after many, and what crashes.

First actors are started and ended one after the other, and every tenth of them gets
and sends typed messages. Then several tasks at once start and cancel actors, have them
encode, decode and fail to, and collect garbage, in an order that a seed decides. For
long runs:

    stress_subint.py --cycles 1000 --seconds 600 --seed 1
"""

import argparse
import gc
import json
import os
import random
import secrets
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

import tractor
from tractor.testing import Census, find_leaks, take_census

MESSAGES: Final = 2000  # each way
EVERY: Final = 10  # cycles
WARM_UP: Final = 50  # cycles before the first look at the memory
WORKERS: Final = 3
NET: Final = 60.0  # seconds for one step; a safety net
SETTLE: Final = 5.0  # seconds that the last ones may take to end
TICK: Final = 0.01  # seconds between two looks at them


class Line(Struct):
    """What is sent."""

    number: int
    text: str


class Sum(Struct, tag=True):
    """What comes back."""

    number: int
    words: list[str]


# -- In the actors ---------------------------------------------------------------------


@tractor.context
async def exchange(ctx: tractor.Context) -> int:
    """Answer each line; how many there were."""
    await ctx.started()
    count = 0
    async with ctx.open_stream() as stream:
        async for line in stream:
            await stream.send({"number": line["number"], "words": [line["text"]]})
            count += 1
    return count


async def code(seed: int, rounds: int) -> int:
    """Encode, decode, and fail to; how much of it."""
    chooser = random.Random(seed)
    done = 0
    for _ in range(rounds):
        words = [f"word {chooser.random()}" for _ in range(chooser.randrange(1, 60))]
        value = Sum(chooser.randrange(1 << 40), words)
        for codec in (msgspec.json, msgspec.msgpack):
            data = codec.encode(value)
            assert codec.decode(data, type=Sum) == value
            try:
                codec.decode(data, type=Line)
            except msgspec.ValidationError:
                done += 1
        await trio.lowlevel.checkpoint()
    return done


async def collect() -> int:
    """Collect garbage."""
    return gc.collect()


async def use_a_thread() -> None:
    """Have a worker thread."""
    await trio.to_thread.run_sync(int)


async def wait() -> None:
    """For ever."""
    await trio.sleep_forever()


# -- One after the other ---------------------------------------------------------------


def rss() -> float:
    """Memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def talk(portal: tractor.Portal) -> None:
    """Send and get messages."""
    async with portal.open_context(exchange) as (ctx, _):
        async with ctx.open_stream() as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(MESSAGES):
                    await stream.send({"number": number, "text": "x" * 20})

            nursery.start_soon(send)
            for number in range(MESSAGES):
                answer = await stream.receive()
                assert answer == {"number": number, "words": ["x" * 20]}
        assert await ctx.wait_for_result() == MESSAGES


async def cycle(number: int) -> None:
    """One actor, to its end: a nursery waits for that, a request to stop does not."""
    with trio.fail_after(NET):
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("cycle", enable_modules=[__name__])
            await portal.run(use_a_thread)
            if number % EVERY == 0:
                await talk(portal)
            await portal.cancel_actor()


async def run_cycles(count: int) -> dict[str, float]:
    """That many; the memory after the first ones, and at the end."""
    start = 0.0
    for number in range(count):
        await cycle(number)
        if number == min(WARM_UP, count * 5 // 6):
            start = rss()
    return {"rss_start_mib": start, "rss_end_mib": rss()}


# -- At once ---------------------------------------------------------------------------


class Stress:
    """Several tasks that do this and that."""

    def __init__(self, an: tractor.ActorNursery, seed: str) -> None:
        self.steps: Counter[str] = Counter()
        self._an = an
        self._seed = seed

    async def run(self, seconds: float) -> None:
        """For so long."""
        end = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for worker in range(WORKERS):
                chooser = random.Random(f"{self._seed} {worker}")
                nursery.start_soon(self._work, chooser, end)

    async def _work(self, chooser: random.Random, end: float) -> None:
        while trio.current_time() < end:
            with trio.fail_after(NET):
                portal = await self._an.start_actor("one", enable_modules=[__name__])
                for _ in range(chooser.randrange(6)):
                    await self._step(chooser, portal)
                await portal.cancel_actor()
            self.steps["churn"] += 1

    async def _step(self, chooser: random.Random, portal: tractor.Portal) -> None:
        name = chooser.choice(("code", "code at once", "collect", "cancel", "boot"))
        seed, rounds = chooser.randrange(1 << 30), chooser.randrange(1, 200)
        patience = chooser.random() * 0.02
        match name:
            case "code":
                assert await portal.run(code, seed, rounds) == 2 * rounds
            case "code at once":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(portal.run, code, seed, rounds)
                    nursery.start_soon(portal.run, collect)
                    await code(seed, rounds)
                    gc.collect()
            case "collect":
                gc.collect()
                await portal.run(collect)
            case "cancel":
                with trio.move_on_after(patience):
                    await portal.run(wait)
            case "boot":
                with trio.move_on_after(patience * 2):
                    late = await self._an.start_actor("x", enable_modules=[__name__])
                    await late.cancel_actor()
        self.steps[name] += 1


async def leaks_after(before: Census) -> list[str]:
    """In words; what has just ended needs the loop for a moment."""
    with trio.move_on_after(SETTLE):
        while find_leaks(before, 0):  # noqa: ASYNC110 (nothing tells of it)
            await trio.sleep(TICK)
    return find_leaks(before)


# -- All of it -------------------------------------------------------------------------


async def main(options: argparse.Namespace) -> dict[str, Any]:
    """Do it, and tell."""
    found: dict[str, Any] = {"seed": options.seed}
    async with tractor.open_nursery(start_method=options.start_method) as an:
        await cycle(0)  # makes what the runtime keeps
        before = take_census()
        if options.cycles:
            found |= await run_cycles(options.cycles)
        if options.seconds:
            stress = Stress(an, options.seed)
            await stress.run(options.seconds)
            found["steps"] = dict(stress.steps)
            found["rss_mib"] = rss()
        found["leaks"] = await leaks_after(before)
    interpreters: Any = sys.modules.get("_interpreters")
    if interpreters is not None:
        found["interpreters"] = len(interpreters.list_all())
    found["threads"] = len(os.listdir("/proc/self/task"))
    found["fds"] = len(os.listdir("/proc/self/fd"))
    return found


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--start-method", default="subint", help="of a spawn backend")
    parser.add_argument("--cycles", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    if not options.json:
        print(f"--seed {options.seed}", flush=True)
    found = trio.run(main, options)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(
                f"{name:16}{value:10.1f}"
                if isinstance(value, float)
                else f"{name:16}{value}"
            )
    sys.exit(bool(found["leaks"]))
