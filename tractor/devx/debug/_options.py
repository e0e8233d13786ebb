"""How a REPL is opened: what it leaves out, and what is entered around it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from msgspec import Struct


class BoxedMaybeException(Struct):
    """What a block of `open_crash_handler` raised, if anything.

    Attributes:
        value: The error.
        raise_on_exit: Whether it goes on from the block: for all errors, or for those
            of some types.
    """

    value: BaseException | None = None
    raise_on_exit: bool | tuple[type[BaseException], ...] = True

    def goes_on(self) -> bool:
        """Whether the block raises it."""
        if isinstance(self.raise_on_exit, bool):
            return self.raise_on_exit
        return isinstance(self.value, self.raise_on_exit)


# Gets the error that is shown, or an empty box at a breakpoint; if the context manager
# gives `False`, no REPL is opened.
type ReplFixture = Callable[[BoxedMaybeException], AbstractContextManager[bool | None]]


class ReplOptions(Struct, frozen=True):
    """How one REPL is opened.

    Attributes:
        hide_tb: Whether frames of ours and of trio's are left out of its stack.
        fixtures: What is entered around it, the outermost one first.
    """

    hide_tb: bool = True
    fixtures: tuple[ReplFixture, ...] = ()

    @contextmanager
    def entered(self, error: BaseException | None) -> Iterator[bool]:
        """Enter the fixtures, up to the first that refuses; whether none did."""
        box = BoxedMaybeException(error)
        with ExitStack() as stack:
            yield all(
                stack.enter_context(fixture(box)) is not False
                for fixture in self.fixtures
            )


def make_options(
    hide_tb: bool | None,
    repl_fixture: ReplFixture | None,
    default: ReplOptions | None = None,
) -> ReplOptions:
    """What a call asks for, in a tree that has its own.

    Args:
        hide_tb: By default the tree's.
        repl_fixture: Entered within the tree's.
        default: The tree's, if there is one.
    """
    tree = default or ReplOptions()
    own = () if repl_fixture is None else (repl_fixture,)
    hide = tree.hide_tb if hide_tb is None else hide_tb
    return ReplOptions(hide, (*tree.fixtures, *own))
