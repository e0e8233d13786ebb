"""What the machine says: how busy it is with other things, and who uses its memory."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Self

from tractor._proc import descendants

TICKS: Final = os.sysconf("SC_CLK_TCK")  # per second
IDLE: Final = (3, 4)  # fields of a `cpu` line: idle, waiting for a disk
USERS: Final = 8  # fields from the first: guests are counted among them
BUSY: Final = 0.15  # processors that others use; above it figures are noisy


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def describe() -> dict[str, Any]:
    """What figures depend on."""
    return {
        "python": platform.python_version(),
        "trio": version("trio"),
        "msgspec": version("msgspec"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores(),
        "load": os.getloadavg()[0],
        "running": running(),
    }


def running() -> int:
    """Threads that run or want to, this one included."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])


class Others:
    """How much of the machine others use while this runs.

    All that the processors did, the time that a host took from them included, without
    what this process and its descendants used.
    """

    def __init__(self) -> None:
        self.share = 0.0  # processors

    def __enter__(self) -> Self:
        self._began = perf_counter(), _busy(), _own()
        return self

    def __exit__(self, *exc_info: object) -> None:
        began, busy, own = self._began
        seconds = perf_counter() - began
        # What was alive before and is not now may count twice; never below nothing.
        used = max(0.0, _busy() - busy - (_own() - own))
        self.share = used / seconds if seconds > 1 else 0.0


def _busy() -> float:
    """Seconds that all processors worked since the start of the system."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    fields = [int(field) for field in line.split()[1 : USERS + 1]]
    return (sum(fields) - sum(fields[each] for each in IDLE)) / TICKS


def _own() -> float:
    """Seconds that this process and its descendants worked."""
    times = os.times()
    live = sum(_used(pid) for pid, _ in descendants(os.getpid()))
    return (
        times.user + times.system + times.children_user + times.children_system + live
    )


def _used(pid: int) -> float:
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it ended while we looked
        return 0.0
    return sum(map(int, line.rpartition(")")[2].split()[11:15])) / TICKS


# -- Memory ----------------------------------------------------------------------------


def memory(pid: int) -> dict[str, float]:
    """MB of a process: ``pss`` shares what is shared, ``private`` leaves it out."""
    found: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        found[name.rstrip(":").lower()] = int(value) * 1024 / 1e6
    private = found["private_clean"] + found["private_dirty"]
    return {"pss": found["pss"], "private": private}
