"""The names of actors in listings of the system's own."""

import re
import sys
from pathlib import Path
from typing import Final

import pytest
import trio

from tests._helpers import open_tree, pid_of, run_python, write_program

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows them")


@linux
@pytest.mark.requires_trait("own_process")
@pytest.mark.parametrize("name", ["worker", "a-name-that-is-too-long", "ein Käfer"])
async def test_a_process_has_the_name_of_its_actor(
    start_method: str, name: str
) -> None:
    """As far as the kernel has room for it."""
    async with open_tree(start_method) as an:
        portal = await an.start_actor(name)
        shown = await trio.Path(f"/proc/{pid_of(portal)}/comm").read_bytes()
        await portal.cancel_actor()
    assert shown == name.encode()[:15] + b"\n"


# In a program: where the environment of a process was changed before, as the import of
# pytest does, nobody finds the place of its title.
LISTED: Final = """
    import subprocess, sys
    import trio, tractor

    LIST = (sys.executable, "-m", "tractor", "ps")

    async def main():
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("ein-Käfer")
            await trio.run_process(["cat", f"/proc/{portal.aid.pid}/cmdline"])
            await trio.run_process(LIST)
            await portal.cancel_actor()

    if __name__ == "__main__":
        trio.run(main)
"""


@linux
@pytest.mark.requires_trait("own_process")
def test_a_process_has_a_title_by_which_it_is_found(
    start_method: str, tmp_path: Path
) -> None:
    """Also one that is not ready to answer, on each backend of processes."""
    done = run_python(start_method, write_program(tmp_path, LISTED))
    title, _, listed = done.stdout.partition("PID")
    assert title.rstrip("\0") == "tractor._child --name ein-Käfer", done.stderr
    # The widths of columns depend on what else runs on the machine.
    assert re.search("  ein-Käfer +S  it is not ready to answer", listed)
