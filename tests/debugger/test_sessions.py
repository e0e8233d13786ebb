"""Sessions of a person with the debugger, in a real terminal."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.debugger._session import Session
from tests.debugger.programs import GRACES
from tractor.spawn import Traits

type Start = Callable[..., Session]

pytestmark = [
    pytest.mark.allow_slow_step(reason="the session is waited for without a loop"),
]
LONGER = GRACES.bound + 1  # seconds that no ladder takes


# -- Breakpoints -----------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_breakpoint_at_any_depth(session: Start, depth: int) -> None:
    """The REPL is that of the actor, and the hook is Python's again afterwards."""
    tree = session("in_tree", depth)
    before = tree.prompt()
    assert f"paused in actor {'root' if depth == 0 else 'level1'!r}" in before
    assert "-> breakpoint()" in before
    assert "41" in tree.ask("p answer")
    assert "answer + 1" in tree.ask("n")
    assert "return answer" in tree.ask("n")
    assert "42" in tree.ask("p answer")
    tree.type("c")
    rest = tree.rest()
    assert "result 42" in rest
    assert "hook restored: True" in rest
    assert tree.exit_code() == 0


def test_pause_stops_each_time(session: Start) -> None:
    """`pause` in a loop stops in each round."""
    tree = session("paused")
    tree.prompt()
    assert "word 0" in tree.ask("p word")
    assert "paused in actor" in tree.ask("c")
    assert "word 1" in tree.ask("p word")
    tree.type("c")
    assert "result word 1" in tree.rest()


def test_a_breakpoint_in_a_thread(session: Start) -> None:
    """The loop runs on, and the thread has the terminal."""
    tree = session("threaded")
    assert ", thread '" in tree.prompt()
    assert "a thread" in tree.ask("p place")
    tree.type("c")
    assert "result a thread" in tree.rest()


def test_quitting_raises_in_the_caller(session: Start) -> None:
    """`q` is a `BdbQuit` for all above, who do not open a REPL for it."""
    tree = session("in_tree", 2)
    tree.prompt()
    tree.type("q")
    rest = tree.rest()
    assert "BdbQuit" in rest
    assert "(Pdb)" not in rest
    assert tree.exit_code() == 1


# -- Crashes ---------------------------------------------------------------------------


def test_a_crash_is_shown_in_each_actor(session: Start) -> None:
    """From the grandchild up through two nurseries."""
    tree = session("crash_in_tree", 2)
    before = tree.prompt()
    assert "crash in actor 'level1'" in before
    assert "ZeroDivisionError" in before
    assert "0" in tree.ask("p divisor")
    for name in ("level2", "root"):
        before = tree.ask("c")
        assert f"crash in actor {name!r}" in before
        assert "RemoteActorError" in before
        assert "-> return float(await portal.wait_for_result())" in before
    tree.type("q")
    assert "ZeroDivisionError" in tree.rest()
    assert tree.exit_code() == 1


def test_crash_handlers(session: Start) -> None:
    """A block that is watched, and an error that is handled."""
    tree = session("handled")
    assert "crash in actor 'root'" in tree.prompt()
    assert "boxed ZeroDivisionError" in tree.ask("c")
    tree.type("c")
    assert "went on" in tree.rest()
    assert tree.exit_code() == 0


# -- One at a time ---------------------------------------------------------------------


def test_two_actors_take_turns(session: Start) -> None:
    """The second one waits until the first is let go, however long it steps."""
    tree = session("two")
    first = tree.prompt()
    assert "answer + 1" in tree.ask("n")
    assert "return answer" in tree.ask("n")
    second = tree.ask("c")
    names = {name for name in ("left", "right") if f"actor {name!r}" in first + second}
    assert names == {"left", "right"}
    tree.type("c")
    assert "both are done" in tree.rest()


def test_two_tasks_take_turns(session: Start) -> None:
    """Of one actor, whether they wait for another one or for each other."""
    tree = session("two_tasks")
    names = [tree.prompt(), *(tree.ask("c") for _ in range(4))]
    assert sum("'busy'" in name for name in names) == 4
    assert sum("'other'" in name for name in names) == 1
    tree.type("c")
    tree.rest()
    assert tree.exit_code() == 0


def test_the_root_waits_for_its_turn(session: Start) -> None:
    """Also the root, whose thread serves the terminal."""
    tree = session("stop_while_stopped")
    assert "'child'" in tree.prompt()
    assert "'root'" in tree.ask("c")
    tree.type("c")
    assert "both are done" in tree.rest()


def test_greenback_lets_the_loop_turn(session: Start) -> None:
    """An actor that waits for the terminal in sync code still answers."""
    pytest.importorskip("greenback", reason="greenback is not installed")
    tree = session("two_with_greenback")
    assert "'first'" in tree.prompt()
    tree.expect("turns second")
    tree.type("c")
    assert "'second'" in tree.prompt()
    tree.type("c")
    tree.rest()
    assert tree.exit_code() == 0


# -- Ctrl-C ----------------------------------------------------------------------------


def test_ctrl_c_when_nobody_is_in_a_repl(session: Start) -> None:
    """It ends the tree, as ever."""
    tree = session("asleep")
    tree.expect("asleep")
    tree.press_ctrl_c()
    rest = tree.rest()
    assert "woken" in rest
    assert "KeyboardInterrupt" in rest


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_ctrl_c_in_a_repl(session: Start, depth: int) -> None:
    """It ends a command at most, and the tree does not hear of it."""
    tree = session("in_tree", depth)
    tree.prompt()
    tree.interrupt()
    tree.type("import time; print('n' + 'ow', flush=True); time.sleep(60)")
    tree.expect("now")
    tree.interrupt()
    assert "41" in tree.ask("p answer")
    tree.type("c")
    assert "result 42" in tree.rest()


