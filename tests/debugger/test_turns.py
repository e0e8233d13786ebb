"""Whose turn it is at the terminal, and what an actor does that cannot run then."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

import tractor
from tests._helpers import SAFETY, write_program
from tests.debugger._session import Session
from tests.debugger.test_options import program, run_detached
from tractor.devx import debug
from tractor.devx.debug import _debugger, _line
from tractor.devx.debug._desk import Desk
from tractor.devx.debug._lease import Lease
from tractor.devx.debug._named import Named

type Start = Callable[..., Session]

# A task of a child is told that it is its turn, and before it can run another one does
# something in the same loop.
OFFERED = """
import time
from trio.testing import wait_all_tasks_blocked

async def pauses(locked):
    await locked.wait()
    await tractor.pause()
    print("paused", flush=True)

async def stops():
    locked = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pauses, locked)
        async with debug.acquire_debug_lock():
            locked.set()
            await wait_all_tasks_blocked()
        THEN
    return "both"

async def main():
    async with tractor.open_nursery(
        debug_mode=True, graces=tractor.Graces(ack=0.2, cancel=0.4)
    ) as an:
        portal = await an.run_in_actor(stops, name="child")
        with trio.move_on_after(2):
            print("result", await portal.wait_for_result(), flush=True)
        await an.cancel()
    print("tree ended", flush=True)

if __name__ == "__main__":
    trio.run(main)
"""


# -- An offer that cannot be taken up --------------------------------------------------


def test_who_blocks_the_loop_goes_first(session: Start, tmp_path: Path) -> None:
    """`pause` in another task of that loop has its turn after it."""
    tree = session(program(tmp_path, OFFERED.replace("THEN", "breakpoint()")))
    assert "-> breakpoint()" in tree.prompt()
    tree.type("c")
    assert "-> await tractor.pause()" in tree.prompt()
    tree.type("c")
    assert "tree ended" in tree.rest()
    assert tree.exit_code() == 0


def test_a_loop_that_hangs_is_nobody_at_a_prompt(
    session: Start, tmp_path: Path
) -> None:
    """Clocks run, so its parent ends it."""
    tree = session(program(tmp_path, OFFERED.replace("THEN", "time.sleep(9999)")))
    rest = tree.rest()
    assert "tree ended" in rest
    assert "(Pdb)" not in rest


def test_a_breakpoint_beside_a_lock_is_refused(session: Start, tmp_path: Path) -> None:
    """It would stop the loop that the block needs; `pause` waits for its end."""
    text = """
    async def has_it(got, enough):
        async with debug.acquire_debug_lock():
            got.set()
            await enough.wait()

    async def main():
        got, enough = trio.Event(), trio.Event()
        async with tractor.open_root_actor(debug_mode=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(has_it, got, enough)
                await got.wait()
                try:
                    breakpoint()
                    print("not seen")
                except debug.DebugRequestError as error:
                    print("refused:", error, flush=True)
                enough.set()
                await tractor.pause()
        print("went on", flush=True)

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    before = tree.prompt()
    assert "refused: no REPL here: this thread has the terminal already" in before
    assert "paused in actor 'root'" in before
    # Nor does a REPL wait for itself.
    assert "DebugRequestError: no REPL here" in tree.ask("tractor.pause_from_sync()")
    tree.type("c")
    assert "went on" in tree.rest()
    assert tree.exit_code() == 0


def test_a_step_into_a_lock_lets_the_program_run(
    session: Start, tmp_path: Path
) -> None:
    """The program has not asked for a REPL there, so it gets no error either."""
    text = """
    async def main():
        async with tractor.open_root_actor(debug_mode=True):
            await tractor.pause()
            async with debug.acquire_debug_lock():
                print("inside", flush=True)
            print("after", sys.gettrace(), flush=True)

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    tree.prompt()
    assert "acquire_debug_lock" in tree.ask("n")
    tree.type("n")
    rest = tree.rest()
    assert "the debugger lets the program run on: no REPL here" in rest
    assert rest.index("inside") < rest.index("after None")
    assert tree.exit_code() == 0


@pytest.mark.parametrize("at", ["into", "out of"])
def test_a_fixture_that_hangs_is_no_person(
    session: Start, tmp_path: Path, at: str
) -> None:
    """Whether it does so before the REPL or after it, its actor can be ended."""
    text = f"""
    import time
    from contextlib import contextmanager

    @contextmanager
    def hanging(box):
        if {at == "into"}:
            print("hangs", flush=True)
            time.sleep(9999)
        yield
        print("hangs", flush=True)
        time.sleep(9999)

    async def main():
        async with tractor.open_nursery(
            debug_mode=True,
            repl_fixture=hanging,
            graces=tractor.Graces(ack=0.2, cancel=0.4),
        ) as an:
            portal = await an.run_in_actor(stop)
            with trio.move_on_after(1):
                await portal.wait_for_result()
            await an.cancel()
        print("tree ended", flush=True)

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    if at == "out of":
        tree.prompt()
        tree.type("c")
    tree.expect("hangs")
    assert "tree ended" in tree.rest()


# -- The same without a program --------------------------------------------------------


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered or kept stays so, if nobody takes it over."""
    monkeypatch.setattr(_line, "KEEP", 3600.0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What desks say at their terminals."""
    said: list[str] = []
    monkeypatch.setattr(Desk, "say", lambda _desk, text: said.append(text))
    return said


def held(desk: Desk, name: str) -> Lease:
    """The terminal for somebody, who has begun."""
    lease = Lease(desk.address, name)
    lease.open()
    assert desk.holder == name
    return lease


async def test_a_thread_that_blocks_is_served_before_its_tasks(
    desk: Desk, kept: None
) -> None:
    """It takes the offer over, and the task asks again without blocking."""
    first = held(desk, "first")
    task, blocks = Lease(desk.address, "task"), Lease(desk.address, "blocks")
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.acquire_soon)
            await trio.testing.wait_all_tasks_blocked()
            first.release()  # and so it is the task's turn
            assert desk.holder == ""
            blocks.open()
            assert desk.holder == "blocks"
            await trio.testing.wait_all_tasks_blocked()
            assert task.path is None
            blocks.release()
    task.open()
    assert desk.holder == "task"
    task.release()


