"""The one function that `run_in_actor` runs in a child."""

from typing import Any

import trio

from tractor.msg import ANY, PayloadType
from tractor.runtime._peer import Peer


class MainTask:
    """The function that `run_in_actor` runs in a child, and its outcome.

    Attributes:
        called: Set when it is called.
        error: How it failed, if it did.
    """

    def __init__(
        self,
        ns: str,
        func: str,
        kwargs: dict[str, Any],
        result_type: PayloadType[Any] = ANY,
    ) -> None:
        self.ns = ns
        self.func = func
        self.kwargs = kwargs
        self.result_type = result_type
        self.called = trio.Event()
        self.error: Exception | None = None
        self._value: Any = None
        self._done = trio.Event()

    async def wait(self) -> Any:
        """The result.

        Raises:
            RemoteActorError: The function raised.
            ActorDied: Its actor died.
        """
        await self._done.wait()
        if self.error is not None:
            raise self.error
        return self._value

    async def run(self, peer: Peer) -> None:
        """Call it; never raises."""
        self.called.set()  # whoever waits runs after the sending: no task switch before
        try:
            self._value = await peer.call(
                self.ns, self.func, (), self.kwargs, self.result_type
            )
        except Exception as exc:  # noqa: BLE001 (raised where it is waited for)
            self.error = exc
        self._done.set()

    async def wait_done(self) -> None:
        """Wait for its outcome, whatever it is."""
        await self._done.wait()

    def fail(self, error: Exception) -> None:
        """It will never run, or its outcome never be known."""
        if not self._done.is_set():
            self.error = error
            self._done.set()
