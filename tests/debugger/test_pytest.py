"""`pytest --tpdb`: a test that fails opens a REPL, whatever pytest captures."""

from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from tests.debugger._session import Session

pytestmark = [
    pytest.mark.allow_slow_step(reason="the session is waited for without a loop"),
]

FAILING = """
import pytest, tractor, trio

async def fail():
    number = 3
    raise ValueError(f"the number is {number}")

async def main():
    async with tractor.open_nursery() as an:
        await an.run_in_actor(fail)

@pytest.mark.timeout(1)
def test_it(debug_mode, census, no_slow_step):
    assert debug_mode
    trio.run(main)
"""


def test_a_failing_test_opens_a_repl(plain: Path) -> None:
    """In the actor and then in the test, for longer than a test may take."""
    test = plain / "test_failing.py"
    test.write_text(FAILING)
    options = ("-p", "no:cacheprovider", "-c", "/dev/null", "--hang-after=1")
    with Session("pytest", *options, "--tpdb", str(test), plain=plain) as session:
        assert "crash in actor 'fail'" in session.prompt()
        assert "3" in session.ask("p number")
        session.ask("import time; time.sleep(2)")
        before = session.ask("c")
        assert "crash in actor 'root'" in before
        assert "-> async with tractor.open_nursery() as an" in before
        session.type("c")
        session.expect("ValueError: the number is 3", "1 failed", pexpect.EOF)
    assert session.exit_code() == pytest.ExitCode.TESTS_FAILED
