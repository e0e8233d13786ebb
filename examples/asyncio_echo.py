"""A server of asyncio's inside an actor, driven from trio.

The server is ordinary code of asyncio: `asyncio.start_server`, with a task for each
client. Its actor runs it beside a task of trio's, and tells its parent over a stream
what the server hears. When the parent has heard enough, everything ends in order.
"""

import asyncio

import trio

import tractor
from tractor import to_asyncio


async def run_server(chan: to_asyncio.LinkedTaskChannel) -> None:
    """Echo lines, and tell trio of each; this is asyncio."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
            await chan.send(line.decode().strip())  # waits while trio is behind
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        chan.started_nowait(server.sockets[0].getsockname()[1])
        await server.serve_forever()


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Run the server while somebody listens; this is trio."""
    async with to_asyncio.open_channel_from(run_server) as (chan, port):
        await ctx.started(port)
        async with ctx.open_stream() as stream:
            async for line in chan:
                await stream.send(line)


async def shout(port: int, *lines: bytes) -> None:
    """A client; it may be of any kind, and this one is of trio's."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for line in lines:
            await stream.send_all(line + b"\n")
            print("answer:", (await stream.receive_some()).decode().strip())


async def main() -> None:
    """Start the server in an actor, be its client, and hear what it hears."""
    async with tractor.open_nursery() as an:
        portal = await an.start_actor(
            "echo", enable_modules=[__name__], infect_asyncio=True
        )
        async with portal.open_context(echo) as (ctx, port):
            async with ctx.open_stream() as heard:
                await shout(port, b"hello", b"is anybody there?")
                print("heard:", [await heard.receive() for _ in range(2)])
            await ctx.cancel()
        print("the server is gone:", await is_gone(port))
        await an.cancel()


async def is_gone(port: int) -> bool:
    """Whether nobody listens there any more."""
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return True
    await stream.aclose()
    return False


if __name__ == "__main__":
    trio.run(main)
