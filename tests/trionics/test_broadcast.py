"""`broadcast_receiver`: each subscriber gets every item, and none holds up the rest."""

import pickle
import traceback
from collections.abc import Awaitable, Callable
from math import inf

import pytest
import trio
from trio.testing import Sequencer, assert_checkpoints, wait_all_tasks_blocked

from tractor.trionics import BroadcastReceiver, Lagged, broadcast_receiver


class Boom(Exception):
    """Nobody else raises it."""


class Channel:
    """Gives the items that are put in; errors it raises. Counts those who receive."""

    def __init__(self, *items: int | Exception) -> None:
        self.put, self._get = trio.open_memory_channel[int | Exception](inf)
        self.receiving = 0
        for item in items:
            self.put.send_nowait(item)

    async def receive(self) -> int:
        """The next item."""
        assert not self.receiving, "two tasks receive at once"
        self.receiving += 1
        try:
            item = await self._get.receive()
        finally:
            self.receiving -= 1
        if isinstance(item, Exception):
            raise item
        return item

    def put_all(self, *items: int | Exception) -> None:
        """More items."""
        for item in items:
            self.put.send_nowait(item)


async def take(receiver: BroadcastReceiver[int], count: int) -> list[int]:
    return [await receiver.receive() for _ in range(count)]


class Task:
    """A task in `receive`, and how it ended."""

    def __init__(self, receiver: BroadcastReceiver[int]) -> None:
        self.scope = trio.CancelScope()
        self.result: int | type[BaseException] | None = None
        self._receiver = receiver

    async def run(self) -> None:
        """Receive one item."""
        with self.scope:
            try:
                self.result = await self._receiver.receive()
            except Exception as error:  # noqa: BLE001 (it is the result)
                self.result = type(error)


async def blocked(
    nursery: trio.Nursery, *receivers: BroadcastReceiver[int]
) -> list[Task]:
    """Tasks that wait in `receive`, in this order."""
    tasks = [Task(receiver) for receiver in receivers]
    for task in tasks:
        nursery.start_soon(task.run)
        await wait_all_tasks_blocked()
    return tasks


# -- Items -----------------------------------------------------------------------------


async def test_every_subscriber_gets_every_item() -> None:
    """In order, whoever comes first."""
    channel = Channel(0, 1, 2)
    one = broadcast_receiver(channel, 3)
    async with one.subscribe() as two:
        assert await take(one, 2) == [0, 1]
        assert await take(two, 3) == [0, 1, 2]
        assert await take(one, 1) == [2]


async def test_all_waiting_subscribers_get_the_next_item() -> None:
    """One of their tasks receives for all; the channel sees just that one."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two, one.subscribe() as three:
        async with trio.open_nursery() as nursery:
            tasks = await blocked(nursery, one, two, three)
            assert channel.receiving == 1
            channel.put_all(7)
        assert [task.result for task in tasks] == [7, 7, 7]


async def test_a_subscriber_gets_what_is_received_after_it_came() -> None:
    """Items that wait in the channel by then included."""
    channel = Channel(0, 1)
    one = broadcast_receiver(channel, 5)
    await one.receive()
    async with one.subscribe() as two:
        assert await two.receive() == 1
        assert await one.receive() == 1


async def test_tasks_of_one_subscriber_share_its_items() -> None:
    """Each item goes to one of them."""
    channel = Channel()
    one = broadcast_receiver(channel, 5)
    async with trio.open_nursery() as nursery:
        tasks = await blocked(nursery, one, one)
        channel.put_all(0, 1)
    assert {task.result for task in tasks} == {0, 1}


async def test_another_function_can_receive() -> None:
    """`receive_afunc` is called in place of the channel's own."""

    async def receive() -> int:
        return await channel.receive() * 10

    channel = Channel(1, 2)
    one = broadcast_receiver(channel, 5, receive)
    assert await take(one, 2) == [10, 20]


async def test_iteration_ends_with_the_channel() -> None:
    """As it does for any `ReceiveChannel`."""
    channel = Channel(0, 1)
    channel.put.close()
    one = broadcast_receiver(channel, 5)
    assert [item async for item in one] == [0, 1]


async def test_receive_nowait_takes_what_others_received() -> None:
    """It leaves the channel alone."""
    channel = Channel(0, 1)
    one = broadcast_receiver(channel, 5)
    async with one.subscribe() as two:
        with pytest.raises(trio.WouldBlock):
            two.receive_nowait()
        await one.receive()
        assert two.receive_nowait() == 0
        with pytest.raises(trio.WouldBlock):
            two.receive_nowait()


