"""A file that a worker and its owner have mapped, so that it survives the worker."""

import mmap
import os
import tempfile


def make_shared(prefix: str, size: int) -> str:
    """Path of a new file of zeros; whoever made it removes it."""
    descriptor, path = tempfile.mkstemp(prefix=prefix)
    try:
        with open(descriptor, "wb") as file:
            # A hole that cannot be filled, on a full disk, would end who writes to it.
            file.write(bytes(size))
    except OSError:
        os.unlink(path)
        raise
    return path


def map_shared(path: str, size: int) -> mmap.mmap:
    """Its bytes, for reading and writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
