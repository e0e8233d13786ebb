"""Faults of the parent: rows B of docs/reference/failure-semantics.md.

The roots are programs.
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests._helpers import (
    SAFETY,
    T_DOWN,
    T_ORPHAN,
    Bell,
    run_python,
    start_python,
    stubborn,
    within,
    write_program,
)
from tractor.spawn import Traits
from tractor.testing import take_census, wait_for_end

# Arguments: a bell, then what its children do.
PROGRAM = """
    import sys, trio, tractor
    from tests import _misbehaviours as mis

    async def main(bell, *bodies):
        async with tractor.open_nursery() as an:
            for name in bodies:
                await an.run_in_actor(getattr(mis, name), bell=bell)
            await an.run_in_actor(mis.has_child, fn="waits", bell=bell)
            await trio.sleep_forever()

    if __name__ == "__main__":
        trio.run(main, *sys.argv[1:])
"""

type Process = subprocess.Popen[str]


@contextmanager
def running_tree(
    start_method: str, folder: Path, *bodies: str
) -> Iterator[tuple[Process, list[int], Bell]]:
    """A root in another process, the processes below it, if any, and what they ring."""
    before = take_census().processes.keys()
    program = write_program(folder, PROGRAM)
    with (
        Bell() as bell,
        start_python(start_method, program, bell.path, *bodies) as root,
    ):
        try:
            for _ in [*bodies, "waits"]:
                bell.wait_heard()
            new = take_census().processes.keys() - before
            yield root, [pid for pid, _ in new if pid != root.pid], bell
        finally:
            root.kill()


def test_no_child_outlives_a_killed_root(
    start_method: str, traits: Traits, tmp_path: Path
) -> None:
    """When the root is killed all actors go, whatever they do (reliability B1)."""
    bodies = ["sleeps", "ignores_cancel", "loops"]
    if traits.own_gil:  # or nobody else has a turn
        bodies.append("holds_the_gil")
    if traits.main_thread:
        bodies.append("ignores_everything")
    with running_tree(start_method, tmp_path, *bodies) as (root, pids, _):
        if traits.own_process:
            assert len(pids) >= len(bodies) + 2  # a backend may have helpers
        else:
            assert pids == []  # all is in the root
        with within(T_ORPHAN):
            root.kill()
            assert wait_for_end(pids, SAFETY) == []
        assert root.wait() == -signal.SIGKILL


def test_a_terminated_root_leaves_in_order(
    start_method: str, traits: Traits, tmp_path: Path
) -> None:
    """SIGTERM cancels the tree, then the root exits with 143 (reliability B2)."""
    bodies = ("says_goodbye", stubborn(traits)[0])
    with running_tree(start_method, tmp_path, *bodies) as (root, pids, bell):
        with within(T_DOWN):
            root.terminate()
            _, err = root.communicate(timeout=SAFETY)
        assert root.returncode == 128 + signal.SIGTERM
        assert wait_for_end(pids, 3 * T_ORPHAN) == []  # helpers of a backend end later
        assert bell.wait_heard() == "goodbye"
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("end", "code"),
    [("sys.exit(3)", 3), ("1 / 0", 1), ("raise KeyboardInterrupt", -signal.SIGINT)],
)
def test_a_root_that_fails_leaves_in_order(
    start_method: str, tmp_path: Path, end: str, code: int
) -> None:
    """However the program ends, its actors end before it (reliability B4)."""
    program = write_program(
        tmp_path,
        f"""
        import sys, trio, tractor
        from tests._misbehaviours import says_goodbye

        async def main(bell):
            async with tractor.open_nursery() as an:
                await an.run_in_actor(says_goodbye, bell=bell)
                {end}

        trio.run(main, *sys.argv[1:])
        """,
    )
    with Bell() as bell:
        with within(T_DOWN):
            done = run_python(start_method, program, bell.path)
        assert done.returncode == code
        assert bell.heard_nowait()[-1] == "goodbye"
        assert done.stderr.count("Traceback (most recent call last)") == (code != 3)


def test_a_program_without_a_guard(start_method: str, tmp_path: Path) -> None:
    """A child that would boot a second tree is refused (reliability B5, semantics 1.6).

    The one message names the guard.
    """
    program = write_program(
        tmp_path,
        """
        import trio, tractor

        print("imported")

        async def hello():
            pass

        async def main():
            async with tractor.open_nursery() as an:
                await an.run_in_actor(hello)

        trio.run(main)
        """,
    )
    with within(1):
        done = run_python(start_method, program)
    assert done.returncode == 1
    assert done.stdout == "imported\n" * 2
    *_, last = done.stderr.splitlines()
    assert "RuntimeFailure" in last
    assert "if __name__ == '__main__':" in last
