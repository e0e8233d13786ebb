"""Counts of one scope."""

from msgspec import Struct


class Counts(Struct, kw_only=True):
    """What happened in a scope so far; see `CownStats`."""

    scheduled: int = 0
    finished: int = 0
    refused: int = 0
    hits: int = 0
    misses: int = 0
    bytes_moved: int = 0
    poisoned: int = 0
    deaths: int = 0


class CownStats(Struct, frozen=True, kw_only=True):
    """What there is in a scope at one moment, and what happened so far.

    Attributes:
        in_flight: Behaviours that have not ended.
        cowns: How many are remembered.
        workers: How many there are.
        scheduled: Behaviours.
        finished: Those of them that have run to their end, or failed.
        refused: Those that did not run, since a cown was poisoned.
        hits: Values that were where they were needed.
        misses: Values that had to be sent there.
        bytes_moved: Their size.
        poisoned: Cowns whose values were lost.
        deaths: Workers that died.
    """

    in_flight: int
    cowns: int
    workers: int
    scheduled: int
    finished: int
    refused: int
    hits: int
    misses: int
    bytes_moved: int
    poisoned: int
    deaths: int
