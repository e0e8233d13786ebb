"""Every program of examples/ does what it says, in bounded time, and leaves nothing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tractor.ipc.network import runtime_dir as find_runtime_dir
from tractor.ipc.network import user_secret
from tractor.spawn import Traits, available_backends

ROOT: Final = Path(__file__).parents[1]
EXAMPLES: Final = sorted((ROOT / "examples").glob("*.py"))
TIMEOUT: Final = 60  # seconds; a safety net, all of them take a few


class Expected(NamedTuple):
    """What a program prints, in order, and what it needs for that."""

    phrases: tuple[str, ...]
    args: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()  # of the spawn backend


EXPECTED: Final = {
    "asyncio_echo": Expected(
        (
            "answer: HELLO",
            "answer: IS ANYBODY THERE?",
            "heard: ['hello', 'is anybody there?']",
            "the server is gone: True",
        )
    ),
    "asyncio_http": Expected(
        (
            "left: ['welcome', 'none today']",
            "right: ['an example']",
            "missing: ('/nowhere', 404)",
            "too slow, and cancelled: True",
            "right still works: ['an example']",
        )
    ),
    "broadcast": Expected(
        (
            "reading 152 is 6.18: leave the house!",
            "the peak was at 7.53",
            "the archivist: this subscriber fell behind and lost 235 items",
            "the archivist stored 64",
        )
    ),
    "cancellation": Expected(
        (
            "the call was cancelled in",
            "its clean-up ran over there: True",
            "the stubborn actor was gone after 2.",
        ),
        traits=("can_kill",),
    ),
    "cowns_bank": Expected(
        (
            "some of them refused: True",
            "what audits saw: {500}",
            "two accounts became one: True",
            "caught: the vault is locked",
            "in the end: 500",
        )
    ),
    "cowns_flock": Expected(("frames: 30", "they flock: True")),
    "cowns_philosophers": Expected(
        (
            "Arendt had 20 meals",
            "Elisabeth had 20 meals",
            "uses of each fork: [40, 40, 40, 40, 40]",
        )
    ),
    "cowns_search": Expected(
        ("round 1: 1.2500", "round 4:", "found: True", "somebody improved it: True")
    ),
    "daemon_and_result": Expected(
        (
            "apples at the keeper: 7",
            "apples here: 0",
            "weights: [9, 5]",
            "nobody is left",
        )
    ),
    "debug_tree": Expected(
        ("no sale: KeyError: 'plum' [from actor till via shop]",)  # without --debug
    ),
    "dialogue": Expected(
        (
            "think of a number from 1 to 100",
            "is it 83? yes",
            "questions: 7",
            "ended with: CheatError('it is not above 100 and not below 101')",
            "the game was self-cancelled",
            "stopped by root after 4 questions",
        )
    ),
    "error_tree": Expected(
        (
            "leaves: 4",
            "the root was told of a BlightError",
            "by way of root.b.a > root.b",
            "error_tree.py",
            "cleaned up: root.a root.a.a root.a.b root.b root.b.a root.b.b",
            "ms after the error no actor was left",
        )
    ),
    "errors": Expected(
        (
            "caught: OutOfStockError",
            "from actor shop",
            "unwrapped: OutOfStockError('pear', 3)",
            "over there: ValueError: no price for a plum",
            "values: (ValueError('no melons'),)",
            "stock: (OutOfStockError('melon', 2),)",
            "the nursery raised: OutOfStockError",
            "its actors were stopped: True",
        )
    ),
    "futures_dask": Expected(
        ("areas: 20",)
        if find_spec("dask") and find_spec("cloudpickle")
        else ("needs dask",)
    ),
    "futures_dask_plugin": Expected(
        ("squares: [0, 1, 4, 9, 16]", "in workers of the cluster: 0", "in actors: 2")
        if find_spec("distributed")
        else ("needs distributed",)
    ),
    "futures_flow": Expected(
        ("6/6", "words in each: (5, 3, 5)", "most frequent: the 3", "tasks: 6")
    ),
    "futures_migrate": Expected(
        (
            "concurrent.futures: [0, 1, 4, 9, 16] [0, 1, 4, 9, 16]",
            "multiprocessing: [49, 1, 4] [49, 1, 4]",
            "asyncio: [4, 9] [4, 9]",
        )
    ),
    "futures_pool": Expected(
        (
            "decided: processes because of explicit",
            "below 1000: 168",
            "several: [4, 25, 95]",
            "too slow, and was stopped",
            "one worker died",
            "cancelled while it ran",
            "below 100, after all that: 25",
        )
    ),
    "keep_alive": Expected(
        (
            "served: [1, 2]",
            "the shop died of SIGKILL",
            "served by the new one: 1",
            "restarts: {'shop': 1}",
            "the shop does not answer",
            "it does again, and remembers: 2",
            "more than 2 restarts within 10 s",
            "because of: RemoteActorError",
        ),
        traits=("own_process", "can_kill"),
    ),
    "hello": Expected(("adder (pid", "says 2 + 3 = 5", "the adder is gone")),
    "log_pipeline": Expected(
        (
            "requests by status: {0: 1, 200: 3167, 503: 32}",
            "most failures: [('/7', 3)]",
            "unread at the end of the pause: 64",
        )
    ),
    "nested_tree": Expected(
        (
            "sums of squares: [5, 13]",
            "ValueError came by way of worker of -4 > manager a",
            "died unexpectedly: signal SIGKILL",
            "of its 2 workers 0 live after 0.",
        ),
        traits=("own_process",),
    ),
    "no_orphans": Expected(
        ("killing the root", "all 3 children were gone after"),
        traits=("own_process",),
    ),
    "one_shot": Expected(("97 is prime: True", "1000036000099 is prime: False")),
    "own_backend": Expected(
        (
            "kept: a child boots, an orderly end, kill needs no cooperation",
            "niceness of the trio one: 0",
            "niceness of the nice one: 10",
        )
    ),
    "pinned_window": Expected(
        (
            "by an actor, and shown by MainThread",
            "calls on the main thread: 52",
            "shown: {'apples': 20, 'pears': 30}",
        )
    ),
    "shared_memory": Expected(
        (
            "picture 0: 100",
            "picture 4: 104",
            "a poster of 4194304 bytes, white: True",
            "not twice: ShmGone",
            "closed: ShmGone",
        )
    ),
    "sub_interpreters": Expected(
        (
            "in this process: True with its own GIL: True",
            "primes: 2262",
        )
        if "subint" in available_backends()
        else ("needs Python 3.14",)
    ),
    "testing_actors": Expected(
        ("spawn backends", "trio: 3 passed", "mp_spawn: 3 passed", "6 passed in"),
        args=("--spawn-backend", "trio,mp_spawn"),
    ),
    "tracing": Expected(
        (
            "primes: [97, 1000003]",
            "root: span search",
            "  root: call find_primes {'callee': 'finder'}",
            "    finder: task find_primes {'caller': 'root'}",
            "      finder: note chosen {'number': 97, 'worker': 'left', 'why'",
            "          left: span divide {'number': 97, 'tried': 8}",
            "for https://ui.perfetto.dev:",
        )
    ),
    "two_machines": Expected(
        (
            "thermometer reads [18.5, 18.75, 19.0]",
            "readings in all: 3",
            "the watcher has seen enough",
        )
    ),
    "two_programs": Expected(
        (
            "notes by now: 1",
            "notes by now: 2",
            "the notebook was closed with these notes: bread salt",
        )
    ),
    "typed_payloads": Expected(
        (
            "on the menu: pancakes soup",
            "not sent: an item of",
            "Expected `int`, got `str` - at `$.guests`",
            "name='flour', amount=Fraction(4, 3), unit=<Unit.CUP: 'cup'>",
            "cups: Fraction(4, 3)",
            "over there: MsgTypeError:",
            "its class: <class 'tractor._exceptions.MsgTypeError'>",
            "each of us pays: (3, 1)",
        )
    ),
    "wordcount": Expected(
        (
            "60 files",
            "most frequent:",
            "is killed in the middle of a call",
            "kill to error",
            "nothing is left behind",
        ),
        args=("--limit", "60", "--workers", "2"),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def shared_secret(runtime_dir: str) -> None:
    """The user has one from the start, or who needs it first would leave it behind."""
    del runtime_dir  # only has to be there
    user_secret(find_runtime_dir())


def run(path: Path, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as a reader would, from another folder than its own."""
    return subprocess.run(
        [sys.executable, path, *args],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        text=True,
        timeout=TIMEOUT,
    )


