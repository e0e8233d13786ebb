"""Answering pings, without letting them pile up."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tractor._exceptions import TransportClosed
from tractor.ipc import Channel
from tractor.msg import types as t


class PingAnswers:
    """What a peer gets for its pings.

    A peer that pings and reads nothing would fill this process with answers. So, where
    much is queued for it, the latest ping is answered alone, once there is room; who
    pinged takes an answer for every earlier ping as well.

    Args:
        channel: To that peer.
        spawn: Runs a task of the actor.
    """

    def __init__(self, channel: Channel, spawn: Callable[..., Any]) -> None:
        self._channel = channel
        self._spawn = spawn
        self._owed: t.Pong | None = None

    def on_ping(self, record: t.Ping) -> None:
        """Answer it, now or later."""
        answer = t.Pong(record.token)
        if not self._channel.congested:
            self._send(answer)
            return
        if self._owed is None:
            self._spawn(self._answer_later, name="answer to pings")
        self._owed = answer

    async def _answer_later(self) -> None:
        # Once, and not until nothing is congested: others send as soon as they can.
        await self._channel.wait_drained()
        assert self._owed is not None
        self._send(self._owed)
        self._owed = None

    def _send(self, answer: t.Pong) -> None:
        with suppress(TransportClosed):
            self._channel.send_nowait(answer)
