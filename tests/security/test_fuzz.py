"""Random bytes before and after the hello: no crash, no deaf listener, little memory.

The listener is that of a real actor, in a thread of this process. `EXAMPLES` is for
both tests together; docs/how-to/contribute.md tells how to have more of them.
"""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Raw

import tractor
from tests._helpers import SAFETY
from tests.security import exposed
from tests.security.helpers import RAW, SECRET, Stranger, frame, greet, is_served
from tests.security.target import Lines, memory
from tractor import Aid
from tractor.ipc import _handshake as handshake
from tractor.ipc._hello import GREETING_SIZE, PROOF_SIZE
from tractor.ipc.network import Hello
from tractor.msg import decode_record
from tractor.msg import types as t

EXAMPLES: Final = int(os.environ.get("TRACTOR_FUZZ_EXAMPLES", "4000"))
MAX_FRAME: Final = 64 * 1024  # bytes; of this tree
FROM_TIME_TO_TIME: Final = 100  # examples
MAX_GROWTH: Final = 16 * 1024 * 1024  # bytes meanwhile; Hypothesis keeps much, too

# In rounds, since the more examples Hypothesis has seen, the longer it takes for one.
ROUND: Final = max(min(EXAMPLES // 2, 1000), 1)
rounds: Final = pytest.mark.parametrize("round_", range(EXAMPLES // 2 // ROUND))

fuzz: Final = settings(
    max_examples=ROUND,
    derandomize=False,  # not even in CI: each round has examples of its own
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],  # to explain costs more than the examples
    suppress_health_check=list(HealthCheck),
)


# -- What is attacked ------------------------------------------------------------------


class Server:
    """An actor that listens, in a thread.

    Attributes:
        address: Where.
        decoded: How many records were decoded during a hello.
        log: What it logged as an error.
    """

    def __init__(self, folder: str) -> None:
        self.address = f"/unix{folder}/{uuid4().hex[:8]}.sock"
        self.decoded = 0
        self.log = Lines()
        self.log.setLevel(logging.ERROR)
        self.tasks: Callable[[], list[str]] = list
        self._up = threading.Event()
        self._stop: Callable[[], None]
        self._thread = threading.Thread(target=trio.run, args=(self._main,))

    async def _main(self) -> None:
        async with tractor.open_root_actor(
            name="fuzzed",
            secret=RAW,
            max_frame=MAX_FRAME,
            tpt_bind_addrs=[self.address],
            enable_modules=[exposed.__name__],
            graces=tractor.Graces(ack=0.1, cancel=0.1, terminate=0.1, kill=0.1),
        ) as root:
            token, over = trio.lowlevel.current_trio_token(), trio.Event()
            self._stop = lambda: token.run_sync_soon(over.set)
            self._up.set()
            await over.wait()
            assert not root.cancel_called

    @contextmanager
    def running(self) -> Iterator[None]:
        """During the block."""
        logger = logging.getLogger("tractor")
        logger.addHandler(self.log)
        self._thread.start()
        try:
            assert self._up.wait(SAFETY)
            yield
            self._stop()
            self._thread.join(SAFETY)
            assert not self._thread.is_alive()
        finally:
            logger.removeHandler(self.log)

    def decode_record(self, data: bytes) -> t.AnyRecord:
        """As the one of `msg`."""
        self.decoded += 1
        return decode_record(data)


@pytest.fixture(scope="module")
def server(runtime_dir: str) -> Iterator[Server]:
    """One for all examples."""
    know_all_characters()
    server = Server(runtime_dir)
    with pytest.MonkeyPatch.context() as patch, server.running():
        patch.setattr(handshake, "decode_record", server.decode_record)
        yield server


@settings(fuzz, max_examples=1)
@given(st.text())
def know_all_characters(_: str) -> None:
    """To make its table of them takes Hypothesis 200 MB, once on each machine."""


class Care:
    """Looks after the server; `after` every example, and `at_end`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._examples = 0
        is_served(server.address)
        self._memory = memory()

    def after(self) -> None:
        """It is well, and from time to time it shows that."""
        self._examples += 1
        assert self._server.log.lines == []
        if self._examples % FROM_TIME_TO_TIME == 0:
            self.at_end()

    def at_end(self) -> None:
        """It still serves others, and has not had much more memory since last time."""
        is_served(self._server.address)
        assert memory(peak=True) - self._memory < MAX_GROWTH
        self._memory = memory()


# -- Before the hello ------------------------------------------------------------------

CHANGES: Final = st.lists(
    st.tuples(st.integers(0, GREETING_SIZE + PROOF_SIZE - 1), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)
CUTS: Final = st.integers(0, 200)


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """With other bytes at some places."""
    found = bytearray(data)
    for place, value in changes:
        if place < len(found):
            found[place] = value
    return bytes(found)


def pieces(data: bytes, cut: int) -> list[bytes]:
    """In two."""
    return [data[:cut], data[cut:]]


RECORDED: Final = Hello("dialer", SECRET).greeting + os.urandom(PROOF_SIZE)
HELLOS: Final = st.one_of(
    st.binary(max_size=200),
    st.builds(changed, st.just(RECORDED), CHANGES),
    st.builds(
        lambda size, changes, tail: changed(RECORDED, changes)[:size] + tail,
        st.integers(0, len(RECORDED)),
        CHANGES,
        st.binary(max_size=100),
    ),
)


@rounds
def test_bytes_before_the_hello(server: Server, round_: int) -> None:
    """They never reach the decoder, and get a greeting as their answer at most."""
    del round_
    care = Care(server)

    @fuzz
    @given(HELLOS, CUTS)
    def attack(data: bytes, cut: int) -> None:
        decoded = server.decoded
        with Stranger(server.address) as stranger:
            for piece in pieces(data, cut):
                stranger.send(piece)
            stranger.say_no_more()
            heard = stranger.received_all()
        assert len(heard) in (0, GREETING_SIZE)
        assert server.decoded == decoded
        care.after()

    attack()
    care.at_end()


# -- After it --------------------------------------------------------------------------

TEXT: Final = st.text(max_size=8)
UIDS: Final = st.tuples(TEXT, TEXT)
CIDS: Final = st.integers(-1, 8) | st.sampled_from([2**62, 2**64 - 1, -(2**63)])
NUMBERS: Final = st.integers(-5, 5) | st.sampled_from([2**63, -(2**63), 2**64 - 1])
# From a list, since values made at random cost more than what is done with them.
VALUES: Final = st.one_of(
    st.sampled_from([None, True, 0.5, math.nan, math.inf, b"", [], {}, "x" * 5000]),
    st.sampled_from(
        [[[], {}], [[["x"], {}], 1], {"a": [{"b": 1}]}, {"": None}, [1] * 99]
    ),
    NUMBERS,
)
PAYLOADS: Final = st.builds(
    Raw, st.binary(max_size=8) | VALUES.map(msgspec.msgpack.encode)
)
CALLS: Final = st.builds(
    t.Start,
    cid=CIDS,
    ns=st.sampled_from([exposed.__name__, "trio", "tractor.discovery.verbs", ""]),
    func=st.sampled_from(["bait", "dialogue", "numbers", "find", "hold", "wait", ""]),
    params=PAYLOADS | st.just(Raw(b"\x92\x90\x80")),  # or no arguments
    kind=st.integers(0, 3),
)
RECORDS: Final = st.one_of(
    CALLS,
    st.builds(t.Started, CIDS, PAYLOADS),
    st.builds(t.Yield, CIDS, PAYLOADS),
    st.builds(t.Stop, CIDS, NUMBERS),
    st.builds(t.Return, CIDS, PAYLOADS),
    st.builds(t.Cancel, CIDS, UIDS, st.floats()),
    st.builds(t.CancelAck, st.none() | CIDS),
    st.builds(t.Credit, CIDS, NUMBERS),
    st.builds(t.Ping, NUMBERS),
    st.builds(t.Pong, NUMBERS),
    st.builds(t.Bye),
    st.builds(t.Stage, TEXT),
    st.builds(t.Ready, NUMBERS),
)
FRAMES: Final = RECORDS.map(frame)


def framed(body: bytes) -> bytes:
    """Any bytes as a frame."""
    return len(body).to_bytes(4, "little") + body


TAGS: Final = st.integers(-1, 20).filter(lambda tag: tag != CANCEL_ACTOR)
CANCEL_ACTOR: Final = 12  # its tag; whoever is of the tree may say that
JUNK: Final = st.one_of(
    FRAMES,
    FRAMES,  # most of all these
    st.builds(changed, FRAMES, CHANGES),
    st.builds(lambda whole, size: whole[:size], FRAMES, st.integers(0, 12)),
    st.builds(
        lambda tag, values: framed(msgspec.msgpack.encode([tag, *values])),
        TAGS,
        st.lists(VALUES, max_size=5),
    ),
    st.binary(max_size=64).map(framed),
    st.binary(max_size=64),
    st.integers(0, 2**32 - 1).map(lambda size: size.to_bytes(4, "little")),
)


@rounds
def test_bytes_after_the_hello(server: Server, round_: int) -> None:
    """They end their own connection at most, whoever sends them."""
    del round_
    care = Care(server)

    @fuzz
    @given(st.lists(JUNK, min_size=1, max_size=5), CUTS)
    def attack(junk: list[bytes], cut: int) -> None:
        me = Aid("fuzz", uuid4().hex, os.getpid())
        with Stranger(server.address) as stranger:
            stranger.join(greet(me))
            for piece in pieces(b"".join(junk), cut):
                stranger.send(piece)
            stranger.say_no_more()
            stranger.received_all()
        care.after()

    attack()
    care.at_end()


def test_the_records_are_all_that_there_are() -> None:
    """But for the order to stop, and those that hold much and are decoded the same."""
    made: set[str] = set()

    @settings(max_examples=500, deadline=None, database=None)
    @given(RECORDS)
    def collect(record: t.Record) -> None:
        made.add(type(record).__name__)

    collect()
    known = {each.__name__ for each in t.AnyRecord.__value__.__args__}
    assert known - made == {"SpawnSpec", "BootError", "Error", "CancelActor", "Greet"}
