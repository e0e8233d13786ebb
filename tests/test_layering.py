"""Imports point down, folders keep their insides, files and functions stay short.

Every import statement counts: those inside functions and under TYPE_CHECKING too, and
`import_module` with a literal name.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

# A unit is a file or folder of `tractor`. It may import the units of the layers above
# it in this table, and itself.
LAYERS: Final = (
    # In this one layer they may import those to the left, too.
    (
        0,
        "_late _types _ending _exceptions _orders log _instrument trionics _proc "
        "_census _aio_errors _guest _loop",
    ),
    (1, "msg"),
    (2, "interp ipc spawn"),
    (3, "runtime"),
    (4, "discovery"),
    (5, "_root _child"),
    (6, "_cluster _daemon to_actor to_asyncio futures pinned tracing"),
    (6, "experimental"),
    (7, "devx cowns"),  # the latter builds on futures and pinned
    (8, "testing cli __init__"),  # the last one is what `import tractor` gives
    (9, "__main__"),
)

MAX_FILE: Final = 400  # lines
MAX_FUNCTION: Final = 60  # lines, from `def` to its end, without its docstring
ALLOWED_SIZES: Final[dict[str, str]] = {
    # "folder/file.py" or "folder/file.py::function": "docs/adr/NNNN-why.md"
}

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "tractor"
PATHS: Final = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

LAYER_OF: Final = {unit: layer for layer, units in LAYERS for unit in units.split()}
L0_ORDER: Final = LAYERS[0][1].split()


# -- The rules -------------------------------------------------------------------------


def wrong_imports(path: str, source: str) -> list[str]:
    """What the file at `path`, relative to the package, must not import."""
    unit = path.split("/", maxsplit=1)[0].removesuffix(".py")
    if unit not in LAYER_OF:
        return [f"`{path}` is not in the layer table"]
    package = ["tractor", *path.split("/")[:-1]]
    found = []
    for module in imported_modules(ast.parse(source), package):
        target, *inside = module.split(".")[1:] or ["__init__"]
        if target not in LAYER_OF:  # a name that the package itself exports
            target, inside = "__init__", [target]
        if target == unit:
            continue
        name = ".".join([target, *inside])
        if not is_below(target, unit):
            layers = f"L{LAYER_OF[unit]} `{path}` imports L{LAYER_OF[target]}"
            found.append(f"{layers} `{name}`")
        elif any(part.startswith("_") and part != "__init__" for part in inside):
            found.append(f"`{path}` imports `{name}`, which is private to `{target}`")
    return found


def is_below(target: str, unit: str) -> bool:
    """Whether `unit` may import `target`, another one."""
    if LAYER_OF[target] == LAYER_OF[unit] == 0:
        return L0_ORDER.index(target) < L0_ORDER.index(unit)
    return LAYER_OF[target] < LAYER_OF[unit]


def imported_modules(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Dotted names from `tractor` on; what is imported from a module comes last."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module, names, level):
                base = package[: len(package) - level + 1] if level else []
                prefix = ".".join([*base, *([module] if module else [])])
                modules = [f"{prefix}.{alias.name}" for alias in names]
            case ast.Call(
                ast.Name("import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                [ast.Constant(str(module)), *_],
            ):
                modules = [module]
            case _:
                continue
        for module in modules:
            if module.split(".")[0] == "tractor":
                yield module


def too_long(path: str, source: str) -> dict[str, str]:
    """What exceeds its size, by the name that `ALLOWED_SIZES` would have for it."""
    lines = len(source.splitlines())
    found = {}
    if lines > MAX_FILE:
        found[path] = f"`{path}` has {lines} lines, over {MAX_FILE}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _lines(node) - (_lines(node.body[0]) if has_docstring(node) else 0)
            if lines > MAX_FUNCTION:
                text = f"`{node.name}` in `{path}` has {lines} lines"
                found[f"{path}::{node.name}"] = f"{text}, over {MAX_FUNCTION}"
    return found


def has_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it begins with one."""
    return ast.get_docstring(node, clean=False) is not None


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# -- The package -----------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_imports_point_down(path: str) -> None:
    """No file imports from its own layer or a higher one, or the inside of a folder."""
    source = (PACKAGE / path).read_text(encoding="utf-8")
    assert wrong_imports(path, source) == []


