"""What users of one actor owe each other: turns, contexts, patience, the runtime."""

import sys
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio

import tractor
from tests._helpers import raises
from tractor.msg import limit_plds
from tractor.runtime import _peer

HERE: Final = __name__
SAFETY: Final = 40  # seconds; a net, never what is tested
ITEMS: Final = 50

portals: list[tractor.Portal] = []


async def blob() -> bytes:
    return b"x" * 65536


async def one() -> int:
    return 1


async def pair() -> tuple[int, int]:
    return 1, 2


async def ask_the_child() -> int:
    return await portals[0].run(one)


async def ask_the_parent() -> int:
    """Served by the child; the answer comes from it by way of the root."""
    return await tractor.current_actor().get_parent().run(ask_the_child)


async def begin_here() -> str:
    parent = tractor.current_actor().get_parent()
    async with parent.open_context(begin_with_text) as (_, first):
        return first


async def linger(seconds: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


async def arm(size: int) -> None:
    def boom() -> None:
        raise ValueError("x" * size)

    tractor.current_actor().lifetime_stack.callback(boom)


@tractor.context
async def begin_with_text(ctx: tractor.Context[str]) -> None:
    await ctx.started("text")


@tractor.context
async def tick(ctx: tractor.Context[None, None, int]) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        for number in range(ITEMS):
            await stream.send(number)


async def test_a_flood_of_results_stops_no_stream(start_method: str) -> None:
    """Other dialogues of a channel go on beside large results (semantics §6.2)."""
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method) as an:
            portal = await an.start_actor("busy", enable_modules=[HERE])

            async def load() -> None:
                while True:
                    await portal.run(blob)

            async with trio.open_nursery() as callers:
                for _ in range(50):
                    callers.start_soon(load)
                async with (
                    portal.open_context(tick) as (ctx, _),
                    ctx.open_stream() as stream,
                ):
                    got = [number async for number in stream]
                callers.cancel_scope.cancel()
            assert got == list(range(ITEMS))
            await an.cancel()


async def test_calls_made_while_serving_wait_for_no_turn(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many calls as may be under way, each calling back, do not lock up."""
    monkeypatch.setattr(_peer, "MAX_IN_FLIGHT", 4)
    with trio.fail_after(SAFETY):
        async with (
            tractor.open_root_actor(enable_modules=[HERE], start_method=start_method),
            tractor.open_nursery() as an,
        ):
            portals[:] = [await an.start_actor("callee", enable_modules=[HERE])]
            async with trio.open_nursery() as callers:
                for _ in range(12):
                    callers.start_soon(portals[0].run, ask_the_parent)
            await an.cancel()


async def test_a_child_is_served_outside_of_its_starters_context(
    start_method: str,
) -> None:
    """What `limit_plds` limits is the block, not the actors started in it."""
    with trio.fail_after(SAFETY):
        async with (
            tractor.open_root_actor(enable_modules=[HERE], start_method=start_method),
            tractor.open_nursery() as an,
        ):
            with limit_plds(int):
                portal = await an.start_actor("callee", enable_modules=[HERE])
            assert await portal.run(begin_here) == "text"
            await an.cancel()


async def test_patience_comes_back(start_method: str) -> None:
    """One function that ended too late costs the next nothing (semantics §4.2)."""
    graces = tractor.Graces(cancel=0.4)
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method, graces=graces) as an:
            portal = await an.start_actor("slow", enable_modules=[HERE])
            peer = portal._peer
            with trio.move_on_after(0.05):
                await portal.run(linger, 1.0)
            assert peer.overdue
            while peer.overdue:
                await portal.run(one)
            assert peer.patience() == pytest.approx(0.4)
            await an.cancel()


async def test_a_goodbye_that_is_too_large_still_tells_its_error(
    start_method: str,
) -> None:
    """An error of the teardown is raised, if need be shortened (reliability A12)."""
    with trio.fail_after(SAFETY), raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery(
            start_method=start_method, max_frame=32 * 1024
        ) as an:
            portal = await an.start_actor("wordy", enable_modules=[HERE])
            await portal.run(arm, 60_000)
            await portal.cancel_actor()
    assert caught.value.boxed_type is ValueError


async def test_a_main_task_has_a_typed_result(start_method: str) -> None:
    """`run_in_actor` gives what `run` gives (semantics §8)."""
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method) as an:
            portal = await an.run_in_actor(pair)
            assert await portal.wait_for_result() == (1, 2)


async def test_two_tasks_share_the_runtime_that_one_has_booted(
    start_method: str,
) -> None:
    """Whoever booted it waits for the others; then it is gone (semantics §1.3)."""
    results: list[int] = []

    async def call() -> None:
        results.append(await tractor.to_actor.run(one, start_method=start_method))

    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as tasks:
            for _ in range(3):
                tasks.start_soon(call)
    assert results == [1, 1, 1]
    with pytest.raises(tractor.NoRuntime):
        tractor.current_actor()


async def test_a_service_that_fails_takes_nothing_along(start_method: str) -> None:
    """A bug in the background is logged, and the actor goes on."""

    async def broken() -> None:
        raise OSError("of a service")

    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method) as an:
            tractor.current_actor().spawn(broken, name="broken")
            portal = await an.start_actor("callee", enable_modules=[HERE])
            assert await portal.run(one) == 1
            await an.cancel()


async def test_a_module_that_boots_at_import_is_refused(
    start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the main module needs a guard (semantics §1.6)."""
    text = "import trio, tractor\n\nasync def main():\n"
    text += "    async with tractor.open_nursery():\n        pass\n\ntrio.run(main)\n"
    (tmp_path / "eager_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method) as an:
            start = partial(an.start_actor, enable_modules=["eager_module"])
            with pytest.raises(tractor.SpawnError, match="__main__"):
                await start("eager")
    assert "eager_module" not in sys.modules


async def test_children_do_not_import_from_the_working_directory(
    start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `trio.py` that lies about there is nobody's (semantics §2.1)."""
    (tmp_path / "trio.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in {"", "."}])
    with trio.fail_after(SAFETY):
        async with tractor.open_nursery(start_method=start_method) as an:
            portal = await an.start_actor("callee", enable_modules=[HERE])
            assert await portal.run(one) == 1
            await an.cancel()
