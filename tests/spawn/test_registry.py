"""Finding spawn backends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tractor._exceptions import BackendUnavailable
from tractor.spawn import (
    DEFAULT_BACKEND,
    SpawnBackend,
    available_backends,
    get_backend,
)

type Site = Path


def python(code: str) -> str:
    """What `code` prints in a fresh Python."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Site, key: str, code: str) -> None:
    """Install a distribution with the backend `key`, made by `code`."""
    module = f"outside_{key}"
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\n")
    (info / "entry_points.txt").write_text(
        f"[tractor.spawn_backends]\n{key} = {module}:backend\n"
    )


def test_the_default_is_found() -> None:
    """The default backend works here, knows its key, and comes first."""
    backend: SpawnBackend = get_backend(DEFAULT_BACKEND)
    assert backend.key == DEFAULT_BACKEND
    assert backend.traits.can_kill
    assert available_backends()[0] == DEFAULT_BACKEND


def test_unknown_keys_are_refused_with_a_list() -> None:
    """A misspelt key is answered with those that exist."""
    with pytest.raises(ValueError, match=r"'tiro'; known ones: trio"):
        get_backend("tiro")


def test_outside_backends_are_found(site: Site) -> None:
    """A backend of another distribution is known by its entry point."""
    install(site, "zeppelin", "class B:\n    key = 'zeppelin'\nbackend = B()\n")
    assert get_backend("zeppelin").key == "zeppelin"
    assert available_backends()[0] == DEFAULT_BACKEND
    assert "zeppelin" in available_backends()
    with pytest.raises(ValueError, match=r"known ones: trio.*, zeppelin"):
        get_backend("tiro")


def test_our_keys_cannot_be_taken(site: Site) -> None:
    """An entry point of the name of one of ours is passed over."""
    install(site, "trio", "raise RuntimeError('should not be loaded')")
    assert type(get_backend("trio")).__module__ == "tractor.spawn._trio"
    assert available_backends().count("trio") == 1


def test_a_backend_says_what_it_misses(site: Site) -> None:
    """The error of one that cannot work here names what is missing."""
    install(
        site,
        "moon",
        "class B:\n"
        "    key = 'moon'\n"
        "    def unavailable(self): return 'a rocket'\n"
        "backend = B()\n",
    )
    with pytest.raises(BackendUnavailable, match=r"'moon' .* it needs a rocket"):
        get_backend("moon")
    assert "moon" not in available_backends()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import no_such_module_", "No module named 'no_such_module_'"),
        ("", "no attribute 'backend'"),
        ("raise RuntimeError('half installed')", "half installed"),
    ],
)
def test_a_broken_backend_breaks_nothing_else(
    site: Site, code: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that fails to load is unavailable, with its error as the cause."""
    monkeypatch.delitem(sys.modules, "outside_broken", raising=False)
    install(site, "broken", code)
    with pytest.raises(BackendUnavailable, match=text) as caught:
        get_backend("broken")
    assert caught.value.__cause__ is not None
    assert available_backends() == [
        key for key in available_backends() if key != "broken"
    ]


@pytest.mark.parametrize(
    ("where", "name", "value", "text"),
    [
        (sys, "executable", "", r"needs sys\.executable"),
        (os, "name", "nt", "needs POSIX"),
    ],
)
def test_the_subprocess_backend_says_what_it_misses(
    where: object,
    name: str,
    value: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is nothing to start, or no way to inherit a link, it says so."""
    with monkeypatch.context() as patch:
        patch.setattr(where, name, value)
        with pytest.raises(BackendUnavailable, match=text):
            get_backend("trio")
    assert "trio" in available_backends()


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    """Importing the package adds no backend and no slow module to what trio needs."""
    heavy = "subprocess importlib.metadata ctypes multiprocessing"
    code = f"""
import sys, trio, msgspec
before = set(sys.modules)
import tractor.spawn
added = set(sys.modules) - before
print([name for name in {heavy.split()} if name in added])
print("tractor.spawn._trio" in sys.modules)
tractor.spawn.get_backend("trio")
print("tractor.spawn._trio" in sys.modules, "importlib.metadata" in sys.modules)
"""
    assert python(code).splitlines() == ["[]", "False", "True False"]
