"""Exceptions to data and back: nothing is lost that can be kept, nothing breaks it."""

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Never

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tractor._exceptions import (
    ContextCancelled,
    ModuleNotExposed,
    RemoteActorError,
    RemoteTraceback,
    TractorError,
)
from tractor._types import ErrorInfo, Uid
from tractor.msg import (
    _boxing,
    box,
    cancelled_info,
    get_err_type,
    reg_err_types,
    shorten,
    unbox,
)

LEAF: Final[Uid] = ("leaf", "a" * 32)
MID: Final[Uid] = ("mid", "b" * 32)


def raised[E: BaseException](exc: E) -> E:
    """`exc` with a traceback."""
    with suppress(BaseException):
        raise exc
    return exc


def over_the_wire(info: ErrorInfo) -> ErrorInfo:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(info), type=ErrorInfo)


def cross(exc: BaseException, *path: Uid) -> RemoteActorError:
    """What a waiter gets after `exc` was relayed by each actor of the path."""
    for uid in path or (LEAF,):
        exc = unbox(over_the_wire(box(exc, uid)))
    assert isinstance(exc, RemoteActorError)
    return exc


# -- What survives ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("no", 3),
        KeyError("k"),
        FileNotFoundError(2, "no such file", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"),
        UnicodeEncodeError("ascii", "é", 0, 1, "no"),
        SystemExit(3),
        SystemExit("bye"),
        StopIteration(4),
        ModuleNotFoundError("no m", name="m", path="p"),
        AttributeError("no a", name="a"),
        KeyboardInterrupt(),
        trio.ClosedResourceError("shut"),
        OSError("no number"),
        trio.Cancelled._create(source="explicit"),
        ModuleNotExposed("hidden"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_builtin_errors_are_the_same_after_unwrap(exc: BaseException) -> None:
    """Class, text and every plain attribute survive (semantics §7.1, §7.3)."""
    error = cross(raised(exc))
    same = error.unwrap()
    assert type(same) is type(exc)
    assert error.boxed_type is error.src_type is type(exc)
    assert str(same) == str(exc)
    assert repr(same) == repr(exc)
    for name in dir(exc):
        value = getattr(exc, name, object())
        if not name.startswith("_") and type(value) in (int, str, bytes, type(None)):
            assert getattr(same, name) == value, name


class Registered(Exception):
    """Its constructor wants what `args` does not hold."""

    def __init__(self, code: int, *, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code
        self.why = why
        self.handle = object()
        self._private = 1


class Unregistered(Exception):
    pass


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    reg_err_types([Registered])
    yield
    _boxing._registered.clear()


def test_registered_classes_are_rebuilt_around_their_constructors() -> None:
    """Required arguments do not matter; public plain attributes come along (§7.2)."""
    same = cross(raised(Registered(7, why="because"))).unwrap()
    assert isinstance(same, Registered)
    assert (str(same), same.code, same.why) == ("7: because", 7, "because")
    assert not hasattr(same, "handle")
    assert not hasattr(same, "_private")


def test_unknown_classes_keep_their_name_and_text() -> None:
    """`boxed_type` is `None`, the texts are there; `unwrap` says what to do (§7.2)."""
    error = cross(raised(Unregistered("oops")))
    assert error.boxed_type is error.src_type is None
    assert error.boxed_type_str == error.src_type_str == "Unregistered"
    assert error.message == "oops"
    assert "Unregistered: oops" in error.tb_str
    with pytest.raises(RuntimeError, match="reg_err_types"):
        error.unwrap()


def test_registering_late_is_in_time() -> None:
    """An error is rebuilt when somebody asks, and is the same object each time."""
    error = cross(raised(Unregistered("oops")))
    reg_err_types([Unregistered])
    assert isinstance(error.unwrap(), Unregistered)
    assert error.unwrap() is error.unwrap()


@pytest.mark.parametrize("wrong", [int, "ValueError", ValueError("x")])
def test_only_exception_classes_can_be_registered(wrong: Any) -> None:
    """`reg_err_types` raises `TypeError` for everything else."""
    with pytest.raises(TypeError, match="exception classes"):
        reg_err_types([wrong])


@pytest.mark.parametrize(
    "path", ["builtins:eval", "os:system", "builtins:int", ":", "", "trio:run", "a:b:c"]
)
def test_only_exceptions_of_the_allow_list_are_found(path: str) -> None:
    """A name on the wire never reaches anything else (semantics §7.2)."""
    assert get_err_type(path) is None


def test_the_traceback_is_text_and_the_cause() -> None:
    """The remote frames are shown below the local ones (semantics §7.1)."""
    error = cross(raised(ValueError("no")))
    assert "in raised" in error.tb_str
    assert isinstance(error.__cause__, RemoteTraceback)
    assert error.tb_str in str(error.__cause__)
    assert isinstance(error.unwrap().__cause__, RemoteTraceback)


def test_causes_and_contexts_are_in_the_traceback() -> None:
    """What led to an error is part of its text, in the order in which it happened."""
    error = raised(ValueError("third"))
    error.__cause__ = raised(KeyError("second"))
    error.__cause__.__context__ = raised(OSError("first"))
    text = cross(error).tb_str
    assert text.index("first") < text.index("second") < text.index("third")
    assert text.index("During handling") < text.index("direct cause")


def test_notes_survive() -> None:
    """`__notes__` are rebuilt and shown."""
    exc = ValueError("no")
    exc.add_note("a hint")
    error = cross(raised(exc))
    assert "a hint" in error.tb_str
    assert error.unwrap().__notes__ == ["a hint"]


# -- Relays ----------------------------------------------------------------------------


def test_a_relayed_error_keeps_its_source() -> None:
    """`boxed_type` is `RemoteActorError`, `src_*` stay, the path grows (§7.2)."""
    error = cross(raised(ValueError("no")), LEAF, MID)
    assert error.boxed_type is RemoteActorError
    assert error.boxed_type_str == "RemoteActorError"
    assert error.src_type is ValueError
    assert error.src_type_str == "ValueError"
    assert error.src_uid == LEAF
    assert error.relay_path == [LEAF, MID]
    assert error.relay_uid == error.sender == MID
    assert error.is_inception()
    assert isinstance(error.unwrap(), ValueError)
    assert str(error) == "ValueError: no [from actor leaf via mid]"
    assert "in raised" in error.tb_str


def test_a_relayed_cancellation_stays_one() -> None:
    """`ContextCancelled` keeps its class and its canceller on the way."""
    first = unbox(cancelled_info(LEAF, MID, "'m.f'"))
    assert isinstance(first, ContextCancelled)
    assert str(first) == (
        "ContextCancelled: 'm.f' was cancelled by actor 'mid' [from actor leaf]"
    )
    again = cross(first, MID)
    assert isinstance(again, ContextCancelled)
    assert again.canceller == MID
    assert again.boxed_type is ContextCancelled


# -- Groups ----------------------------------------------------------------------------


def shape(exc: BaseException) -> Any:
    """Classes and texts of a tree of groups."""
    if isinstance(exc, BaseExceptionGroup):
        return type(exc), exc.message, [shape(member) for member in exc.exceptions]
    return type(exc), str(exc)


class Family(ExceptionGroup[Exception]):
    pass


def test_groups_keep_their_members() -> None:
    """`unwrap` rebuilds the tree (semantics §7.3)."""
    reg_err_types([Family])
    tree = BaseExceptionGroup(
        "top",
        [
            raised(ValueError("a")),
            ExceptionGroup("inner", [KeyError("b"), Family("own", [OSError(2, "c")])]),
            SystemExit(3),
        ],
    )
    error = cross(raised(tree))
    assert shape(error.unwrap()) == shape(tree)
    assert error.message == "top"
    assert "ValueError: a" in error.tb_str
    assert "SystemExit: 3" in error.tb_str


def test_members_of_unknown_class_stay_remote_errors() -> None:
    """One unknown member does not cost the others (semantics §7.3)."""
    group = ExceptionGroup("g", [Unregistered("x"), ValueError("y")])
    rebuilt = cross(raised(group)).unwrap()
    assert isinstance(rebuilt, ExceptionGroup)
    remote, known = rebuilt.exceptions
    assert isinstance(remote, RemoteActorError)
    assert remote.boxed_type_str == "Unregistered"
    assert isinstance(known, ValueError)


def test_members_from_another_actor_stay_remote_errors() -> None:
    """A relayed group has the members that its source had, and where they were from."""
    group = ExceptionGroup("g", [cross(raised(ValueError("x")))])
    rebuilt = cross(raised(group), MID).unwrap()
    assert isinstance(rebuilt, ExceptionGroup)
    (member,) = rebuilt.exceptions
    assert isinstance(member, RemoteActorError)
    assert member.relay_path == [LEAF, MID]
    assert shape(member.unwrap()) == (ValueError, "x")


def test_a_group_of_a_million_is_cut_and_counted() -> None:
    """It takes no time and little space, and says what is missing (reliability D3)."""
    error = raised(ValueError("x"))
    info = box(ExceptionGroup("many", [error] * 10**6), LEAF)
    assert info.members is not None
    assert len(info.members) == _boxing.MAX_MEMBERS
    assert len(msgspec.msgpack.encode(info)) < 1024 * 1024
    rebuilt = unbox(info).unwrap()
    assert isinstance(rebuilt, ExceptionGroup)
    assert str(rebuilt.exceptions[-1]) == f"and {info.omitted} more errors, not sent"
    assert info.omitted == 10**6 - _boxing.MAX_MEMBERS


def test_a_group_of_a_million_may_be_the_cause_of_an_error() -> None:
    """The traceback does not walk it (reliability D3)."""
    error = ValueError("x")
    error.__cause__ = ExceptionGroup("many", [KeyError("y")] * 10**6)
    assert "ExceptionGroup: many" in cross(raised(error)).tb_str


@pytest.mark.parametrize("width", [1, 3, 30])
def test_a_tree_of_groups_is_cut_and_counted(width: int) -> None:
    """Depth and width together are bounded, and each branch gets its share (D3)."""
    tree: Exception = raised(ValueError("x"))
    for depth in range(100):
        tree = ExceptionGroup(str(depth), [tree] * width)
    info = box(raised(tree), LEAF)
    assert count(info) <= _boxing.MAX_MEMBERS
    assert len(msgspec.msgpack.encode(info)) < 4 * 1024 * 1024
    rebuilt = cross(tree).unwrap()
    assert isinstance(rebuilt, ExceptionGroup)
    assert rebuilt.message == "99"
    assert len(rebuilt.exceptions) == width


def count(info: ErrorInfo) -> int:
    return sum(1 + count(member) for member in info.members or ())


# -- Bounds ----------------------------------------------------------------------------


def test_long_texts_are_cut_in_the_middle() -> None:
    """Message and arguments are bounded; begin and end are kept (reliability D3)."""
    error = cross(raised(ValueError("<" + "x" * 1_000_000 + ">")))
    assert len(error.message) < 70_000
    assert error.message[0] + error.message[-1] == "<>"
    assert str(error.unwrap()) == error.message


def test_attributes_that_do_not_fit_are_left_out() -> None:
    """A large attribute does not cost the small ones."""
    exc = FileNotFoundError(2, "no", "name")
    exc.big = b"x" * 1_000_000  # type: ignore[attr-defined]
    exc.small = 2**70  # type: ignore[attr-defined]
    same = cross(raised(exc)).unwrap()
    assert isinstance(same, FileNotFoundError)
    assert (same.errno, same.filename) == (2, "name")
    assert not hasattr(same, "big")
    assert same.small == str(2**70)  # type: ignore[attr-defined]


def test_a_long_recursion_is_boxed() -> None:
    """A traceback of all frames that there can be is no trouble (reliability D3)."""

    def recurse() -> Never:
        recurse()

    with pytest.raises(RecursionError) as caught:
        recurse()
    assert "recurse" in cross(caught.value).tb_str
    assert len(box(caught.value, LEAF).tb_str) < 70_000


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_cycles_of_causes_end(link: str) -> None:
    """An error that led to itself is shown once."""
    first, second = raised(ValueError("one")), raised(KeyError("two"))
    setattr(first, link, second)
    setattr(second, link, first)
    text = cross(first).tb_str
    assert text.count("ValueError: one") == 1
    assert text.count("KeyError: 'two'") == 1


def test_lone_surrogates_are_escaped() -> None:
    """Text that is no UTF-8 crosses as text that is (reliability D2)."""
    exc = OSError(2, "no", "dir/\udcff")
    exc.add_note("note \ud800")
    group = ExceptionGroup("msg \ud800", [exc])
    rebuilt = cross(raised(group)).unwrap()
    assert isinstance(rebuilt, ExceptionGroup)
    assert rebuilt.message == "msg \\ud800"
    (same,) = rebuilt.exceptions
    assert isinstance(same, OSError)
    assert (same.errno, same.filename) == (2, "dir/\\udcff")


def test_a_shortened_error_is_small_and_still_the_same() -> None:
    """What fits into no frame is told all the same, in a few hundred bytes."""
    group = ExceptionGroup("m" * 100_000, [ValueError("x" * 10_000)] * 100)
    info = shorten(box(raised(group), LEAF))
    assert len(msgspec.msgpack.encode(info)) < 1500
    assert unbox(info).boxed_type is ExceptionGroup
    assert unbox(info).message.startswith("mmm")


# -- Hostile exceptions ----------------------------------------------------------------


class _Meta(type):
    @property
    def __module__(cls) -> Never:  # type: ignore[override]
        raise ZeroDivisionError


class _LyingText(str):
    __slots__ = ()

    def __len__(self) -> Never:
        raise ZeroDivisionError

    def encode(self, *_: object) -> Any:
        return self


class BadText(Exception):
    def __str__(self) -> Never:
        raise KeyboardInterrupt

    __repr__ = __str__


class BadClass(Exception):
    __class__ = property(lambda _: sys.exit())


class BadAttributes(Exception):
    def __getattribute__(self, name: str) -> Never:
        raise trio.Cancelled._create(source="explicit")


class BadMeta(Exception, metaclass=_Meta):
    pass


class BadStrings(Exception):
    def __init__(self) -> None:
        super().__init__(_LyingText("x"), {_LyingText("k"): object()})
        self.attribute = _LyingText("x")

    def __str__(self) -> str:
        return _LyingText("x")


class BadGroup(ExceptionGroup[Exception]):
    def __getattribute__(self, name: str) -> Never:
        raise RecursionError


class BadChain(Exception):
    __cause__ = property(lambda self: self)
    __notes__ = property(lambda _: 1 / 0)
    __traceback__ = property(lambda _: "none")


HOSTILE: Final[list[Callable[[], BaseException]]] = [
    BadText,
    BadClass,
    BadAttributes,
    BadMeta,
    BadStrings,
    BadChain,
    lambda: BadGroup("g", [ValueError("x")]),
    lambda: ExceptionGroup("g", [BadText(), BadClass(), BadAttributes()]),
    lambda: ValueError(BadText()),
]


@pytest.mark.parametrize("make", HOSTILE)
@pytest.mark.parametrize("role", ["itself", "cause", "context", "argument"])
def test_hostile_exceptions_cannot_break_box(
    make: Callable[[], BaseException], role: str
) -> None:
    """Whatever its methods do, there is an envelope with safe text (reliability D2)."""
    exc: BaseException = make()
    match role:
        case "cause":
            exc = _led_to(exc, "__cause__")
        case "context":
            exc = _led_to(exc, "__context__")
        case "argument":
            exc = ValueError([exc, {"k": exc}])
    error = cross(exc, LEAF, MID)
    assert error.relay_path == [LEAF, MID]
    assert isinstance(str(error), str)


def _led_to(exc: BaseException, link: str) -> ValueError:
    error = ValueError("x")
    setattr(error, link, exc)
    return error


# -- Hostile peers ---------------------------------------------------------------------

PATHS: Final = st.sampled_from(
    [
        *("builtins:ValueError", "builtins:OSError", "builtins:ExceptionGroup"),
        *("builtins:UnicodeDecodeError", "builtins:BaseExceptionGroup", "no:such"),
        *("trio:Cancelled", "tractor._exceptions:ActorDied", "builtins:eval"),
        *("tractor._exceptions:RemoteActorError", "builtins:StopIteration"),
    ]
)
TEXTS: Final = st.sampled_from(["", "x", "__class__", "__notes__", "args", "errno"])
PLAIN: Final = st.one_of(st.none(), st.integers(-9, 9), TEXTS, st.binary(max_size=3))
INFOS: Final = st.recursive(
    st.none(),
    lambda member: st.builds(
        ErrorInfo,
        type_path=PATHS,
        message=TEXTS,
        tb_str=TEXTS,
        src_type_path=PATHS,
        src_uid=st.just(LEAF),
        relay_path=st.lists(st.just(LEAF), max_size=2),
        args=st.one_of(
            st.binary(max_size=4), st.lists(PLAIN).map(msgspec.msgpack.encode)
        ),
        attrs=st.dictionaries(TEXTS, PLAIN, max_size=3),
        members=st.one_of(st.none(), st.lists(member.filter(bool), max_size=3)),
        omitted=st.integers(-1, 3),
        canceller=st.none() | st.just(MID),
        notes=st.lists(TEXTS, max_size=2),
    ),
    max_leaves=5,
).filter(bool)


@given(INFOS)
def test_unbox_takes_whatever_a_peer_sends(info: ErrorInfo) -> None:
    """Any `ErrorInfo` gives an error; `unwrap` gives one too or `RuntimeError`."""
    error = unbox(info)
    try:
        rebuilt = error.unwrap()
    except RuntimeError:
        return
    assert isinstance(rebuilt, BaseException)
    assert isinstance(rebuilt.__cause__, RemoteTraceback)


def test_members_nested_beyond_the_stack_are_rebuilt_in_part() -> None:
    """A peer cannot exhaust our stack (reliability D3)."""
    info = box(ValueError("x"), LEAF)
    nest = {"members": [info], "src_type_path": "builtins:ExceptionGroup"}
    for _ in range(5000):
        info = msgspec.structs.replace(info, **nest)
        nest["members"] = [info]
    rebuilt = unbox(info).unwrap()
    assert isinstance(rebuilt, ExceptionGroup)
    assert rebuilt.message == "x"


def test_remote_errors_of_rebuilt_classes_survive_pickling() -> None:
    """Also where the original cannot be pickled; it is rebuilt on the other side."""
    error = cross(raised(Registered(7, why="because")))
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(error.unwrap()))
    same = pickle.loads(pickle.dumps(error))
    assert isinstance(same.unwrap(), Registered)
    assert isinstance(same.__cause__, RemoteTraceback)
    assert str(same) == str(error)
    assert isinstance(same, TractorError)
