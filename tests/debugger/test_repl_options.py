"""How a REPL is opened: for which errors, what it shows, and what is around it."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tractor
from tests.debugger._session import Session
from tests.debugger.test_options import program
from tractor.devx import debug
from tractor.devx.debug._options import make_options

type Start = Callable[..., Session]

# What an actor of the programs does, and a root that lets it.
MAIN = """
from contextlib import contextmanager

def no_key_error(error):
    return not isinstance(error, KeyError)

@contextmanager
def announced(box):
    print("opens for", repr(box.value), flush=True)
    yield not isinstance(box.value, KeyError)
    print("closed", flush=True)

async def fail_twice():
    for cls in (KeyError, ValueError):
        try:
            with debug.maybe_open_crash_handler():
                raise cls("in the actor")
        except Exception as error:
            print("went on with", repr(error), flush=True)

async def lose_key():
    raise KeyError("key")

async def main():
    async with tractor.open_nursery(debug_mode=True, **OPTIONS) as an:
        portal = await an.start_actor("child", enable_modules=[__name__])
        for call in CALLS:
            try:
                print("result", await portal.run(*call), flush=True)
            except tractor.RemoteActorError as error:
                print("caught", error, flush=True)
        await an.cancel()

if __name__ == "__main__":
    trio.run(main)
"""


def tree_of(folder: Path, options: str, calls: str) -> str:
    """A file with that program."""
    text = f"OPTIONS = dict({options})\nCALLS = [{calls}]\n"
    # The values may be functions that the program defines.
    return program(folder, MAIN.replace("async def main", f"{text}\nasync def main"))


# -- For which errors ------------------------------------------------------------------


def test_a_filter_with_a_name_works_in_each_actor(
    session: Start, start_method: str, tmp_path: Path
) -> None:
    """Whatever hosts it, and also if it is in the program itself."""
    options = f"start_method={start_method!r}, debug_filter=no_key_error"
    tree = session(tree_of(tmp_path, options, "(lose_key,), (fail, 'loud')"))
    before = tree.prompt()
    assert "caught KeyError: 'key' [from actor child]" in before
    assert "crash in actor 'child'" in before
    assert "ValueError: loud" in before
    tree.type("c")
    tree.rest()
    assert tree.exit_code() == 0


def test_a_filter_that_nobody_finds_is_an_error_line(
    session: Start, tmp_path: Path
) -> None:
    """One that has no name is for the root alone, and one of a module needs that."""
    path = tree_of(tmp_path, "debug_filter=lambda error: False", "(lose_key,)")
    tree = session(path)
    before = tree.prompt()
    assert "debug_filter works in the root alone: '<lambda>' is a lambda" in before
    assert "KeyError: 'key'" in before
    tree.type("c")
    tree.rest()
    text = """
    async def main():
        options = {"debug_mode": True, "debug_filter": print}
        options["debug_filter"] = only_here
        async with tractor.open_nursery(**options) as an:
            served = ["tests.debugger.programs"]
            portal = await an.start_actor("child", enable_modules=served)
            from tests.debugger.programs import crash
            for _ in range(2):
                try:
                    await portal.run(crash)
                except tractor.RemoteActorError:
                    print("caught", flush=True)
            await an.cancel()

    def only_here(error):
        return False

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    before = tree.prompt()
    assert "debug_filter=__main__:only_here does not work in this actor" in before
    assert "ZeroDivisionError" in before
    before = tree.ask("c")
    assert "caught" in before
    assert "does not work" not in before
    tree.type("c")
    tree.rest()


