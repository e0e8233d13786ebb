"""A library of asyncio's inside actors, driven from trio.

`Client` stands for any such library: it knows nothing of trio nor of actors. Each
actor has one, and the root calls it there as it calls any function. Errors, results and
cancellation cross both borders, that of the loop and that of the process.
"""

import asyncio
from http import HTTPStatus

import trio

import tractor
from tractor import to_asyncio

# -- A library of asyncio's ------------------------------------------------------------


class Client:
    """A very small HTTP client."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    async def get(self, path: str) -> str:
        """The page at that path; raises `LookupError` where there is none."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        finally:
            writer.close()
        if (status := int(head.split()[1])) != HTTPStatus.OK:
            raise LookupError(path, status)
        return body

    async def get_all(self, paths: list[str]) -> list[str]:
        """Several pages at the same time."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.get(path)) for path in paths]
        return [task.result() for task in tasks]


# -- Actors that use it ----------------------------------------------------------------


async def fetch(port: int, paths: list[str]) -> list[str]:
    """What is there, asked for by the client in this actor."""
    client = Client("127.0.0.1", port)
    return await to_asyncio.run_task(client.get_all, paths)


# -- The root, which is a server for this once -----------------------------------------

PAGES = {"/": "welcome", "/news": "none today", "/about": "an example"}


async def answer(stream: trio.SocketStream) -> None:
    """One request."""
    request = await stream.receive_some()
    path = bytes(request).split()[1].decode()
    if path == "/slow":
        await trio.sleep_forever()
    status = HTTPStatus.OK if path in PAGES else HTTPStatus.NOT_FOUND
    head = f"HTTP/1.0 {status} {status.phrase}\r\n\r\n"
    await stream.send_all((head + PAGES.get(path, "")).encode())
    await stream.aclose()


async def main() -> None:
    """Let two actors fetch pages, one that is missing, and one that never comes."""
    async with tractor.open_nursery() as an, trio.open_nursery() as tasks:
        listeners = await tasks.start(trio.serve_tcp, answer, 0)
        port = listeners[0].socket.getsockname()[1]
        left, right = [
            await an.start_actor(name, enable_modules=[__name__], infect_asyncio=True)
            for name in ("left", "right")
        ]
        print("left:", await left.run(fetch, port, ["/", "/news"]))
        print("right:", await right.run(fetch, port, ["/about"]))
        try:
            await left.run(fetch, port, ["/", "/nowhere"])
        except tractor.RemoteActorError as error:
            group = error.unwrap()  # that of asyncio's TaskGroup
            assert isinstance(group, ExceptionGroup)
            print("missing:", *group.exceptions)
        with trio.move_on_after(0.2) as patience:
            await right.run(fetch, port, ["/slow"])
        print("too slow, and cancelled:", patience.cancelled_caught)
        print("right still works:", await right.run(fetch, port, ["/about"]))
        await an.cancel()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
