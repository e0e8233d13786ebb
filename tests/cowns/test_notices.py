"""The notice board."""

import pytest
import trio

from tests.cowns import _bodies as do
from tests.cowns._scopes import BACKENDS, scoped
from tractor import MsgTypeError
from tractor.cowns import REMOVED, Cown, Scope


@pytest.mark.parametrize("backend", BACKENDS)
async def test_behaviours_read_and_change_it(backend: str) -> None:
    """I15: one sees one version, and not its own change; the next one does."""
    async with scoped(backend) as scope:
        cown = Cown(0)
        scope.notices.seed("key", "old")
        first = scope.schedule(do.write_and_read, cown, captures=("key", "new"))
        assert await first == "old"
        assert await scope.schedule(do.read_notice, cown, captures=("key",)) == "new"
        assert scope.notices.snapshot() == {"key": "new"}
        scope.notices.delete("key")
        assert await scope.schedule(do.read_notice, cown, captures=("key",)) is None


async def test_updates_are_atomic() -> None:
    """Two workers at once lose none of them."""
    async with scoped(workers=2) as scope:
        for _ in range(100):
            scope.schedule(do.count_up, Cown(0), captures=("count",))
        await scope.quiesce()
        assert scope.notices.read("count") == 100


async def test_an_update_that_fails_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged; and one that returns `REMOVED` removes the key."""
    async with scoped() as scope:
        scope.notices.write("key", 1)
        with caplog.at_level("ERROR"):
            scope.notices.update("key", do.refuse)
        assert "a notice was not updated: key" in caplog.text
        assert scope.notices.read("key") == 1
        scope.notices.update("key", do.remove)
        assert scope.notices.read("key", "gone") == "gone"
        assert repr(REMOVED) == "REMOVED"


KEYS = {
    "the 65th": [str(number) for number in range(65)],
    "63 bytes": ["k" * 63],
    "64 bytes": ["k" * 64],
    "of more bytes than letters": ["ä" * 63],
    "empty": [""],
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
async def test_any_text_is_a_key(keys: list[str]) -> None:
    """However many there are, and however long."""
    async with scoped() as scope:
        for key in keys:
            scope.notices.write(key, key)
        for key in (keys[0], keys[-1]):
            read = scope.schedule(do.read_notice, Cown(0), captures=(key,))
            assert await read == key
        assert len(scope.notices.snapshot()) == len(keys)


async def test_what_is_refused() -> None:
    """A key that is no text, a value that cannot be packed; and nothing changes."""

    def attempts(scope: Scope) -> None:
        with pytest.raises(TypeError, match="is a text"):
            scope.notices.write(5, 1)  # type: ignore[arg-type]
        with pytest.raises(MsgTypeError):
            scope.notices.write("key", object())
        with pytest.raises(TypeError):
            scope.notices.snapshot()["key"] = 1  # type: ignore[index]

    async with scoped() as scope:
        attempts(scope)
        assert scope.notices.snapshot() == {}


async def test_what_one_gets_is_a_copy() -> None:
    """To change it changes nothing; and a handle in it is kept and found."""
    async with scoped() as scope:
        mine = [1]
        scope.notices.write("list", mine)
        mine.append(2)
        assert scope.notices.read("list") == [1]
        scope.notices.write("cown", Cown(20))
        cown = scope.notices.read("cown")
        assert await scope.schedule(do.add, cown) == 21
        await trio.lowlevel.checkpoint()
