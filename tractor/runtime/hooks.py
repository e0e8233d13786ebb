"""What something above the runtime may do at points where to be told is not enough.

An event only tells (docs/adr/0006). A hook is waited for, and there is one set of them
in an actor at most; without it none of these points costs more than a test. The
debugger is the only user (docs/adr/0022), and the runtime does not know it.
"""


class Hooks:
    """The points at which the runtime asks; these ones do nothing."""

    def on_loop(self) -> None:
        """The loop of a child runs, and nothing else in it does yet."""

    async def on_crash(self, error: BaseException) -> None:
        """A function that runs here for a peer raised, or the body of a root did.

        Nobody else knows yet, and the frames of it are still there. Must not raise.
        """

    async def stood_still(self, since: float) -> bool:
        """Wait until clocks run; whether they stood still at any moment since then.

        A time that ran out meanwhile has not run out: it is granted anew.

        Args:
            since: As `time.monotonic` says it.
        """
        del since
        return False

    def swallows_interrupt(self) -> bool:
        """Whether a Ctrl-C that reaches this process is not meant for the tree."""
        return False
