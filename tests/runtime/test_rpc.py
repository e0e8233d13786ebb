"""Calls into real actors: every sentence of semantics §4."""

import os
import signal
import sys
from typing import Any, Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.runtime import rpc_functions as rpc
from tests.runtime.helpers import FUNCTIONS, PATIENCE, an_actor, call_soon, error_of
from tractor import (
    ActorDied,
    ActorTooSlowError,
    ContextCancelled,
    FrameTooLarge,
    Graces,
    ModuleNotExposed,
    MsgTypeError,
    Portal,
    RemoteActorError,
    RuntimeFailure,
    TransportClosed,
)

MIB: Final = 1024 * 1024


# -- Calling ---------------------------------------------------------------------------


async def test_a_function_runs_in_the_other_actor(start_method: str) -> None:
    """`run` takes positional and keyword arguments, `run_from_ns` names (§4.1)."""
    async with an_actor(start_method) as portal:
        assert await portal.run(rpc.add, 1, b=2) == 3
        assert await portal.run_from_ns(FUNCTIONS, "add", a=1) == 1
        assert await portal.run(rpc.who) == portal.aid.name == "callee"
        assert await portal.run(rpc.pid) == portal.aid.pid


async def test_payloads_of_8_mib_cross_both_ways(start_method: str) -> None:
    """Up to `max_frame` (16 MiB by default) there is nothing to think of."""
    data = os.urandom(8 * MIB)
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        calls = [call_soon(nursery, portal, "echo", value=data) for _ in range(3)]
        for call in calls:
            await call.over.wait()
            assert call.result == data


async def test_many_callers_get_their_own_results(start_method: str) -> None:
    """500 tasks at once, with arguments small and large."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        values = [b"x" * number * (number % 50) for number in range(500)]
        calls = [call_soon(nursery, portal, "echo", value=value) for value in values]
        for call, value in zip(calls, values, strict=True):
            await call.over.wait()
            assert call.result == value
        assert_no_call_is_left(portal)


def assert_no_call_is_left(portal: Portal) -> None:
    assert not portal._peer._calls


@pytest.mark.parametrize(("count", "size"), [(200, 0), (200, 100_000), (3000, 0)])
async def test_calls_start_in_order(start_method: str, count: int, size: int) -> None:
    """First in, first out per pair of actors, each once, also when it jams (§4.2)."""
    asked = []

    async def ask(portal: Portal, number: int) -> None:
        asked.append(number)
        await portal.run(rpc.note, number, b"x" * size)

    async with an_actor(start_method) as portal:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(ask, portal, number)
        assert await portal.run(rpc.noted) == asked


async def test_a_call_that_was_never_sent_never_runs(start_method: str) -> None:
    """A caller that is cancelled before sends nothing (§4.2: at most once)."""
    async with an_actor(start_method) as portal:
        with trio.CancelScope() as scope:
            scope.cancel()
            await portal.run(rpc.note, 1)
        assert scope.cancelled_caught
        assert await portal.run(rpc.noted) == []


# -- Cancelling a call -----------------------------------------------------------------


async def test_a_cancelled_caller_cancels_its_call(start_method: str) -> None:
    """And only its own: others of the same function go on (§4.2)."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        one = call_soon(nursery, portal, "forever", entry="one")
        two = call_soon(nursery, portal, "forever", entry="two")
        await portal.run(rpc.wait_noted, "one")
        await portal.run(rpc.wait_noted, "two")
        one.scope.cancel()
        await one.over.wait()
        assert one.scope.cancelled_caught
        noted = await portal.run(rpc.noted)
        assert "-one" in noted
        assert "-two" not in noted
        two.scope.cancel()


