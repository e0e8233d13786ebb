"""What actors do that look for one another; imports little, since children do."""

import os
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests._misbehaviours import ring
from tests.runtime import callees, rpc_functions
from tractor import Context, ContextCancelled, RemoteActorError, TransportClosed
from tractor.discovery import verbs

MODULES: Final = (__name__, callees.__name__, rpc_functions.__name__)


# -- Who is where ----------------------------------------------------------------------


async def me() -> list[Any]:
    """Name and uuid."""
    return [*tractor.current_actor().aid.uid]


async def found(name: str, **options: Any) -> list[list[Any]]:
    """Name and uuid of whom this actor finds, each as it says itself."""
    async with tractor.find_actor(name, **options) as got:
        portals = got if isinstance(got, list) else [got] if got is not None else []
        return [await portal.run(me) for portal in portals]


async def found_by_waiting(name: str, bell: str = "") -> list[Any]:
    """Name and uuid of the one for whom this actor waits."""
    if bell:
        ring(bell, "waits")
    async with tractor.wait_for_actor(name) as portal:
        return await portal.run(me)


async def queried(name: str) -> list[Any]:
    """The address, and who answered the question."""
    async with tractor.query_actor(name) as (address, portal):
        return [address and str(address), portal.aid.name, type(portal).__name__]


async def registry() -> list[Any]:
    """Who is the registrar, and all names that it knows."""
    async with tractor.get_registry() as portal:
        names = [aid.name for aid in await portal.run(verbs.names)]
        return [portal.aid.name, type(portal).__name__, sorted(names)]


async def addresses() -> list[str]:
    """Where this actor listens at present."""
    return [str(address) for address in tractor.current_actor().addresses]


async def state() -> list[int]:
    """How many tasks and descriptors there are, and peers."""
    return [
        trio.lowlevel.current_statistics().tasks_living,
        len(os.listdir("/proc/self/fd")),
        len(tractor.current_actor().peers),
    ]


async def settled_state() -> list[int]:
    """The `state` once all tasks wait, but for the call that asks for it."""
    await wait_all_tasks_blocked(0.01)
    return await state()


async def states_around(name: str) -> list[list[int]]:
    """The `state` before and after a connection, and of the one while it lasts."""
    before = await state()
    async with tractor.find_actor(name) as portal:
        there = await portal.run(state)
    await tractor.monitor(portal)
    await wait_all_tasks_blocked(0.01)
    return [before, await state(), there]


# -- Trees -----------------------------------------------------------------------------


@tractor.context
async def has_children(ctx: Context, *names: str) -> None:
    """Have these children until the caller has had enough; their uuids first."""
    async with tractor.open_nursery() as an:
        portals = [await an.start_actor(name, enable_modules=MODULES) for name in names]
        await ctx.started([portal.aid.uuid for portal in portals])
        await trio.sleep_forever()


@tractor.context
async def has_line(ctx: Context, *names: str) -> None:
    """Have a child that has a child, and so on, until the caller has had enough."""
    async with tractor.open_nursery() as an:
        first, *others = names
        portal = await an.start_actor(first, enable_modules=MODULES)
        if not others:
            await ctx.started()
            await trio.sleep_forever()
        async with portal.open_context(has_line, *others) as (below, _):
            await ctx.started()
            await below.wait_for_result()


@tractor.context
async def starts_unique(ctx: Context, name: str, count: int) -> None:
    """Start that many at once; the outcomes. Who was started stays with the caller."""
    outcomes: list[str] = []

    async def start() -> None:
        try:
            await an.start_actor(name, unique=True)
        except tractor.NameTaken:
            outcomes.append("taken")
        else:
            outcomes.append("started")

    async with tractor.open_nursery() as an:
        async with trio.open_nursery() as starters:
            for _ in range(count):
                starters.start_soon(start)
        await ctx.started(outcomes)
        await trio.sleep_forever()


# -- Talking with those that were found ------------------------------------------------


async def talks(name: str) -> list[Any]:
    """A context with a stream; what came of it."""
    async with tractor.find_actor(name) as portal:
        async with (
            portal.open_context(callees.echo, "first") as (ctx, first),
            ctx.open_stream() as stream,
        ):
            for number in range(100):
                await stream.send(number)
            echoes = [await stream.receive() for _ in range(100)]
        return [first, echoes == list(range(100)), await ctx.wait_for_result()]


