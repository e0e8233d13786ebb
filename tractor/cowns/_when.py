"""The verbs that a scope has, both in the program and in its behaviours."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from inspect import iscoroutinefunction
from typing import Any

from tractor.cowns._cown import Cown, ambient
from tractor.cowns._functions import (
    check_no_generator,
    check_number,
    known,
    limits,
)
from tractor.cowns._notices import Notices
from tractor.cowns._values import Codec

type Shape = list[int | list[int]]
type Job = tuple[Any, Shape, Any]  # path, parameters, captures
type Request = Cown[Any] | Sequence[Cown[Any]]


class Scheduling(ABC):
    """Schedules behaviours; got from `open_cowns`, or in one from `current_scope`.

    Attributes:
        notices: The notice board.
    """

    notices: Notices
    codec: Codec
    _has_pinned = False  # whether some behaviours cannot run in workers

    def when(self, *cowns: Request) -> Callable[[Callable[..., Any]], Cown[Any]]:
        """A decorator: run the function once, when it can hold all these cowns.

        ``@scope.when(a, b)`` puts the cown of the result in the place of the function,
        which may be async, and whose parameters are the cowns. It may be defined
        inside of another function if it uses none of its variables; what it needs of
        them are parameters with defaults, and sent as *captures*.

        Args:
            *cowns: A list of them is one parameter. One that is named twice is held
                once.
        """

        def schedule(fn: Callable[..., Any]) -> Cown[Any]:
            return self._start(fn, cowns, ())

        return schedule

    def schedule(
        self, fn: Callable[..., Any], *cowns: Request, captures: Iterable[Any] = ()
    ) -> Cown[Any]:
        """The same without a decorator: `fn` gets `cowns`, and then `captures`.

        Behaviours over a cown run in the order in which they were scheduled.

        Returns:
            The cown of its result.

        Raises:
            TypeError: `fn` has other parameters, or something is no cown.
            ValueError: A worker could not find `fn`, or a cown is of another scope.
            MsgTypeError: A capture cannot be packed.
            RuntimeError: The scope is closed.
        """
        return self._start(fn, cowns, tuple(captures))

    def _start(
        self,
        fn: Callable[..., Any],
        cowns: tuple[Request, ...],
        captures: tuple[Any, ...],
    ) -> Cown[Any]:
        if not callable(fn):
            msg = f"a behaviour is something to call, not {fn!r}"
            raise TypeError(msg)
        if self._has_pinned:
            here = self._start_here(fn, cowns, captures)
            if here is not None:
                return here
        shape, numbers = self._shape(cowns)
        given = len(cowns) + len(captures)
        if self.codec.serializer is None:
            found = known(fn)
            path, is_async = found.path, found.is_async
            if not found.least <= given <= found.most:
                check_number(fn, given, found.least, found.most)
            if found.is_local and given < found.most:
                defaults = fn.__defaults__ or ()
                captures += defaults[given - found.least :]
            data = self.codec.encode(captures) if captures else b""
        else:
            check_no_generator(fn)
            check_number(fn, given, *limits(fn))
            path, is_async = "", iscoroutinefunction(fn)
            data = self.codec.encode((fn, captures))
        return self._submit((path, shape, data), is_async, numbers)

    def _shape(self, cowns: Iterable[Request]) -> tuple[Shape, list[int]]:
        """What the parameters are, and all numbers in it."""
        shape: Shape = []
        numbers: list[int] = []
        for each in cowns:
            if isinstance(each, Cown):
                keeper: object = each._keeper
                if keeper is not self and keeper is not None:
                    raise _foreign(each)
                shape.append(each._number)
                numbers.append(each._number)
            elif isinstance(each, list | tuple):
                group, inner = self._shape(each)
                if len(group) != len(inner) or group != inner:
                    msg = "a group has cowns in it, and no other groups"
                    raise TypeError(msg)
                shape.append(inner)
                numbers += inner
            else:
                msg = f"a behaviour is over cowns, or lists of them, not over {each!r}"
                raise TypeError(msg)
        return shape, numbers

    def _start_here(
        self,
        fn: Callable[..., Any],
        cowns: tuple[Request, ...],
        captures: tuple[Any, ...],
    ) -> Cown[Any] | None:
        """Schedule it on the main thread, if it is over a pinned cown."""
        raise NotImplementedError

    @abstractmethod
    def _submit(self, job: Job, is_async: bool, numbers: list[int]) -> Cown[Any]:
        """Schedule it."""


def _foreign(cown: Cown[Any]) -> ValueError:
    return ValueError(f"{cown!r} is of another scope")


def current_scope() -> Scheduling:
    """The scope in whose block, or in whose behaviour, this is.

    Raises:
        RuntimeError: There is none.
    """
    scope = ambient.get()
    if not isinstance(scope, Scheduling):
        msg = "this is for the block of `open_cowns()`, and for behaviours"
        raise RuntimeError(msg)
    return scope


def when(*cowns: Request) -> Callable[[Callable[..., Any]], Cown[Any]]:
    """`Scheduling.when` of the `current_scope`."""
    return current_scope().when(*cowns)
