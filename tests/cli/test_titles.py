"""The names of actors in listings of the system's own."""

import sys

import pytest
import trio

from tests._helpers import open_tree, pid_of

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