async def sees_error(name: str) -> list[Any]:
    """The error of a call, and that of a context."""
    async with tractor.find_actor(name) as portal:
        errors = []
        try:
            await portal.run(rpc_functions.fail, "value")
        except RemoteActorError as exc:
            errors.append([exc.boxed_type_str, exc.src_uid[0]])
        try:
            async with (
                portal.open_context(callees.fails) as (ctx, _),
                ctx.open_stream() as stream,
            ):
                await stream.send("fail")
                await trio.sleep_forever()
        except RemoteActorError as exc:
            errors.append([exc.boxed_type_str, exc.src_uid[0]])
        assert await portal.run(rpc_functions.add, 1, b=2) == 3
    return errors


async def cancels(name: str) -> list[Any]:
    """What the other one noted of a call, and of a context, that were cancelled."""
    async with tractor.find_actor(name) as portal:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(portal.run, rpc_functions.forever, "call")
            await portal.run(rpc_functions.wait_noted, "call")
            tasks.cancel_scope.cancel()
        async with portal.open_context(callees.sleeper) as (ctx, _):
            await ctx.cancel()
        noted: list[Any] = await portal.run(rpc_functions.noted)
        return noted


async def leaves(name: str) -> None:
    """Leave a connection while a call goes on; the block ends the call before it."""
    async with tractor.find_actor(name) as portal, trio.open_nursery() as tasks:
        tasks.start_soon(portal.run, rpc_functions.forever, "left")
        await portal.run(rpc_functions.wait_noted, "left")
        tasks.cancel_scope.cancel()


async def shares(name: str) -> list[bool]:
    """Whether two users have one channel, that outlives the first but not the last."""
    async with AsyncExitStack() as last:
        async with tractor.find_actor(name) as portal:
            again = await last.enter_async_context(tractor.find_actor(name))
            facts = [portal.chan is again.chan]
        await again.run(me)
        facts.append(again.chan.closed is None)
    await tractor.monitor(again)
    return [*facts, again.chan.closed is not None]


async def cuts(name: str) -> None:
    """Break the connection with an actor."""
    async with tractor.find_actor(name) as portal:
        portal.chan._transport.close()


async def cancels_actor(name: str) -> list[Any]:
    """Ask an actor to stop over a connection that was dialled, and see it go."""
    async with tractor.find_actor(name) as portal:
        acknowledged = await portal.cancel_actor()
        down = await tractor.monitor(portal)
        return [acknowledged, down.reason, type(down.error).__name__]


@tractor.context
async def loses(ctx: Context, name: str) -> list[str]:
    """Use another actor in three ways; with which errors that ended."""
    errors: list[str] = []

    async def call() -> None:
        try:
            await portal.run(rpc_functions.forever)
        except (ContextCancelled, TransportClosed) as exc:
            errors.append(type(exc).__name__)

    async def stream() -> None:
        try:
            async with (
                portal.open_context(callees.echo) as (talk, _),
                talk.open_stream() as items,
            ):
                ready.set()
                await items.receive()
        except (ContextCancelled, TransportClosed) as exc:
            errors.append(type(exc).__name__)

    async def watch() -> None:
        errors.append(type((await tractor.monitor(portal)).error).__name__)

    async with tractor.find_actor(name) as portal, trio.open_nursery() as tasks:
        ready = trio.Event()
        for use in (call, stream, watch):
            tasks.start_soon(use)
        await portal.run(rpc_functions.wait_noted, "forever")
        await ready.wait()
        await ctx.started()
    return errors


async def beats(name: str) -> bool:
    """Whether a heartbeat of another actor comes back."""
    async with (
        tractor.find_actor(name) as portal,
        tractor.open_heartbeat(portal, interval=5) as heartbeat,
    ):
        await portal.ping().wait()
        return heartbeat.responsive


async def meet(name: str, count: int) -> list[Any]:
    """Connect with another that does the same, again and again."""
    seen = {tuple((await found(name))[0]) for _ in range(count)}
    return [list(each) for each in seen]


@tractor.context
async def keeps_talking(ctx: Context, name: str) -> int:
    """Echo over a connection whenever the caller wants it; how often that was."""
    count = 0
    async with (
        tractor.find_actor(name) as portal,
        portal.open_context(callees.echo) as (far, _),
        far.open_stream() as stream,
    ):
        await ctx.started()
        async with ctx.open_stream() as wishes:
            async for wish in wishes:
                await stream.send(wish)
                await wishes.send(await stream.receive())
                count += 1
    return count


@tractor.context
async def stays_connected(ctx: Context, name: str) -> None:
    """Have a call under way in another actor until the end."""
    async with tractor.find_actor(name) as portal, trio.open_nursery() as tasks:
        tasks.start_soon(_call_for_ever, portal)
        await portal.run(rpc_functions.wait_noted, "forever")
        await ctx.started()


async def _call_for_ever(portal: tractor.Portal) -> None:
    with suppress(ContextCancelled, TransportClosed):
        await portal.run(rpc_functions.forever)
