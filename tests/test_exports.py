"""The public names of `tractor`: each exported once, on purpose, and explained."""

import ast
import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import tractor

PACKAGE: Final = Path(tractor.__file__).parent
SOURCE: Final = Path(tractor.__file__).read_text(encoding="utf-8")


def public(module: ModuleType) -> dict[str, object]:
    """What a user sees of it: the attributes without an underscore."""
    return {
        name: getattr(module, name) for name in dir(module) if not name.startswith("_")
    }


def exports(source: str) -> list[str]:
    """The names that a module re-exports, as `X as X`, in order."""
    return [alias.name for alias, _ in imports(source) if alias.name == alias.asname]


def stray_imports(source: str) -> list[str]:
    """Imports that would make a name public, or seem to, without saying so."""
    found = []
    for alias, text in imports(source):
        name = alias.asname or alias.name.split(".")[0]
        if alias.asname != alias.name and not name.startswith("_"):
            found.append(text)
    return found


def imports(source: str) -> Iterator[tuple[ast.alias, str]]:
    """Each name that is imported when the module is, with the statement's text."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue  # binds nothing in the module
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias, ast.unparse(node)
        waiting.extend(ast.iter_child_nodes(node))


def shared(names: dict[str, object]) -> list[list[str]]:
    """Groups of names that are one and the same function or class."""
    by_id: dict[int, list[str]] = {}
    for name, value in names.items():
        if inspect.isclass(value) or inspect.isroutine(value):
            by_id.setdefault(id(value), []).append(name)
    return [group for group in by_id.values() if len(group) > 1]


def is_explained(value: object) -> bool:
    """Whether it has a docstring of its own; constants have none to have."""
    if isinstance(value, ModuleType) or inspect.isroutine(value):
        return bool(inspect.getdoc(value))
    if inspect.isclass(value):
        return bool(value.__dict__.get("__doc__"))
    return True


PUBLIC: Final = public(tractor)
FACADES: Final = sorted(
    f"tractor.{each.name}" for each in pkgutil.iter_modules([PACKAGE]) if each.ispkg
)


def test_each_name_is_exported_once() -> None:
    """No name is imported twice, or for the user to wonder which it is."""
    assert [name for name, count in Counter(exports(SOURCE)).items() if count > 1] == []


def test_each_export_is_written_x_as_x() -> None:
    """What is public was meant to be: each import says so, as type checkers want it."""
    assert stray_imports(SOURCE) == []


def test_nothing_is_public_by_accident() -> None:
    """Every public name is an export, or a sub-module of ours that was imported."""
    submodules = {each.name for each in pkgutil.iter_modules([PACKAGE])}
    accidents = PUBLIC.keys() - exports(SOURCE) - submodules
    assert {name: PUBLIC[name] for name in accidents} == {}


def test_no_module_is_public_but_our_own() -> None:
    """A module that is reachable under a public name is `tractor`'s of that name."""
    modules = {k: v for k, v in PUBLIC.items() if isinstance(v, ModuleType)}
    names = {name: module.__name__ for name, module in modules.items()}
    assert names == {name: f"tractor.{name}" for name in modules}


def test_no_two_names_are_one_thing() -> None:
    """There is one way to call each function and class."""
    assert shared(PUBLIC) == []


@pytest.mark.parametrize("facade", FACADES)
def test_a_name_means_the_same_everywhere(facade: str) -> None:
    """A name that a sub-package exports too is the same thing there.

    A sub-package that was imported is a name of `tractor` as well, and may have a
    function of its own name.
    """
    package = importlib.import_module(facade)
    there = public(package)
    shared_names = [n for n in PUBLIC.keys() & there if PUBLIC[n] is not package]
    assert [n for n in shared_names if PUBLIC[n] is not there[n]] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_has_a_docstring(name: str) -> None:
    """`help` of it says what it is for."""
    assert is_explained(PUBLIC[name])


# -- The checks can fail ---------------------------------------------------------------


def test_exports_are_read_wherever_they_are() -> None:
    """An export counts under TYPE_CHECKING and in a `try`, but not in a function."""
    source = """
from a import X as X
if TYPE_CHECKING:
    from b import Y as Y, Z as Z
def f():
    from c import W as W
    import os
"""
    assert exports(source) == ["X", "Y", "Z"]
    assert stray_imports(source) == []


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "import os.path",
        "import numpy as np",
        "from a import X",
        "from a import X as Y",
        "from a import *",
        "from a import _x as y",
    ],
)
def test_a_stray_import_is_found(line: str) -> None:
    """An import that is neither private nor `X as X` is named."""
    assert stray_imports(f"{line}\nfrom a import _b\nimport os as _os") == [line]


def test_two_names_for_one_thing_are_found() -> None:
    """An alias is named; equal constants are none."""
    assert shared({"a": public, "b": 1, "c": public, "d": 1}) == [["a", "c"]]


def test_a_missing_docstring_is_found() -> None:
    """One that is inherited does not count."""

    class Bare(Exception):
        pass

    assert not is_explained(Bare)
    assert not is_explained(lambda: None)
    assert is_explained(public)
    assert is_explained(3.0)


API: Final = (PACKAGE.parent / "docs/reference/api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name",
    [name for name, value in PUBLIC.items() if not inspect.ismodule(value)],
)
def test_each_name_is_in_the_reference(name: str) -> None:
    """Those that are loaded late, too."""
    assert f"`{name}`" in API
