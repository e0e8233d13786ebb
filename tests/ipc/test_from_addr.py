"""A tool connects to an actor without being one."""

import pytest
import trio

import tractor
from tractor._exceptions import AuthenticationFailed
from tractor._types import Aid
from tractor.ipc import Channel
from tractor.msg import types as t

SECRET = b"known to both ends"


async def test_a_tool_talks_with_an_actor() -> None:
    """It connects by address and secret, and its ping is answered."""
    async with tractor.open_root_actor(secret=SECRET) as root:
        channel = await Channel.from_addr(
            root.addresses[0], secret=SECRET, aid=Aid("tool", "0" * 32)
        )
        answers: list[t.AnyRecord] = []
        async with trio.open_nursery() as nursery:

            def dispatch(record: t.AnyRecord) -> None:
                answers.append(record)
                nursery.cancel_scope.cancel()

            nursery.start_soon(channel.run, dispatch)
            channel.send_nowait(t.Ping(7))
        assert answers == [t.Pong(7)]


async def test_another_secret_is_refused() -> None:
    """The tool learns of it, and the actor serves it nothing."""
    async with tractor.open_root_actor(secret=SECRET) as root:
        with pytest.raises(AuthenticationFailed):
            await Channel.from_addr(
                root.addresses[0], secret=SECRET[::-1], aid=Aid("tool", "0" * 32)
            )
