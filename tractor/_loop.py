"""Which event loop an actor runs on: that of trio, or that of asyncio with trio on it.

Without asyncio nothing of it is imported.
"""

from collections.abc import Awaitable, Callable

import trio


def run_loop[*Ts, T](
    async_fn: Callable[[*Ts], Awaitable[T]], *args: *Ts, infect_asyncio: bool = False
) -> T:
    """Run it to its end; with `infect_asyncio`, as a guest of asyncio's loop.

    While it runs, the frame of this function is on the stack of its thread, below all
    that the loop runs.
    """
    if infect_asyncio:
        from tractor._guest import run_as_guest  # local: it imports asyncio

        return run_as_guest(async_fn, *args)
    return trio.run(async_fn, *args)
