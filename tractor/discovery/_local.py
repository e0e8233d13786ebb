"""A portal to oneself."""

from collections.abc import Awaitable, Callable
from typing import Any

from tractor._types import Aid
from tractor.runtime import Actor


class LocalPortal:
    """Calls functions in this very actor, with the words of a `Portal`.

    A registrar gets it from `get_registry`. No message is sent, so values are passed
    as they are, errors are raised as they are, and nothing has to be enabled.
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    @property
    def aid(self) -> Aid:
        """This actor."""
        return self._actor.aid

    async def run[**P, T](
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an async function; see `Portal.run`."""
        return await fn(*args, **kwargs)

    async def run_from_ns(self, ns: str, name: str, /, **kwargs: Any) -> Any:
        """Run a function that others may call; see `Portal.run_from_ns`.

        Raises:
            ModuleNotExposed: Its module is not enabled, or it is not its own there.
        """
        return await self._actor.exposure.resolve(ns, name)(**kwargs)

    def __repr__(self) -> str:
        return f"<LocalPortal of {self.aid.reprol()!r}>"
