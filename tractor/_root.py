"""Booting a tree: `open_root_actor`, and `open_nursery` which does so when needed."""

import math
import os
import signal
import threading
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import trio

from tractor._exceptions import RuntimeFailure
from tractor._types import Aid, Graces
from tractor.ipc import AnyAddress
from tractor.log import get_console_log
from tractor.msg.types import MainModule, RuntimeVars
from tractor.runtime import (
    Actor,
    ActorNursery,
    Exposure,
    check_modules,
    claim,
    main_origin,
    maybe_actor,
    open_actor_nursery,
    release,
)
from tractor.spawn import DEFAULT_BACKEND, get_backend, warm_up

if TYPE_CHECKING:
    import ssl

    from tractor.discovery import NetworkOptions

SPAWN_METHOD_VARIABLE = "TRACTOR_SPAWN_METHOD"
STACK_ON_SIG_VARIABLE: Final = "TRACTOR_ENABLE_STACK_ON_SIG"

# A module whose import makes an actor ready to answer. By name, since the diagnostics
# are above; it goes to the children as their other modules do.
ARMED: Final = "tractor.devx.armed"

TRACE_VARIABLE: Final = "TRACTOR_TRACE"
TRACING: Final = "tractor.tracing"  # above, too

DEBUG_VARIABLE: Final = "TRACTOR_DEBUG_MODE"
DEBUGGER: Final = "tractor.devx.debug"  # likewise

PINNED_VERBS: Final = "tractor.pinned.verbs"  # loaded when a child calls one of them

_NUMBERS: Final = ("max_frame", "boot_timeout", "max_children", "max_depth")


