"""What a child runs, whatever hosts it: boot, serve, say goodbye.

Boot is synchronous, before any event loop: read the `SpawnSpec`, become what it says,
import the modules, and tell the parent of each stage. So an import may itself use trio
or raise anything, and a failure is reported with the stage in which it happened.

Backends name this module by string and never import it.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

from tractor._ending import leave
from tractor._exceptions import FrameTooLarge, RemoteProtocolError, TransportClosed
from tractor._loop import run_loop
from tractor._types import Aid, ErrorInfo
from tractor.ipc import BlockingLink, Channel, SocketTransport
from tractor.log import get_console_log, get_logger
from tractor.msg import box, shorten
from tractor.msg import types as t
from tractor.runtime import (
    MAIN,
    REPLAYED_MAIN,
    Actor,
    Exposure,
    Peer,
    claim,
    release,
    set_replaying,
)
from tractor.spawn import hold

if TYPE_CHECKING:
    from tractor.interp import Warden

log = get_logger("child")

STDERR: Final = 2
# Loaded when one of them is called.
VERBS: Final = (
    "tractor.discovery.verbs",
    "tractor.pinned.verbs",
    "tractor.tracing.verbs",
)
DEBUGGER: Final = "tractor.devx.debug"  # by name, since it is above
BOOT_FAILED: Final = 1  # exit code; the parent has the error itself
SHOWN: Final = 20  # running functions that a warning names


def main(argv: list[str]) -> NoReturn:
    """A process: its command line is ``--name N --link FD --lifeline FD``."""
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    lifeline = int(options["--lifeline"])
    os.set_inheritable(lifeline, False)
    hold(lifeline)
    leave(run_process(socket.socket(fileno=int(options["--link"]))))


def run_process(link: socket.socket) -> int:
    """Be an actor of one's own process; the exit code."""
    # Ctrl-C is the root's; this actor hears of it from its parent. A handler and not
    # SIG_IGN, which the programs that it starts would inherit.
    signal.signal(signal.SIGINT, lambda _signum, _frame: None)
    # Local: sub-interpreters have neither the need for it nor the right to it.
    import faulthandler

    # A crash writes its tracebacks where the parent finds them; see `ActorDied`.
    faulthandler.enable(STDERR)
    return run_actor(link, _be_a_process)


def make_host() -> None:
    """Let this sub-interpreter host actors; `tractor.interp.host` runs one."""
    from tractor import interp  # local: processes have no need for it

    interp.prepare(lambda link, warden: run_actor(link, partial(_obey_warden, warden)))


def run_actor(link: socket.socket, on_serving: Callable[[Actor], None]) -> int:
    """Boot from the link and serve until the parent, or somebody, asks to stop.

    Args:
        link: The child's end of the link; owned by this call.
        on_serving: Called in its loop; lets whoever hosts it stop it, too.

    Returns:
        An exit code: 0, or 1 when it did not boot, and the parent has the error.
    """
    with link:
        link.set_inheritable(False)
        boot = BlockingLink(link, max_frame=sys.maxsize)
        try:
            spec = boot.receive()
        except EOFError:
            return BOOT_FAILED  # the parent changed its mind
        if not isinstance(spec, t.SpawnSpec) or spec.version != t.PROTOCOL_VERSION:
            msg = f"the parent speaks another version of the protocol: {spec!r:.200}"
            raise RemoteProtocolError(msg)
        boot = BlockingLink(link, max_frame=spec.runtime_vars.max_frame)
        actor = _boot(boot, spec)
        if actor is None:
            return BOOT_FAILED
        try:
            run_loop(
                _serve,
                actor,
                spec.parent,
                link,
                on_serving,
                infect_asyncio=spec.infect_asyncio,
            )
        finally:
            release()
    return 0


# -- booting ---------------------------------------------------------------------------


def _boot(boot: BlockingLink, spec: t.SpawnSpec) -> Actor | None:
    """Become what the spec says; `None` when that failed and was reported."""
    stage = "import"
    debugger: Any = None
    try:
        if spec.runtime_vars.debug_desk:
            module = import_module(DEBUGGER)
            debugger = module.make_child(spec.runtime_vars, spec.aid)
        boot.send(t.Stage(stage))
        exposure = _import(spec)
        stage = "ready"
        boot.send(t.Stage(stage))
        aid = Aid(*spec.aid.uid, os.getpid())
        actor = Actor(aid, spec.runtime_vars, exposure, spec.main, spec.depth)
        actor.network_vars = spec.network
        actor.hold_name = partial(_hold_name, actor)
        claim(actor)
        if debugger is not None:
            module.attach_child(actor, debugger)
    except BaseException as exc:  # noqa: BLE001 (the parent raises it)
        if debugger is not None:
            debugger.disarm()
        error = box(_advised(exc), spec.aid.uid)
        with suppress(OSError):
            try:
                boot.send(t.BootError(stage, error))
            except FrameTooLarge:
                boot.send(t.BootError(stage, shorten(error)))
        return None
    return actor


def _advised(exc: BaseException) -> BaseException:
    """With what to try, where a module was not made for sub-interpreters."""
    if isinstance(exc, ImportError) and "loading in subinterpreters" in str(exc):
        msg = (
            f"{exc}: start this actor with start_method='subint_legacy' or on a "
            "process backend, or name the module in "
            "proc_kwargs={'private_copies': [...]}"
        )
        return ImportError(msg, name=exc.name, path=exc.path)
    return exc


