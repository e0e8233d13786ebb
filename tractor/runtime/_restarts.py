"""Deciding about restarts: strategies, kinds and intensity; nothing is done here.

Source: strategies and kinds are those of OTP's supervisor, and so is the idea that
restarts which come too fast are a failure of the supervisor itself.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

type Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
type Restart = Literal["permanent", "transient", "temporary"]

FIRST_BACKOFF: Final = 0.05  # seconds before the second restart in a row; it doubles
MAX_BACKOFF: Final = 2.0  # seconds


def check_choice(kind: Any, value: str) -> None:
    """Refuse a value that is none of a kind's, `Strategy` or `Restart`.

    Raises:
        ValueError: The text lists those there are.
    """
    choices = get_args(kind.__value__)
    if value not in choices:
        msg = f"{kind.__name__.lower()} is one of {', '.join(choices)}, not {value!r}"
        raise ValueError(msg)


def wants_restart(restart: Restart, *, failed: bool) -> bool:
    """Whether a child that ended is started again."""
    return restart == "permanent" or (restart == "transient" and failed)


def affected[T](strategy: Strategy, children: Sequence[T], failed: T) -> list[T]:
    """The children that a failure concerns, in the order in which they were started."""
    match strategy:
        case "one_for_one":
            return [failed]
        case "one_for_all":
            return list(children)
        case "rest_for_one":
            return list(children[children.index(failed) :])


class Intensity:
    """How many restarts were there of late, and are they too many?

    Args:
        limit: Restarts that are allowed within `period`, ≥ 0.
        period: Seconds, > 0. What is spent in `backoff` is not counted: otherwise
            many a limit would never be reached.
    """

    def __init__(self, limit: int, period: float) -> None:
        self.limit = limit
        self.period = period
        self._times: deque[float] = deque()
        self._waited = 0.0  # seconds, in all

    def allow(self, now: float) -> bool:
        """Note a restart at `now`; whether it is within the limit."""
        now -= self._waited
        while self._times and self._times[0] <= now - self.period:
            self._times.popleft()
        self._times.append(now)
        return len(self._times) <= self.limit

    def backoff(self) -> float:
        """Seconds that are waited before the restart that was noted last; ask once."""
        delay = 0.0
        for _ in range(len(self._times) - 1):
            delay = min(MAX_BACKOFF, 2 * delay or FIRST_BACKOFF)
            if delay == MAX_BACKOFF:
                break
        self._waited += delay
        return delay
