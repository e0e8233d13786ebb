"""The local handle for calling into one actor."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Never

import trio

from tractor._exceptions import ActorTooSlowError, NoResult, TransportClosed
from tractor._types import Aid
from tractor.ipc import Channel
from tractor.msg import types as t
from tractor.runtime._context import Context
from tractor.runtime._endpoint import PayloadTypes, endpoint_of
from tractor.runtime._exposure import path_of
from tractor.runtime._linking import NO_TYPES, linked, params_of
from tractor.runtime._peer import Peer
from tractor.runtime._signature import call_types
from tractor.runtime._state import current_actor
from tractor.runtime._stream import MsgStream

if TYPE_CHECKING:
    from tractor.runtime._spawned import SpawnedActor


class Portal:
    """Calls functions in one other actor.

    Got from `ActorNursery.start_actor` and its kin, never made by users. It may be
    shared by any number of tasks.
    """

    def __init__(self, peer: Peer, spawned: "SpawnedActor | None" = None) -> None:
        self._peer = peer
        self._spawned = spawned

    @property
    def aid(self) -> Aid:
        """Who is on the other side."""
        return self._peer.aid

    @property
    def chan(self) -> Channel:
        """The channel below."""
        return self._peer.channel

    async def run[**P, T](
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an async function over there and return its result.

        Calls to one actor start in the order in which they are made, and each is
        made at most once.

        Args:
            fn: An async function at the top level of a module that the other actor
                has in its `enable_modules`.
            *args: Passed on, as msgpack.
            **kwargs: Passed on, as msgpack.

        Raises:
            TypeError: `fn` is not an async function.
            ValueError: `fn` cannot be found by module and name.
            MsgTypeError: An argument cannot be encoded; nothing was sent.
            RemoteActorError: The function raised; `boxed_type` is the class, and
                `ModuleNotExposed`, `TypeError` or `MsgTypeError` where it is not
                exposed, its arguments are wrong, or its result cannot be encoded.
            ActorDied: The other actor died.
            TransportClosed: It is gone.

        Cancellation: the function is cancelled over there, and its clean-up is awaited
        for at most the cancel grace (1.5 s by default).
        """
        ns, name = path_of(fn)
        result_type = call_types(fn).result
        result: T = await self._peer.call(ns, name, args, kwargs, result_type)
        return result

    @asynccontextmanager
    async def open_context[**P, S, I, O, R](
        self,
        fn: Callable[Concatenate[Context[S, I, O, Any], P], Awaitable[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[tuple[Context[S, O, I, R], S]]:
        """Run a function over there in a task that is linked with the block.

        The block begins when the function has called `Context.started`. An error of
        either side ends the other. Leaving the block normally waits for the function
        to return; leaving it by an error cancels the function and awaits its clean-up
        within the cancel grace (1.5 s by default).

        Args:
            fn: A function decorated with `tractor.context`, as for `run`.
            *args: Its other arguments, as msgpack.
            **kwargs: Its other arguments, as msgpack.

        Returns:
            Our end of the context, and the value that the function started with.

        Raises:
            TypeError: `fn` is not decorated with `tractor.context`.
            ValueError: `fn` cannot be found by module and name.
            RuntimeError: The portal leads to this actor itself, or the function
                returned before it called `started`.
            MsgTypeError: An argument cannot be encoded; nothing was sent.
            RemoteActorError: The function raised, before or in the block.
            ContextCancelled: The function was cancelled, and not by `Context.cancel`
                of this block.
            ActorDied: The other actor died.

        Cancellation: the function is cancelled, too, and its clean-up is awaited.
        """
        start = self._start(path_of(fn, t.CONTEXT), args, kwargs, t.CONTEXT)
        endpoint = endpoint_of(fn)
        types = endpoint.types.mirrored() if endpoint is not None else NO_TYPES
        async with linked(self, self._peer, start, types) as (ctx, first):
            yield ctx, first

    @asynccontextmanager
    async def open_stream_from[**P, T](
        self,
        fn: Callable[P, AsyncIterator[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[MsgStream[T, Never]]:
        """Iterate over what an async generator yields over there.

        Args:
            fn: An async generator function, as for `run`.
            *args: Passed on, as msgpack.
            **kwargs: Passed on, as msgpack.

        Raises:
            TypeError: `fn` is not an async generator function.
            Exception: As for `open_context`.

        Cancellation, and leaving the block early: the generator is closed.
        """
        start = self._start(path_of(fn, t.GENERATOR), args, kwargs, t.GENERATOR)
        types = PayloadTypes(inbound=call_types(fn).result)
        async with linked(self, self._peer, start, types) as (ctx, _):
            async with ctx.open_stream() as stream:
                yield stream
            await ctx.cancel()  # for a generator that has not come to its end

    def _start(
        self, path: tuple[str, str], args: Any, kwargs: Any, kind: int
    ) -> t.Start:
        if self._peer.aid == self._peer.host.aid:
            msg = "a context leads to another actor; this portal leads to this one"
            raise RuntimeError(msg)
        ns, name = path
        params = params_of(args, kwargs, f"{ns}.{name}")
        return t.Start(self._peer.new_cid(), ns, name, params, kind)

    async def run_from_ns(self, ns: str, name: str, /, **kwargs: Any) -> Any:
        """Run a function over there by the names of its module and itself.

        As `run`, with every error of the look-up raised over there and so seen as a
        `RemoteActorError`.
        """
        return await self._peer.call(ns, name, (), kwargs)

    async def wait_for_result(self) -> Any:
        """The result of the function that `run_in_actor` started there.

        Raises:
            NoResult: It was started by `start_actor`, which starts no function.
            RemoteActorError: The function raised.
            ActorDied: The other actor died.

        Cancellation leaves the function running.
        """
        if self._spawned is None or self._spawned.main is None:
            msg = (
                f"actor {self.aid.reprol()!r} runs no main task; only portals of "
                "run_in_actor() have a result"
            )
            raise NoResult(msg)
        return await self._spawned.main.wait()

    async def cancel_actor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 (for the ack, not for the call)
        *,
        raise_on_timeout: bool = False,
    ) -> bool:
        """Ask the whole actor to stop.

        A child of this actor that does not end in time is stopped by the ladder.

        Args:
            timeout: Seconds to wait for the acknowledgement, ≥ 0; by default the
                acknowledgement grace (0.5 s).
            raise_on_timeout: Whether a missing acknowledgement is an error.

        Returns:
            Whether it acknowledged; false also when it was gone already.

        Raises:
            ActorTooSlowError: No acknowledgement came, with `raise_on_timeout`.

        Cancellation: shielded; a cancelled caller waits at most `timeout` more.
        """
        actor = current_actor()
        patience = actor.graces.ack if timeout is None else timeout
        peer = self._peer
        if peer.failure is not None:
            return False
        with trio.move_on_after(patience, shield=True):
            if self._spawned is None:
                return await peer.request_cancel(actor.aid.uid, actor.graces.cancel)
            self._spawned.stop()
            await peer.cancel_settled.wait()
            return peer.cancel_acked
        if raise_on_timeout:
            msg = f"{self.aid.reprol()!r} did not acknowledge within {patience} s"
            raise ActorTooSlowError(msg)
        return False

    def ping(self) -> trio.Event:
        """Ask the other actor's event loop for a sign of life; set when it came.

        Raises:
            TransportClosed: It is gone; a later end sets the event, too.
        """
        return self._peer.ping()

    @property
    def down(self) -> bool:
        """Whether the other actor is known to be ending, or gone."""
        stopping = self._spawned is not None and self._spawned.stop_called
        return stopping or self._peer.ended.is_set()

    async def wait_down(self) -> TransportClosed:
        """Wait until the other actor is gone; what callers of it get from then on.

        Cancellation: nothing happened.
        """
        await self._peer.wait_failed()
        failure = self._peer.failure
        assert failure is not None
        return failure

    def __repr__(self) -> str:
        return f"<Portal to {self.aid.reprol()!r}>"
