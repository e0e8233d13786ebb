"""The scope that owns actors: one cancels all, and none outlives the block.

The children are supervised by services of the actor, out of reach of the user's cancel
scopes, and report here. So the nursery can go through its rules in plain order:

1. The body runs in a scope of the nursery. The first error of a child cancels it.
2. When the body is left normally, the nursery waits for the children to end.
3. When it is left by anything else, or a child failed, all of them are stopped at once.
4. When the last one is gone, the errors of the body and of the children are raised:
   one bare, several as a group. A cancellation is only raised when there is none.
"""

import math
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from uuid import uuid4

import trio
from msgspec.structs import replace

from tractor._exceptions import ActorDied, RuntimeFailure, SpawnError
from tractor._types import Aid, Uid
from tractor.msg import ANY
from tractor.msg import types as t
from tractor.runtime._actor import Actor
from tractor.runtime._exposure import check_modules, path_of
from tractor.runtime._main_task import MainTask
from tractor.runtime._portal import Portal
from tractor.runtime._signature import call_types
from tractor.runtime._spawned import SpawnedActor
from tractor.spawn import get_backend
from tractor.trionics import get_collapsed_eg

MAX_NAME: Final = 8192  # bytes; half of what a greeting between actors may have


class ActorNursery:
    """Owns actors; got from `open_nursery`, never made by users.

    Attributes:
        cancel_called: Whether its actors were asked to stop, by `cancel` or an error.
        errors: What its actors ended with, by their uid.
        exited: Set when the block is left and nothing of it remains.
    """

    def __init__(self, actor: Actor) -> None:
        self.cancel_called = False
        self.errors: dict[Uid, Exception] = {}
        self.exited = trio.Event()
        self._actor = actor
        self._scope = trio.CancelScope()
        self._children: dict[Uid, SpawnedActor] = {}
        self._rungs: list[str] = []
        self._idle = trio.Event()
        self._idle.set()
        self._closed = False

    @property
    def cancelled_caught(self) -> bool:
        """Whether, after a cancel, every actor ended when it was asked to."""
        return (
            self.cancel_called
            and not self._children
            and all(rung == "cancel" for rung in self._rungs)
        )

    async def start_actor(  # noqa: PLR0913 (keyword options of the public interface)
        self,
        name: str,
        *,
        enable_modules: Iterable[str] = (),
        start_method: str | None = None,
        loglevel: str | None = None,
        inherit_parent_main: bool = True,
        infect_asyncio: bool = False,
        proc_kwargs: dict[str, Any] | None = None,
        unique: bool = False,
        debug_mode: bool | None = None,
    ) -> Portal:
        """Start an actor that serves calls until it is cancelled.

        Args:
            name: Need not be unique. Any text without NUL of at most 8192 bytes, in
                UTF-8.
            enable_modules: Modules whose functions it serves; it imports them
                before it is ready. ``__name__`` is the usual one.
            start_method: Key of a spawn backend; by default the tree's.
            loglevel: Level of its `tractor` logger; by default this actor's.
            inherit_parent_main: Whether functions of the program's main module work
                in it.
            infect_asyncio: Whether `tractor.to_asyncio` works in it.
            proc_kwargs: Options for the mechanism underneath; for processes, keyword
                arguments of `subprocess.Popen`.
            unique: Whether it is an error if an actor of that name is registered.
            debug_mode: Whether a crash opens a REPL, in it and below; by default as
                here. Of use in a tree that is in debug mode.

        Returns:
            A portal, once the actor is ready.

        Raises:
            ModuleNotFoundError: One of `enable_modules` does not exist; nothing was
                started.
            SpawnError: It did not become ready; nothing of it is left.
            RuntimeFailure: It would exceed a limit of the tree; nothing was started.
            ValueError: `name` cannot be one; nothing was started.
            BackendUnavailable: `start_method` cannot work here.
            NameTaken: With `unique`: there is one of that name; nothing was started.
            RegistrarUnavailable: With `unique`: nobody can tell.

        Cancellation: what was started is stopped; nothing of it is left.
        """
        modules = check_modules(enable_modules)
        spec = self._make_spec(
            name,
            modules,
            loglevel,
            inherit_main=inherit_parent_main,
            infect_asyncio=infect_asyncio,
        )
        if debug_mode is not None:
            changed = replace(spec.runtime_vars, debug_mode=debug_mode)
            spec = replace(spec, runtime_vars=changed)
        if not unique:
            return await self._start(spec, start_method, proc_kwargs, None)
        if self._actor.hold_name is None:
            msg = f"unique=True: there is no registrar to ask for {name!r}"
            raise RuntimeFailure(msg)
        async with self._actor.hold_name(name):
            return await self._start(spec, start_method, proc_kwargs, None)

    async def run_in_actor(  # noqa: PLR0913 (keyword options of the public interface)
        self,
        fn: Callable[..., Awaitable[Any]],
        /,
        *,
        name: str | None = None,
        enable_modules: Iterable[str] = (),
        start_method: str | None = None,
        loglevel: str | None = None,
        inherit_parent_main: bool = True,
        infect_asyncio: bool = False,
        proc_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Portal:
        """Start an actor that runs one function and ends after it.

        The result is collected when the nursery's block ends, where an error of the
        function is raised, or earlier by `Portal.wait_for_result`.

        Args:
            fn: An async function at the top level of a module.
            name: The function's name by default.
            enable_modules: Modules to serve beside that of `fn`.
            start_method: As for `start_actor`.
            loglevel: As for `start_actor`.
            inherit_parent_main: As for `start_actor`.
            infect_asyncio: As for `start_actor`.
            proc_kwargs: As for `start_actor`.
            **kwargs: Arguments of `fn`, as msgpack.

        Returns:
            A portal, once the actor is ready and its function was called.

        Raises:
            TypeError: `fn` is not an async function; nothing was started.
            ValueError: `fn` cannot be found by module and name, or `name` cannot be
                one; nothing was started.
            MsgTypeError: An argument cannot be encoded; nothing was started.
            SpawnError: As for `start_actor`.
        """
        ns, func = path_of(fn)
        ANY.encode(kwargs, f"an argument of '{ns}.{func}'")
        modules = check_modules([ns, *enable_modules])
        spec = self._make_spec(
            name or func,
            modules,
            loglevel,
            inherit_main=inherit_parent_main,
            infect_asyncio=infect_asyncio,
        )
        main = MainTask(ns, func, kwargs, call_types(fn).result)
        return await self._start(spec, start_method, proc_kwargs, main)

    async def cancel(self) -> None:
        """Stop every actor by the ladder and wait until they are gone.

        Shielded: it takes at most the bound of the ladder (3 s by default), also when
        the caller is cancelled. The body of the nursery goes on.
        """
        self.stop_soon()
        with trio.CancelScope(shield=True):
            await self._wait_idle()

    def stop_soon(self, deadline: float = math.inf) -> None:
        """Begin what `cancel` does, to be over by then (for the runtime)."""
        self.cancel_called = True
        for child in self._children.values():
            child.stop(deadline)

    # -- starting ----------------------------------------------------------------------

    @staticmethod
    def check_name(name: str) -> None:
        """Refuse what cannot be the name of an actor (for the runtime).

        Raises:
            ValueError: It says why.
        """
        size = len(name.encode(errors="surrogatepass"))  # sending them is refused
        if size > MAX_NAME:
            msg = f"the name of an actor has {size} bytes; give it {MAX_NAME} at most"
            raise ValueError(msg)
        if "\0" in name:
            msg = f"the name {name!r} of an actor has a NUL; no command line takes that"
            raise ValueError(msg)

    def _make_spec(
        self,
        name: str,
        modules: list[str],
        loglevel: str | None,
        *,
        inherit_main: bool,
        infect_asyncio: bool,
    ) -> t.SpawnSpec:
        self.check_name(name)
        actor = self._actor
        runtime_vars = actor.runtime_vars
        if loglevel is not None:
            runtime_vars = replace(runtime_vars, loglevel=loglevel)
        return t.SpawnSpec(
            version=t.PROTOCOL_VERSION,
            aid=Aid(name, uuid4().hex),
            parent=actor.aid,
            runtime_vars=runtime_vars,
            enable_modules=[*modules, *runtime_vars.common_modules],
            main=actor.main if inherit_main else None,
            # Python's own importer skips entries of other types.
            sys_path=[os.fsencode(path) for path in sys.path if isinstance(path, str)],
            argv=[os.fsencode(arg) for arg in sys.argv],
            depth=actor.depth + 1,
            network=actor.network_vars,
            infect_asyncio=infect_asyncio,
        )

    # Ctrl-C between the start of a child and its entry here would lose it.
    @trio.lowlevel.enable_ki_protection
    async def _start(
        self,
        spec: t.SpawnSpec,
        start_method: str | None,
        proc_kwargs: dict[str, Any] | None,
        main: MainTask | None,
    ) -> Portal:
        if (closed := self._closed or self._actor.ended) or self.cancel_called:
            state = "closed" if closed else "cancelled"
            msg = f"this nursery is {state}; start {spec.aid.name!r} in another one"
            raise RuntimeError(msg)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._actor.check_limits(spec.aid.name)
        backend = get_backend(start_method or self._actor.runtime_vars.start_method)
        try:
            child = SpawnedActor(self._actor, backend, spec, proc_kwargs or {}, main)
        except OSError as exc:
            msg = f"actor {spec.aid.reprol()!r} cannot be started: {exc}"
            raise SpawnError(msg, aid=spec.aid, stage="start") from exc
        self._actor.regain_patience()
        self._actor.spawn(
            child.run,
            partial(self._fail, spec.aid.name),
            self._on_gone,
            name=f"supervise {spec.aid.name}",
            inherit=True,  # the time that is left for the caller is left for it
        )
        if not self._children:  # else somebody may be waiting for the event
            self._idle = trio.Event()
        self._children[child.aid.uid] = child
        self._actor.children += 1
        try:
            await child.booted.wait()
        except BaseException:
            child.stop()
            with trio.CancelScope(shield=True):
                await child.gone.wait()
            raise
        if child.boot_error is not None:
            raise child.boot_error
        return child.portal

    def _on_gone(self, child: SpawnedActor) -> None:
        del self._children[child.aid.uid]
        self._actor.children -= 1
        if child.report is not None:
            self._rungs.append(child.report.rung)
        if child.error is not None:
            self.errors[child.aid.uid] = child.error
            self._fail(child.aid.name)
        if not self._children:
            self._idle.set()

    # -- ending ------------------------------------------------------------------------

    def _fail(self, name: str) -> None:
        """One of its actors failed: end the body and all the others."""
        self._scope.cancel(reason=f"actor {name!r} failed")
        self.stop_soon()

    async def _wait_idle(self) -> None:
        while self._children:  # another one may have been started meanwhile
            await self._idle.wait()

    async def _close(self) -> list[KeyboardInterrupt]:
        """Stop what is left and wait until it is gone.

        Returns:
            The last Ctrl-C that came meanwhile: it ended the patience, not the wait.
        """
        interrupts = []
        self._closed = True
        if self._children:
            self.stop_soon()
        with trio.CancelScope(shield=True):
            while self._children:
                try:
                    await self._idle.wait()
                except KeyboardInterrupt as exc:
                    interrupts = [exc]
                    for child in self._children.values():
                        child.kill_now()
        self.exited.set()
        return interrupts


# Ctrl-C lands in the body and in each wait, but not between two of them.
@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_actor_nursery(actor: Actor) -> AsyncIterator[ActorNursery]:
    """A nursery in a running actor; see `tractor.open_nursery`."""
    an = ActorNursery(actor)
    error: BaseException | None = None
    with actor.in_use():
        try:
            with an._scope:
                yield an
                await an._wait_idle()
        except BaseException as exc:  # noqa: BLE001 (raised once the children are gone)
            error = exc
        interrupts = await an._close()
    if (final := _verdict(error, [*an.errors.values(), *interrupts])) is not None:
        raise final


def _verdict(
    body: BaseException | None, others: list[BaseException]
) -> BaseException | None:
    """What a nursery raises for the error of its body and those of its children."""

    # What a child ended with is news to the body as well; it is one error all the same.
    def known(error: BaseException) -> bool:
        return any(_same_news(error, other) for other in others)

    if isinstance(body, BaseExceptionGroup):
        heard, rest = body.split(known)
        body = body if heard is None else rest  # the rest is a copy, in any case
        body = body and (get_collapsed_eg(body) or body)
    elif body is not None and known(body):
        # The body's own says where it was waited for.
        others = [error for error in others if not _same_news(error, body)]
    if body is None or _is_cancellation(body):
        return _one_or_group(None, others) or body
    return _one_or_group(body, others)


def _same_news(error: BaseException, other: BaseException) -> bool:
    if isinstance(error, ActorDied) and isinstance(other, ActorDied):
        return error.aid == other.aid
    both = isinstance(error, KeyboardInterrupt) and isinstance(other, KeyboardInterrupt)
    return both or error is other


def _one_or_group(
    body: BaseException | None, others: list[BaseException]
) -> BaseException | None:
    errors = [body, *others] if body is not None else others
    if len(errors) <= 1:
        return errors[0] if errors else None
    return BaseExceptionGroup("several actors failed", errors)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancellation(member) for member in error.exceptions)
    return isinstance(error, trio.Cancelled)