async def test_receive_is_a_checkpoint() -> None:
    """Whether the item is in the buffer or not."""
    channel = Channel(0)
    one = broadcast_receiver(channel, 5)
    async with one.subscribe() as two:
        for receiver in (one, two):
            with assert_checkpoints():
                await receiver.receive()


async def test_the_buffer_has_room_for_one_at_least() -> None:
    """Less makes no sense."""
    with pytest.raises(ValueError, match="must be ≥ 1, not 0"):
        broadcast_receiver(Channel(), 0)


# -- Lag -------------------------------------------------------------------------------


async def test_a_slow_subscriber_is_told_how_many_it_lost() -> None:
    """Then it goes on with the oldest that is left."""
    channel = Channel(*range(6))
    one = broadcast_receiver(channel, 2)
    async with one.subscribe() as two:
        await take(one, 5)
        with pytest.raises(Lagged, match="lost 3 items") as info:
            await two.receive()
        assert info.value.lost == 3
        assert await take(two, 3) == [3, 4, 5]


async def test_a_full_buffer_is_no_lag() -> None:
    """Nothing is lost that fits."""
    channel = Channel(*range(3))
    one = broadcast_receiver(channel, 3)
    async with one.subscribe() as two:
        await take(one, 3)
        assert await take(two, 3) == [0, 1, 2]


async def test_one_may_be_told_again() -> None:
    """Each time of those that were lost since."""
    channel = Channel(*range(9))
    one = broadcast_receiver(channel, 2)
    async with one.subscribe() as two:
        lost = []
        for count in (3, 3):
            await take(one, count)
            with pytest.raises(Lagged) as info:
                await two.receive()
            lost.append(info.value.lost)
        assert lost == [1, 3]
        assert await two.receive() == 4


async def test_lag_can_be_skipped() -> None:
    """Each subscriber has its own choice."""
    channel = Channel(*range(5))
    one = broadcast_receiver(channel, 2, raise_on_lag=False)
    async with one.subscribe() as two, one.subscribe(raise_on_lag=False) as three:
        await take(three, 5)
        assert await one.receive() == 3
        with pytest.raises(Lagged):
            await two.receive()


async def test_iteration_can_go_on_after_a_lag() -> None:
    """With another loop."""
    channel = Channel(*range(5))
    one = broadcast_receiver(channel, 2)
    async with one.subscribe() as two:
        await take(two, 5)
        channel.put.close()
        with pytest.raises(Lagged):
            async for _ in one:
                pass
        assert [item async for item in one] == [3, 4]


def test_lagged_is_too_slow_and_survives_pickling() -> None:
    """With its count."""
    copy: Lagged = pickle.loads(pickle.dumps(Lagged(1)))
    assert isinstance(copy, Lagged)
    assert issubclass(Lagged, trio.TooSlowError)
    assert copy.lost == 1
    assert "lost 1 item;" in str(copy)


# -- Cancellation ----------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_cancelled_task_hands_over(which: int) -> None:
    """Be it the one that receives or one that waits; the others miss nothing."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two, one.subscribe() as three:
        receivers = [one, two, three]
        async with trio.open_nursery() as nursery:
            tasks = await blocked(nursery, *receivers)
            tasks[which].scope.cancel()
            await wait_all_tasks_blocked()
            assert channel.receiving == 1
            channel.put_all(7)
        results = [task.result for task in tasks]
        assert results == [None if n == which else 7 for n in range(3)]
        assert await receivers[which].receive() == 7  # it lost nothing, either


async def test_cancelling_several_leaves_the_last_in_charge() -> None:
    """Also if the successor is cancelled at the same moment."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with trio.open_nursery() as nursery:
        tasks = await blocked(nursery, one, one, one, one)
        for task in tasks[:3]:
            task.scope.cancel()
        await wait_all_tasks_blocked()
        channel.put_all(7)
    assert [task.result for task in tasks] == [None, None, None, 7]


