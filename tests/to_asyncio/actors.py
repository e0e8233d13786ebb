"""What infected actors do in tests; imported by children, so it imports little."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
import trio.lowlevel

import tractor
from tests._misbehaviours import ring
from tractor.to_asyncio import (
    LinkedTaskChannel,
    open_channel_from,
    run_task,
    run_trio_task_in_future,
)

COUNT: Final = 10_000  # items

kept: list[object] = []  # alive as long as the actor


async def what_runs() -> tuple[bool, str]:
    """Whether this actor says that it is infected, and the loop that it runs on."""
    loop = await run_task(get_loop)
    assert asyncio.get_running_loop() is loop
    return tractor.current_actor().is_infected_aio(), type(loop).__module__


async def get_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


# -- Items -----------------------------------------------------------------------------


async def count_both_ways(chan: LinkedTaskChannel) -> int:
    """Send as many as come, at the same time; the sum of what came."""
    chan.started_nowait()

    async def send() -> None:
        for item in range(COUNT):
            await chan.send(item)

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        received = [item async for item in chan]
    assert received == list(range(COUNT))
    return sum(received)


async def exchange_items() -> tuple[int, int]:
    """The sums of what came on each side."""
    async with open_channel_from(count_both_ways) as (chan, _):

        async def send() -> None:
            for item in range(COUNT):
                await chan.send(item)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            received = [await chan.receive() for _ in range(COUNT)]
        assert received == list(range(COUNT))
        await chan.aclose()
        return sum(received), await chan.wait_for_result()


# -- What programs of asyncio use ------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line by itself."""
    try:
        async for line in reader:
            writer.write(line)
            await writer.drain()
    finally:
        writer.close()


async def serve_echo(chan: LinkedTaskChannel) -> None:
    """Until the trio side leaves."""
    async with await asyncio.start_server(echo, "127.0.0.1") as server:
        chan.started_nowait(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def ask(port: int, line: bytes) -> bytes:
    """What the server answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(line)
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


async def ask_in_group(port: int, count: int) -> list[bytes]:
    """The same from several tasks of a group."""
    async with asyncio.TaskGroup() as group:
        lines = [b"%d\n" % number for number in range(count)]
        tasks = [group.create_task(ask(port, line)) for line in lines]
    return [task.result() for task in tasks]


async def use_server() -> list[bytes]:
    """A server and its clients in one actor, beside a client of trio's."""
    async with open_channel_from(serve_echo) as (_, port):
        answers = await run_task(ask_in_group, port, 5)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"trio\n")
            answers.append(await stream.receive_some())
        return answers


async def run_out_of_time() -> list[str]:
    """What `wait_for` and `timeout` do to a wait for the channel."""

    async def wait(chan: LinkedTaskChannel) -> Any:
        told = []
        chan.started_nowait()
        for patience in (asyncio.wait_for(chan.get(), 0.01), wait_within(chan)):
            try:
                await patience
            except TimeoutError as error:
                told.append(type(error).__name__)
        await chan.send(told)
        return await asyncio.wait_for(chan.get(), 10)

    async def wait_within(chan: LinkedTaskChannel) -> None:
        async with asyncio.timeout(0.01):
            await chan.get()

    async with open_channel_from(wait) as (chan, _):
        told: list[str] = await chan.receive()
        await chan.send("an item")
        return [*told, await chan.wait_for_result()]


# -- Their ends ------------------------------------------------------------------------


async def ignore_cancel(bell: str) -> None:
    ring(bell)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def compute(bell: str) -> None:
    ring(bell)
    while True:
        pass


async def swallow_everything(bell: str) -> None:
    ring(bell)
    while True:
        try:
            await asyncio.sleep(0.01)
        except BaseException:  # noqa: BLE001 (as bad as can be)
            continue


async def ignores_cancel_in_asyncio(bell: str) -> None:
    """Its task of asyncio never ends."""
    await run_task(ignore_cancel, bell)


async def computes_in_asyncio(bell: str) -> None:
    """Neither loop turns."""
    await run_task(compute, bell)


async def swallows_everything_in_asyncio(bell: str) -> None:
    """Not even what is thrown into its actor ends it."""
    await run_task(swallow_everything, bell)


async def leaves_a_task(bell: str) -> None:
    """What ignores its cancellation is linked with nobody."""
    loop = asyncio.get_running_loop()
    kept.append(loop.create_task(ignore_cancel(bell)))


async def leaves_a_thread(bell: str) -> None:
    """A thread of asyncio's executor has something to do for ever."""

    def run() -> None:
        ring(bell)
        while True:
            time.sleep(0.01)

    kept.append(asyncio.get_running_loop().run_in_executor(None, run))


async def stops_the_loop() -> None:
    """End what everything here runs on."""
    asyncio.get_running_loop().stop()
    await trio.sleep_forever()


async def exits() -> None:
    """Let a SystemExit out of a task that is linked with nobody."""

    async def leave() -> None:
        sys.exit(7)

    task = asyncio.get_running_loop().create_task(leave())
    task.add_done_callback(lambda task: task.exception())  # or asyncio would log it
    await trio.sleep_forever()


async def fails_in_asyncio(how: str) -> None:
    """Raise an error of a linked task."""

    async def fail() -> None:
        if how == "cancelled":
            raise asyncio.CancelledError
        raise KeyError(how)

    await run_task(fail)


# -- trio from asyncio -----------------------------------------------------------------


async def call_trio() -> list[str]:
    """What tasks of trio give to tasks of asyncio."""

    async def run_all() -> list[str]:
        return [
            await told_of(double, 4),
            await told_of(divide),
            await told_of(name_parent),
        ]

    return await run_task(run_all)


async def told_of(async_fn: Callable[..., Awaitable[Any]], *args: Any) -> str:
    try:
        return str(await run_trio_task_in_future(async_fn, *args))
    except ZeroDivisionError as error:
        return repr(error)


async def double(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def divide() -> float:
    return 1 / 0


async def name_parent() -> str:
    """By a call into another actor."""
    return await tractor.current_actor().get_parent().run(name_of_root)


async def name_of_root() -> str:
    return tractor.current_actor().name
