"""Names of functions and classes: made, refused, loaded, and sent."""

import copy
import functools
import math
import pickle
import sys
from collections.abc import Callable
from types import ModuleType

import msgspec
import pytest

from tractor._exceptions import MsgTypeError
from tractor.msg import ANY, NamespacePath, PayloadType


def top_level() -> None:
    """Something to refer to."""


@functools.wraps(top_level)
def shadow() -> None:
    """Has the name of another one."""


class Home:
    """A class with things inside."""

    def method(self) -> None:
        """Refer to it by the class."""

    @classmethod
    def make(cls) -> None:
        """Bound to the class."""

    class Inner:
        """A class inside."""


class Job(msgspec.Struct):
    """What a program would send."""

    ref: NamespacePath


# -- Made from what it refers to -------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (top_level, f"{__name__}:top_level"),
        (Home, f"{__name__}:Home"),
        (Home.method, f"{__name__}:Home.method"),
        (Home.make, f"{__name__}:Home.make"),
        (Home.Inner, f"{__name__}:Home.Inner"),
        (len, "builtins:len"),
        (math.sin, "math:sin"),
    ],
)
def test_a_path_leads_back(ref: object, path: str) -> None:
    """What a path was made from is what it loads."""
    made = NamespacePath.from_ref(ref)
    assert made == path
    assert made.load_ref() == ref


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (lambda: None, "is a lambda; move it"),
        (shadow, "top_level is not that object, and so nobody can find it"),
    ],
)
def test_what_cannot_be_found_is_refused(ref: object, text: str) -> None:
    """A path that leads elsewhere, or nowhere, is not made."""
    with pytest.raises(ValueError, match=text):
        NamespacePath.from_ref(ref)


def test_what_is_inside_a_function_is_refused() -> None:
    """Nobody else could find it."""

    def local() -> None:
        pass

    with pytest.raises(ValueError, match="is defined inside a function; move it"):
        NamespacePath.from_ref(local)


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (Home(), "an instance of 'Home' has no path"),
        (3, "an instance of 'int' has no path"),
        (functools.partial(top_level), "an instance of 'partial' has no path"),
        (math, "an instance of 'module' has no path"),
        ([].append, "has no path"),
        (Home().method, "'Home.method' is bound to an instance"),
    ],
)
def test_an_instance_is_refused(ref: object, text: str) -> None:
    """Only functions and classes are found by name."""
    with pytest.raises(TypeError, match=text):
        NamespacePath.from_ref(ref)


def test_a_name_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that leads nowhere is not made."""
    monkeypatch.delitem(globals(), "top_level")
    with pytest.raises(ValueError, match="is not that object"):
        NamespacePath.from_ref(shadow)


def test_the_replayed_program_is_named_as_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parent and child write the same path for a function of the main module."""
    main = ModuleType("__mp_main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec("def job(): pass", vars(main))
    assert NamespacePath.from_ref(vars(main)["job"]) == "__main__:job"


# -- Its form --------------------------------------------------------------------------


def test_its_parts() -> None:
    """Module and name come apart."""
    assert NamespacePath("a.b:c.d").to_tuple() == ("a.b", "c.d")


@pytest.mark.parametrize(
    "text",
    ["", "a", "a:", ":b", "a:b:c", "a..b:c", ".a:b", "a:b c", "a:b.", "a:1", "a:<x>"],
)
def test_another_form_is_refused(text: str) -> None:
    """The error comes where the text is, not where it is loaded."""
    with pytest.raises(ValueError, match=r"is not a NamespacePath; write 'mod.path:"):
        NamespacePath(text)


def test_only_text_makes_one() -> None:
    """Nothing is turned into text for it."""
    with pytest.raises(TypeError, match="is made of text, not of 'list'"):
        NamespacePath(["a:b"])  # type: ignore[arg-type]


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy])
def test_it_is_a_value(clone: Callable[[NamespacePath], NamespacePath]) -> None:
    """Copies are equal, of the same class, and equal to the text."""
    path = NamespacePath("a:b")
    assert clone(path) == "a:b"
    assert type(pickle.loads(pickle.dumps(clone(path)))) is NamespacePath


# -- Loading ---------------------------------------------------------------------------


def test_a_module_that_is_missing_cannot_be_loaded() -> None:
    """The error is that of the import."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        NamespacePath("no_such_module:x").load_ref()


def test_a_name_that_is_missing_cannot_be_loaded() -> None:
    """The error names what was looked for, and where."""
    with pytest.raises(AttributeError, match=r"there is no 'sin\.x' in module 'math'"):
        NamespacePath("math:sin.x").load_ref()


# -- On the wire -----------------------------------------------------------------------


def test_it_crosses_as_plain_text() -> None:
    """A receiver that knows nothing of it gets a `str`."""
    raw = ANY.encode([NamespacePath("a:b")], "it")
    assert bytes(raw) == msgspec.msgpack.encode(["a:b"])
    assert type(ANY.decode(raw, "it")[0]) is str


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (NamespacePath, NamespacePath("a:b")),
        (NamespacePath | None, NamespacePath("a:b")),
        (list[NamespacePath], [NamespacePath("a:b")]),
        (dict[NamespacePath, int], {NamespacePath("a:b"): 1}),
        (Job, Job(NamespacePath("a:b"))),
    ],
)
def test_a_spec_makes_it_a_path_again(spec: object, value: object) -> None:
    """Where the type says so, text becomes a path."""
    payload_type = PayloadType(spec)
    received = payload_type.decode(payload_type.encode(value, "it"), "it")
    assert received == value
    assert repr(type(received)) == repr(type(value))


def test_a_typed_field_is_a_path_again() -> None:
    """The same inside of a struct."""
    raw = ANY.encode({"ref": "a:b"}, "it")
    assert type(PayloadType(Job).decode(raw, "it").ref) is NamespacePath


def test_as_an_ext_type_it_stays_a_path() -> None:
    """Listed among the `ext_types` it needs neither a spec nor hooks."""
    payload_type = PayloadType(ext_types=[NamespacePath])
    raw = payload_type.encode({"x": [NamespacePath("a:b")]}, "it")
    (found,) = payload_type.decode(raw, "it")["x"]
    assert type(found) is NamespacePath
    assert found == "a:b"


@pytest.mark.parametrize("value", ["nonsense", 5, ["a:b"]])
def test_what_is_no_path_does_not_arrive(value: object) -> None:
    """Text of another form, or no text, is a type error."""
    raw = ANY.encode(value, "it")
    with pytest.raises(MsgTypeError, match="NamespacePath"):
        PayloadType(NamespacePath).decode(raw, "it")