def _import(spec: t.SpawnSpec) -> Exposure:
    sys.path[:] = [os.fsdecode(path) for path in spec.sys_path]
    sys.argv[:] = [os.fsdecode(arg) for arg in spec.argv]
    if spec.runtime_vars.loglevel is not None:
        get_console_log(spec.runtime_vars.loglevel)
    exposure = Exposure(spec.enable_modules, services=VERBS)
    try:
        exposure.load(before=set_replaying)
    finally:
        set_replaying(None)
    if MAIN in exposure.modules and spec.main is not None:
        _replay(spec.main)
    return exposure


def _replay(main: t.MainModule) -> None:
    """Import the program again, under a name that its guard does not match."""
    if main == t.MainModule(None, None):
        return  # an interactive session; its functions were refused at the caller
    path = os.fsdecode(main.path or b"")
    if main.name is None:
        code: Any = compile(Path(path).read_bytes(), path, "exec")
        package = ""
    else:
        code, package = _find_code(main.name, path)
    module = ModuleType(REPLAYED_MAIN)
    vars(module).update(__file__=path, __package__=package)
    sys.modules[MAIN] = sys.modules[REPLAYED_MAIN] = module
    set_replaying(path)
    try:
        exec(code, vars(module))
    finally:
        set_replaying(None)


def _find_code(name: str, path: str) -> tuple[Any, str]:
    """The code of a main module that was run by name, and its package."""
    if name == MAIN:  # a folder or a zip file, by the path of its `__main__.py`
        found = PathFinder.find_spec(MAIN, [str(Path(path).parent)])
    else:
        found = find_spec(name)
    get_code = getattr(found and found.loader, "get_code", None)
    if found is None or get_code is None:
        msg = f"the program's main module {name!r} ({path}) cannot be imported again"
        raise ModuleNotFoundError(msg, name=name)
    return get_code(name), found.parent or ""


# -- serving ---------------------------------------------------------------------------


async def _serve(
    actor: Actor,
    parent: Aid,
    link: socket.socket,
    on_serving: Callable[[Actor], None],
) -> None:
    """The life of a child actor, from Ready to Bye."""
    channel = Channel(SocketTransport(link), max_frame=actor.runtime_vars.max_frame)
    peer = Peer(
        actor, parent, channel, opens_even=False, on_cancel_actor=actor.cancel_soon
    )
    actor.parent = peer
    on_serving(actor)
    if actor.hooks is not None:
        actor.hooks.on_loop()
    async with actor.running_services():
        actor.add_peer(peer)
        actor.spawn(_follow_parent, actor, peer, name="watch of the parent")
        with actor.cancel_scope:
            await _join(actor, parent)
            peer.channel.send_nowait(t.Ready(os.getpid()))
            await trio.sleep_forever()
        await actor.wait_tasks()
        await actor.close_network()
        peer.say_bye(_close_lifetime_stack(actor))
        with trio.move_on_after(actor.graces.ack):
            await peer.channel.drain()


async def _join(actor: Actor, parent: Aid) -> None:
    """Get into the registrar's list, where the link does not do that."""
    if actor.network_vars is not None and actor.network_vars.registrar != parent.uid:
        from tractor.discovery import join_tree  # local: most children do without

        await join_tree(actor)


def _hold_name(actor: Actor, name: str) -> AbstractAsyncContextManager[None]:
    from tractor.discovery import hold_name  # local: likewise

    return hold_name(actor, name)


async def _follow_parent(actor: Actor, parent: Peer) -> None:
    """An actor whose parent is gone has nobody left to serve."""
    await parent.ended.wait()
    why = str(parent.reason)
    parent.fail(lambda: TransportClosed(f"the parent is gone: {why}"))
    actor.cancel_soon(parent.aid.uid, actor.graces.cancel)


def _close_lifetime_stack(actor: Actor) -> ErrorInfo | None:
    try:
        actor.lifetime_stack.close()
    except Exception as exc:
        log.exception("the lifetime stack of %s raised", actor.aid.reprol())
        return box(exc, actor.aid.uid)
    return None


def _be_a_process(actor: Actor) -> None:
    """What an actor does that has a process of its own."""
    with suppress(ImportError):  # of the extra [cli]
        from setproctitle import setproctitle

        # As the backend `trio` has it, so that whoever looks for actors finds them.
        setproctitle(f"tractor._child --name {actor.aid.name}")
    with suppress(OSError):  # elsewhere than on Linux
        # `ps -o comm` and `top` show it; the kernel keeps 15 bytes.
        Path("/proc/self/comm").write_bytes(actor.aid.name.encode()[:15])
    _handle_sigterm(actor)


def _handle_sigterm(actor: Actor) -> None:
    """The first SIGTERM asks, the next one is obeyed at once.

    The parent sends it when a request to stop was not acknowledged (so it may not have
    been read), or when the grace after it is over; then it is time to go, whatever
    still runs here.
    """
    token = trio.lowlevel.current_trio_token()

    def handler(_signum: int, _frame: object) -> None:
        if not actor.cancel_called:
            token.run_sync_soon(actor.cancel_soon)
            return
        running = ", ".join(actor.running()[:SHOWN]) or "its own clean-up"
        log.error("cut off by SIGTERM after its grace; still running: %s", running)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, handler)


def _obey_warden(warden: "Warden", actor: Actor) -> None:
    """Let the helper thread of a sub-interpreter do what signals do to a process."""
    token = trio.lowlevel.current_trio_token()

    def soon(fn: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(fn)

        return call

    warden.serve(
        cancel=soon(lambda: actor.cancel_soon(actor.stopper)),
        asked=lambda: actor.cancel_called,
        insist=lambda told: soon(partial(_insist, actor, told))(),
        cut_off=actor.cut_off,
    )


def _insist(actor: Actor, told: Callable[[], None]) -> None:
    actor.insist()
    told()


if __name__ == "__main__":
    main(sys.argv[1:])
