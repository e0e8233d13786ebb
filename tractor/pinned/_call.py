"""Calling functions on the main thread of the tree, from wherever one is."""

from collections.abc import Callable
from functools import partial

from tractor.pinned import verbs
from tractor.pinned._packing import check_plain, pack_call, path_of, unpack_result
from tractor.pinned._root_loop import run_on_main_thread
from tractor.runtime import current_actor


async def call[**P, T](fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a plain function on the main thread of the root, and return its result.

    Calls run one after the other, in the order in which they reach the root. In the
    root anything callable may run, and arguments and results are passed as they are.
    Elsewhere `fn` goes by its module and name and all else as msgpack, as in
    `Portal.run`, by way of the parents.

    Args:
        fn: Not async. From other actors, a function at the top level of a module that
            the root has in its `enable_modules`.
        *args: Passed on.
        **kwargs: Passed on.

    Raises:
        TypeError: `fn` is async, or cannot be called.
        ValueError: The root cannot find `fn` by module and name.
        MsgTypeError: An argument cannot be encoded, or the result does not fit.
        BaseException: In the root, whatever `fn` raises.
        RemoteActorError: Elsewhere, `fn` raised; or `ModuleNotExposed`, where the
            module of `fn` is not in the `enable_modules` of the root.
        ActorDied: An actor on the way died.
        TransportClosed: It is gone.
        NoRuntime: No actor runs here.

    Cancellation: a call that has not begun is taken out of the queue. One that runs is
    not interrupted, and its outcome is dropped.
    """
    check_plain(fn)
    actor = current_actor()
    if actor.is_root:
        run = partial(fn, *args, **kwargs)
        result: T = await run_on_main_thread(actor, run)
        return result
    path = path_of(fn)
    data = pack_call(path, args, kwargs)
    answer = await actor.get_parent().run(verbs.call, path, data)
    returned: T = unpack_result(fn, path, answer)
    return returned
