"""Shared memory between actors of each backend, and when one of them is killed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import pytest
import trio

import tractor
from tests._helpers import QUICK, SAFETY, open_tree, pid_of, raises
from tests.ipc import test_shm_actors as actors
from tractor.ipc.shm import (
    ShmBuffer,
    ShmGone,
    ShmToken,
    attach_shm_buffer,
    open_shm_array,
    open_shm_buffer,
    open_shm_list,
)
from tractor.spawn import available_backends
from tractor.testing import faults

CYCLES: Final = 1_000
MODULES: Final = (actors.__name__,)

killable = pytest.mark.requires_trait("own_process", "can_kill")


@asynccontextmanager
async def one_actor(start_method: str) -> AsyncIterator[tractor.Portal]:
    """One that serves what this needs."""
    async with open_tree(start_method, graces=QUICK) as an:
        portal = await an.start_actor("peer", enable_modules=MODULES)
        yield portal
        await an.cancel()


def shared_fds(pid: int) -> int:
    """Descriptors of shared memory in that process."""
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # the one that was open for listing
            found += "tractor-shm" in os.readlink(f"/proc/{pid}/fd/{name}")
    return found


async def until_closed(pid: int, wanted: int) -> None:
    """Until a process has no more of them: its keeper looks now and then."""
    with trio.fail_after(SAFETY):
        while shared_fds(pid) > wanted:
            await trio.lowlevel.checkpoint()


async def until_alone(buffer: ShmBuffer) -> None:
    """Until nobody else has it; nothing tells of that."""
    with trio.fail_after(SAFETY):
        while buffer.is_shared():
            await trio.lowlevel.checkpoint()


async def test_an_actor_writes_into_what_its_caller_made(start_method: str) -> None:
    """A token is an argument, and both see the same bytes."""
    async with one_actor(start_method) as portal:
        with open_shm_buffer(100_000) as buffer:
            buffer.write(bytes([7]), offset=99_999)
            assert await portal.run(actors.turn_around, buffer.token) == 7
            assert (buffer.view[0], buffer.view[-1]) == (7, 0)
            assert await portal.run(actors.total, buffer.token) == 7
            assert not buffer.is_shared()


async def test_arrays_and_lists_arrive_as_such(start_method: str) -> None:
    """Their tokens say what they are."""
    async with one_actor(start_method) as portal:
        with (
            open_shm_array((2, 3), "int32") as array,
            open_shm_list([1, 2.5, None, "ho"]) as items,
        ):
            array.view[1, 2] = 21
            await portal.run(actors.double, array.token, items.token)
            assert [array.view[0, 0], array.view[1, 2]] == [0, 42]
            assert list(items) == [1, 2.5, None, "hoho"]


async def test_a_result_is_handed_over(start_method: str) -> None:
    """Who calls takes what the function made, after that has returned."""
    async with one_actor(start_method) as portal:
        token = await portal.run(actors.make, 5_000, 9)
        with attach_shm_buffer(token) as mine:
            assert bytes(mine.view) == bytes([9]) * 5_000
            with pytest.raises(ShmGone, match="taken"):
                attach_shm_buffer(token)


async def test_it_is_passed_on(start_method: str) -> None:
    """What was taken can be handed over again, and again."""
    async with one_actor(start_method) as portal:
        buffer = open_shm_buffer(10)
        for number in range(5):
            assert buffer.view[0] == number
            token = await portal.run(actors.pass_on, buffer.hand_over())
            assert buffer.closed
            buffer = attach_shm_buffer(token)
        buffer.close()


async def test_items_of_a_stream(start_method: str) -> None:
    """Tokens are items, of memory that is used again and of such that is given away."""
    async with (
        one_actor(start_method) as portal,
        portal.open_context(actors.sums) as (ctx, _),
        ctx.open_stream() as stream,
    ):
        with open_shm_buffer(10) as buffer:
            for number in range(5):
                buffer.write(bytes([number]) * 10)
                await stream.send(buffer.token)
                assert await stream.receive() == 10 * number
        for number in range(5):
            buffer = open_shm_buffer(10)
            buffer.write(bytes([number]) * 10)
            await stream.send(buffer.hand_over())
        assert [await stream.receive() for _ in range(5)] == [0, 10, 20, 30, 40]


async def test_actors_of_two_backends(start_method: str) -> None:
    """Who makes it and who attaches it may be hosted in different ways."""
    other = next(key for key in reversed(available_backends()) if key != start_method)
    async with open_tree(start_method, graces=QUICK) as an:
        first = await an.start_actor("first", enable_modules=MODULES)
        second = await an.start_actor(
            "second", enable_modules=MODULES, start_method=other
        )
        token = await first.run(actors.make, 8, 3)
        token = await second.run(actors.pass_on, token)
        token = await first.run(actors.pass_on, token)
        with attach_shm_buffer(token) as buffer:
            assert bytes(buffer.view) == bytes([5, *[3] * 7])
        await an.cancel()


async def test_the_error_of_the_other_side_is_rebuilt(start_method: str) -> None:
    """A function that cannot attach a token says so by the same class."""
    async with one_actor(start_method) as portal:
        with open_shm_buffer(8) as buffer:
            token = buffer.token
        with pytest.raises(tractor.RemoteActorError) as caught:
            await portal.run(actors.turn_around, token)
        assert caught.value.boxed_type is ShmGone


async def test_the_end_of_an_actor_closes_what_it_has(start_method: str) -> None:
    """Also where its process lives on, as that of an interpreter does."""
    before = shared_fds(os.getpid())
    async with one_actor(start_method) as portal:
        with open_shm_buffer(8) as buffer:
            await portal.run(actors.hold, buffer.token)
            token = await portal.run(actors.make_and_hold, 8)
            await portal.run(actors.make, 8, 1)
            assert buffer.is_shared()
            await portal.cancel_actor()
            await until_alone(buffer)
        with pytest.raises(ShmGone):
            attach_shm_buffer(token)
    assert shared_fds(os.getpid()) == before


async def test_a_cancelled_call_gives_it_up(start_method: str) -> None:
    """Whoever is cancelled leaves its block, and with it the memory."""
    async with one_actor(start_method) as portal:
        with open_shm_buffer(8) as buffer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(portal.run, actors.take_and_wait, buffer.token)
                with trio.fail_after(SAFETY):
                    while not buffer.is_shared():
                        await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await until_alone(buffer)


# -- Kills -----------------------------------------------------------------------------


@killable
async def test_the_owner_is_killed(start_method: str) -> None:
    """Who has attached it keeps it; who comes later is told that it is gone."""
    with raises(tractor.ActorDied):
        async with one_actor(start_method) as portal:
            token = await portal.run(actors.make_and_hold, 100)
            unclaimed = await portal.run(actors.make, 100, 1)
            mine = attach_shm_buffer(token)
            faults.kill(portal)
            await trio.sleep_forever()
    with mine:
        assert bytes(mine.view) == b"x" * 100
        for stale in (token, unclaimed):
            with pytest.raises(ShmGone, match=f"process {token.pid} "):
                attach_shm_buffer(stale)
        with attach_shm_buffer(mine.token) as again:  # from who has it now
            assert again.view[0] == ord("x")


@killable
async def test_the_user_is_killed(start_method: str) -> None:
    """Its owner sees that nobody else has it any more, and uses it again."""
    with open_shm_buffer(100) as buffer:
        with raises(tractor.ActorDied):
            async with one_actor(start_method) as portal:
                await portal.run(actors.hold, buffer.token)
                assert buffer.is_shared()
                faults.kill(portal)
                await trio.sleep_forever()
        assert not buffer.is_shared()
        buffer.write(b"again")
        assert bytes(buffer.view[:5]) == b"again"


@killable
async def test_who_took_it_is_killed(start_method: str) -> None:
    """What was handed over is freed: its keeper does not wait for the dead."""
    before = shared_fds(os.getpid())
    with raises(tractor.ActorDied):
        async with one_actor(start_method) as portal:
            token = open_shm_buffer(100).hand_over()
            await portal.run(actors.hold, token)
            faults.kill(portal)
            await trio.sleep_forever()
    await until_closed(os.getpid(), before)


# -- Growth ----------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_thousand_cycles_leave_nothing(start_method: str) -> None:
    """Neither descriptors nor mappings nor memory, here or there."""

    async def cycle(portal: tractor.Portal) -> None:
        token: ShmToken = await portal.run(actors.make, 65_536, 1)
        with attach_shm_buffer(token) as buffer:
            assert buffer.view[-1] == 1
            assert await portal.run(actors.total, buffer.token) == 65_536

    async with one_actor(start_method) as portal:
        for _ in range(20):
            await cycle(portal)
        before = mappings(os.getpid()), mappings(pid_of(portal))
        for _ in range(CYCLES):
            await cycle(portal)
        after = mappings(os.getpid()), mappings(pid_of(portal))
        assert max(now - then for now, then in zip(after, before, strict=True)) < 20
        await until_closed(pid_of(portal), 0)


def mappings(pid: int) -> int:
    """How many there are in that process."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return sum(1 for _ in maps)
