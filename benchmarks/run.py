"""Run the benchmarks of this folder, each in a process of its own, and sum them up.

The last table has every target, and whether it holds. Options are those of each script;
arguments are topics, all of them by default. `subint.py` and `stress_subint.py` are for
themselves.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import _machine, _report
from benchmarks._harness import make_parser

TOPICS: Final = (
    "rpc",
    "streams",
    "contexts",
    "broadcast",
    "registry",
    "cancel",
    "spawn",
    "forkserver",
    "imports",
    "memory",
    "cpu",
    "instrument",
    "scaling",
    "shm",
    "futures",
    "cowns",
)
HERE: Final = Path(__file__).parent


def measure(topic: str, options: list[str]) -> dict[str, Any] | None:
    """The result of one script; `None` when it failed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder, "result.json")
        script = str(HERE / f"{topic}.py")
        command = [sys.executable, script, *options, "--json", str(path)]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if done.returncode:
            print(f"{topic} failed with {done.returncode}", file=sys.stderr)
            return None
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def passed_on(options: Any) -> list[str]:
    """The options that each script gets."""
    argv = ["--only", options.only]
    if options.quick:
        argv.append("--quick")
    if options.rounds is not None:
        argv += ["--rounds", str(options.rounds)]
    if options.spawn_backend is not None:
        argv += ["--spawn-backend", ",".join(options.spawn_backend)]
    return argv


def main() -> int:
    """How many scripts failed."""
    parser = make_parser(__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=", ".join(TOPICS))
    options = parser.parse_args()
    if unknown := set(options.topics) - set(TOPICS):
        parser.error(f"no such topic: {', '.join(sorted(unknown))}")
    machine = _machine.describe()  # before there is any load of ours
    argv = passed_on(options)
    found = [measure(topic, argv) for topic in options.topics or TOPICS]
    rows = [row for each in found if each is not None for row in each["rows"]]
    result = {"machine": machine, "rows": rows}
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    old = json.loads(options.compare.read_text()) if options.compare else None
    for line in _report.lines(result, old):
        print(line)
    return found.count(None)


if __name__ == "__main__":
    sys.exit(main())
