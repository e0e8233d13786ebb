"""Each edge by its name: requests, results, errors, handles, closing."""

import math
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import tractor
from tests._helpers import raises
from tests.cowns import _bodies as do
from tests.cowns._scopes import BACKENDS, scoped
from tractor import MsgTypeError
from tractor.cowns import (
    BehaviourDropped,
    Cown,
    CownPoisoned,
    NotHeld,
    PinnedCown,
    Unreadable,
    current_scope,
    open_cowns,
    when,
)

# -- Requests --------------------------------------------------------------------------

# What is asked for, as indices of three cowns of 1, 2 and 3; lists are groups.
REQUESTS: Final[dict[str, tuple[list[Any], Any]]] = {
    "no cowns": ([], []),
    "an empty group": ([[]], [[]]),
    "one": ([0], [1]),
    "twice": ([0, 0], [1, 1]),
    "thrice": ([0, 0, 0], [1, 1, 1]),
    "not adjacent": ([0, 1, 0], [1, 2, 1]),
    "in a group": ([[0, 0, 1]], [[1, 1, 2]]),
    "in a group and alone": ([0, [0, 1]], [1, [1, 2]]),
    "order is kept": ([2, [1, 0], 2], [3, [2, 1], 3]),
    "a group of one": ([[2]], [[3]]),
}


def values_of(*parts: Any) -> list[Any]:
    """What came, whatever its shape."""
    return [
        [one.value for one in part] if isinstance(part, list) else part.value
        for part in parts
    ]


async def test_requests_of_every_shape() -> None:
    """Duplicates are held once; number and order of parameters are kept."""
    async with scoped():
        cowns = [Cown(n) for n in (1, 2, 3)]
        for name, (wanted, expected) in REQUESTS.items():
            request = [
                [cowns[n] for n in part] if isinstance(part, list) else cowns[part]
                for part in wanted
            ]
            result = current_scope().schedule(values_of, *request)
            assert await result == expected, name


async def test_a_hundred_cowns_and_more() -> None:
    """One request may have any number."""
    async with scoped(workers=2) as scope:
        cowns = [Cown(n) for n in range(150)]
        assert await scope.schedule(do.total, cowns) == sum(range(150))


async def test_the_decorator() -> None:
    """It puts the result in the place of the function; captures are snapshots."""
    async with scoped() as scope:
        a, results = Cown(1), []
        for n in range(3):

            @scope.when(a)
            def grown(a: Cown[int], n: int = n) -> int:
                a.value += n
                return a.value

            results.append(grown)
        assert [await one for one in results] == [1, 2, 4]
        assert await when(a)(lambda a: a.value * 10) == 40


async def test_it_runs_when_it_can() -> None:
    """A function of no cowns runs, and `cown` makes a cown anywhere."""
    async with scoped() as scope:
        assert await scope.schedule(do.nothing) is None
        cown = scope.cown([1])
        assert await scope.schedule(do.append, cown, captures=(2,)) == 2
        assert await cown == [1, 2]


REFUSED: Final[dict[str, tuple[Any, type[Exception], str]]] = {
    "no cown": (lambda s, c: s.schedule(do.add, 5), TypeError, "over cowns"),
    "a group in a group": (
        lambda s, c: s.schedule(do.total, [[c]]),
        TypeError,
        "no other groups",
    ),
    "too few parameters": (
        lambda s, c: s.schedule(do.look, c, c),
        TypeError,
        "takes 1 to 1 arguments, and gets 2",
    ),
    "too many": (lambda s, c: s.schedule(do.move, c, c), TypeError, "takes 3 to 3"),
    "a generator": (lambda s, c: s.schedule(do.generator, c), TypeError, "generator"),
    "a closure": (
        lambda s, c: s.schedule(lambda one: c, c),
        ValueError,
        "defaults of parameters: c=c",
    ),
    "a text": (lambda s, c: s.schedule("add", c), TypeError, "to call"),
    "a bad capture": (
        lambda s, c: s.schedule(do.add, c, captures=(object(),)),
        MsgTypeError,
        "cannot be encoded",
    ),
    "a partial": (
        lambda s, c: s.schedule(partial(do.add, c)),
        ValueError,
        "not found by module and name",
    ),
}


async def test_what_is_refused_is_refused_at_once() -> None:
    """With a text that helps, and nothing is scheduled."""
    async with scoped() as scope:
        cown = Cown(1)
        for name, (attempt, kind, text) in REFUSED.items():
            with pytest.raises(kind, match=text):
                attempt(scope, cown)
            assert scope.stats().scheduled == 0, name
        async with open_cowns(workers=1) as other:
            with pytest.raises(ValueError, match="another scope"):
                other.schedule(do.add, cown)


