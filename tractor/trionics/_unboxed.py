"""Errors of other actors as what they were there."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tractor._exceptions import RemoteActorError
from tractor.trionics._groups import replace_members
from tractor.trionics._reraise import reraise


@contextmanager
def unboxed() -> Iterator[None]:
    """Raise a `RemoteActorError` as the original exception, also within groups.

    What a task in another actor raised arrives as a `RemoteActorError`, which neither
    `except` nor `except*` match by the class of the original. Here they do:

        try:
            with unboxed():
                await portal.run(divide, a=1, b=0)
        except ZeroDivisionError as error:
            print(f"{error}, and this is where: {error.__cause__}")

    and likewise ``with pytest.raises(ZeroDivisionError), unboxed(): ...``. An actor
    nursery may raise several errors, as a group:

        try:
            with unboxed():
                async with tractor.open_nursery() as an:
                    await an.run_in_actor(divide, a=1, b=0)
                    await an.run_in_actor(read, path="/nowhere")
        except* ZeroDivisionError: ...
        except* FileNotFoundError: ...

    The `RemoteActorError` is the original's ``__cause__``, and has the remote
    traceback as its own. It stays what it is where the class of the original is not
    known here (see `tractor.msg.reg_err_types`), and where a task was cancelled there:
    that is no cancellation here.
    """
    try:
        yield
    except RemoteActorError as error:
        reraise(_unbox(error))
    except BaseExceptionGroup as group:
        reraise(replace_members(group, _unbox))


def _unbox(exc: BaseException) -> BaseException:
    if not isinstance(exc, RemoteActorError):
        return exc
    try:
        original = _without_cancellations(exc.unwrap())
    except RuntimeError:
        return exc
    if original is None or isinstance(original, RemoteActorError):
        return exc
    original.__cause__ = exc
    return original


def _without_cancellations(original: BaseException) -> BaseException | None:
    """What of it is an error; in a group, those from further away unboxed, too."""
    if isinstance(original, trio.Cancelled):
        return None
    if not isinstance(original, BaseExceptionGroup):
        return original
    _, errors = original.split(trio.Cancelled)
    return errors and replace_members(errors, _unbox)