async def test_names_of_options_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Those that another actor finds, and no others."""
    async with tractor.open_root_actor(
        debug_mode=True, debug_filter=is_any, repl_fixture=around, hide_tb=False
    ) as actor:
        sent = actor.runtime_vars
        assert sent.debug_filter == f"{__name__}:is_any"
        assert sent.repl_fixture == f"{__name__}:around"
        assert not sent.debug_hide_tb
    assert not caplog.records
    with caplog.at_level(logging.ERROR):
        async with tractor.open_root_actor(
            debug_mode=True,
            repl_fixture=lambda box: around(box),  # noqa: PLW0108 (has no name)
        ) as actor:
            assert actor.runtime_vars.repl_fixture == ""
            assert actor.runtime_vars.debug_hide_tb
    assert "repl_fixture works in the root alone" in caplog.text


def is_any(error: BaseException) -> bool:
    """A filter."""
    return bool(error)


@contextmanager
def around(box: debug.BoxedMaybeException) -> Iterator[bool]:
    """A fixture."""
    yield box.value is None


# -- What is around it -----------------------------------------------------------------


def test_a_fixture_is_entered_around_each_repl(
    session: Start, start_method: str, tmp_path: Path
) -> None:
    """In each actor, at breakpoints and for errors; it may refuse."""
    options = f"start_method={start_method!r}, repl_fixture=announced"
    tree = session(tree_of(tmp_path, options, "(stop,), (fail_twice,)"))
    before = tree.prompt()
    assert "opens for None" in before
    assert "paused in actor 'child'" in before
    before = tree.ask("c")
    first, _, second = before.partition("opens for KeyError")
    assert first.index("closed") < first.index("result went on")
    refused, _, third = second.partition("opens for ValueError")
    assert refused.index("closed") < refused.index("went on with KeyError")
    assert "crash in actor 'child'" in third
    tree.type("c")
    assert "went on with ValueError" in tree.rest()
    assert tree.exit_code() == 0


def test_a_fixture_of_a_call_is_entered_within_that_of_the_tree(
    session: Start, tmp_path: Path
) -> None:
    """Each may refuse, and at a breakpoint the program then goes on, untraced."""
    text = """
    from contextlib import contextmanager

    def named(word, wanted=None):
        @contextmanager
        def fixture(box):
            print("into", word, flush=True)
            yield wanted
            print("out of", word, flush=True)
        return fixture

    async def main():
        async with tractor.open_root_actor(
            debug_mode=True, repl_fixture=named("tree")
        ):
            await tractor.pause(repl_fixture=named("call"))
            print("now refused", flush=True)
            await tractor.breakpoint(repl_fixture=named("refusal", False))
            print("traced:", sys.gettrace(), flush=True)
            tractor.pause_from_sync(repl_fixture=named("sync"))
            try:
                raise KeyError("boxed")
            except KeyError:
                await tractor.post_mortem(repl_fixture=named("refusal", False))
            with debug.open_crash_handler(
                repl_fixture=named("handler"), raise_on_exit=False
            ):
                raise KeyError("handled")

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    before = tree.prompt()
    assert before.index("into tree") < before.index("into call")
    before = tree.ask("c")
    assert before.index("out of call") < before.index("out of tree")
    _, _, refused = before.partition("now refused")
    assert refused.index("into refusal") < refused.index("traced: None")
    assert "into sync" in refused
    before = tree.ask("c")
    assert "into refusal" in before
    assert before.index("into handler") < before.index("KeyError: 'handled'")
    tree.type("c")
    assert "out of handler" in tree.rest()
    assert tree.exit_code() == 0


# -- What it shows ---------------------------------------------------------------------