async def test_the_clean_up_of_a_cancelled_call_is_awaited(start_method: str) -> None:
    """The caller goes on when the callee is done, and not before (§4.2)."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        call = call_soon(nursery, portal, "forever_cleaning")
        await portal.run(rpc.wait_noted, "cleaning")
        call.scope.cancel()
        await portal.run(rpc.wait_noted, "-cleaning")
        await wait_all_tasks_blocked()
        assert not call.over.is_set()
        await portal.run(rpc.release)
        await call.over.wait()
        assert call.scope.cancelled_caught
        assert "cleaned" in await portal.run(rpc.noted)


async def test_a_clean_up_without_end_is_left_after_the_grace(
    start_method: str,
) -> None:
    """The grace bounds the wait of the caller; the channel stays sound (§4.2)."""
    graces = Graces(ack=0.1, cancel=0.2)
    async with (
        an_actor(start_method, graces=graces) as portal,
        trio.open_nursery() as nursery,
    ):
        call = call_soon(nursery, portal, "forever_cleaning")
        await portal.run(rpc.wait_noted, "cleaning")
        began = trio.current_time()
        call.scope.cancel()
        await call.over.wait()
        assert 0.2 <= trio.current_time() - began < 1.5
        assert call.scope.cancelled_caught
        assert_no_call_is_left(portal)
        dropped = portal._peer.dropped
        await portal.run(rpc.release)
        await portal.run(rpc.wait_noted, "cleaned")
        assert await portal.run(rpc.add, 1) == 1
        assert portal._peer.dropped == dropped + 1  # the late outcome (D9)


async def test_an_error_of_the_clean_up_is_raised(start_method: str) -> None:
    """An error outranks the cancellation that it came from (§4.2)."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        call = call_soon(nursery, portal, "forever_failing", error="in vain")
        await portal.run(rpc.wait_noted, "failing")
        call.scope.cancel()
        await call.over.wait()
        assert isinstance(call.error, RemoteActorError)
        assert call.error.boxed_type is ValueError
        assert call.error.message == "in vain"