async def test_who_comes_late_waits_again(desk: Desk) -> None:
    """For as long as the one needs whom it was passed on to; a fixture is slow, say."""
    slow, other = Lease(desk.address, "slow"), Lease(desk.address, "other")
    thread = threading.Thread(target=slow.open)
    slow.acquire()
    with trio.fail_after(SAFETY):
        await other.acquire_soon()  # once the offer has passed
        other.open()
        thread.start()
        assert desk.holder == "other"
        other.release()
        await trio.to_thread.run_sync(thread.join)
    assert desk.holder == "slow"
    slow.release()


async def test_a_lock_that_comes_late_waits_again(
    desk: Desk, kept: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the loop."""
    lease, claims = Lease(desk.address, "lock"), list[str]()
    claim = Lease._claim

    def late_once(lease: Lease, word: str) -> bool:
        claims.append(word)
        if claims == ["step", "lock"]:
            Lease.release(lease)
            return False
        return claim(lease, word)

    monkeypatch.setattr(Lease, "_claim", late_once)
    with trio.fail_after(SAFETY):
        await lease.lock_soon()
    assert claims == ["step", "lock", "step", "lock"]
    lease.release()


def test_another_stop_of_a_thread_takes_over_what_it_keeps(
    desk: Desk, kept: None
) -> None:
    """It does not wait for the time to pass in which it would go on stepping."""
    steps = held(desk, "steps")
    steps.step()
    held(desk, "stops").release()
    steps.open()
    steps.release()


async def test_who_gives_up_his_turn_is_not_dead(
    desk: Desk, said: list[str], kept: None
) -> None:
    """And the next one gets it."""
    first = held(desk, "first")
    with trio.fail_after(SAFETY):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Lease(desk.address, "second").acquire_soon)
            await trio.testing.wait_all_tasks_blocked()
            first.release()  # and so it is the second's turn
            nursery.cancel_scope.cancel()
        third = Lease(desk.address, "third")
        await third.acquire_soon()
    third.open()
    assert said == []
    third._close()
    held(desk, "fourth").release()
    assert said == ["actor 'third' is gone, and its debugger with it"]


@pytest.mark.parametrize("end", [Lease.step, Lease.release])
def test_ctrl_c_while_the_terminal_is_given_back(
    desk: Desk, kept: None, monkeypatch: pytest.MonkeyPatch, end: Callable[..., None]
) -> None:
    """It is given back all the same, and nobody takes it for his own."""

    def interrupted(_lease: Lease) -> bytes:
        raise KeyboardInterrupt

    lease = held(desk, "somebody")
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            end(lease)
    assert lease.path is None
    held(desk, "next").release()
    lease.open()
    lease.release()


async def test_a_lock_may_be_left_in_another_context(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another task than the one that entered it."""
    monkeypatch.setattr(_debugger, "find_terminal", lambda: path)
    async with tractor.open_root_actor(debug_mode=True) as actor:
        block = debug.acquire_debug_lock()
        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(block.__aenter__)
            await block.__aexit__(None, None, None)
            lease = Lease(actor.runtime_vars.debug_desk, "next")
            await lease.acquire_soon()
            lease.release()


# -- What is not there yet, or not at all ----------------------------------------------


def test_a_fixture_of_a_module_that_is_half_there(
    session: Start, start_method: str, tmp_path: Path
) -> None:
    """It is looked for again when the module is complete."""
    text = f"""
    from contextlib import contextmanager

    if __name__ != "__main__":
        breakpoint()

    @contextmanager
    def announced(box):
        print("announced", flush=True)
        yield

    async def main():
        async with tractor.open_nursery(
            debug_mode=True, repl_fixture=announced, start_method={start_method!r}
        ) as an:
            portal = await an.run_in_actor(stop)
            print("result", await portal.wait_for_result(), flush=True)

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    before = tree.prompt()
    assert "announced" not in before
    assert "does not work" not in before
    assert "announced" in tree.ask("c")
    tree.type("c")
    assert "result went on" in tree.rest()


def test_an_option_that_another_thread_looks_for_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second does not go without it."""
    monkeypatch.syspath_prepend(tmp_path)
    text = """
    import threading

    begun, may_end = threading.Event(), threading.Event()

    def wait(seconds):
        begun.set()
        assert may_end.wait(seconds)
    """
    write_program(tmp_path, text, "half_there_gate.py")
    text = f"""
    import half_there_gate

    half_there_gate.wait({SAFETY})

    def wanted(error):
        return True
    """
    write_program(tmp_path, text, "half_there.py")
    import half_there_gate as gate  # type: ignore[import-not-found]

    named, found = Named("debug_filter", "half_there:wanted"), list[object]()
    threads = [
        threading.Thread(target=lambda: found.append(named.get())) for _ in range(2)
    ]
    threads[0].start()
    assert gate.begun.wait(SAFETY)
    threads[1].start()
    threads[1].join(0.1)  # it does not end, save if it goes without
    gate.may_end.set()
    for thread in threads:
        thread.join(SAFETY)
    assert len(found) == 2
    assert found[0] is found[1] is named.get() is not None


def test_an_error_counts_where_no_repl_opens(tmp_path: Path) -> None:
    """`open_crash_handler` then does what it does after one."""
    path = program(
        tmp_path,
        """
        async def main():
            async with tractor.open_root_actor(debug_mode=True):
                with debug.open_crash_handler(raise_on_exit=False) as box:
                    raise KeyError("kept")
                print("went on with", repr(box.value))
                try:
                    with debug.open_crash_handler():
                        raise ValueError("mine")
                except ValueError as error:
                    print("caught", repr(error))

        if __name__ == "__main__":
            trio.run(main)
        """,
    )
    done = run_detached(path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "went on with KeyError('kept')",
        "caught ValueError('mine')",
    ]


async def test_an_error_that_nobody_raised_has_no_place() -> None:
    """`post_mortem` says so."""
    with pytest.raises(RuntimeError, match=r"nobody raised ValueError\('not yet'\)"):
        await tractor.post_mortem(ValueError("not yet"))
