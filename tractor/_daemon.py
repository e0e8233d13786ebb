"""A program that does nothing but serve."""

from collections.abc import Iterable
from typing import Any

import trio

from tractor._loop import run_loop
from tractor._root import open_root_actor


def run_daemon(
    enable_modules: Iterable[str], *, infect_asyncio: bool = False, **kwargs: Any
) -> None:
    """Run a root actor that serves functions, until it is told to end.

    It ends when another actor cancels it, on SIGTERM and on Ctrl-C.

    Args:
        enable_modules: Where the functions are. They are imported first.
        infect_asyncio: Whether `tractor.to_asyncio` works in it.
        **kwargs: For `open_root_actor`.

    Raises:
        ImportError: One of the modules cannot be imported.
        SystemExit: With 143, after SIGTERM.
        KeyboardInterrupt: After Ctrl-C.
        Exception: As for `open_root_actor`.
    """
    run_loop(_serve, list(enable_modules), kwargs, infect_asyncio=infect_asyncio)


async def _serve(enable_modules: list[str], kwargs: dict[str, Any]) -> None:
    async with open_root_actor(enable_modules=enable_modules, **kwargs):
        await trio.sleep_forever()
