"""``python -m tractor.tracing FILE --chrome OUT``: for Perfetto and Chrome."""

import argparse
import sys

import msgspec

from tractor.tracing._chrome import export_chrome


def main(argv: list[str]) -> int:
    """Run it.

    Returns:
        The exit code: 0, or 1 where a file cannot be read or written.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tractor.tracing",
        description="Make of a trace what Perfetto and Chrome show.",
    )
    parser.add_argument("file", metavar="FILE", help="the trace")
    parser.add_argument("--chrome", required=True, metavar="OUT", help="written anew")
    args = parser.parse_args(argv)
    try:
        export_chrome(args.file, args.chrome)
    except (OSError, msgspec.DecodeError) as exc:
        print(f"tractor.tracing: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
