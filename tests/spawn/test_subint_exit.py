"""The end of a guarded process is that of plain Python, in whatever way it ends.

Each case is a program that runs twice, without the guard and with it. The guard is what
ends a process in which a sub-interpreter was abandoned; here nothing was, so that plain
Python can show how it is to end.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests._helpers import SAFETY, write_program
from tractor.spawn import available_backends

# The guard is there for interpreters that do not end.
pytestmark = pytest.mark.skipif(
    "subint" not in available_backends(), reason="no sub-interpreters here"
)

ARM: Final = "import tractor.spawn._exit_guard as guard; guard.arm_exit_guard()\n"
TAKE_ALL: Final = """
tools = sys.monitoring
for tool in range(6):
    tools.use_tool_id(tool, "taken")
"""
# What the owner of a tool wants to hear, it goes on hearing.
LISTEN: Final = """
heard = []
atexit.register(lambda: print("heard:", ValueError in heard))
def note(code, offset, error):
    heard.append(type(error))
for tool in range(6):
    tools.register_callback(tool, tools.events.PY_UNWIND, note)
    tools.set_events(tool, tools.events.PY_UNWIND)
"""
SYSTEM_EXITS: Final = (
    *("0", "1", "3", "255", "256", "259", "-1", "-3", "1 << 40", "1 << 70"),
    *("-(1 << 70)", "None", "True", "''", "'words'", "3.5", "(1, 2)", "[]"),
)
HOOK: Final = "def hook(*_):\n    {}\nsys.excepthook = hook\n{}"
CASES: Final = {
    "nothing": "print('written')",
    **{f"sys.exit({code})": f"sys.exit({code})" for code in SYSTEM_EXITS},
    "no argument": "raise SystemExit",
    "its code is changed": "error = SystemExit(3)\nerror.code = 4\nraise error",
    "an enumeration": "import enum\n"
    "class Code(enum.IntEnum):\n    BAD = 259\nsys.exit(Code.BAD)",
    "deep": "def down():\n    sys.exit(5)\ndown()",
    "caught": "try:\n    sys.exit(5)\nexcept SystemExit:\n    pass",
    "error": "raise ValueError",
    "syntax error": "exec('1 +')",
    "group": "raise BaseExceptionGroup('all', [SystemExit(3), KeyboardInterrupt()])",
    "Ctrl-C": "raise KeyboardInterrupt",
    "Ctrl-C, a subclass": "class Mine(KeyboardInterrupt): pass\nraise Mine",
    "hook that returns": HOOK.format("print('hook')", "raise ValueError"),
    "hook that exits": HOOK.format("sys.exit(7)", "raise ValueError"),
    "hook that fails": HOOK.format("1 / 0", "raise ValueError"),
    "hook on Ctrl-C": HOOK.format("print('hook')", "raise KeyboardInterrupt"),
    "hook that exits on Ctrl-C": HOOK.format("sys.exit(7)", "raise KeyboardInterrupt"),
    "hook that fails on Ctrl-C": HOOK.format("1 / 0", "raise KeyboardInterrupt"),
    "Ctrl-C in a hook": HOOK.format("raise KeyboardInterrupt", "raise ValueError"),
    "hook at an exit": HOOK.format("sys.exit(7)", "sys.exit(3)"),
    "callback that exits": "atexit.register(sys.exit, 7)\nsys.exit(3)",
    "callback of Python": "atexit.register(lambda: sys.exit(7))\nraise ValueError",
    "callback that fails": "atexit.register(lambda: 1 / 0)",
    "a thread that exits": "thread = threading.Thread(target=sys.exit, args=(7,))\n"
    "thread.start()\nthread.join()",
    "a thread that is later": "threading.Timer(0.1, print, ['late']).start()\n"
    "sys.exit(3)",
    "stdout that is closed": "print('written')\nsys.stdout.close()",
    "no stdout": "sys.stdout = None\nsys.exit(3)",
    "stdout that cannot be flushed": "sys.stdout = object()\nsys.exit(3)",
}


def end(folder: Path, text: str, *argv: str, **options: object) -> tuple[object, ...]:
    """How it ends: its code, what it wrote, and the last line of its complaints."""
    path = write_program(folder, f"import atexit, sys, threading\n{text}\n")
    command = [sys.executable, *(argv or ["{}"])]
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        [part.format(path, path.stem) for part in command],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        cwd=path.parent,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(path.parent), *sys.path]),
        },
        text=True,
        timeout=SAFETY,
        check=False,
    )
    complaints = (done.stderr or "").splitlines()
    return done.returncode, done.stdout, complaints[-1:]


@pytest.mark.parametrize("name", CASES)
def test_as_plain_python(name: str, tmp_path: Path) -> None:
    """Exit code, output and complaint of a program that ends in this way."""
    assert end(tmp_path, ARM + CASES[name]) == end(tmp_path, CASES[name])


WAYS: Final = [
    (argv, name)
    for argv in (("-m", "{1}"), ("-c", "import {1}"), ("-i", "{0}"))
    for name in ("sys.exit(3)", "error", "hook that exits", "Ctrl-C")
    # What a Ctrl-C before the prompt does depends on whether something was entered.
    if (argv[0], name) != ("-i", "Ctrl-C")
]


@pytest.mark.parametrize(("argv", "name"), WAYS)
def test_other_ways_to_run_it(argv: tuple[str, ...], name: str, tmp_path: Path) -> None:
    """By its name, from another program, and with a prompt at the end."""
    options = {"stdin": subprocess.DEVNULL}
    plain = end(tmp_path, CASES[name], *argv, **options)
    assert end(tmp_path, ARM + CASES[name], *argv, **options) == plain


@pytest.mark.parametrize("said", ["1 / 0", "exit(6)", "1 / 0\nexit(6)", "pass"])
def test_at_a_prompt(said: str, tmp_path: Path) -> None:
    """A session goes on after an error, and ends with the code that it is told."""
    options = {"input": f"{said}\n"}
    plain = end(tmp_path, "sys.exit(3)", "-i", "{}", **options)[0]
    assert end(tmp_path, ARM + "sys.exit(3)", "-i", "{}", **options)[0] == plain


@pytest.mark.parametrize("name", ["nothing", "sys.exit(3)", "error", "Ctrl-C"])
@pytest.mark.parametrize(
    "taken", [TAKE_ALL, TAKE_ALL + LISTEN], ids=["taken", "in use"]
)
def test_all_tools_are_taken(name: str, taken: str, tmp_path: Path) -> None:
    """The guard shares one, and who has it notices nothing."""
    plain = end(tmp_path, taken + CASES[name])
    assert end(tmp_path, taken + ARM + CASES[name]) == plain


@pytest.mark.parametrize("name", ["nothing", "sys.exit(3)", "error", "Ctrl-C"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["full", "closed"])
def test_output_that_goes_nowhere(
    *, name: str, stream: str, kind: str, tmp_path: Path
) -> None:
    """A full disk, and a reader that has gone, are told of by the exit code."""
    text = f"sys.{stream}.reconfigure(line_buffering=False)\n"
    text += f"sys.{stream}.write('lost')\n"

    def run(text: str) -> tuple[object, ...]:
        if kind == "full":
            number = os.open("/dev/full", os.O_WRONLY)
        else:
            reader, number = os.pipe()
            os.close(reader)
        try:
            return end(tmp_path, text, **{stream: number})
        finally:
            os.close(number)

    assert run(ARM + text + CASES[name]) == run(text + CASES[name])


def test_armed_when_the_program_is_over(tmp_path: Path) -> None:
    """By a thread for which the process waits after an error."""
    late = f"def arm():\n    threading.main_thread().join()\n    {ARM}\n"
    late += "threading.Thread(target=arm).start()\nraise ValueError"
    assert end(tmp_path, late)[0] == 1
