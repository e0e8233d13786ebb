"""The line before the terminal: every state and event, without any I/O."""

from tractor.devx.debug._line import KEEP, Line


def opened(*guests: str) -> Line:
    """A line in which the first one has begun, and the others wait."""
    line = Line()
    for guest in guests:
        line.want(guest, 0.0)
    assert line.open(guests[0])
    return line


def test_first_come_first_served() -> None:
    """Who asks first gets it, and then whoever asked next."""
    line = Line()
    assert line.want("a", 0.0) == "a"
    assert line.want("b", 0.0) is None
    assert line.want("c", 0.0) is None
    assert line.waiting == 2
    for guest, then in (("a", "b"), ("b", "c"), ("c", None)):
        assert line.holder == guest
        assert line.open(guest)
        assert line.leave(guest, 3.0) == then
    assert (line.holder, line.held, line.released_at) == (None, False, 3.0)


def test_an_offer_stops_no_clocks() -> None:
    """It does when it is taken up, and by nobody else."""
    line = Line()
    line.want("a", 0.0)
    assert not line.held
    assert not line.open("b")
    assert not line.held
    assert line.open("a")
    assert line.held


def test_an_offer_that_is_not_taken_up_passes() -> None:
    """The next one gets it, and who comes late has to ask again; nothing was held."""
    line = Line()
    before = line.released_at
    line.want("a", 0.0)
    line.want("b", 0.0)
    assert line.expire(KEEP / 2) is None
    assert line.expire(KEEP) == "b"
    assert not line.open("a")
    assert not line.step("a", KEEP)
    assert line.released_at == before
    assert line.want("a", KEEP) is None
    assert line.leave("b", KEEP) == "a"


def test_who_is_late_gets_what_nobody_else_wants() -> None:
    """Or a loop that is always slow would never have its turn."""
    line = Line()
    line.want("a", 0.0)
    assert line.expire(KEEP) is None
    assert line.step("a", 1.0)
    assert not line.held
    assert line.expire(1.0 + KEEP) is None
    assert line.open("a")
    assert line.held
    assert not line.open("b")


def test_an_offer_can_be_confirmed() -> None:
    """It lasts a moment longer then."""
    line = Line()
    line.want("a", 0.0)
    assert line.step("a", KEEP / 2)
    assert line.expire(KEEP) is None
    assert line.open("a")


def test_who_leaves_the_line_is_passed_over() -> None:
    """Nothing else changes."""
    line = opened("a", "b", "c")
    assert line.leave("b", 1.0) is None
    assert line.held
    assert line.leave("a", 2.0) == "c"


def test_who_asks_twice_is_in_line_once() -> None:
    """So he is not let in again after he has left."""
    line = opened("a", "b", "b")
    assert line.leave("a", 1.0) == "b"
    assert line.leave("b", 2.0) is None


def test_a_step_keeps_the_terminal_for_a_moment() -> None:
    """Clocks run, nobody else is let in, and who comes back goes first."""
    line = opened("a")
    assert line.step("a", 10.0)
    assert not line.held
    assert line.released_at == 10.0
    assert line.want("b", 10.0) is None
    assert line.expire(10.0 + KEEP / 2) is None
    assert line.want("a", 10.0) == "a"
    assert line.open("a")


def test_a_step_that_leads_nowhere_frees_the_terminal() -> None:
    """The next one gets it, and who steps has to wait in line for his next stop."""
    line = opened("a", "b")
    line.step("a", 10.0)
    assert line.expire(10.0 + KEEP) == "b"
    assert line.want("a", 11.0) is None
    assert line.leave("b", 20.0) == "a"


def test_leaving_after_a_step_is_no_later_release() -> None:
    """Clocks have run since the step."""
    line = opened("a")
    line.step("a", 10.0)
    assert line.leave("a", 10.25) is None
    assert line.released_at == 10.0


def test_only_the_holder_steps() -> None:
    """Others are told that it is not their turn."""
    line = opened("a")
    assert not line.step("b", 2.0)
    assert line.held
    assert line.leave("nobody", 3.0) is None
    assert line.held


# -- Mates, which are in one thread ----------------------------------------------------


def test_who_blocks_takes_what_is_offered_to_a_mate() -> None:
    """Who could not take it up before, and is late when he can."""
    line = Line()
    line.want("task", 0.0)
    line.want("other", 0.0)
    assert line.want("blocks", 0.0, {"task"}, blocks=True) == "blocks"
    assert not line.open("task")
    assert line.leave("blocks", 1.0) == "other"


def test_who_blocks_goes_ahead_of_his_mates() -> None:
    """But of nobody else."""
    line = opened("a", "b", "task", "c")
    assert line.want("blocks", 0.0, {"task"}, blocks=True) is None
    for guest, then in (("a", "b"), ("b", "blocks"), ("blocks", "task"), ("task", "c")):
        assert line.leave(guest, 1.0) == then


def test_who_blocks_is_refused_what_a_mate_holds() -> None:
    """He would wait for himself; who lets the loop run on is in line."""
    line = opened("mate")
    assert line.refuses({"mate"})
    assert not line.refuses({"another"})
    assert line.want("task", 0.0, {"mate"}) is None
    line.step("mate", 1.0)
    assert not line.refuses({"mate"})


def test_a_mate_takes_what_is_kept() -> None:
    """The program stops for another reason than the step; no offer is taken so."""
    line = opened("steps", "other")
    line.step("steps", 1.0)
    assert line.want("task", 1.0, {"steps"}) == "task"
    assert line.want("task 2", 1.0, {"steps", "task"}) is None
    assert line.leave("task", 2.0) == "other"
