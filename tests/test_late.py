"""Names that are loaded when somebody asks for them, and are there all the same."""

import sys
from typing import Any

import pytest

import tractor
import tractor.runtime
import tractor.spawn
import tractor.trionics
from tractor import _late


@pytest.mark.parametrize(
    "package", [tractor, tractor.runtime, tractor.spawn, tractor.trionics]
)
def test_a_star_brings_them(package: Any) -> None:
    """`from tractor import *` finds what `tractor.` finds, and nothing private."""
    found: dict[str, Any] = {}
    exec(f"from {package.__name__} import *", found)
    del found["__builtins__"]
    assert package._LATE.keys() <= found.keys()
    assert not [name for name in found if name.startswith("_")]
    assert all(found[name] is getattr(package, name) for name in found)


def test_other_names_are_unknown() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="'tractor' has no attribute 'nonsense'"):
        _ = tractor.nonsense


def test_a_package_comes_before_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python locks a module before its package; who imports that locks it first."""
    imported: list[str] = []

    def import_module(name: str) -> Any:
        imported.append(name)
        return sys.modules[__name__]

    monkeypatch.setattr(_late, "import_module", import_module)
    find = _late.late_names("a", {"pytest": "a.b.c"})
    assert find("pytest") is pytest
    assert imported == ["a.b", "a.b.c"]
