"""Which functions may be called from outside, and by what names."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from tests.runtime import rpc_functions as rpc
from tractor import ModuleNotExposed
from tractor.runtime import (
    MAIN,
    REPLAYED_MAIN,
    Exposure,
    check_modules,
    main_origin,
    path_of,
)

NS: Final = rpc.__name__


@pytest.fixture
def exposure() -> Exposure:
    made = Exposure([NS])
    made.load()
    return made


def test_a_function_is_found_by_module_and_name(exposure: Exposure) -> None:
    """The same object each time (semantics §13: exposed by definition)."""
    assert exposure.resolve(NS, "add") is rpc.add
    assert exposure.resolve(*path_of(rpc.add)) is rpc.add


@pytest.mark.parametrize(
    ("ns", "name", "error"),
    [
        ("os", "getcwd", ModuleNotExposed),
        (f"{NS}.", "add", ModuleNotExposed),
        (NS, "_private", ModuleNotExposed),
        (NS, "__name__", ModuleNotExposed),
        (NS, "checkpoint", ModuleNotExposed),  # of trio
        (NS, "trio", ModuleNotExposed),
        (NS, "log", TypeError),  # a value
        (NS, "missing", AttributeError),
        (NS, "Holder.method", AttributeError),
        (NS, "", AttributeError),
        (NS, "sync", TypeError),
        (NS, "Holder", TypeError),
        (NS, "generator", TypeError),
    ],
)
def test_nothing_else_is_found(
    exposure: Exposure, ns: str, name: str, error: type[Exception]
) -> None:
    """No other module, no re-export, nothing private, nothing sync (semantics §13)."""
    for _ in range(2):  # a refusal is not remembered as an answer
        with pytest.raises(error):
            exposure.resolve(ns, name)


def test_the_main_module_has_two_names() -> None:
    """`__mp_main__` in a child is what `__main__` is elsewhere (semantics §2.2)."""
    assert Exposure([REPLAYED_MAIN]).modules == {MAIN}
    assert check_modules([REPLAYED_MAIN, MAIN]) == [MAIN, MAIN]


def test_load_imports_all_but_the_main_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child replays that one by itself."""
    (tmp_path / "exposed_for_a_test.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    Exposure([MAIN, "exposed_for_a_test"]).load()
    assert sys.modules.pop("exposed_for_a_test").loaded
    with pytest.raises(ModuleNotFoundError):
        Exposure(["no_such_module_anywhere"]).load()


# -- Names of functions ----------------------------------------------------------------


async def replaced() -> None:
    pass


_original, replaced = replaced, rpc.sync  # type: ignore[assignment]


def _in_a_closure() -> Callable[..., Any]:
    async def inner() -> None:
        pass

    return inner


@pytest.mark.parametrize(
    ("fn", "error", "text"),
    [
        (rpc.sync, TypeError, "declare it with `async def`"),
        (lambda: None, TypeError, "not an async function"),
        (rpc.generator, TypeError, "async generator"),
        (rpc.Holder, TypeError, "not an async function"),
        (3, TypeError, "not an async function"),
        (_in_a_closure(), ValueError, "move it to the top level"),
        (rpc.Holder.method, ValueError, "at the top level"),
        (_original, ValueError, "is not that function"),
        (partial(rpc.add, 1), ValueError, "is not that function"),
    ],
)
def test_what_another_actor_cannot_find_is_refused(
    fn: Any, error: type[Exception], text: str
) -> None:
    """Before anything is sent or started, naming the fix (semantics §2.2)."""
    with pytest.raises(error, match=text):
        path_of(fn)


def test_functions_of_a_session_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child cannot import what was typed into a REPL (semantics §2.2)."""
    session = ModuleType(MAIN)
    exec("async def typed(): pass", vars(session))
    monkeypatch.setitem(sys.modules, MAIN, session)
    assert main_origin() == (None, None)
    with pytest.raises(ValueError, match="interactive session"):
        path_of(session.typed)


# -- Names of modules ------------------------------------------------------------------


def test_modules_are_found_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check_modules` looks, the child imports (semantics §2.1)."""
    (tmp_path / "never_imported.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert check_modules(["never_imported", NS]) == ["never_imported", NS]
    assert "never_imported" not in sys.modules


@pytest.mark.parametrize("name", ["no_such_module_anywhere", "trio.no_such_part"])
def test_modules_that_do_not_exist_are_refused(name: str) -> None:
    """`ModuleNotFoundError` before anything is spawned (semantics §2.1)."""
    with pytest.raises(ModuleNotFoundError, match=name):
        check_modules([name])


def test_a_text_is_no_list_of_modules() -> None:
    """``enable_modules="os"`` is not the modules ``o`` and ``s``."""
    with pytest.raises(TypeError, match="list of module names"):
        check_modules("os")