async def test_a_result_of_a_cancelled_call_is_dropped(start_method: str) -> None:
    """Who is cancelled wants none, whatever the callee makes of it."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        call = call_soon(nursery, portal, "forever_returning", result=1)
        await portal.run(rpc.wait_noted, "returning")
        call.scope.cancel()
        await call.over.wait()
        assert call.scope.cancelled_caught
        assert call.result is None


async def test_results_and_cancellations_may_cross(start_method: str) -> None:
    """Whenever a call is cancelled, it ends, and nothing of it is left."""
    async with an_actor(start_method) as portal:
        async with trio.open_nursery() as nursery:
            calls = [call_soon(nursery, portal, "echo", value=n) for n in range(300)]
            for call in calls:
                await trio.lowlevel.checkpoint()
                call.scope.cancel()
        for number, call in enumerate(calls):
            assert call.error is None
            assert call.result == (None if call.scope.cancelled_caught else number)
        assert_no_call_is_left(portal)
        assert await portal.run(rpc.add, 1) == 1


def test_ctrl_c_cancels_the_call_of_the_main_task(start_method: str) -> None:
    """And its clean-up is awaited, as for any other cancellation (§4.2)."""

    @trio.lowlevel.enable_ki_protection  # so that it is the main task that gets it
    async def interrupt(portal: Portal) -> None:
        await portal.run(rpc.wait_noted, "forever")
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
            nursery.start_soon(interrupt, portal)
            with pytest.raises(KeyboardInterrupt):
                await portal.run(rpc.forever)
            assert await portal.run(rpc.noted) == ["forever", "-forever"]

    trio.run(main)


# -- What cannot be called -------------------------------------------------------------


REFUSED: Final[list[tuple[str, dict[str, Any], type[Exception], str]]] = [
    ("checkpoint", {}, ModuleNotExposed, "is not defined there"),
    ("_private", {}, ModuleNotExposed, "leading underscore"),
    ("missing", {}, AttributeError, "no function 'missing'"),
    ("Holder.method", {}, AttributeError, "no function 'Holder.method'"),
    ("constant", {}, ModuleNotExposed, "is not defined there"),
    ("sync", {}, TypeError, "is not an async function"),
    ("Holder", {}, TypeError, "is not an async function"),
    ("generator", {}, TypeError, "async generator"),
    ("manager", {}, TypeError, "is not an async function"),
    ("add", {}, TypeError, "missing 1 required"),
    ("add", {"a": 1, "c": 2}, TypeError, "unexpected keyword"),
]


async def test_what_cannot_be_called_is_an_error(start_method: str) -> None:
    """Not exposed, unknown, not async or wrong arguments: each by its class (§4.3)."""
    async with an_actor(start_method) as portal:
        for name, kwargs, boxed_type, text in REFUSED:
            error = await error_of(portal, name, **kwargs)
            assert error.boxed_type is boxed_type, name
            assert text in error.message


async def test_other_modules_are_not_exposed(start_method: str) -> None:
    """Only what `enable_modules` names, and the error says so (§4.3)."""
    async with an_actor(start_method) as portal:
        for ns in ("os", "tests.runtime", "tractor.runtime", ""):
            with pytest.raises(RemoteActorError, match="enable_modules") as caught:
                await portal.run_from_ns(ns, "getcwd")
            assert caught.value.boxed_type is ModuleNotExposed


async def test_wrong_functions_are_refused_at_the_caller(start_method: str) -> None:
    """`run` knows before anything is sent what cannot work (§4.3)."""
    async with an_actor(start_method) as portal:
        with pytest.raises(TypeError, match="is not an async function"):
            await portal.run(rpc.sync)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="async generator"):
            await portal.run(rpc.generator)
        with pytest.raises(ValueError, match="defined inside a function"):
            await portal.run(_closure())


def _closure() -> Any:
    async def inner() -> None:
        pass

    return inner


# -- What cannot be sent ---------------------------------------------------------------


async def test_a_result_that_cannot_be_encoded_is_an_error(start_method: str) -> None:
    """It names type and function, and the channel lives on (§4.4, D1)."""
    kinds = {"object": "object", "struct": "rpc_functions.Opaque", "int": "int"}
    async with an_actor(start_method) as portal:
        for kind, type_name in kinds.items():
            error = await error_of(portal, "unencodable", kind=kind)
            assert error.boxed_type is MsgTypeError
            assert f"the result of '{FUNCTIONS}.unencodable'" in error.message
            assert type_name in error.message


async def test_an_argument_that_cannot_be_encoded_is_an_error(
    start_method: str,
) -> None:
    """Raised here, naming the function; nothing is sent and the channel lives on."""
    text = f"an argument of '{FUNCTIONS}.note'"
    async with an_actor(start_method) as portal:
        for value in (object(), 2**70, "\ud800", print):
            with pytest.raises(MsgTypeError, match=text):
                await portal.run(rpc.note, value)
        assert await portal.run(rpc.noted) == []
        assert_no_call_is_left(portal)


async def test_messages_over_the_limit_are_errors(start_method: str) -> None:
    """`FrameTooLarge` for arguments here, for results from there (D7)."""
    async with an_actor(start_method, max_frame=100_000) as portal:
        with pytest.raises(FrameTooLarge):
            await portal.run(rpc.echo, b"x" * 100_000)
        assert_no_call_is_left(portal)
        error = await error_of(portal, "zeros", size=100_000)
        assert error.boxed_type is FrameTooLarge


async def test_a_payload_of_a_thousand_levels_crosses(start_method: str) -> None:
    """Both ways (D3)."""
    async with an_actor(start_method) as portal:
        made = await portal.run(rpc.nested, 1000)
        assert await rpc.depth_of(made) == 1000
        assert await portal.run(rpc.depth_of, made) == 1000


async def test_a_payload_too_deep_to_decode_is_an_error(start_method: str) -> None:
    """A typed error at whoever reads it, and the channel lives on (D3).

    Python 3.13 has a stack that is too small to encode it.
    """
    async with an_actor(start_method) as portal:
        error = MsgTypeError if sys.version_info >= (3, 14) else RemoteActorError
        with pytest.raises(error, match="the result of"):
            await portal.run(rpc.nested, 60_000)
        assert await portal.run(rpc.add, 1) == 1


# -- Peers that are gone ---------------------------------------------------------------


async def die_in_a_call(portals: list[Portal]) -> None:
    """Add a portal, and kill the actor behind it."""
    async with tractor.open_nursery() as an:
        portals.append(await an.start_actor("callee", enable_modules=[FUNCTIONS]))
        await portals[0].run(rpc.die, signal.SIGKILL)


@pytest.mark.requires_trait("own_process")
async def test_calls_end_when_the_callee_dies(start_method: str) -> None:
    """Those under way and those made later raise `ActorDied`, at once (§4.4)."""
    portals: list[Portal] = []
    async with tractor.open_root_actor(start_method=start_method):
        with pytest.raises(ActorDied, match="signal SIGKILL") as caught:
            await die_in_a_call(portals)
        (portal,) = portals
        assert caught.value.signal == signal.SIGKILL
        assert caught.value.aid == portal.aid
        with trio.fail_after(1.0), pytest.raises(ActorDied, match="signal SIGKILL"):
            await portal.run(rpc.add, 1)
        assert not await portal.cancel_actor()
        assert_no_call_is_left(portal)


async def test_calls_to_an_actor_that_ended_raise_at_once(start_method: str) -> None:
    """`TransportClosed`, and not `ActorDied`: it was stopped in order (§4.4)."""
    async with tractor.open_root_actor(start_method=start_method):
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("callee", enable_modules=[FUNCTIONS])
            await an.cancel()
        with trio.fail_after(1.0), pytest.raises(TransportClosed) as caught:
            await portal.run(rpc.add, 1)
        assert not isinstance(caught.value, ActorDied)


# -- Child to parent -------------------------------------------------------------------


async def test_a_child_calls_its_parent(start_method: str) -> None:
    """By the same rules: what the parent exposes, and nothing else (§4.1, §4.3)."""
    async with an_actor(start_method, enable_modules=[FUNCTIONS]) as portal:
        value = await portal.run(rpc.call_parent, "echo", [1, "two"])
        assert value == [1, "two"]
    async with an_actor(start_method) as portal:
        error = await error_of(portal, "call_parent", name="echo", value=1)
        assert error.src_type is ModuleNotExposed
        assert [name for name, _ in error.relay_path] == ["root", "callee"]


async def test_the_root_has_no_parent() -> None:
    """`get_parent` says so."""
    async with tractor.open_root_actor() as actor:
        with pytest.raises(RuntimeFailure, match="is the root"):
            actor.get_parent()


async def die_while_calling() -> None:
    """Start an actor that calls this one, and kill it meanwhile."""
    async with tractor.open_nursery() as an, trio.open_nursery() as nursery:
        portal = await an.start_actor("caller", enable_modules=[FUNCTIONS])
        call_soon(nursery, portal, "wait_in_parent", entry="served")
        await rpc.wait_noted("served")
        await portal.run(rpc.die, signal.SIGKILL)


@pytest.mark.requires_trait("own_process")
async def test_a_caller_that_dies_cancels_its_calls(start_method: str) -> None:
    """The callee does not go on for nobody (§4.2)."""
    rpc.log.entries.clear()
    async with tractor.open_root_actor(
        start_method=start_method, enable_modules=[FUNCTIONS]
    ):
        with pytest.raises(ActorDied):
            await die_while_calling()
        await rpc.wait_noted("-served")


async def test_a_child_may_stop_its_parent(start_method: str) -> None:
    """`cancel_actor` works upwards as well; the tree ends in order (§4.5)."""
    with trio.fail_after(10):
        async with tractor.open_nursery(start_method=start_method) as an:
            portal = await an.start_actor("callee", enable_modules=[FUNCTIONS])
            actor = tractor.current_actor()
            await portal.run(rpc.cancel_parent)
            pytest.fail("the body goes on")
    assert actor.cancel_caller == portal.aid.uid


# -- Cancelling an actor ---------------------------------------------------------------


async def test_cancel_actor_is_true_on_acknowledgement(start_method: str) -> None:
    """From a cancelled task as well; the end is no error of the nursery (§4.5)."""
    async with an_actor(start_method) as portal:
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await portal.cancel_actor(raise_on_timeout=True)


async def test_cancel_actor_cancels_what_runs_there(start_method: str) -> None:
    """Callers get `ContextCancelled` with the canceller (§4.5, §5.4)."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        call = call_soon(nursery, portal, "forever")
        await portal.run(rpc.wait_noted, "forever")
        assert await portal.cancel_actor()
        await call.over.wait()
        assert isinstance(call.error, ContextCancelled)
        assert call.error.canceller == tractor.current_actor().aid.uid


