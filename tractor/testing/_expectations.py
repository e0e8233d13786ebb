"""Small things that tests of actors say often."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tractor._exceptions import ContextCancelled
from tractor.runtime import MsgStream


@asynccontextmanager
async def expect_ctxc(yay: bool = True, reraise: bool = False) -> AsyncIterator[None]:
    """Fail unless the block is ended by `ContextCancelled`.

    Args:
        yay: Whether that is expected; if not, nothing is, and everything is let
            through.
        reraise: Whether the error goes on, or ends here.

    Raises:
        AssertionError: The block ended without it.
    """
    try:
        yield
    except ContextCancelled:
        if reraise or not yay:
            raise
        return
    if yay:
        msg = "the block ended without a ContextCancelled"
        raise AssertionError(msg)


async def break_ipc(
    stream: MsgStream,
    method: str | None = None,
    pre_close: bool = False,
    def_method: str = "socket_close",
) -> None:
    """Break the connection that a stream runs over, as a network would.

    Args:
        stream: It and all else on its channel are cut off.
        method: ``socket_close``: it is gone at once, for both sides;
            ``socket_eof``: the other side sees its end, and this one still hears.
        pre_close: Whether the stream is closed in good order before.
        def_method: The method where none is given.

    Raises:
        ValueError: There is no such method.
    """
    method = method or def_method
    if method not in ("socket_close", "socket_eof"):
        msg = f"unknown method {method!r}; there are socket_close and socket_eof"
        raise ValueError(msg)
    if pre_close:
        await stream.aclose()
    transport: Any = stream.chan._transport
    if method == "socket_close":
        transport.close()
    else:
        transport._sock.shutdown(socket.SHUT_WR)
    await trio.lowlevel.checkpoint()
