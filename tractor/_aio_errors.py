"""Errors of linked asyncio tasks that other actors may be told of."""

import trio

from tractor._exceptions import RuntimeFailure, TractorError


class AsyncioCancelled(TractorError):
    """The linked asyncio task was cancelled, or it cancelled the trio side.

    Raised by `to_asyncio.run_task` and by the block of `to_asyncio.open_channel_from`,
    unless that has asked for it itself.
    """


class AsyncioTaskExited(TractorError, trio.BrokenResourceError):
    """The linked asyncio task has ended, or closed its side of the channel.

    Raised by `LinkedTaskChannel.send`, and at the start of the block of
    `to_asyncio.open_channel_from` if the task has not called `started_nowait`.
    """


class TrioTaskExited(TractorError):
    """The trio side has left the block of the channel, or closed its side.

    Raised in the asyncio task by what it does with its channel; it may let that error
    through, which is no failure.
    """


class AsyncioRuntimeTranslationError(RuntimeFailure):
    """The asyncio loop was stopped while trio ran on it."""
