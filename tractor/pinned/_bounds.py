"""Numbers that users give for durations and counts, checked strictly.

A bound that is misspelt must not become none: 0 and `False` are refused, too.
"""

import math
from threading import TIMEOUT_MAX


def check_seconds(name: str, value: object) -> float | None:
    """A duration as it was given, or `None` for no bound.

    Raises:
        TypeError: It is no number.
        ValueError: It is not above 0, or not finite.
        OverflowError: It is longer than any wait can be, 292 years say.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{name} is a number of seconds above 0, or None, not {value!r}"
        raise TypeError(msg)
    if not value > 0 or value == math.inf:  # the first is true of NaN, too
        msg = f"{name} is a finite number of seconds above 0, or None, not {value!r}"
        raise ValueError(msg)
    if value > TIMEOUT_MAX:
        msg = f"{name} is at most {TIMEOUT_MAX:.0f} seconds; for no bound pass None"
        raise OverflowError(msg)
    return float(value)


def check_count(name: str, value: object) -> int | None:
    """A count as it was given, or `None` for no bound.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is not above 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} is a whole number above 0, or None, not {value!r}"
        raise TypeError(msg)
    if value <= 0:
        msg = f"{name} is a whole number above 0, or None, not {value!r}"
        raise ValueError(msg)
    return value