@pytest.mark.requires_trait("own_process", "can_kill")
async def test_cancel_actor_does_not_wait_for_one_that_stands_still(
    start_method: str,
) -> None:
    """False after `timeout` seconds, or `ActorTooSlowError`; the ladder ends it."""
    graces = Graces(ack=0.1, cancel=0.3, terminate=0.1)
    async with an_actor(start_method, graces=graces) as portal:
        assert portal.aid.pid is not None
        os.kill(portal.aid.pid, signal.SIGSTOP)
        began = trio.current_time()
        with pytest.raises(ActorTooSlowError, match=r"within 0\.1 s"):
            await portal.cancel_actor(raise_on_timeout=True)
        assert not await portal.cancel_actor(timeout=0.0)
        assert trio.current_time() - began < 1.0


@pytest.mark.parametrize("size", [0, 100_000])
async def test_cancel_actor_does_not_wait_behind_calls(
    start_method: str, size: int
) -> None:
    """Not behind those that will never be sent, be they many or large (E2)."""
    async with an_actor(start_method) as portal, trio.open_nursery() as nursery:
        calls = [
            call_soon(nursery, portal, "forever", entry="x" * size)
            for _ in range(1200)  # more than may be under way
        ]
        await wait_all_tasks_blocked()
        assert await portal.cancel_actor(PATIENCE, raise_on_timeout=True)
        for call in calls:
            await call.over.wait()
            assert isinstance(call.error, TransportClosed | ContextCancelled)


