"""An import beside a busy interpreter that shares its GIL; see 0005."""

import _interpreters
import statistics
import sys
import threading
import time
from typing import Final

ROUNDS: Final = 5
INTERVALS: Final = (0.005, 0.001, 0.0005, 0.0002)  # seconds; the first is CPython's


def seconds_of_import() -> float:
    """How long it takes in a new one."""
    number = _interpreters.create(_interpreters.new_config("legacy"), reqrefs=False)
    began = time.perf_counter()
    _interpreters.exec(number, "import trio, asyncio, logging, email, http.client")
    took = time.perf_counter() - began
    _interpreters.destroy(number)
    return took


def measure(name: str) -> None:
    """Each interval in turn, so that the machine is alike for all."""
    found: dict[float, list[float]] = {interval: [] for interval in INTERVALS}
    for _ in range(ROUNDS):
        for interval, times in found.items():
            sys.setswitchinterval(interval)
            times.append(seconds_of_import())
    for interval, times in found.items():
        print(f"{name}, {interval * 1e3:.1f} ms: {statistics.median(times):.2f} s")


measure("alone")
busy = _interpreters.create(_interpreters.new_config("legacy"), reqrefs=False)
endless = (busy, "while True: pass")
threading.Thread(target=_interpreters.exec, args=endless, daemon=True).start()
measure("beside a busy one")
sys.stdout.flush()
__import__("os")._exit(0)  # see 0004