# -- Results ---------------------------------------------------------------------------


async def test_a_result_that_is_a_cown() -> None:
    """A behaviour may return a handle, and others may be over what it stands for."""
    async with scoped() as scope:
        box: Cown[list[Any]] = Cown([])
        await scope.schedule(do.make_child, box)
        child, result = await box
        assert await result == 21
        assert await scope.schedule(do.add, child, captures=(4,)) == 25
        chained = scope.schedule(do.look, scope.schedule(do.look, child))
        assert await chained == 25


async def test_a_chain_of_results() -> None:
    """A behaviour over a result runs when that is there."""
    async with scoped(workers=2) as scope:
        last: Cown[int] = Cown(0)
        for _ in range(50):
            last = scope.schedule(do.add, last)
        assert await last == 50


async def test_a_behaviour_over_a_failed_result_runs() -> None:
    """And sees the error; assigning a value makes it an ordinary one."""
    async with scoped() as scope:
        failed = scope.schedule(do.boom)
        assert await scope.schedule(do.seen, failed) == [
            True,
            "ValueError('on purpose', 7)",
        ]
        with pytest.raises(ValueError, match="on purpose"):
            await failed
        await scope.schedule(do.set_to, failed, captures=(3,))
        assert await scope.schedule(do.seen, failed) == [False, "3"]
        assert await failed == 3


async def test_what_was_changed_before_an_error_stays() -> None:
    """There is no rollback, and those behind it go on."""
    async with scoped() as scope:
        cown = Cown(1)
        failed = scope.schedule(do.set_and_raise, cown, captures=(5,))
        assert await scope.schedule(do.add, cown) == 6
        with pytest.raises(ValueError, match="after the change"):
            await failed


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_no_exception_but_raised_all_the_same(kind: type[BaseException]) -> None:
    """The worker goes on, and who awaits the result gets it."""
    async with scoped() as scope:
        cown = Cown(kind.__name__)
        failed = scope.schedule(do.leave, cown)
        first = await scope.schedule(do.pid, cown)
        assert await scope.schedule(do.pid, cown) == first
        with pytest.raises(kind):
            await failed


async def test_a_falsy_error_is_one() -> None:
    """It is raised, and not taken for nothing."""
    async with scoped(serializer="pickle") as scope:
        with pytest.raises(do.Falsy):
            await scope.schedule(do.raise_falsy)


async def test_a_returned_error_is_a_value() -> None:
    """Only what is raised is a failure."""
    async with scoped(serializer="pickle") as scope:
        result = scope.schedule(do.return_error)
        assert await scope.schedule(do.seen, result) == [False, "ValueError('a value')"]
        assert isinstance(await result, ValueError)


# -- What cannot be packed -------------------------------------------------------------


async def test_a_result_that_cannot_be_packed() -> None:
    """Is an error of that result; its cowns are for others."""
    async with scoped() as scope:
        cown = Cown(1)
        bad = scope.schedule(do.unsendable)
        with pytest.raises(MsgTypeError):
            await bad
        assert await scope.schedule(do.add, cown) == 2


async def test_a_value_that_cannot_be_packed() -> None:
    """It is lost when it has to leave, and who waits for it is told why."""
    async with scoped() as scope:
        cown, other = Cown(1), Cown(1)
        await scope.schedule(do.spoil, cown)
        with pytest.raises(CownPoisoned, match="cannot be encoded") as caught:
            await cown
        assert isinstance(caught.value.__cause__, MsgTypeError)
        with pytest.raises(CownPoisoned):
            await scope.schedule(do.move, cown, other, captures=(1,))
        assert await scope.schedule(do.add, other) == 2
        assert scope.stats().poisoned == 1


async def test_a_value_that_cannot_be_unpacked() -> None:
    """The first of three that wait gets that error, the others that it is lost."""
    async with scoped(serializer="pickle") as scope:
        cown = Cown(do.Unreadable())
        first, *rest = [scope.schedule(do.look, cown) for _ in range(3)]
        with pytest.raises(Unreadable, match="on purpose"):
            await first
        for one in rest:
            with pytest.raises(CownPoisoned, match="on purpose"):
                await one
        assert await scope.schedule(do.nothing) is None