@asynccontextmanager
async def open_root_actor(  # noqa: PLR0913 (keyword options of the public interface)
    *,
    name: str = "root",
    start_method: str | None = None,
    enable_modules: Iterable[str] = (),
    loglevel: str | None = None,
    graces: Graces | None = None,
    max_frame: int | None = None,
    boot_timeout: float | None = None,
    max_children: int | None = None,
    max_depth: int | None = None,
    enable_stack_on_sig: bool | None = None,
    registry_addrs: Iterable[AnyAddress] | None = None,
    enable_transports: Iterable[str] | None = None,
    tpt_bind_addrs: Iterable[AnyAddress] | None = None,
    secret: bytes | None = None,
    ssl_context: "ssl.SSLContext | Sequence[ssl.SSLContext] | None" = None,
    ensure_registry: bool = False,
    debug_mode: bool | None = None,
    maybe_enable_greenback: bool = False,
    debug_filter: Callable[[BaseException], bool] | None = None,
    repl_fixture: Callable[[Any], AbstractContextManager[bool | None]] | None = None,
    hide_tb: bool = True,
) -> AsyncIterator[Actor]:
    """Run the root of a tree of actors around the block.

    SIGTERM cancels the block and, once the tree is down, leaves it with
    ``SystemExit(143)``. If the environment variable ``TRACTOR_TRACE`` is set, it names
    the file to which the tree is traced; see `tractor.tracing`.

    Args:
        name: Need not be unique. Any text without NUL of at most 8192 bytes, in UTF-8.
        start_method: Key of the spawn backend that the tree uses by default. The
            environment variable ``TRACTOR_SPAWN_METHOD`` wins over it.
        enable_modules: Modules whose functions other actors may call here.
        loglevel: Level of the `tractor` logger, for the whole tree.
        graces: Seconds for each rung of the kill ladder.
        max_frame: Largest message in bytes; 16 MiB by default.
        boot_timeout: Seconds from the start of a child to its readiness; 20 by
            default.
        max_children: Most children that an actor may have at once; by default as
            many as the system allows.
        max_depth: Most levels below the root, likewise.
        enable_stack_on_sig: Whether every actor of the tree tells where it is on
            SIGUSR1, as by `tractor.devx.enable_stack_on_sig`. By default if the
            environment variable ``TRACTOR_ENABLE_STACK_ON_SIG`` is set.
        registry_addrs: Where a registrar is that several programs share. If none
            answers there, this root becomes it. By default the tree has its own, which
            no other program asks.
        enable_transports: How actors of the tree reach one another beyond their links:
            ``uds`` and ``tcp``. By default those that the environment variable
            ``TRACTOR_TRANSPORTS`` names, separated by commas, or else ``uds``. Empty:
            not at all, so that no actor can be found.
        tpt_bind_addrs: Where this actor listens beside that.
        secret: What who wants to connect has to know, at least 16 bytes. By default the
            one in the file that the environment variable ``TRACTOR_SECRET_FILE`` names;
            or else, with `registry_addrs`, one that all programs of the user share; or
            else a new one.
        ssl_context: For connections with other machines, which are always encrypted: a
            context of ``PROTOCOL_TLS_CLIENT``, one of ``PROTOCOL_TLS_SERVER``, or both.
        ensure_registry: Whether it is an error if another registrar answers.
        debug_mode: Whether a crash opens a REPL, in any actor of the tree, and
            ``breakpoint()`` and `pause` do. By default if the environment variable
            ``TRACTOR_DEBUG_MODE`` is set.
        maybe_enable_greenback: Whether ``breakpoint()`` lets the loop of its actor run
            on while it waits for the terminal, if greenback is installed.
        debug_filter: Says which errors are worth a REPL; by default all but
            cancellations and what ends programs. It works in all actors of the tree if
            it is at the top level of a module, which they then import.
        repl_fixture: Called around each REPL; see `pause`. Likewise.
        hide_tb: Whether REPLs leave out frames of ours and of trio's.

    Raises:
        RuntimeFailure: An actor runs in this interpreter already, or a child
            re-imports a program that has no ``__main__`` guard.
        BackendUnavailable: The spawn backend cannot work here.
        ValueError: There is no such spawn backend, or a number is out of range, or the
            name or an address cannot be used.
        RegistrarUnavailable: No registrar answers at `registry_addrs`, and this machine
            cannot listen there.
        AddressInUse: Something else listens at one of the addresses.
        AuthenticationFailed: The registrar has another secret.

    Cancellation: the actor's own tasks are cancelled and ended before the block is
    left; nothing of the runtime remains.
    """
    from tractor.discovery import NetworkOptions  # local: no child needs it

    options = NetworkOptions.checked(
        registry_addrs=registry_addrs,
        enable_transports=enable_transports,
        tpt_bind_addrs=tpt_bind_addrs,
        secret=secret,
        ssl_context=ssl_context,
        ensure_registry=ensure_registry,
    )
    actor = _make_root(
        name,
        start_method,
        [*enable_modules, *(common := _common_modules(enable_stack_on_sig))],
        loglevel=loglevel,
        graces=graces,
        max_frame=max_frame,
        boot_timeout=boot_timeout,
        max_children=max_children,
        max_depth=max_depth,
        common_modules=common,
        enable_transports=options.transports,
    )
    debug = None
    if bool(os.environ.get(DEBUG_VARIABLE)) if debug_mode is None else debug_mode:
        attach = import_module(DEBUGGER).attach_root
        debug = partial(
            attach,
            actor,
            debug_filter=debug_filter,
            repl_fixture=repl_fixture,
            hide_tb=hide_tb,
            use_greenback=maybe_enable_greenback,
        )
    async with _running(actor, options, debug):
        yield actor


@asynccontextmanager
async def open_nursery(**kwargs: Any) -> AsyncIterator[ActorNursery]:
    """Open a scope that owns actors; none of them outlives the block.

    Leaving the block normally waits for its actors to end. An error in the block or
    in an actor stops all of them at once, and is raised when they are gone: one error
    bare, several as an `ExceptionGroup`.

    Args:
        **kwargs: For `open_root_actor`, which runs around the nursery where no actor
            runs yet.

    Raises:
        TypeError: `kwargs` are given where an actor runs already.
        RuntimeFailure: The actor of this interpreter runs in another thread.

    Cancellation: every actor is stopped within the bound of the ladder (3 s by
    default).
    """
    while (actor := maybe_actor()) is not None and actor.in_transition:
        await actor.wait_transition()  # another task of this loop boots or ends it
    if actor is None:
        async with open_root_actor(**kwargs) as root:
            async with open_actor_nursery(root) as an:
                yield an
            # Other tasks may have found the runtime that this one has booted.
            await root.wait_unused()
        return
    if not actor.runs_here:
        msg = (
            f"actor {actor.aid.reprol()!r} runs in the loop of another thread; "
            "an interpreter has one actor: open the nursery in that loop"
        )
        raise RuntimeFailure(msg)
    if kwargs:
        msg = (
            f"actor {actor.aid.reprol()!r} runs already, so open_nursery() takes no "
            f"options here; give {', '.join(kwargs)} to open_root_actor()"
        )
        raise TypeError(msg)
    async with open_actor_nursery(actor) as an:
        yield an