def test_ctrl_c_while_another_one_waits(session: Start) -> None:
    """Who is in line does not hear of it either."""
    tree = session("two")
    tree.prompt()
    tree.interrupt()
    assert "paused in actor" in tree.ask("c")
    tree.interrupt()
    tree.type("c")
    assert "both are done" in tree.rest()


def test_ctrl_c_in_a_repl_beside_a_thread(session: Start) -> None:
    """In a thread it does nothing."""
    tree = session("threaded")
    tree.prompt()
    tree.press_ctrl_c()
    assert "a thread" in tree.ask("p place")
    tree.type("c")
    assert "result a thread" in tree.rest()


def test_ctrl_c_after_a_repl(session: Start) -> None:
    """Then it ends the tree again, and who steps sees the cancellation."""
    tree = session("stepping")
    tree.prompt()
    tree.ask("n")
    tree.ask("n")
    tree.type("n")  # and sleeps
    tree.expect("asleep")
    tree.press_ctrl_c()
    assert "Cancelled" in tree.prompt()
    tree.type("c")
    assert "KeyboardInterrupt" in tree.rest()


def test_ctrl_c_where_the_terminal_is_had_without_a_repl(session: Start) -> None:
    """It ends the tree as always, and nobody waits in line behind himself."""
    tree = session("locked")
    assert "refused: no REPL in a block" in tree.expect("locked\r")
    tree.press_ctrl_c()
    assert "KeyboardInterrupt" in tree.rest()


# -- Teardown --------------------------------------------------------------------------


def test_a_parent_that_times_out_waits_for_the_person(session: Start) -> None:
    """The ladder is suspended, and resumes after: the child then ends as asked."""
    tree = session("time_out")
    tree.prompt()
    tree.expect("timed out")
    assert "41" in tree.ask("p answer")
    tree.ask(f"import time; time.sleep({LONGER})")
    assert "41" in tree.ask("p answer")
    tree.type("c")
    assert "down: True True" in tree.rest()
    assert tree.exit_code() == 0


def test_sigterm_waits_for_the_person(session: Start) -> None:
    """It ends the tree once the REPL is left."""
    tree = session("in_tree", 2)
    tree.prompt()
    tree.terminate()
    tree.ask(f"import time; time.sleep({LONGER})")
    assert "41" in tree.ask("p answer")
    tree.type("c")
    tree.rest()
    assert tree.exit_code() == 128 + signal.SIGTERM


def test_an_actor_that_is_killed_gives_the_terminal_back(session: Start) -> None:
    """As it was, and to the root: Ctrl-C and all else work again."""
    tree = session("in_tree", 1)
    before = tree.prompt()
    pid = int(before.partition("(pid ")[2].partition(")")[0])
    assert tree.foreground() == pid
    os.kill(pid, signal.SIGKILL)
    tree.expect("is gone, and its debugger with it")
    assert "crash in actor 'root'" in tree.prompt()
    assert tree.foreground() == tree.pid
    tree.interrupt()
    tree.type("q")
    assert "ActorDied" in tree.rest()
    assert tree.exit_code() == 1


def test_the_terminal_is_sane_after_a_death(session: Start) -> None:
    """Whatever the REPL of the dead did to it."""
    tree = session("in_tree", 1)
    pid = int(tree.prompt().partition("(pid ")[2].partition(")")[0])
    tree.ask("import os; os.system('stty raw -echo')")
    assert tree.stty() != tree.sane
    os.kill(pid, signal.SIGKILL)
    tree.expect("is gone, and its debugger with it")
    tree.prompt()
    tree.type("c")
    tree.rest()
    assert tree.stty() == tree.sane


def test_the_terminal_is_sane_after_a_thread_that_is_left_behind(
    session: Start,
) -> None:
    """The program ends without it, and sets the terminal as it was."""
    tree = session("left_behind")
    tree.prompt()
    os.kill(tree.pid, signal.SIGUSR1)
    assert "hook restored: True" in tree.rest()
    assert tree.exit_code() == 0
    assert tree.stty() == tree.sane


def test_a_heartbeat_does_not_miss_who_is_in_a_repl(session: Start) -> None:
    """Clocks stand still, so nobody is late."""
    tree = session("beating")
    tree.prompt()
    tree.type("import time; time.sleep(1)")
    tree.prompt()
    tree.type("c")
    assert "result 42 []" in tree.rest()


# -- Other backends, and pdbp ----------------------------------------------------------


@pytest.mark.parametrize("program", ["in_tree", "crash_in_tree"])
def test_on_each_backend(
    session: Start, start_method: str, traits: Traits, program: str
) -> None:
    """A breakpoint and a crash in a child, however it is hosted."""
    tree = session(program, 1, backend=start_method)
    assert "'level1'" in tree.prompt()
    if traits.own_process:
        tree.interrupt()
    else:
        tree.press_ctrl_c()
        tree.expect("Ctrl-C does nothing while 'level1' is in the debugger")
    if program == "in_tree":
        assert "41" in tree.ask("p answer")
        tree.type("c")
        assert "result 42" in tree.rest()
        return
    assert "'root'" in tree.ask("c")
    tree.type("c")
    assert "ZeroDivisionError" in tree.rest()


def test_with_pdbp(start_method: str, traits: Traits) -> None:
    """The debugger is pdbp where that is installed, and can be loaded."""
    pytest.importorskip("pdbp", reason="pdbp is not installed")
    with Session("in_tree", 1, backend=start_method) as tree:
        if traits.own_process:
            tree.expect(r"\(Pdb\+\) ")
        else:  # some of these cannot load it
            tree.prompt()
        assert "41" in tree.ask("p answer")
        tree.ask("n")
        tree.type("c")
        assert "result 42" in tree.rest()