async def test_a_value_that_grows_beyond_a_frame() -> None:
    """It is lost, with the size in the text; a new one is refused."""
    async with tractor.open_root_actor(max_frame=256 * 1024), scoped() as scope:
        with pytest.raises(ValueError, match="exceeds max_frame"):
            Cown(bytes(300_000))
        cown = Cown(b"")
        await scope.schedule(do.grow, cown, captures=(1000,))
        assert len(await cown) == 1000
        await scope.schedule(do.grow, cown, captures=(200_000,))
        assert len(await cown) == 201_000
        await scope.schedule(do.grow, cown, captures=(200_000,))
        with pytest.raises(CownPoisoned, match="exceeds max_frame"):
            await cown


def test_a_value_is_packed_at_once() -> None:
    """What cannot be is refused where the cown is made."""

    async def main() -> None:
        async with scoped():
            with pytest.raises(TypeError, match="cannot be encoded"):
                Cown(object())

    trio.run(main)


# -- Handles ---------------------------------------------------------------------------


async def test_nobody_looks_who_does_not_hold_it() -> None:
    """Neither the program, nor a behaviour over others, nor one that has ended."""
    async with scoped() as scope:
        cown = Cown(1)
        with pytest.raises(NotHeld, match="is not held here"):
            _ = cown.value
        with pytest.raises(NotHeld, match="is not held here"):
            _ = cown.exception
        with pytest.raises(NotHeld):
            cown.value = 2
        with pytest.raises(NotHeld):
            await scope.schedule(do.peek, Cown(0), Cown(cown))
        await scope.schedule(do.keep, cown)
        with pytest.raises(NotHeld):
            await scope.schedule(do.use_kept)
        assert await cown == 1


@pytest.mark.parametrize("wrap", ["cown", "list", "dict", "slots"])
async def test_a_handle_inside_of_a_value(wrap: str) -> None:
    """It comes out as a handle of the same value, however deep it was."""
    async with scoped(serializer="pickle" if wrap == "slots" else None) as scope:
        cown = Cown(1)
        number = cown.__hash__()
        value = {"cown": cown, "list": [cown], "dict": {"cown": cown}}.get(wrap)
        box: Cown[Any] = Cown(do.Slots(cown) if value is None else value)
        await scope.schedule(do.schedule_inner, box)
        await scope.quiesce()
        assert await cown == 2
        del cown, value  # the handle in the box keeps it
        await scope.schedule(do.schedule_inner, box)
        await scope.quiesce()
        inner = await box
        while not isinstance(inner, Cown):
            inner = inner_of(inner)
        assert hash(inner) == number
        assert await inner == 3


def inner_of(value: Any) -> Any:
    """What is in it."""
    if isinstance(value, do.Slots):
        return value.cown
    return next(iter(value.values() if isinstance(value, dict) else value))


async def test_handles_compare() -> None:
    """By what they stand for, wherever they were."""
    async with scoped() as scope:
        a, b = Cown(1), Cown(1)
        back = await scope.schedule(do.look, Cown([a, a, b]))
        assert back == [a, a, b]
        assert a != b
        assert sorted([b, a]) == [a, b]
        assert len({a, back[0], b}) == 2
        assert a != 1
        assert repr(a).startswith("<Cown ")


async def test_a_cown_needs_a_scope() -> None:
    """Outside of one there is nobody to keep it."""
    for attempt in (lambda: Cown(1), lambda: PinnedCown(1), current_scope):
        with pytest.raises(RuntimeError, match="open_cowns"):
            attempt()


async def test_classes_as_values() -> None:
    """With a serializer, any object is a value."""
    async with scoped(serializer="pickle") as scope:
        point = Cown(do.Point(1))
        for _ in range(3):
            last = scope.schedule(do.forward, point)
        assert await last == 4
        assert (await point).x == 4
        n = 5
        assert await scope.schedule(do.add, scope.schedule(do.forward, point)) == 6
        del n


# -- Scheduling from within ------------------------------------------------------------


async def test_a_behaviour_over_its_own_cown() -> None:
    """It joins the queue, and runs after the one that has scheduled it."""
    async with scoped() as scope:
        log: Cown[list[str]] = Cown([])
        await scope.schedule(do.outer, log)
        await scope.quiesce()
        assert await log == ["outer-start", "outer-end", "inner"]


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_long_loop_of_behaviours(backend: str) -> None:
    """Each schedules the next: no stack grows, and nothing is remembered of them."""
    turns = 2_000  # twice what the stack would bear
    async with scoped(backend) as scope:
        cown = Cown(turns)
        scope.schedule(do.countdown, cown)
        await scope.quiesce()
        assert await cown == 0
        assert scope.stats().finished == turns
        assert scope.stats().cowns < 5


