"""One piece of memory that processes share, by a descriptor and without a name.

It is a *memfd*: a file that is in memory and in no folder. The kernel frees it when the
last descriptor and the last mapping are gone, so there is nothing to remove after a
SIGKILL, and no helper process to do it.

Another process of the same user opens it through ``/proc/PID/fd/FD``. A descriptor may
have become another file's meanwhile, and a process id another process's, so each memfd
has a random key in its name, which is looked at before and after. Then each has an open
file of its own, and who made it may go.

Three things make it safe to use:

* its size is sealed, so that nobody can let others die of SIGBUS by cutting it;
* everybody holds a lock on byte 0 for as long as they have it open *or mapped*, since
  the lock is that of the open file; the kernel takes it away from whoever dies;
* the word behind the content counts hand-overs. Who raises it, under a lock on byte 1,
  has taken that turn, and nobody else can.

What is *in* the memory nobody guards: see `tractor.ipc.shm`.
"""

import errno
import fcntl
import mmap
import os
import struct
from contextlib import suppress
from typing import Any, Final

from tractor.ipc._shm_token import (
    ShmGone,
    ShmMismatch,
    ShmOutOfReach,
    ShmToken,
    host_id,
)

_PREFIX: Final = "tractor-shm-"
_LOCK: Final = struct.Struct("hhqqi4x")  # struct flock, of 64-bit Linux
_WORD: Final = struct.Struct("=Q")
_USED, _TAKING = 0, 1  # bytes that are locked; nothing to do with what is in them


class Memory:
    """Shared memory, open here.

    Attributes:
        key: By which others recognise it.
        size: Of its content, in bytes.
        readonly: Whether it can only be read here.
    """

    def __init__(self, fd: int, key: str, size: int, *, readonly: bool) -> None:
        self._fd: int | None = fd
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None
        self.key = key
        self.size = size
        self.readonly = readonly
        self._fresh = False

    @classmethod
    def create(cls, size: int) -> "Memory":
        """New memory, all zero.

        Raises:
            ValueError: It is less than nothing, or too much for this system.
            ShmError: This system cannot share memory so.
            OSError: There is no descriptor left.
        """
        if size < 0:
            msg = f"{size} bytes are less than nothing"
            raise ValueError(msg)
        host_id()  # raises where there is none
        key = os.urandom(16).hex()
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        fd = os.memfd_create(_PREFIX + key, flags)
        memory = cls(fd, key, size, readonly=False)
        memory._fresh = True
        try:
            os.ftruncate(fd, _length(size))
            _lock(fd, fcntl.F_RDLCK, _USED)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _seals())
        except (OSError, OverflowError) as exc:
            memory.close()
            if isinstance(exc, OverflowError) or exc.errno in (
                errno.EFBIG,
                errno.EINVAL,
            ):
                msg = f"{size} bytes are more than this system can share"
                raise ValueError(msg) from exc
            raise
        return memory

    @classmethod
    def attach(cls, token: ShmToken, *, readonly: bool) -> "Memory":
        """The memory of a token that was checked.

        Raises:
            ShmGone: It is not there any more, or somebody else has taken it.
            ShmMismatch: It is not what the token says.
            ShmOutOfReach: The system keeps us from it.
            OSError: There is no descriptor left.
        """
        take = token.turn is not None
        fd = _open(token, os.O_RDONLY if readonly and not take else os.O_RDWR)
        memory = cls(fd, token.key, token.size, readonly=readonly)
        try:
            _lock(fd, fcntl.F_RDLCK, _USED)
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _seals() != _seals():
                msg = "the size of this memory is not sealed, so it may not be used"
                raise ShmMismatch(msg)
            if (found := os.fstat(fd).st_size) != _length(token.size):
                size = found - _WORD.size
                msg = f"the memory has {size} bytes, and its token says {token.size}"
                raise ShmMismatch(msg)
            if token.turn is not None:
                memory._take(token.turn)
        except BaseException:
            memory.close()
            raise
        return memory

    # -- What is in it -----------------------------------------------------------------

    @property
    def view(self) -> memoryview:
        """Its bytes, mapped when they are first asked for."""
        if self._view is None:
            fd = self.fd
            prot = mmap.PROT_READ | (0 if self.readonly else mmap.PROT_WRITE)
            # Without a descriptor of its own, so that ours is the only one.
            self._map = mmap.mmap(fd, _length(self.size), prot=prot, trackfd=False)
            self._view = memoryview(self._map)[: self.size]
        return self._view

    def write(self, data: bytes, offset: int) -> None:
        """Put the bytes there.

        Memory that was never used is written by a system call: to touch it first, page
        by page, takes several times as long.
        """
        with memoryview(data).cast("B") as flat:
            size = flat.nbytes
            if offset < 0 or offset + size > self.size:
                msg = f"bytes {offset}–{offset + size} of {self.size} are not all there"
                raise ValueError(msg)
            if self.readonly:
                msg = "this memory was attached to be read"
                raise TypeError(msg)
            if not self._fresh:
                self.view[offset : offset + size] = flat
                return
            done = 0
            while done < size:
                done += os.pwrite(self.fd, flat[done:], offset + done)
            self._fresh = False

    # -- Who has it --------------------------------------------------------------------

    @property
    def fd(self) -> int:
        """Its descriptor.

        Raises:
            ValueError: It was closed.
        """
        if self._fd is None:
            msg = "this shared memory was closed here"
            raise ValueError(msg)
        return self._fd

    @property
    def closed(self) -> bool:
        """Whether it was closed here."""
        return self._fd is None

    def facts(self, turn: int | None = None) -> dict[str, Any]:
        """What a token says of it."""
        return {
            "host": host_id(),
            "user": os.geteuid(),
            "pid": os.getpid(),
            "fd": self.fd,
            "key": self.key,
            "size": self.size,
            "turn": turn,
        }

    def is_shared(self) -> bool:
        """Whether it is open or mapped elsewhere, at this moment."""
        asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _USED, 1, 0)
        found = fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, asked)
        kind: int = _LOCK.unpack(found)[0]
        return kind != fcntl.F_UNLCK

    def turn(self) -> int:
        """How often it was taken."""
        found: int = _WORD.unpack(os.pread(self.fd, _WORD.size, _word_at(self.size)))[0]
        return found

    def _take(self, turn: int) -> None:
        try:
            _lock(self.fd, fcntl.F_WRLCK, _TAKING)
        except BlockingIOError:  # somebody else is at it
            raise ShmGone(_TAKEN) from None
        try:
            if self.turn() != turn:
                raise ShmGone(_TAKEN)
            os.pwrite(self.fd, _WORD.pack(turn + 1), _word_at(self.size))
        finally:
            _lock(self.fd, fcntl.F_UNLCK, _TAKING)

    # -- The end -----------------------------------------------------------------------

    def unmap(self) -> None:
        """Take back what is mapped here; what is still in use goes with its last user.

        A slice of the view, or an array on it, keeps the mapping; so it is never freed
        below somebody who looks at it.
        """
        view, self._view = self._view, None
        mapped, self._map = self._map, None
        with suppress(BufferError):
            if view is not None:
                view.release()
            if mapped is not None:
                mapped.close()

    def moved(self) -> "Memory":
        """The same memory for another owner here, who does not count as its user."""
        self.unmap()
        fd = self.fd
        _lock(fd, fcntl.F_UNLCK, _USED)
        self._fd = None
        return Memory(fd, self.key, self.size, readonly=self.readonly)

    def close(self) -> None:
        """Give it up here; harmless when that was done already."""
        self.unmap()
        self._close_fd()

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        # Not `close`: a view may be all that somebody wanted of it.
        with suppress(AttributeError):  # it was never made
            self._close_fd()


