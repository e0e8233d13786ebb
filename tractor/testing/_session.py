"""What a session of tests has for itself: an address, a debugger, the examples."""

import os
import socket
from pathlib import Path
from typing import Final
from uuid import uuid4

from tractor.devx.debug import find_terminal

LONGEST_PATH: Final = 100  # bytes; systems end at 104 to 108


def private_address(
    transport: str, folder: str | os.PathLike[str]
) -> Path | tuple[str, int]:
    """An address that nothing else uses: of a Unix socket, or a host and a port.

    Args:
        transport: ``uds`` or ``tcp``.
        folder: Where a Unix socket may be made.

    Raises:
        ValueError: There is no such transport, or the path is too long for a socket.
    """
    if transport == "tcp":
        # Free at this moment; the kernel does not give it again soon.
        with socket.create_server(("127.0.0.1", 0)) as server:
            port: int = server.getsockname()[1]
            return "127.0.0.1", port
    if transport != "uds":
        msg = f"unknown transport {transport!r}"
        raise ValueError(msg)
    path = Path(folder, f"registry-{uuid4().hex[:8]}.sock").absolute()
    if len(os.fsencode(path)) > LONGEST_PATH:
        msg = f"{path} is too long for a socket: at most {LONGEST_PATH} bytes"
        raise ValueError(msg)
    return path


def missing_debugger() -> str:
    """Why there can be no debugger for actors; empty when there can be one."""
    if find_terminal() is None:
        return "there is no terminal, which a debugger needs"
    return ""


def examples_dir() -> Path:
    """The folder of examples, in a checkout of `tractor`.

    Raises:
        FileNotFoundError: This is no checkout: an installed package has none.
    """
    folder = Path(__file__).parents[2] / "examples"
    if not folder.is_dir():
        msg = f"there are no examples at {folder}: they are in a checkout only"
        raise FileNotFoundError(msg)
    return folder