async def test_quiesce_counts_what_is_scheduled_from_within() -> None:
    """And ends nothing: the scope goes on."""
    async with scoped(workers=2) as scope:
        cown = Cown(0)
        for _ in range(5):
            scope.schedule(do.fan_out, cown, captures=(20,))
        await scope.quiesce()
        assert scope.stats().in_flight == 0
        assert await cown == 100
        assert await scope.schedule(do.add, cown) == 101


async def test_quiesce_with_a_bound(tmp_path: Path) -> None:
    """It raises, changes nothing, and can be tried again."""
    go = str(tmp_path / "go")
    async with scoped() as scope:
        scope.schedule(do.wait_for, Cown(0), captures=(go,))
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="1 behaviours have not ended"):
                await scope.quiesce(timeout)
        do.touch(go)
        await scope.quiesce(math.inf)
        await scope.quiesce(0)
        for wrong in (-1, math.nan):
            with pytest.raises(ValueError, match="0 or more"):
                await scope.quiesce(wrong)


# -- Async behaviours ------------------------------------------------------------------


async def test_async_behaviours_hold_across_their_waits() -> None:
    """One after the other on one cown."""
    async with scoped() as scope:
        cown = Cown(0)
        for _ in range(20):
            scope.schedule(do.add_later, cown)
            scope.schedule(do.add, cown)
        await scope.quiesce()
        assert await cown == 40


async def test_async_behaviours_share_a_worker(tmp_path: Path) -> None:
    """Those over different cowns run at the same time, also in one worker."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    async with scoped(workers=1) as scope:
        scope.schedule(do.meet, Cown(0), captures=(one, two))
        scope.schedule(do.meet, Cown(0), captures=(two, one))
        await scope.quiesce()


# -- Closing ---------------------------------------------------------------------------


async def test_nothing_is_scheduled_after_the_end() -> None:
    """It raises and leaves no trace; what was read stays readable."""
    async with scoped() as scope:
        result = scope.schedule(do.add, Cown(1))
    before = scope.stats()
    with pytest.raises(RuntimeError, match="closed"):
        scope.schedule(do.nothing)
    with pytest.raises(RuntimeError, match="closed"):
        scope.cown(1)
    assert scope.stats() == before
    assert await result == 2


async def test_leaving_waits_for_all_of_it() -> None:
    """Also for what is scheduled meanwhile."""
    async with scoped() as scope:
        cown = Cown(300)
        scope.schedule(do.countdown, cown)
    assert scope.stats().finished == 300


async def test_a_new_scope_knows_nothing_of_the_old_one() -> None:
    """Its board is empty, and so are its counts."""
    async with scoped() as scope:
        scope.notices.write("key", 1)
        await scope.schedule(do.nothing)
    async with scoped() as scope:
        assert scope.notices.snapshot() == {}
        assert scope.stats().scheduled == 0


async def test_an_error_drops_what_has_not_begun(tmp_path: Path) -> None:
    """Its results say so, and so does everything that waits."""
    begun = str(tmp_path / "begun")
    cown: Cown[int]
    with raises(ZeroDivisionError):
        async with scoped() as scope:
            cown = Cown(0)
            running = scope.schedule(do.touch_and_block, cown, captures=(begun,))
            waiting = scope.schedule(do.add, cown)
            await trio.to_thread.run_sync(do.wait_for, begun)
            raise ZeroDivisionError
    for one in (running, waiting):
        with pytest.raises(BehaviourDropped):
            await one
    assert scope.stats().in_flight == 0


@pytest.mark.parametrize("backend", BACKENDS)
async def test_cancelling_cancels_what_is_async(backend: str, tmp_path: Path) -> None:
    """Its clean-up runs, and all of it is over within the bound of the ladder."""
    begun, cleaned = str(tmp_path / "begun"), str(tmp_path / "cleaned")
    async with scoped(backend) as scope:
        scope.schedule(do.touch_and_sleep, Cown(0), captures=(begun, cleaned))
        await trio.to_thread.run_sync(do.wait_for, begun)
        began = trio.current_time()
        outer = scope._nursery
        assert outer is not None
        outer.cancel_scope.cancel()
    assert trio.current_time() - began < 10
    do.wait_for(cleaned)


async def test_many_values_go_in_many_messages() -> None:
    """What is too much for one frame goes in several, both ways."""
    async with tractor.open_root_actor(max_frame=256 * 1024), scoped() as scope:
        cowns = [Cown(bytes(100_000)) for _ in range(8)]
        assert await scope.schedule(do.sizes, cowns) == [100_001] * 8
        assert [len(await cown) for cown in cowns] == [100_001] * 8
