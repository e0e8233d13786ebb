"""Writing down everything that is known of the tree, part by part.

What is needed most comes first, and each part is written before the next is begun:
whatever goes wrong later, on a machine where things go wrong already, leaves it there.
Nothing here raises, since a diagnosis that ends the patient is none.
"""

import os
import select
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from tractor._exceptions import RuntimeDirError
from tractor.devx._ask import ask_all
from tractor.devx._facts import Answer
from tractor.devx._graph import printable
from tractor.devx._text import answer_lines, brief_lines, indented
from tractor.devx._tree import ActorNode, ActorTree, build_tree, own_answer
from tractor.log import get_logger

log = get_logger("devx")

STDERR: Final = 2
BOUND: Final = 3.0  # seconds for asking all processes, which bounds itself to less
PIPE_PATIENCE: Final = 1.0  # seconds for whoever reads a pipe to make room in it

_FLAGS: Final = (os.O_WRONLY | os.O_CREAT | os.O_APPEND) | (
    os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
)

type Destination = str | os.PathLike[str] | None


def dump_to_file(
    why: str, path: Destination = None, *, all_threads: bool = True
) -> Path | None:
    """Dump this actor and all below it; the file, or `None` if it cannot be written.

    The log names the file. Without one, the dump goes to the process's stderr.

    Args:
        why: What it says at its top.
        path: Of the file, to which the dump is added, and which only this user can read
            from then on; no symbolic link, and no pipe that nobody reads. By default
            a fresh one in the runtime directory, or else in that for temporary files.
        all_threads: Whether other threads than the first one are shown, too.
    """
    parts = _parts(why, all_threads=all_threads)
    written = ""
    try:
        fd, name = _open(path)
        try:
            for part in parts:
                written = part
                _write(fd, part)
                written = ""
        finally:
            os.close(fd)
    except (OSError, ValueError) as exc:  # the latter of a path that can be none
        log.error("%s: the dump cannot be written to a file: %s", why, exc)
        _write_to_stderr([written, *parts])
        return None
    log.error("%s: see the dump in %s", why, name)
    return name


def dump_to_text(why: str, *, all_threads: bool = True) -> str:
    """The same as text, for who shows it where it belongs; nothing is logged.

    Args:
        why: What it says at its top.
        all_threads: Whether other threads than the first one are shown, too.
    """
    return "".join(_parts(why, all_threads=all_threads))


def _open(path: Destination) -> tuple[int, Path]:
    if path is None:
        prefix = f"dump-{os.getpid()}-"
        fd, name = tempfile.mkstemp(".txt", prefix, dir=_folder())
        return fd, Path(name)
    # A link may have been put there by somebody else, and a pipe may have no reader.
    fd = os.open(path, _FLAGS, 0o600)
    try:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
            os.fchmod(fd, 0o600)
    except BaseException:
        os.close(fd)
        raise
    return fd, Path(path)


def _folder() -> Path | None:
    """The runtime directory, if there is one."""
    from tractor.ipc.network import runtime_dir  # local: few that are enabled need it

    with suppress(OSError, RuntimeDirError):
        return runtime_dir()
    return None


def _write(fd: int, text: str) -> None:
    """Write all of it; into a pipe only as long as somebody reads."""
    rest = memoryview(text.encode(errors="backslashreplace"))
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            if not poller.poll(PIPE_PATIENCE * 1000):
                raise


def _parts(why: str, *, all_threads: bool) -> Iterator[str]:
    """The dump in pieces, each made when the one before is written."""
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    yield f"{why}\n{when}, Python {sys.version.split()[0]} on {sys.platform}\n\n"
    try:
        own = own_answer()
        yield _section("this process in short", brief_lines(own))
        others, problem = _ask_all()
        if problem:
            yield f"the processes below it are not shown: {problem}\n\n"
        tree = build_tree(own, others)
        yield from describe_tree(tree, all_threads=all_threads)
    except Exception as exc:  # what is there already is worth the more
        log.exception("%s: the dump is not complete", why)
        yield f"the dump is not complete: {type(exc).__name__}: {exc}\n"
    else:
        yield "end of the dump\n"


def describe_tree(tree: ActorTree, *, all_threads: bool = True) -> Iterator[str]:
    """All that is known of its actors, piece by piece, and the short of it first.

    Args:
        tree: Of actors.
        all_threads: Whether other threads than the first one are shown, too.
    """
    yield _section("the tree in short", _brief_tree(tree.root))
    yield _section("calls and contexts under way", tree.calls())
    for node in tree.root.walk():
        lines = answer_lines(node.answer, all_threads=all_threads)
        yield _section(node.title, lines)


def _ask_all() -> tuple[list[Answer], str]:
    """All answers, or else why there are none; even to read ``/proc`` may hang."""
    results: list[list[Answer]] = []
    problems = [f"it took longer than {BOUND:g} s"]

    def ask() -> None:
        try:
            results.append(ask_all())
        except Exception as exc:  # noqa: BLE001 (told to the reader)
            problems[:] = [f"{type(exc).__name__}: {exc}"]

    thread = threading.Thread(target=ask, name="tractor dump part", daemon=True)
    try:
        thread.start()
    except RuntimeError as exc:
        return [], str(exc)
    thread.join(BOUND)
    return (results[0], "") if results else ([], problems[0])


def _brief_tree(node: ActorNode, indent: str = "") -> Iterator[str]:
    yield f"{indent}{node.title}"
    yield from indented(brief_lines(node.answer), f"{indent}    ")
    for child in node.children:
        yield from _brief_tree(child, f"{indent}  ")


def _section(title: str, lines: Iterator[str]) -> str:
    text = map(printable, [f"== {title}", *indented(lines)])
    return "\n".join([*text, "", ""])


def _write_to_stderr(parts: list[str]) -> None:
    with suppress(OSError):
        for part in parts:
            os.write(STDERR, part.encode(errors="backslashreplace"))