async def test_an_item_that_came_with_the_cancellation_is_kept() -> None:
    """It was received, and so it is for all."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        async with trio.open_nursery() as nursery:
            (task,) = await blocked(nursery, one)
            channel.put_all(7)
            task.scope.cancel()
        assert task.result == 7
        assert await two.receive() == 7


async def test_a_cancelled_receive_takes_no_buffered_item() -> None:
    """The item is still there for the next one."""
    channel = Channel(0)
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        await one.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await two.receive()
        assert scope.cancelled_caught
        assert await two.receive() == 0


async def test_a_buffered_item_that_was_taken_is_returned() -> None:
    """A cancellation from then on is too late for this call."""
    channel = Channel(0)
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two, trio.open_nursery() as nursery:
        await one.receive()
        with trio.CancelScope() as scope:
            nursery.start_soon(trio.lowlevel.checkpoint)
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            assert await two.receive() == 0
        assert not scope.cancelled_caught


# -- The end, and errors ---------------------------------------------------------------


async def test_the_end_comes_to_each_after_its_items() -> None:
    """And again, to those who insist."""
    channel = Channel(0)
    channel.put.close()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        assert await one.receive() == 0
        for _ in range(3):
            with pytest.raises(trio.EndOfChannel):
                await one.receive()
        assert await two.receive() == 0  # insisting cost it nothing
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await two.receive()


async def test_the_end_comes_to_all_who_wait() -> None:
    """Not only to the one that receives."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        async with trio.open_nursery() as nursery:
            tasks = await blocked(nursery, one, two, two)
            channel.put.close()
        assert [task.result for task in tasks] == [trio.EndOfChannel] * 3


async def test_an_error_comes_to_each_once_in_its_place() -> None:
    """What follows is received as ever."""
    channel = Channel(Boom("at 0"), 0, Boom("at 1"), 1)
    one = broadcast_receiver(channel, 5)
    async with one.subscribe() as two:
        for receiver in (one, two):
            for item in (0, 1):
                with pytest.raises(Boom, match=f"at {item}"):
                    await receiver.receive()
                assert await receiver.receive() == item


async def test_an_error_comes_to_all_who_wait() -> None:
    """Also before any item."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        async with trio.open_nursery() as nursery:
            tasks = await blocked(nursery, one, two)
            channel.put_all(Boom())
        assert [task.result for task in tasks] == [Boom, Boom]


async def test_a_new_subscriber_gets_no_old_error() -> None:
    """Only what comes after it."""
    channel = Channel(Boom(), 0)
    one = broadcast_receiver(channel, 1)
    with pytest.raises(Boom):
        await one.receive()
    async with one.subscribe() as two:
        assert await two.receive() == 0


async def test_an_error_among_lost_items_is_lost_with_them() -> None:
    """The count is that of the items."""
    channel = Channel(0, Boom(), 1, 2)
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        await one.receive()
        with pytest.raises(Boom):
            await one.receive()
        await take(one, 2)
        with pytest.raises(Lagged, match="2 items"):
            await two.receive()
        assert await two.receive() == 2


async def test_of_errors_in_one_place_the_first_is_for_all() -> None:
    """The rest are for those who insist."""
    one = broadcast_receiver(Channel(Boom("first"), Boom("second"), 0), 1)
    async with one.subscribe() as two:
        for text in ("first", "second"):
            with pytest.raises(Boom, match=text):
                await one.receive()
        with pytest.raises(Boom, match="first"):
            await two.receive()
        assert await two.receive() == 0


async def test_errors_do_not_pile_up() -> None:
    """They go when all have passed them."""
    one = broadcast_receiver(Channel(Boom(), 0, Boom(), 1), 1)
    for item in (0, 1):
        with pytest.raises(Boom):
            await one.receive()
        assert await one.receive() == item
    assert not one._source.faults


async def test_the_traceback_of_an_error_is_that_of_each_subscriber() -> None:
    """The frames of the others are not in it."""

    async def fail_for(receiver: BroadcastReceiver[int]) -> int:
        with pytest.raises(Boom) as info:
            await receiver.receive()
        return len(traceback.extract_tb(info.value.__traceback__))

    one = broadcast_receiver(Channel(Boom()), 1)
    async with one.subscribe() as two, one.subscribe() as three:
        await fail_for(one)
        assert await fail_for(two) == await fail_for(three)


async def test_an_error_that_is_no_exception_is_for_one_alone() -> None:
    """Such as Ctrl-C; the others go on."""

    async def receive() -> int:
        if interrupts:
            raise interrupts.pop()
        return 7

    interrupts = [KeyboardInterrupt()]
    one = broadcast_receiver(Channel(), 1, receive)
    async with one.subscribe() as two:
        with pytest.raises(KeyboardInterrupt):
            await one.receive()
        assert await two.receive() == 7
        assert await one.receive() == 7


# -- Closing ---------------------------------------------------------------------------


async def test_closing_one_leaves_the_others() -> None:
    """The first one is not special, and the channel stays open."""
    channel = Channel(0, 1)
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        await one.aclose()
        assert await take(two, 2) == [0, 1]
    with pytest.raises(trio.ClosedResourceError):
        await two.receive()
    channel.put_all(2)
    assert await channel.receive() == 2


@pytest.mark.parametrize("which", [0, 1])
async def test_closing_wakes_those_who_wait(which: int) -> None:
    """The closed one's tasks get an error, the others the next item."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        async with trio.open_nursery() as nursery:
            tasks = await blocked(nursery, one, two)
            await (one, two)[which].aclose()
            await wait_all_tasks_blocked()
            assert tasks[which].result is trio.ClosedResourceError
            channel.put_all(7)
        assert tasks[1 - which].result == 7


