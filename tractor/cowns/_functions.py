"""How the function of a behaviour is named, so that a worker finds it.

A function at the top level of a module goes by module and name. One that is defined
inside of another function is found by the code of that: the code of the inner one is
among its constants, and the line in which it begins tells those of one name apart. No
code is sent. So it may use whatever its module has, and its own parameters; a variable
of the function around it is a parameter with a default, which is sent as a *capture*.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, Final

from msgspec import Struct

from tractor.futures.parts import find as find_by_name
from tractor.futures.parts import path_of

LOCALS: Final = "<locals>"
ANY_NUMBER: Final = 1 << 30
REMEMBERED: Final = 1024  # functions
_VARARGS: Final = inspect.CO_VARARGS


class Known(Struct, frozen=True):
    """What a function is, for scheduling.

    Attributes:
        path: By which a worker finds it.
        is_async: Whether it is awaited.
        is_local: Whether it is defined inside of another one.
        least: How many arguments it takes at least; those without default.
        most: How many at most.
    """

    path: str
    is_async: bool
    is_local: bool
    least: int
    most: int


def known(fn: Callable[..., Any]) -> Known:
    """How a worker finds it.

    Raises:
        TypeError: It is a generator.
        ValueError: A worker could not find it; the text says what to do.
    """
    code = getattr(fn, "__code__", None)
    if code is not None and LOCALS in fn.__qualname__:
        count = len(fn.__defaults__ or ())
        return _known_local(code, fn.__module__, fn.__qualname__, count)
    try:
        return _known(fn)
    except TypeError:
        return _known.__wrapped__(fn)  # it has no hash, or the error is its own


@lru_cache(REMEMBERED)
def _known(fn: Callable[..., Any]) -> Known:
    check_no_generator(fn)
    is_async = inspect.iscoroutinefunction(fn)
    return Known(path_of(fn), is_async, False, *limits(fn))


@lru_cache(REMEMBERED)
def _known_local(code: CodeType, module: str, name: str, defaults: int) -> Known:
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        raise _generator(name)
    if code.co_freevars:
        names = ", ".join(code.co_freevars)
        msg = (
            f"{name!r} uses variables of the function around it ({names}); give them "
            f"as defaults of parameters: {code.co_freevars[0]}={code.co_freevars[0]}"
        )
        raise ValueError(msg)
    path = f"{module}:{name}@{code.co_firstlineno}"
    try:
        found = _find_code(path)
    except (ImportError, AttributeError, KeyError, LookupError):
        found = None
    if found is not code:
        msg = (
            f"{name!r} is not found in its module, as a worker would look for it; move "
            "it to the top level of a module, or give the scope a serializer="
        )
        raise ValueError(msg)
    is_async = bool(code.co_flags & inspect.CO_COROUTINE)
    most = ANY_NUMBER if code.co_flags & _VARARGS else code.co_argcount
    return Known(path, is_async, True, code.co_argcount - defaults, most)


def check_no_generator(fn: Callable[..., Any]) -> None:
    """Refuse what would not run when it is called.

    Raises:
        TypeError: It is a generator.
    """
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise _generator(fn.__qualname__)


def _generator(name: str) -> TypeError:
    return TypeError(f"a behaviour runs once, and {name!r} is a generator")


def limits(fn: Callable[..., Any]) -> tuple[int, int]:
    """How many arguments it takes, at least and at most.

    Raises:
        TypeError: It has parameters that have to be named.
    """
    code = getattr(fn, "__code__", None)
    if code is None:
        return 0, ANY_NUMBER
    if code.co_kwonlyargcount > len(getattr(fn, "__kwdefaults__", None) or ()):
        msg = f"{fn.__qualname__!r} has parameters that have to be named"
        raise TypeError(msg)
    count = code.co_argcount - inspect.ismethod(fn)
    least = count - len(getattr(fn, "__defaults__", None) or ())
    return least, ANY_NUMBER if code.co_flags & _VARARGS else count


def check_number(fn: Callable[..., Any], given: int, least: int, most: int) -> None:
    """Refuse too few arguments, or too many.

    Raises:
        TypeError: There are.
    """
    if not least <= given <= most:
        msg = (
            f"{fn.__qualname__!r} takes {least} to {most} arguments, and gets {given} "
            "cowns and captures; what is no cown needs a default"
        )
        raise TypeError(msg)


def find(path: str) -> Callable[..., Any]:
    """What a path stands for.

    Raises:
        ImportError: There is no such module.
        LookupError: It has no such function.
    """
    if LOCALS not in path:
        return find_by_name(path)  # type: ignore[no-any-return]
    code = _find_code(path)
    names = find_by_name(path.partition(":")[0] + ":__dict__")
    return FunctionType(code, names, code.co_name)


def _find_code(path: str) -> CodeType:
    whole, _, line = path.rpartition("@")
    module, _, name = whole.partition(":")
    outer, *inner = name.split(f".{LOCALS}.")
    around = inspect.unwrap(find_by_name(f"{module}:{outer}"))
    names = [part for piece in inner for part in piece.split(".")]
    for code in _inside(around.__code__, names):
        if code.co_firstlineno == int(line):
            return code
    msg = f"there is no function {name!r} in line {line} of {module!r}"
    raise LookupError(msg)


def _inside(code: CodeType, names: list[str]) -> Iterator[CodeType]:
    """Codes of that name; several functions may have the same."""
    for part in code.co_consts:
        if isinstance(part, CodeType) and part.co_name == names[0]:
            if len(names) == 1:
                yield part
            else:
                yield from _inside(part, names[1:])
