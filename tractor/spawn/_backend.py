"""What a spawn backend is: the contract between the runtime and a way to make children.

A backend can start a child, tell when it is gone, ask it to stop, and stop it. It owns
no time-out, sends no message and knows no policy: those are `_escalation`'s and the
runtime's. One file per mechanism, about 150 lines.
"""

import socket
from typing import Any, Protocol

from msgspec import Struct

from tractor._types import Aid, ExitStatus


class Traits(Struct, frozen=True, kw_only=True):
    """Facts about a backend as data; callers test these and never the key.

    Attributes:
        can_kill: `Child.kill` works without the child's cooperation.
        own_process: The child is an operating-system process of its own.
        own_gil: Python code in it runs in parallel with its parent's.
        inherits_fds: Its link is handed over by inheritance and not by number.
        main_thread: The actor runs in the main thread of its interpreter, so that
            signal handlers work in it.
        can_interrupt: `Child.interrupt` breaks into Python code that runs in it.
        popen_options: `ChildSpec.options` may be arguments of `subprocess.Popen`.
    """

    can_kill: bool
    own_process: bool
    own_gil: bool
    inherits_fds: bool
    main_thread: bool
    can_interrupt: bool = False
    popen_options: bool = False


class ChildSpec(Struct, frozen=True, kw_only=True):
    """What a backend needs to know to start one child.

    Attributes:
        aid: Its identity; the name shows in process listings.
        link: The child's end of the link. The backend owns it from the call of
            `start` on: it hands the descriptor over, or closes it.
        lifeline_fd: Read end of the parent's lifeline; the parent keeps owning it.
        options: Keyword arguments for the mechanism underneath (`proc_kwargs`).
    """

    aid: Aid
    link: socket.socket
    lifeline_fd: int
    options: dict[str, Any] = {}


class Child(Protocol):
    """A started child."""

    @property
    def pid(self) -> int | None:
        """Process that hosts it."""
        ...

    async def wait(self) -> ExitStatus:
        """Wait until it is gone and its handle is released.

        Many tasks may wait, again and again; cancellation leaves nothing behind.
        """
        ...

    def terminate(self) -> None:
        """Ask it to stop; returns at once, harmless when it is gone."""
        ...

    def kill(self) -> None:
        """Stop it; only called where `Traits.can_kill`. Harmless when it is gone."""
        ...

    def stderr_tail(self) -> str:
        """The last 16 KiB that it wrote to stderr, as far as they are known."""
        ...


class InterruptibleChild(Child, Protocol):
    """A child of a backend with `Traits.can_interrupt`."""

    def interrupt(self) -> None:
        """Break into the Python code that it runs; harmless when it is gone."""
        ...

    def abandon(self) -> None:
        """Nobody waits for it any more: let go of what hangs on it."""
        ...


class SpawnBackend(Protocol):
    """A way to make children; a module-level object that the registry finds."""

    @property
    def key(self) -> str:
        """Public name, for example ``trio``."""
        ...

    @property
    def traits(self) -> Traits:
        """Facts about its children."""
        ...

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child.

        Raises:
            OSError: The mechanism failed; nothing is left behind.

        Cancellation: nothing is left behind either.
        """
        ...