# -- Events ----------------------------------------------------------------------------


async def test_calls_are_told_to_subscribers(start_method: str) -> None:
    """Begin and end, at the caller and at the callee, with the data as promised."""
    async with an_actor(start_method) as portal:
        await portal.run(rpc.record_events)
        with rpc.recorded() as events:
            await portal.run(rpc.add, 1)
            await error_of(portal, "fail", kind="value")
        there = await portal.run(rpc.noted)
        root = tractor.current_actor().aid.uid
    start, end, failed_start, failed_end, *_ = events
    asked = {"ns": FUNCTIONS, "func": "add", "cid": start.data["cid"]}
    assert (start.kind, start.aid, start.data) == ("call_start", portal.aid, asked)
    ended = {"cid": asked["cid"], "ok": True, "error": None}
    assert (end.kind, end.data) == ("call_end", ended)
    failed = {"cid": failed_start.data["cid"], "ok": False}
    assert failed_end.data == {**failed, "error": failed_end.data["error"]}
    assert isinstance(failed_end.data["error"], RemoteActorError)
    caller = {"caller": list(root)}
    assert there[1:4] == [
        ["task_start", "callee", asked | caller],
        ["task_end", "callee", ended],
        ["task_start", "callee", asked | failed_start.data | caller],
    ]
    kind, _, data = there[4]
    assert (kind, data) == ("task_end", {**failed, "error": data["error"]})
    assert data["error"][0] == "builtins:ValueError"
