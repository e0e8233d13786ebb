"""Restarting actors that fail: the strategies of Erlang/OTP, on top of nurseries.

Each run of a child has a nursery of its own (`_supervised`), so that its failure ends
nothing but itself; the supervisor hears of the end and decides. Deciding is pure
(`_restarts`), doing is the one task of `_supervise`, so restarts never overlap.

What a restart gives, as in OTP: a new actor of the same name, with new state. Whoever
called the dead one got `ActorDied`; portals to it stay dead, and `Supervisor.portal`
waits for the new one.
"""

import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from typing import Any

import trio

from tractor._exceptions import RestartLimitReached, RuntimeFailure
from tractor._types import Graces
from tractor.log import get_logger
from tractor.runtime._actor import Actor
from tractor.runtime._nursery import ActorNursery, _verdict
from tractor.runtime._portal import Portal
from tractor.runtime._restarts import (
    Intensity,
    Restart,
    Strategy,
    affected,
    check_choice,
)
from tractor.runtime._state import current_actor, granted_graces
from tractor.runtime._supervised import ChildInfo, Supervised, stop_in_order

log = get_logger("supervisor")


class Supervisor:
    """Keeps actors running; got from `open_supervisor`, never made by users."""

    def __init__(self, actor: Actor, strategy: Strategy, intensity: Intensity) -> None:
        self._actor = actor
        self._strategy = strategy
        self._intensity = intensity
        self._children: dict[str, Supervised] = {}
        self._ends: deque[Supervised] = deque()
        self._news = trio.Event()
        self._stopped = False
        self._body = trio.CancelScope()
        self._task = trio.CancelScope()
        self._error: Exception | None = None
        # Whoever adds a child, its time is that of the task that supervises.
        self._context = copy_context()

    async def start_actor(  # noqa: PLR0913 (keyword options of the public interface)
        self,
        name: str,
        *,
        restart: Restart = "permanent",
        enable_modules: Iterable[str] = (),
        start_method: str | None = None,
        loglevel: str | None = None,
        infect_asyncio: bool = False,
        proc_kwargs: dict[str, Any] | None = None,
    ) -> Portal:
        """Start an actor that serves calls, and keep it running.

        Args:
            name: Unique in this supervisor.
            restart: ``permanent``: whenever it ends; ``transient``: when it failed;
                ``temporary``: never.
            enable_modules: As for `ActorNursery.start_actor`.
            start_method: As for `ActorNursery.start_actor`.
            loglevel: As for `ActorNursery.start_actor`.
            infect_asyncio: As for `ActorNursery.start_actor`.
            proc_kwargs: As for `ActorNursery.start_actor`.

        Raises:
            ValueError: The name is taken, or there is no such kind of restart.
            SpawnError: The first start failed; it is not supervised.
            RuntimeError: The supervisor was stopped.
        """
        modules = list(enable_modules)

        def start(an: ActorNursery) -> Awaitable[Portal]:
            return an.start_actor(
                name,
                enable_modules=modules,
                start_method=start_method,
                loglevel=loglevel,
                infect_asyncio=infect_asyncio,
                proc_kwargs=proc_kwargs,
            )

        return await self._add(name, restart, start)

    async def run_in_actor(  # noqa: PLR0913 (keyword options of the public interface)
        self,
        fn: Callable[..., Awaitable[Any]],
        /,
        *,
        name: str | None = None,
        restart: Restart = "transient",
        enable_modules: Iterable[str] = (),
        start_method: str | None = None,
        loglevel: str | None = None,
        infect_asyncio: bool = False,
        proc_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Portal:
        """Run a function in an actor, and run it again in a new one when it fails.

        Args:
            fn: As for `ActorNursery.run_in_actor`.
            name: Unique in this supervisor; the function's name by default.
            restart: As for `start_actor`. A ``permanent`` one is run again also
                when it has returned.
            enable_modules: As for `ActorNursery.run_in_actor`.
            start_method: As for `ActorNursery.start_actor`.
            loglevel: As for `ActorNursery.start_actor`.
            infect_asyncio: As for `ActorNursery.start_actor`.
            proc_kwargs: As for `ActorNursery.start_actor`.
            **kwargs: Arguments of `fn`.

        Raises:
            Exception: As for `ActorNursery.run_in_actor` and `start_actor`.
        """
        chosen = name or fn.__name__
        modules = list(enable_modules)

        def start(an: ActorNursery) -> Awaitable[Portal]:
            return an.run_in_actor(
                fn,
                name=chosen,
                enable_modules=modules,
                start_method=start_method,
                loglevel=loglevel,
                infect_asyncio=infect_asyncio,
                proc_kwargs=proc_kwargs,
                **kwargs,
            )

        return await self._add(chosen, restart, start)

    async def portal(self, name: str) -> Portal:
        """The portal to the actor of that name, once it is up.

        Raises:
            KeyError: No child of that name is supervised (any more).

        Cancellation: nothing happened.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (portal := self._children[name].live_portal) is None:
            await self._news.wait()
        return portal

    def children(self) -> list[ChildInfo]:
        """Every supervised child, in the order of start."""
        return [child.info() for child in self._children.values()]

    async def cancel(self) -> None:
        """Stop every child, in reverse order of start, and wait until they are gone.

        Shielded: it takes at most the bound of one ladder (3 s by default). Children
        that end when they are asked to are stopped one after the other, for as long as
        the cancel grace lasts (1.5 s by default); then all that are left at once.
        """
        for interrupt in await self._stop():
            raise interrupt

    # Ctrl-C lands in the wait alone: it ends the patience, not the wait.
    @trio.lowlevel.enable_ki_protection
    async def _stop(self) -> list[BaseException]:
        self._stopped = True
        self._task.cancel()
        done = trio.Event()
        if self._actor.ended:  # and so are they
            done.set()
        else:
            graces = granted_graces(self._actor.graces)
            self._actor.spawn(self._stop_all, graces, done, name="supervisor's end")
        interrupts = await _wait_out(done)
        self._children.clear()
        self._wake()
        return interrupts

    async def _stop_all(self, graces: Graces, done: trio.Event) -> None:
        try:
            with trio.CancelScope(shield=True):  # the actor's end waits for it
                await stop_in_order(list(self._children.values()), graces)
        finally:
            done.set()

    # -- starting ----------------------------------------------------------------------

    # Ctrl-C between the entry of a child here and its start would leave a child that
    # never ends; in the wait for the start it stops that one.
    @trio.lowlevel.enable_ki_protection
    async def _add(
        self,
        name: str,
        restart: Restart,
        start: Callable[[ActorNursery], Awaitable[Portal]],
    ) -> Portal:
        check_choice(Restart, restart)
        if self._stopped or self._actor.ended:
            msg = f"this supervisor was stopped; start {name!r} in another one"
            raise RuntimeError(msg)
        if name in self._children:
            msg = f"this supervisor has a child {name!r} already"
            raise ValueError(msg)
        child = self._children[name] = Supervised(name, restart, start)
        self._begin(child)
        try:
            await child.settled.wait()
        except BaseException:
            child.stop_soon(math.inf)
            interrupts = await _wait_out(child.ended)
            self._forget(child)
            for interrupt in interrupts:
                raise interrupt from None
            raise
        if child.portal is not None:
            self._wake()
            return child.portal
        self._forget(child)
        if child.error is not None and not child.stopping:
            raise child.error
        msg = f"this supervisor was stopped before {name!r} was up"
        raise RuntimeError(msg) from child.error

    def _begin(self, child: Supervised) -> None:
        name = f"supervised {child.name}"
        args = (child.run, self._actor, self._on_end)
        self._context.run(self._actor.spawn, *args, name=name, inherit=True)

    def _forget(self, child: Supervised) -> None:
        if self._children.get(child.name) is child:
            del self._children[child.name]
        self._wake()

    # -- the supervising task ----------------------------------------------------------

    def _on_end(self, child: Supervised) -> None:
        self._ends.append(child)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _supervise(self) -> None:
        """Act on every end until stopped; a service, raises only `trio.Cancelled`."""
        try:
            with self._task:
                while True:
                    while self._ends:
                        await self._on_ended(self._ends.popleft())
                    await self._news.wait()
        finally:
            if not self._stopped:
                msg = "the runtime ended around a supervisor; leave its block before"
                self._give_up(RuntimeFailure(msg))

    async def _on_ended(self, child: Supervised) -> None:
        if child.portal is None:
            return  # its first start failed, which `_add` reports
        if child.stopping or not child.ended.is_set():
            return  # by us, or it runs again already
        if self._children.get(child.name) is not child:
            return
        if not child.due:
            if child.error is not None:
                log.warning("%s failed and stays down: %s", child.name, child.error)
            self._forget(child)
        elif self._intensity.allow(trio.current_time()):
            await self._restart(child)
        else:
            limit, period = self._intensity.limit, self._intensity.period
            msg = f"{child.name!r} failed: more than {limit} restarts within {period} s"
            error = RestartLimitReached(msg, name=child.name)
            error.__cause__ = child.error
            self._give_up(error)

    async def _restart(self, failed: Supervised) -> None:
        # One that is in its first start has no state to lose.
        started = [each for each in self._children.values() if each.portal is not None]
        concerned = affected(self._strategy, started, failed)
        for child in concerned:
            child.outgoing = True
        others = [child for child in concerned if child is not failed]
        await stop_in_order(others, granted_graces(self._actor.graces))
        for child in others:
            if child.restart == "temporary" or not (child.stopping or child.due):
                self._forget(child)
        delay = self._intensity.backoff()
        why = failed.error or "it has ended"
        log.warning("restarting %s in %.2f s: %s", failed.name, delay, why)
        await trio.sleep(delay)
        for child in concerned:
            if self._children.get(child.name) is child:
                child.reset()
                child.restarts += 1
                self._begin(child)
                await child.settled.wait()
                self._wake()

    def _give_up(self, error: Exception) -> None:
        self._error, self._stopped = error, True
        self._body.cancel(reason=str(error))

    # -- the block ---------------------------------------------------------------------

    # Ctrl-C lands in the body and in each wait, but not between two of them.
    @asynccontextmanager
    @trio.lowlevel.enable_ki_protection
    async def _open(self) -> AsyncIterator["Supervisor"]:
        """Supervise while the block runs or a child is left; then stop all."""
        self._actor.spawn(self._supervise, name="supervisor")
        body: BaseException | None = None
        with self._actor.in_use():
            try:
                with self._body:
                    yield self
                    while self._children:
                        await self._news.wait()
            except BaseException as exc:  # noqa: BLE001 (raised once all are stopped)
                body = exc
            others = await self._stop()
        if self._error is not None:
            others.append(self._error)
        if (final := _verdict(body, others)) is not None:
            raise final


async def _wait_out(event: trio.Event) -> list[BaseException]:
    """Wait for it whatever comes, and give the last Ctrl-C that came meanwhile."""
    interrupts: list[BaseException] = []
    with trio.CancelScope(shield=True):
        while not event.is_set():
            try:
                await event.wait()
            except KeyboardInterrupt as exc:
                interrupts = [exc]
    return interrupts


def open_supervisor(
    *,
    strategy: Strategy = "one_for_one",
    max_restarts: int = 3,
    period: float = 5.0,
) -> AbstractAsyncContextManager[Supervisor]:
    """Open a scope whose actors are started again when they fail.

    Leaving the block normally waits until no child is left; permanent ones stay until
    `Supervisor.cancel`. Leaving it by an error stops all, in reverse order of start.

    Args:
        strategy: Who is started again with a child that failed: it alone
            (``one_for_one``), all (``one_for_all``), or it and those that were
            started after it (``rest_for_one``).
        max_restarts: Restarts allowed within `period`, ≥ 0. One more, and the
            supervisor gives up.
        period: Seconds, > 0; waits before restarts are not counted.

    Returns:
        A context manager that gives the `Supervisor`.

    Raises:
        NoRuntime: No actor runs here.
        ValueError: A number is out of range, or there is no such strategy.
        RestartLimitReached: Children failed too often; the last error is its cause.

    Cancellation: every child is stopped.

    Source: strategies, restart kinds and defaults are those of OTP's supervisor, with
    a limit of 3 in 5 s.
    """
    check_choice(Strategy, strategy)
    if not (max_restarts >= 0 and period > 0):
        msg = f"max_restarts ≥ 0 and period > 0, not {max_restarts!r} and {period!r}"
        raise ValueError(msg)
    intensity = Intensity(max_restarts, period)
    return Supervisor(current_actor(), strategy, intensity)._open()