async def test_an_item_that_came_with_the_closing_is_kept() -> None:
    """It is for the others."""
    channel = Channel()
    one = broadcast_receiver(channel, 1)
    async with one.subscribe() as two:
        async with trio.open_nursery() as nursery:
            (task,) = await blocked(nursery, one)
            channel.put_all(7)
            one.close()
        assert task.result is trio.ClosedResourceError
        assert two.receive_nowait() == 7


async def test_a_closed_subscriber_refuses() -> None:
    """Whatever is asked of it; but it may be closed again."""
    one = broadcast_receiver(Channel(0), 1)
    await one.aclose()
    with assert_checkpoints():
        await one.aclose()
    with pytest.raises(trio.ClosedResourceError, match="this subscriber is closed"):
        await one.receive()
    with pytest.raises(trio.ClosedResourceError):
        one.receive_nowait()
    with pytest.raises(trio.ClosedResourceError):
        async with one.subscribe():
            pass


async def test_a_block_that_fails_closes_its_subscriber() -> None:
    """As one that is left normally does."""
    one = broadcast_receiver(Channel(), 1)
    with pytest.raises(Boom):
        async with one.subscribe():
            raise Boom
    assert one.statistics().subscribers == 1


# -- Statistics ------------------------------------------------------------------------


async def test_statistics_count() -> None:
    """What there is, and what each is behind."""
    one = broadcast_receiver(Channel(*range(3)), 2)
    async with one.subscribe() as two:
        await take(one, 3)
        stats = two.statistics()
        assert (stats.behind, stats.received, stats.buffered) == (3, 3, 2)
        assert (stats.max_buffer_size, stats.subscribers) == (2, 2)
        assert one.statistics().behind == 0
        async with trio.open_nursery() as nursery:
            await blocked(nursery, one, one)
            assert two.statistics().tasks_waiting == 2
            nursery.cancel_scope.cancel()
        assert two.statistics().tasks_waiting == 0


@pytest.mark.parametrize(
    "let_go",
    [lambda two: take(two, 2), BroadcastReceiver.aclose],
    ids=["take", "close"],
)
async def test_items_that_all_have_are_not_kept(
    let_go: Callable[[BroadcastReceiver[int]], Awaitable[object]],
) -> None:
    """They are freed when the last subscriber gets them, or closes."""
    one = broadcast_receiver(Channel(0, 1), 5)
    async with one.subscribe() as two:
        await take(one, 2)
        assert one.statistics().buffered == 2
        await let_go(two)
        assert one.statistics().buffered == 0


async def test_order_across_subscribers() -> None:
    """A subscriber runs ahead up to the buffer, and no one waits for another."""
    seq = Sequencer()
    channel = Channel(0, 1)
    one = broadcast_receiver(channel, 2)

    async def fast() -> None:
        async with seq(0):
            assert await take(one, 2) == [0, 1]
        async with seq(2):
            channel.put_all(2)
            assert await one.receive() == 2

    async def slow(two: BroadcastReceiver[int]) -> None:
        async with seq(1):
            assert await two.receive() == 0
        async with seq(3):
            assert await take(two, 2) == [1, 2]

    async with one.subscribe() as two, trio.open_nursery() as nursery:
        nursery.start_soon(fast)
        nursery.start_soon(slow, two)


async def test_eager_subscribers_keep_step() -> None:
    """A channel that never lets its receiver wait favours none of the subscribers."""
    numbers = iter(range(1000))

    async def next_number() -> int:
        try:
            return next(numbers)
        except StopIteration:
            raise trio.EndOfChannel from None

    got: list[list[int]] = [[], []]

    async def read(receiver: BroadcastReceiver[int], into: list[int]) -> None:
        into.extend([number async for number in receiver])

    first = broadcast_receiver(Channel(), 4, receive_afunc=next_number)
    async with first.subscribe() as second, trio.open_nursery() as tasks:
        tasks.start_soon(read, first, got[0])
        tasks.start_soon(read, second, got[1])
    assert got == [list(range(1000))] * 2