@pytest.mark.parametrize("hide", [True, False])
def test_frames_of_ours_are_left_out(
    session: Start, tmp_path: Path, hide: bool
) -> None:
    """By default; the tree says it for all, and a call for itself."""
    text = f"""
    async def main():
        async with tractor.open_root_actor(debug_mode=True, hide_tb={hide}):
            await tractor.pause()
            await tractor.pause(hide_tb={not hide})
            with debug.open_crash_handler(raise_on_exit=False):
                await trio.sleep(-1)

    if __name__ == "__main__":
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    tree.prompt()
    loop = "unrolled_run"
    assert (loop in tree.ask("w")) is not hide
    tree.ask("c")
    assert (loop in tree.ask("w")) is hide
    assert "await trio.sleep(-1)" in tree.ask("c")
    assert "main()" in tree.ask("w")
    tree.type("c")
    tree.rest()
    assert tree.exit_code() == 0


# -- Names beside them -----------------------------------------------------------------


def test_a_debugger_of_ones_own(session: Start, tmp_path: Path) -> None:
    """`mk_pdb` stops where it is told, also without a tree, and may be refused."""
    text = """
    async def ask():
        word = "child's"
        debug.mk_pdb().set_trace()
        return word

    async def main():
        async with tractor.open_nursery(debug_mode=True) as an:
            portal = await an.run_in_actor(ask)
            print("result", await portal.wait_for_result(), flush=True)
            own = debug.mk_pdb()
            async with debug.acquire_debug_lock(("other", "1")):
                try:
                    own.set_trace()
                    print("not seen")
                except debug.DebugRequestError as error:
                    print("refused:", error, flush=True)

    if __name__ == "__main__":
        word = "nobody's"
        debug.mk_pdb().set_trace()
        trio.run(main)
    """
    tree = session(program(tmp_path, text))
    tree.prompt()
    assert "nobody's" in tree.ask("p word")
    assert "paused in actor 'ask'" in tree.ask("c")
    assert "child's" in tree.ask("p word")
    assert "return word" in tree.ask("n")
    tree.type("c")
    rest = tree.rest()
    assert "result child's" in rest
    assert "refused: no REPL in a block" in rest
    assert tree.exit_code() == 0


def test_a_handler_for_sigint(session: Start, tmp_path: Path) -> None:
    """`sigint_shield` does nothing while somebody is in a REPL of the tree."""
    text = """
    import signal

    async def main():
        async with tractor.open_nursery(
            debug_mode=True, start_method="subint_legacy"
        ) as an:
            signal.signal(signal.SIGINT, debug.sigint_shield)
            portal = await an.run_in_actor(stop)
            print("result", await portal.wait_for_result(), flush=True)

    if __name__ == "__main__":
        trio.run(main)
    """
    if "subint_legacy" not in tractor.available_backends():
        pytest.skip("no backend for sub-interpreters works here")
    tree = session(program(tmp_path, text))
    tree.prompt()
    tree.press_ctrl_c()
    tree.expect("Ctrl-C does nothing while 'stop' is in the debugger")
    tree.type("c")
    assert "result went on" in tree.rest()
    assert tree.exit_code() == 0


def test_the_handler_elsewhere() -> None:
    """Where nobody is in a REPL, Ctrl-C is what it is by default."""
    with pytest.raises(KeyboardInterrupt):
        debug.sigint_shield(signal.SIGINT, None)


async def test_greenback_for_one_task() -> None:
    """`maybe_init_greenback` says whether it could."""
    found = await debug.maybe_init_greenback()
    greenback = sys.modules.get("greenback")
    assert found is (greenback is not None)
    if greenback is not None:
        assert greenback.has_portal()


async def test_greenback_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "greenback", None)
    assert not await debug.maybe_init_greenback()


def test_a_fixture_ends_with_its_repl() -> None:
    """Those that were entered are left, the last one first, also by a refusal."""
    told: list[str] = []

    def named(word: str, wanted: bool | None) -> debug.ReplFixture:
        @contextmanager
        def fixture(box: debug.BoxedMaybeException) -> Iterator[bool | None]:
            told.append(word)
            yield wanted
            told.append(f"not {word}")

        return fixture

    tree = make_options(False, named("tree", None))
    for wanted in (True, False):
        options = make_options(None, named("call", wanted), tree)
        with options.entered(None) as entered:
            assert entered is wanted
        assert told == ["tree", "call", "not call", "not tree"]
        told.clear()
    assert not options.hide_tb
    with make_options(None, None).entered(None) as entered:
        assert entered
