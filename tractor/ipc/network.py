"""What connects actors that are not parent and child; apart, since many need none."""

from tractor.ipc._bound import BoundSocket, bind
from tractor.ipc._dial import connect
from tractor.ipc._handshake import HELLO_TIMEOUT, introduce, meet_listener
from tractor.ipc._hello import Hello, Secret
from tractor.ipc._listener import Guest, Listener
from tractor.ipc._runtime_dir import TreeDir, find_trees, runtime_dir, socket_path
from tractor.ipc._secret_files import read_secret_file, user_secret

__all__ = [
    "HELLO_TIMEOUT",
    "BoundSocket",
    "Guest",
    "Hello",
    "Listener",
    "Secret",
    "TreeDir",
    "bind",
    "connect",
    "find_trees",
    "introduce",
    "meet_listener",
    "read_secret_file",
    "runtime_dir",
    "socket_path",
    "user_secret",
]
