"""Run every benchmark of this folder, one after the other; arguments are passed on."""

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """The worst exit code of the scripts."""
    here = Path(__file__)
    worst = 0
    for script in sorted(here.parent.glob("*.py")):
        if script != here:
            print(f"== {script.stem}", flush=True)
            command = [sys.executable, str(script), *sys.argv[1:]]
            worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
