"""`python -m tractor`; see `tractor.cli`."""

import sys

from tractor.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
