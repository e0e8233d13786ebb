"""What a call costs: `Portal.run` of a no-op, one at a time and many at once.

Next to it a ping-pong of the same bytes over trio's `SocketStream`, to a process as
well; the same call by the least that trio and msgspec need; and what else there is for
calling into one other process or interpreter. `anyio` and `trio-parallel` are left out
where they are not installed.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from benchmarks import _ends, _references, _served
from benchmarks._harness import Case, Group, Setting, Target, main
from benchmarks._ways import each_of, open_callee, with_callers
from tractor.msg import encode_frame, encode_payload
from tractor.msg import types as t

OUTSTANDING: Final = 64

PARAMS: Final = encode_payload(((), {}), "no arguments")
REQUEST: Final = encode_frame(t.Start(2, _served.__name__, "noop", PARAMS), 1024)
REPLY: Final = encode_frame(t.Return(2, encode_payload(None, "nothing")), 1024)

PING_PONG: Final = "trio SocketStream, same bytes"
BARE: Final = "bare trio + msgspec wire"
RUN: Final = "Portal.run"
PIPE: Final = "multiprocessing pipe"
PROCESSES: Final = "ProcessPoolExecutor"
INTERPRETERS: Final = "InterpreterPoolExecutor"


@asynccontextmanager
async def open_one(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """One outstanding call."""
    count = setting.size(1000, 100)
    few = setting.size(200, 20)
    async with AsyncExitStack() as stack:
        ping_pong = await stack.enter_async_context(
            _references.open_ping_pong(len(REQUEST), len(REPLY))
        )
        bare = await stack.enter_async_context(_references.open_bare())
        pipe = stack.enter_context(_references.pipe_to(_ends.echo_pipe))
        portal = await stack.enter_async_context(open_callee(setting))
        cases = [
            Case(PING_PONG, "µs", partial(each_of, ping_pong, count)),
            Case(
                RUN,
                "µs",
                partial(each_of, partial(portal.run, _served.noop), count),
                of=PING_PONG,
                targets=(
                    Target("call, one outstanding", 2.2, PING_PONG, stretch=1.8),
                    Target("its p99, against its p50", 2.0, RUN, own="p99"),
                ),
            ),
            Case(BARE, "µs", partial(each_of, bare, count), of=PING_PONG),
            Case(
                PIPE,
                "µs",
                _references.blocking(partial(_ping, pipe), count),
                of=PING_PONG,
            ),
        ]
        for name, executor in _pools(stack).items():
            call = partial(_submit, executor)
            cases.append(
                Case(name, "µs", _references.blocking(call, few), of=PING_PONG)
            )
        for name, each in _peers().items():
            cases.append(Case(name, "µs", partial(each_of, each, few), of=PING_PONG))
        yield cases


@asynccontextmanager
async def open_many(setting: Setting) -> AsyncIterator[Sequence[Case]]:
    """Many outstanding calls."""
    count = setting.size(10_000, 640)
    few = setting.size(2_000, 256)
    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(_references.open_bare())
        pipe = stack.enter_context(_references.pipe_to(_ends.echo_pipe))
        portal = await stack.enter_async_context(open_callee(setting))
        run = partial(portal.run, _served.noop)
        cases = [
            Case(
                RUN,
                "/s",
                partial(with_callers, run, count, OUTSTANDING),
                of=PROCESSES,
                targets=(
                    Target("call, 64 outstanding", 4, PROCESSES, at_least=True),
                    Target("call, 64 outstanding", 2, INTERPRETERS, at_least=True),
                    Target("  the same, stretch", 1, BARE, at_least=True),
                ),
            ),
            Case(
                BARE,
                "/s",
                partial(with_callers, bare, count, OUTSTANDING),
                of=PROCESSES,
            ),
            Case(
                PIPE,
                "/s",
                _references.pipe_rate(pipe, count, OUTSTANDING),
                of=PROCESSES,
            ),
        ]
        for name, executor in _pools(stack).items():
            rate = _references.pool_rate(executor, few, OUTSTANDING)
            cases.append(Case(name, "/s", rate, of=PROCESSES))
        for name, each in _peers().items():
            rate = partial(with_callers, each, few, OUTSTANDING)
            cases.append(Case(name, "/s", rate, of=PROCESSES))
        yield cases


def _ping(pipe: _ends.Pipe) -> None:
    pipe.send(0)
    pipe.recv()


def _submit(executor: Any) -> None:
    executor.submit(_ends.noop).result()


def _pools(stack: AsyncExitStack) -> dict[str, Any]:
    made = {
        PROCESSES: _references.process_pool(),
        INTERPRETERS: _references.interpreter_pool(),
    }
    return {
        name: stack.enter_context(_references.pool(executor))
        for name, executor in made.items()
        if executor is not None
    }


def _peers() -> dict[str, Callable[[], Any]]:
    """Those of the dependency group ``bench`` that are there, with one worker each."""
    found: dict[str, Callable[[], Any]] = {}
    if (parallel := _references.installed("trio_parallel")) is not None:
        found["trio-parallel"] = partial(parallel.run_sync, _ends.noop)
    if (anyio := _references.installed("anyio")) is not None:
        to_process = _references.installed("anyio.to_process")
        one = anyio.CapacityLimiter(1)
        found["anyio.to_process"] = partial(
            to_process.run_sync, _ends.noop, limiter=one
        )
    return found


GROUPS: Final = (Group("one call", open_one), Group("64 calls", open_many))

if __name__ == "__main__":
    main(__doc__, GROUPS)