@pytest.mark.parametrize("path", PATHS)
def test_sizes(path: str) -> None:
    """Files and functions are short, or an ADR says why not."""
    found = too_long(path, (PACKAGE / path).read_text(encoding="utf-8"))
    assert [text for name, text in found.items() if name not in ALLOWED_SIZES] == []


def test_each_allowance_is_used_and_explained() -> None:
    """An allowance names a page that exists, and goes when it is not needed."""
    needed: set[str] = set()
    for path in PATHS:
        needed |= too_long(path, (PACKAGE / path).read_text(encoding="utf-8")).keys()
    assert ALLOWED_SIZES.keys() <= needed
    assert [adr for adr in ALLOWED_SIZES.values() if not (ROOT / adr).is_file()] == []


def test_the_package_is_found() -> None:
    """There are files to check."""
    assert "_types.py" in PATHS
    assert "spawn/__init__.py" in PATHS


# -- The checks can fail ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        (
            "spawn/_trio.py",
            "from tractor.runtime._portal import Portal",
            "L2 `spawn/_trio.py` imports L3 `runtime._portal.Portal`",
        ),
        (
            "spawn/_trio.py",
            "from tractor import ipc",
            "L2 `spawn/_trio.py` imports L2 `ipc`",
        ),
        (
            "ipc/_channel.py",
            "def f():\n    import tractor.spawn",
            "L2 `ipc/_channel.py` imports L2 `spawn`",
        ),
        (
            "runtime/_actor.py",
            "if TYPE_CHECKING:\n    from tractor.devx import dump",
            "L3 `runtime/_actor.py` imports L7 `devx.dump`",
        ),
        (
            "runtime/_actor.py",
            "import tractor.tracing as t",
            "L3 `runtime/_actor.py` imports L6 `tracing`",
        ),
        (
            "runtime/_actor.py",
            "from .. import testing",
            "L3 `runtime/_actor.py` imports L8 `testing`",
        ),
        (
            "runtime/_actor.py",
            "importlib.import_module('tractor._root')",
            "L3 `runtime/_actor.py` imports L5 `_root`",
        ),
        ("_types.py", "import tractor.log", "L0 `_types.py` imports L0 `log`"),
        ("msg/types.py", "import tractor", "L1 `msg/types.py` imports L8 `__init__`"),
        (
            "msg/types.py",
            "from tractor import open_nursery",
            "L1 `msg/types.py` imports L8 `__init__.open_nursery`",
        ),
        (
            "runtime/_actor.py",
            "from tractor.spawn._x import thing",
            "`runtime/_actor.py` imports `spawn._x.thing`, which is private to `spawn`",
        ),
        (
            "__init__.py",
            "from tractor.spawn import _registry as r",
            "`__init__.py` imports `spawn._registry`, which is private to `spawn`",
        ),
        ("_misc.py", "", "`_misc.py` is not in the layer table"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str, expected: str) -> None:
    """Each kind of violation is named, wherever and however it is written."""
    assert wrong_imports(path, source) == [expected]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("spawn/_trio.py", "from tractor.spawn._backend import Child"),
        ("spawn/_trio.py", "from ._backend import Child"),
        ("spawn/_trio.py", "import os, trio.lowlevel; from tractor._types import Aid"),
        ("runtime/_rpc.py", "from tractor.msg.types import Start"),
        ("_instrument.py", "def f():\n    from tractor.log import get_logger"),
        ("__main__.py", "from tractor import open_nursery"),
        ("spawn/_registry.py", "import_module('tractor.spawn._mp')"),
        ("spawn/_registry.py", "import_module(path)"),
    ],
)
def test_a_right_import_is_not(path: str, source: str) -> None:
    """Lower layers, one's own folder and public sub-modules are free to use."""
    assert wrong_imports(path, source) == []


def test_a_long_file_and_a_long_function_are_found() -> None:
    """One line over is too long, and one less is not."""
    body = "    pass\n"
    assert too_long("x.py", "\n" * MAX_FILE) == {}
    assert list(too_long("x.py", "\n" * (MAX_FILE + 1))) == ["x.py"]
    assert too_long("x.py", f"def f():\n{body * (MAX_FUNCTION - 1)}") == {}
    assert too_long("x.py", f"async def f():\n{body * MAX_FUNCTION}") == {
        "x.py::f": "`f` in `x.py` has 61 lines, over 60"
    }
