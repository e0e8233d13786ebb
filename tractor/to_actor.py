"""One function, one actor: `run` is `trio.to_thread.run_sync` for async code."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from tractor._exceptions import RuntimeFailure
from tractor._root import open_nursery
from tractor.runtime import path_of


async def run[*Ts, T](  # noqa: PLR0913 (keyword options of the public interface)
    fn: Callable[[*Ts], Awaitable[T]],
    /,
    *args: *Ts,
    name: str | None = None,
    enable_modules: Iterable[str] = (),
    start_method: str | None = None,
    loglevel: str | None = None,
    infect_asyncio: bool = False,
    proc_kwargs: dict[str, Any] | None = None,
) -> T:
    """Run one async function in an actor of its own and return its result.

    Where no actor runs yet, a runtime is booted for the call.

    Args:
        fn: An async function at the top level of a module; a `functools.partial` of one
            passes keyword arguments.
        *args: Passed on, as msgpack.
        name: Of the actor; the function's by default.
        enable_modules: Modules to serve beside that of `fn`.
        start_method: Key of a spawn backend; by default the tree's.
        loglevel: As for `ActorNursery.start_actor`.
        infect_asyncio: As for `ActorNursery.start_actor`.
        proc_kwargs: As for `ActorNursery.start_actor`.

    Raises:
        TypeError: `fn` is not an async function; nothing was started.
        ValueError: `fn` cannot be found by module and name; nothing was started.
        SpawnError: The actor did not become ready.
        RemoteActorError: The function raised.
        RuntimeFailure: Somebody stopped the runtime that was booted for the call.
        ActorDied: The actor died.

    Cancellation: the actor is stopped within the bound of the ladder.
    """
    target: Callable[..., Awaitable[T]] = fn
    arguments: tuple[Any, ...] = args
    keywords: dict[str, Any] = {}
    if isinstance(fn, partial):
        target, keywords = fn.func, fn.keywords
        arguments = (*fn.args, *args)
    ns, func = path_of(target)
    async with open_nursery() as an:
        portal = await an.start_actor(
            name or func,
            enable_modules=[ns, *enable_modules],
            start_method=start_method,
            loglevel=loglevel,
            infect_asyncio=infect_asyncio,
            proc_kwargs=proc_kwargs,
        )
        result = await portal.run(target, *arguments, **keywords)
        await an.cancel()
        return result
    msg = f"the root was stopped before {func!r} returned"
    raise RuntimeFailure(msg)
