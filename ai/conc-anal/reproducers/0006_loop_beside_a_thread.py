"""How much a thread has done before the loop beside it has sent anything of it.

The thread puts numbers into a queue, as a worker of `tractor.cowns` does with what its
behaviours have done, and the loop sends what it finds there. Printed are the sizes of
what was sent together, without and with a thread that waits for that now and then.
"""

import socket
import threading
from collections import deque

import trio

COUNT = 768
WORK = 60  # turns of a loop of Python for each number: some microseconds


async def main(wait_at: int) -> list[int]:
    """Sizes of what was sent, in order."""
    ours, theirs = socket.socketpair()
    queue: deque[int] = deque()
    news, sent, sizes = trio.Event(), threading.Event(), list[int]()
    token = trio.lowlevel.current_trio_token()

    def ring() -> None:
        news.set()

    def work() -> None:
        for number in range(COUNT):
            sum(range(WORK))
            queue.append(number)
            if len(queue) == 1:
                token.run_sync_soon(ring)
            if len(queue) >= wait_at:
                sent.clear()
                if queue:
                    sent.wait()

    async def send() -> None:
        nonlocal news
        while sum(sizes) < COUNT:
            await news.wait()
            news = trio.Event()
            batch = [queue.popleft() for _ in range(len(queue))]
            await stream.send_all(bytes(len(batch)))
            sizes.append(len(batch))
            sent.set()
            if queue:
                news.set()

    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    with theirs:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.to_thread.run_sync(work)
            news.set()
    return sizes


if __name__ == "__main__":
    for wait_at in (COUNT + 1, COUNT // 3):
        for _ in range(3):
            print(f"waits at {wait_at}:", trio.run(main, wait_at))
