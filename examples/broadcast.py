"""One stream for several tasks: each of them gets every item, at its own pace.

A sensor in another actor sends its readings. Here three tasks listen to the one stream
of it: two that keep up, and an archivist that falls behind, is told how much it lost,
and slows down neither the others nor the sensor.
"""

from collections.abc import AsyncIterator
from math import exp, sin

import trio

import tractor
from tractor.trionics import BroadcastReceiver, Lagged

type Readings = BroadcastReceiver[float]


async def measure(count: int) -> AsyncIterator[float]:
    """Readings of a seismometer; after half of them the earth shakes."""
    for number in range(count):
        since = max(0, number - count // 2) / 20
        yield sin(number) + 9 * exp(-since) * sin(7 * since)
        await trio.sleep(0.002)


async def find_peak(readings: Readings) -> None:
    """The strongest reading."""
    peak = 0.0
    async for reading in readings:
        peak = max(peak, abs(reading))
    print(f"the peak was at {peak:.2f}")


async def warn(readings: Readings) -> None:
    """The first reading that is too strong; after it this task listens no more."""
    number = 0
    async for reading in readings:
        if abs(reading) > 5:
            print(f"reading {number} is {reading:.2f}: leave the house!")
            break
        number += 1
    readings.close()


async def archive(readings: Readings, disk_is_there: trio.Event) -> None:
    """Store what is left of them when the disk is there."""
    await readings.receive()
    await disk_is_there.wait()
    try:
        await readings.receive()
    except Lagged as lag:
        print("the archivist:", lag)
    stored = [reading async for reading in readings]  # from the oldest that is left
    print(f"the archivist stored {len(stored)}")


async def main() -> None:
    """Let the three of them listen."""
    async with tractor.open_nursery() as an:
        sensor = await an.start_actor("sensor", enable_modules=[__name__])
        async with (
            sensor.open_stream_from(measure, 300) as stream,
            # Each gets what comes after it has subscribed, and so all do it first.
            stream.subscribe() as for_peak,
            stream.subscribe() as for_warning,
            stream.subscribe() as for_archive,
            trio.open_nursery() as tasks,
        ):
            disk_is_there = trio.Event()
            tasks.start_soon(archive, for_archive, disk_is_there)
            tasks.start_soon(warn, for_warning)
            await find_peak(for_peak)
            disk_is_there.set()
        await sensor.cancel_actor()


if __name__ == "__main__":
    trio.run(main)
