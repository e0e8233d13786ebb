"""A listener without a free descriptor waits for one, and does not spin meanwhile."""

import select
from contextlib import ExitStack

import pytest

from tests._helpers import SAFETY, Stopwatch
from tests.security.helpers import Stranger, Target, free_address, is_served
from tests.security.target import FEW

CROWD = 5 * FEW
RECOVERY = 1.0  # seconds; reliability E4
MAX_SHARE = 0.3  # of a processor; to spin would take all of it


@pytest.mark.parametrize("transport", ["uds", "tcp"])
def test_a_shortage_is_waited_out(transport: str, runtime_dir: str) -> None:
    """EMFILE while accepting: little is done, and who is of the tree gets in (E4)."""
    target = Target(transport, free_address(transport, runtime_dir), 256)
    try:
        is_served(target.address)
        target.ask("squeeze")
        target.ask("begin")
        with ExitStack() as stack:
            began, watch = target.ask("processor time"), Stopwatch()
            crowd = [
                stack.enter_context(Stranger(target.address)) for _ in range(CROWD)
            ]
            # Those who were let in have no more than the time of a hello.
            hung_up = select.select([each.sock for each in crowd], [], [], SAFETY)[0]
            assert hung_up
            spent = target.ask("processor time") - began
        watch.check(3.0)
        assert spent < MAX_SHARE * 3.0
        watch = Stopwatch()
        is_served(target.address)
        watch.check(RECOVERY)
        report = target.ask("end")
        assert sum("cannot be accepted" in line for line in report["lines"]) == 1
        assert len(report["lines"]) <= 3  # each of its kind
        assert report["calls"] == []
        assert report["peers"] == 0
    finally:
        target.close()
