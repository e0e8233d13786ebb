"""What actors ask of the main thread of their root; each passes it on to its parent.

Every actor serves these, and the root runs functions of its own `enable_modules` only.
"""

from functools import partial
from typing import Any

from tractor.pinned._packing import find, pack_result, unpack_call
from tractor.pinned._registry import registry
from tractor.pinned._root_loop import run_for_another
from tractor.pinned._use import use_value
from tractor.runtime import Actor, current_actor


async def call(path: str, data: bytes) -> bytes:
    """Run a function there."""
    actor = current_actor()
    if not actor.is_root:
        return await actor.get_parent().run(call, path, data)
    fn = find(actor, path)
    args, kwargs = unpack_call(fn, path, data)
    return await _answer(actor, path, partial(fn, *args, **kwargs))


async def use(home: str, number: int, path: str, data: bytes) -> bytes:
    """Run a function there with a value that lives there."""
    actor = current_actor()
    if not actor.is_root:
        return await actor.get_parent().run(use, home, number, path, data)
    fn = find(actor, path)
    args, kwargs = unpack_call(fn, path, data, skip=1)
    return await _answer(
        actor, path, partial(use_value, home, number, fn, tuple(args), kwargs)
    )


async def close(home: str, number: int) -> None:
    """Let a value go that lives there."""
    actor = current_actor()
    if not actor.is_root:
        await actor.get_parent().run(close, home, number)
        return
    await run_for_another(actor, partial(registry.drop, home, number))


async def _answer(actor: Actor, path: str, run: partial[Any]) -> bytes:
    return pack_result(path, await run_for_another(actor, run))
