"""Errors that cross real actors: nothing that a function raises can hurt one."""

import gc
from typing import Final
from weakref import ref

import pytest
import trio

import tractor
from tests.ipc.fakes import frames
from tests.msg.test_codec import RECORDS
from tests.runtime import rpc_functions as rpc
from tests.runtime.helpers import FUNCTIONS, PATIENCE, an_actor, error_of
from tractor import ActorDied, RemoteActorError, reg_err_types
from tractor.msg import encode_payload
from tractor.msg import types as t

HOSTILE: Final = ["unencodable", "text", "class", "attributes", "name", "cause"]


async def test_an_error_is_raised_where_the_call_is_awaited(start_method: str) -> None:
    """Class, text, traceback, source, and the original by `unwrap` (§7.1, §7.3)."""
    async with an_actor(start_method) as portal:
        error = await error_of(portal, "fail", kind="os")
        assert error.boxed_type is error.src_type is FileNotFoundError
        assert error.boxed_type_str == "FileNotFoundError"
        assert error.src_uid == error.relay_uid == error.sender == portal.aid.uid
        assert error.relay_path == [portal.aid.uid]
        assert not error.is_inception()
        assert "raise ERRORS[kind]" in error.tb_str
        assert error.tb_str in str(error.__cause__)
        same = error.unwrap()
        assert isinstance(same, FileNotFoundError)
        assert (same.errno, same.strerror, same.filename) == (2, "no such file", "here")


async def test_what_would_end_a_program_does_not_end_an_actor(
    start_method: str,
) -> None:
    """`SystemExit` and its kin are the caller's to see; the actor lives on."""
    async with an_actor(start_method) as portal:
        for kind in ("exit", "interrupt", "generator"):
            error = await error_of(portal, "fail", kind=kind)
            assert error.boxed_type is type(rpc.ERRORS[kind])
            assert error.unwrap().args == rpc.ERRORS[kind].args


async def test_a_cancelled_that_got_loose_does_not_end_an_actor(
    start_method: str,
) -> None:
    """A `Cancelled` of no scope is an error like any other."""
    async with an_actor(start_method) as portal:
        error = await error_of(portal, "fail_with_a_stray_cancelled")
        assert error.boxed_type_str == "Cancelled"
        assert str(error.unwrap())


async def test_hostile_errors_do_not_hurt(start_method: str) -> None:
    """Whatever their methods raise, the caller gets an envelope with safe text (D2)."""
    async with an_actor(start_method) as portal:
        for kind in HOSTILE:
            error = await error_of(portal, "fail", kind=kind)
            assert error.relay_path == [portal.aid.uid]
            assert str(error)


async def test_a_group_of_a_million_is_an_error(start_method: str) -> None:
    """It arrives cut and counted; nobody runs out of stack, memory or time (D3)."""
    async with an_actor(start_method) as portal:
        error = await error_of(portal, "fail_in_a_group", size=10**6)
        group = error.unwrap()
        assert isinstance(group, ExceptionGroup)
        assert "more errors, not sent" in str(group.exceptions[-1])


async def test_an_error_over_the_limit_is_still_told(start_method: str) -> None:
    """What does not fit into a frame arrives with less of its text (D7)."""
    async with an_actor(start_method, max_frame=20_000) as portal:
        error = await error_of(portal, "fail_at_length", size=1_000_000)
        assert error.boxed_type is ValueError
        assert error.message.startswith("xxx")
        assert isinstance(error.unwrap(), ValueError)
        error = await error_of(portal, "fail", kind="length")
        assert error.boxed_type_str.startswith("XXX")


async def test_a_caught_error_leaves_nothing_behind(start_method: str) -> None:
    """It is freed at once, and with it the frames that its traceback holds."""
    async with an_actor(start_method) as portal:
        gc.disable()
        try:
            await portal.run(rpc.fail, "value")
        except RemoteActorError as error:
            caught = ref(error)
        finally:
            gc.enable()
        assert caught() is None


async def test_registered_classes_are_rebuilt(start_method: str) -> None:
    """`reg_err_types` at the caller is enough; unknown ones keep their names (§7.2)."""
    async with an_actor(start_method) as portal:
        unknown = await error_of(portal, "fail", kind="unknown")
        assert unknown.boxed_type is None
        assert unknown.boxed_type_str == "Unknown"
        with pytest.raises(RuntimeError, match="reg_err_types"):
            unknown.unwrap()
        reg_err_types([rpc.Custom])
        custom = (await error_of(portal, "fail", kind="custom")).unwrap()
        assert isinstance(custom, rpc.Custom)
        assert custom.code == 7


async def test_a_relayed_error_keeps_its_source(start_method: str) -> None:
    """Through three actors: `src_*` stay, `relay_path` grows (§7.2)."""
    async with an_actor(start_method) as portal:
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(rpc.dig, ["middle", "leaf"], "value")
    error = caught.value
    assert error.boxed_type is RemoteActorError
    assert error.src_type is ValueError
    assert [name for name, _ in error.relay_path] == ["leaf", "middle", "callee"]
    assert error.src_uid == error.relay_path[0]
    assert error.relay_uid == portal.aid.uid
    assert error.is_inception()
    assert str(error) == "ValueError: ('no', 3) [from actor leaf via middle via callee]"
    assert repr(error.unwrap()) == "ValueError('no', 3)"
    assert "raise ERRORS[kind]" in error.tb_str
    assert error.tb_str.count("await portal.run(dig, names[1:], error)") == 2


async def test_a_group_keeps_its_members_through_a_relay(start_method: str) -> None:
    """`unwrap` gives the tree as it was raised (§7.3)."""
    async with an_actor(start_method) as portal:
        with pytest.raises(RemoteActorError) as caught:
            await portal.run(rpc.dig, ["leaf"], "group")
    assert repr(caught.value.unwrap()) == repr(rpc.ERRORS["group"])


# -- Broken links ----------------------------------------------------------------------

GARBAGE: Final = (
    frames(t.Ping(1))[:-1],
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    frames(RECORDS[0]),  # a SpawnSpec, long after the boot
)


async def break_a_link(data: bytes) -> None:
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("broken", enable_modules=[FUNCTIONS])
        await portal.run(rpc.break_the_link, data)


async def test_a_broken_link_costs_one_actor(start_method: str) -> None:
    """Garbage of any kind ends the link it came on, and nothing else (D4-D8)."""
    with trio.fail_after(PATIENCE):
        async with tractor.open_nursery(start_method=start_method) as an:
            bystander = await an.start_actor("bystander", enable_modules=[FUNCTIONS])
            for data in GARBAGE:
                with pytest.raises(ActorDied, match="broken"):
                    await break_a_link(data)
                assert await bystander.run(rpc.add, 1) == 1
            await an.cancel()


async def test_outcomes_that_nobody_waits_for_are_dropped(start_method: str) -> None:
    """Of unknown calls and of those that are over; they are counted (D9)."""
    nothing = encode_payload(None, "it")
    late = frames(t.Return(0, nothing), t.Return(998, nothing), t.Stop(996))
    async with an_actor(start_method) as portal:
        assert await portal.run(rpc.add, 1) == 1
        with rpc.recorded() as events:
            await portal.run(rpc.send_records, late)
        assert portal._peer.dropped == 3
        dropped = [event.data for event in events if event.kind == "dropped"]
        assert dropped == [{"record": name} for name in ("Return", "Return", "Stop")]
