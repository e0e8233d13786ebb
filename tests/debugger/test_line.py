"""The line before the terminal: every state and event, without any I/O."""

from tractor.devx.debug._line import KEEP, Line


def test_first_come_first_served() -> None:
    """Who asks first gets it, and then whoever asked next."""
    line = Line()
    assert line.want("a") == "a"
    assert line.want("b") is None
    assert line.want("c") is None
    assert (line.held, line.waiting) == (True, 2)
    assert line.leave("a", 1.0) == "b"
    assert line.leave("b", 2.0) == "c"
    assert line.leave("c", 3.0) is None
    assert (line.holder, line.held, line.released_at) == (None, False, 3.0)


def test_who_leaves_the_line_is_passed_over() -> None:
    """Nothing else changes."""
    line = Line()
    for guest in "abc":
        line.want(guest)
    assert line.leave("b", 1.0) is None
    assert line.held
    assert line.leave("a", 2.0) == "c"


def test_who_asks_twice_is_in_line_once() -> None:
    """So he is not let in again after he has left."""
    line = Line()
    line.want("a")
    line.want("b")
    line.want("b")
    assert line.leave("a", 1.0) == "b"
    assert line.leave("b", 2.0) is None


def test_a_step_keeps_the_terminal_for_a_moment() -> None:
    """Clocks run, nobody else is let in, and who comes back goes first."""
    line = Line()
    line.want("a")
    line.step("a", 10.0)
    assert not line.held
    assert line.released_at == 10.0
    assert line.want("b") is None
    assert line.expire(10.0 + KEEP / 2) is None
    assert line.want("a") == "a"
    assert line.held


def test_a_step_that_leads_nowhere_frees_the_terminal() -> None:
    """The next one gets it, and who steps has to wait in line for his next stop."""
    line = Line()
    line.want("a")
    line.want("b")
    line.step("a", 10.0)
    assert line.expire(10.0 + KEEP) == "b"
    assert line.want("a") is None
    assert line.leave("b", 20.0) == "a"


def test_leaving_after_a_step_is_no_later_release() -> None:
    """Clocks have run since the step."""
    line = Line()
    line.want("a")
    line.step("a", 10.0)
    assert line.leave("a", 10.25) is None
    assert line.released_at == 10.0


def test_only_the_holder_steps() -> None:
    """Others and free terminals are left alone."""
    line = Line()
    line.step("a", 1.0)
    line.want("a")
    line.step("b", 2.0)
    assert line.held
    assert line.leave("nobody", 3.0) is None
    assert line.held
