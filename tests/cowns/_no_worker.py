"""A serializer that cannot be imported but by the program of the tests."""

import json
import sys

if "pytest" not in sys.modules:
    msg = "not here"
    raise ImportError(msg)


def dumps(value: object) -> bytes:
    """Pack as text."""
    return json.dumps(value, default=str).encode()


def loads(data: bytes) -> object:
    """Unpack."""
    return json.loads(data)
