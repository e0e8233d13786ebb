"""`doctor`: what of `tractor` works on this machine, and what is missing otherwise."""

import argparse
import os
import resource
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct, to_builtins

from tractor._exceptions import BackendUnavailable, RuntimeDirError
from tractor._proc import PROC
from tractor.cli._codes import DONE, FAILED
from tractor.cli._look import print_json
from tractor.cli._running import running_trees
from tractor.ipc.network import runtime_dir
from tractor.spawn import DEFAULT_BACKEND, get_backend, known_backends

FEW_FILES: Final = 1024  # descriptors; a child takes a handful of its parent's
NEEDED: Final = ("trio", "msgspec")

type Verdict = Literal["ok", "note", "fault"]


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    text: str


def doctor(args: argparse.Namespace) -> int:
    """Look at everything; an exit code."""
    findings = list(examine())
    if args.json:
        print_json(to_builtins(findings))
    else:
        width = max(len(each.what) for each in findings)
        for each in findings:
            print(f"{each.verdict:<5}  {each.what:<{width}}  {each.text}")
    return FAILED if any(each.verdict == "fault" for each in findings) else DONE


def examine() -> Iterator[Finding]:
    """All that there is to say."""
    yield Finding("python", "ok", f"{sys.version.split()[0]} on {sys.platform}")
    for name in ("tractor", *NEEDED):
        yield _package(name)
    for key in known_backends():
        yield _backend(key)
    yield _files()
    yield _processes()
    yield from _runtime()
    yield _diagnostics()


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "note", "runs, and is not installed as a package")


def _backend(key: str) -> Finding:
    what = f"backend {key}"
    try:
        traits = to_builtins(get_backend(key).traits)
    except BackendUnavailable as exc:
        return Finding(what, "fault" if key == DEFAULT_BACKEND else "note", str(exc))
    has = ", ".join(name for name, value in traits.items() if value)
    return Finding(what, "ok", has)


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"at most {_number(soft)}, and {_number(hard)} if asked for (ulimit -n)"
    few = soft != resource.RLIM_INFINITY and soft < FEW_FILES
    return Finding("open files", "note" if few else "ok", text)


def _processes() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return Finding("processes", "ok", f"at most {_number(soft)} of a user (ulimit -u)")


def _number(limit: int) -> str:
    return "any number" if limit == resource.RLIM_INFINITY else str(limit)


def _runtime() -> Iterator[Finding]:
    """The directory that actors use, and the trees that run there."""
    what = "runtime directory"
    try:
        folder = runtime_dir()
        trees = running_trees()
    except (RuntimeDirError, OSError) as exc:
        yield Finding(what, "fault", str(exc))
        return
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and folder.parent == Path(base):
        yield Finding(what, "ok", str(folder))
    else:
        why = f"XDG_RUNTIME_DIR={base} cannot be used" if base else "no XDG_RUNTIME_DIR"
        yield Finding(what, "note", f"{folder}, since {why}")
    text = ", ".join(map(str, trees)) or "none runs"
    yield Finding("trees", "ok", text)


def _diagnostics() -> Finding:
    missing = [
        text
        for text, there in (
            ("/proc", (PROC / "self/fd").exists()),
            ("memfd_create", hasattr(os, "memfd_create")),
            ("pidfd_open", hasattr(os, "pidfd_open")),
        )
        if not there
    ]
    if missing:
        text = f"actors cannot be found and asked: no {', '.join(missing)} here"
        return Finding("diagnostics", "note", text)
    return Finding("diagnostics", "ok", "enabled actors can be found and asked")