def cases() -> Iterator[Any]:
    """Each program, marked with the traits that it needs."""
    for path in EXAMPLES:
        traits = EXPECTED[path.stem].traits if path.stem in EXPECTED else ()
        marks = [pytest.mark.requires_trait(trait) for trait in traits]
        yield pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", list(cases()))
def test_example_runs_and_prints_what_it_promises(
    path: Path, start_method: str, traits: Traits
) -> None:
    """Each program ends with exit code 0, and what it prints has the key phrases.

    That no process is left is the `census` fixture's to see.
    """
    expected = EXPECTED[path.stem]
    args = expected.args
    if path.stem == "wordcount":
        args += ("--spawn-backend", start_method)
    done = run(path, *args, TRACTOR_SPAWN_METHOD=start_method)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    left = done.stdout
    for phrase in expected.phrases:
        assert phrase in left, f"{phrase!r} is not in the rest of:\n{done.stdout}"
        left = left.partition(phrase)[2]
    if path.stem == "wordcount" and traits.own_process:
        assert "its caller got ActorDied" in done.stdout


def test_every_example_has_its_expectation() -> None:
    """No program of examples/ is without phrases, and no phrases without program."""
    assert set(EXPECTED) == {path.stem for path in EXAMPLES}


def test_wordcount_refuses_an_unknown_backend() -> None:
    """A wrong key ends the demonstration with the list of those that work here."""
    done = run(ROOT / "examples/wordcount.py", "--spawn-backend", "steam")
    assert done.returncode == 2
    assert "invalid choice: 'steam' (choose from" in done.stderr
