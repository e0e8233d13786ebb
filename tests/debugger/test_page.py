"""The sessions of the page on debugging are what a person sees now."""

import pytest

from tests._helpers import ROOT
from tests.debugger import record

PAGE = ROOT / "docs/how-to/debug-a-tree.md"


@pytest.mark.allow_slow_step(reason="the session is waited for without a loop")
def test_sessions_are_current() -> None:
    """`python -m tests.debugger.record` would write the same, but for process ids."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("```console") == len(record.SESSION.findall(page))
    assert record.without_pids(record.renewed(page)) == record.without_pids(page)