_TAKEN: Final = "the memory of this token was taken already; each hand-over is for one"


def _length(size: int) -> int:
    return _word_at(size) + _WORD.size


def _word_at(size: int) -> int:
    return -(-size // _WORD.size) * _WORD.size


def _seals() -> int:
    return fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def _lock(fd: int, kind: int, byte: int) -> None:
    """Change our lock on that byte; it belongs to the open file, not to the process."""
    wanted = _LOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except PermissionError as exc:  # some systems say so what others say by EAGAIN
        raise BlockingIOError(exc.errno, exc.strerror) from exc


def _open(token: ShmToken, flags: int) -> int:
    """A descriptor of that memory, and certainly of no other."""
    path = f"/proc/{token.pid}/fd/{token.fd}"
    expected = f"/memfd:{_PREFIX}{token.key} (deleted)"
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        if os.readlink(path) != expected:
            raise ShmGone(_gone(token))
        fd = os.open(path, flags)
    except (FileNotFoundError, ProcessLookupError) as exc:
        raise ShmGone(_gone(token)) from exc
    except PermissionError as exc:
        msg = f"the system does not let us into process {token.pid}: {exc}"
        raise ShmOutOfReach(msg) from exc
    try:
        if os.readlink(f"/proc/self/fd/{fd}") != expected:
            raise ShmGone(_gone(token))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _gone(token: ShmToken) -> str:
    what = "taken, or given up there" if token.turn is not None else "closed there"
    return f"process {token.pid} has this memory no more: it ended, or it was {what}"