@asynccontextmanager
async def _running(
    actor: Actor,
    options: "NetworkOptions",
    debug: Callable[[], Awaitable[None]] | None,
) -> AsyncIterator[None]:
    """Let `actor` be the one of this interpreter, with all that a root has."""
    from tractor.discovery import open_network  # local: no child needs it

    claim(actor)
    try:
        warm_up(actor.runtime_vars.start_method)
        if actor.runtime_vars.loglevel is not None:
            get_console_log(actor.runtime_vars.loglevel)
        actor.exposure.load()
        with actor.lifetime_stack, _on_ctrl_c(actor), _on_sigterm(actor) as terminated:
            if os.environ.get(TRACE_VARIABLE):
                import_module(TRACING).trace_root(actor)
            if debug is not None:
                await debug()
            async with actor.running_services(), open_network(actor, options):
                try:
                    with actor.cancel_scope:
                        try:
                            yield
                        except BaseException as exc:
                            if actor.hooks is not None:
                                await actor.hooks.on_crash(exc)
                            raise
                finally:
                    await _end_tasks(actor)
        if terminated.is_set():
            raise SystemExit(128 + signal.SIGTERM)
    finally:
        release()
        actor.released.set()


def _common_modules(stack_on_sig: bool | None) -> tuple[str, ...]:
    if stack_on_sig is None:
        stack_on_sig = bool(os.environ.get(STACK_ON_SIG_VARIABLE))
    return (ARMED,) if stack_on_sig else ()


def _make_root(
    name: str,
    start_method: str | None,
    enable_modules: Iterable[str],
    **options: Any,
) -> Actor:
    method = os.environ.get(SPAWN_METHOD_VARIABLE) or start_method or DEFAULT_BACKEND
    get_backend(method)
    name.encode()  # or ValueError: lone surrogates, which no message can carry
    ActorNursery.check_name(name)
    aid = Aid(name, uuid4().hex, os.getpid())
    given = {key: value for key, value in options.items() if value is not None}
    for option in _NUMBERS:
        if not given.get(option, 1) > 0:
            msg = f"{option} must be > 0, not {given[option]!r}"
            raise ValueError(msg)
    runtime_vars = RuntimeVars(root=aid, start_method=method, **given)
    main_name, main_file = main_origin()
    main_path = os.fsencode(os.path.abspath(main_file)) if main_file else None
    main = MainModule(main_name, main_path)
    from tractor.discovery import VERBS, hold_name  # local: no child needs it

    exposure = Exposure(check_modules(enable_modules), services=[VERBS, PINNED_VERBS])
    actor = Actor(aid, runtime_vars, exposure, main)
    actor.hold_name = partial(hold_name, actor)
    return actor


async def _end_tasks(actor: Actor) -> None:
    """End what the actor still serves, within the cancel grace."""
    if not actor.peers:
        return
    actor.cancel_soon()
    with trio.move_on_after(actor.graces.cancel, shield=True):
        await actor.wait_tasks()


@contextmanager
def _on_sigterm(actor: Actor) -> Iterator[threading.Event]:
    """Make SIGTERM cancel the root, where nobody else handles it."""
    terminated = threading.Event()
    free = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not free:
        yield terminated
        return
    token = trio.lowlevel.current_trio_token()

    def handler(_signum: int, _frame: object) -> None:
        terminated.set()
        token.run_sync_soon(actor.cancel_soon)

    signal.signal(signal.SIGTERM, handler)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _on_ctrl_c(actor: Actor) -> Iterator[None]:
    """Make the second Ctrl-C in a row kill what the first one asked to stop.

    In a row means within the time that the stop of the tree may take. That something
    is being stopped is not enough: the first one would then kill the others, unasked.
    """
    raises = signal.getsignal(signal.SIGINT)
    main_thread = threading.current_thread() is threading.main_thread()
    if not (main_thread and callable(raises)):
        yield
        return
    token = trio.lowlevel.current_trio_token()
    last = -math.inf

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal last
        if actor.hooks is not None and actor.hooks.swallows_interrupt():
            return
        now = time.monotonic()
        if now - last < actor.graces.bound:
            token.run_sync_soon(actor.lose_patience)
        last = now
        raises(signum, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, raises)
