"""The wheel: who installs it can test actors of their own, with nothing of ours."""

import os
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SAFETY: Final = 120  # seconds; a net

PACKAGE: Final = """
import os

async def price(of: str) -> tuple[str, int]:
    return of, os.getpid()
"""
TESTS: Final = """
import os
import shop
import tractor
from tractor.testing import tractor_test

def test_where():
    assert tractor.__file__.startswith(os.environ["VENV"])

@tractor_test
async def test_price(start_method, census):
    async with tractor.open_nursery() as an:
        portal = await an.start_actor("shop", enable_modules=["shop"])
        of, pid = await portal.run(shop.price, of="bread")
        assert of == "bread"
        assert pid != os.getpid()
        await portal.cancel_actor()
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """That of an environment in which the wheel is installed, and no checkout is.

    What else it needs is that of this environment, so nothing is downloaded. A wheel
    of pure Python is installed by unpacking it.
    """
    run(tmp_path, sys.executable, "-m", "venv", "--without-pip", "venv")
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d")
    run(ROOT, *build, str(tmp_path / "dist"))
    venv = {"base": str(tmp_path / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", venv))
    [wheel] = (tmp_path / "dist").glob("tractor-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    others = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "others.pth").write_text("\n".join(others))
    return tmp_path / "venv/bin/python"


def run(folder: Path, *argv: str | Path) -> str:
    """What a command says; it has to succeed."""
    env = {**os.environ, "VENV": str(folder / "venv")}
    for name in ("PYTHONPATH", "PYTEST_ADDOPTS"):
        env.pop(name, None)
    done = subprocess.run(
        argv,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SAFETY,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_another_project_tests_its_actors(python: Path, tmp_path: Path) -> None:
    """pytest finds the plugin by itself, and runs the test on two backends."""
    (tmp_path / "shop.py").write_text(PACKAGE)
    (tmp_path / "test_shop.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    said = run(
        *(tmp_path, python, "-m", "pytest", "-p", "no:cacheprovider"),
        *("--spawn-backend=trio,mp_spawn", "test_shop.py"),
    )
    assert "trio: 1 passed\nmp_spawn: 1 passed\n" in said
    assert "3 passed" in said
