"""The table of a dialogue: every cell, and every order in which records can arrive."""

import itertools
from collections import deque
from typing import Final, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor._exceptions import LocalProtocolError, RemoteProtocolError
from tractor.msg import Dialogue, Half, Role
from tractor.msg import types as t
from tractor.msg._protocol import NEEDS, STATES, TABLES, Kind

KINDS: Final[tuple[Kind, ...]] = get_args(t.AnyRecord.__value__)
IN_ORDER: Final = (
    Half.SILENT,
    Half.OPEN,
    Half.STOPPED,
    Half.CANCELLING,
    Half.DONE,
)
CELLS: Final = list(itertools.product(Role, IN_ORDER, IN_ORDER, KINDS))


def dialogue(role: Role, caller: Half, callee: Half) -> Dialogue:
    made = Dialogue(role)
    made.state = STATES[caller, callee]
    return made


def halves_of(made: Dialogue) -> dict[Role, Half]:
    return {role: made.state.half(role) for role in Role}


def following(sender: Role, caller: Half, callee: Half, kind: Kind) -> Half | None:
    """What the tables say of one cell."""
    halves = {Role.CALLER: caller, Role.CALLEE: callee}
    if halves[sender.other] not in NEEDS.get((sender, kind), ()):
        return None
    return TABLES[sender][halves[sender]].get(kind)


def test_every_cell_of_sending() -> None:
    """A legal record moves our half as the table says; another changes nothing."""
    for role, caller, callee, kind in CELLS:
        ours = dialogue(role, caller, callee)
        before = halves_of(ours)
        expected = following(role, caller, callee, kind)
        if expected is None or callee is Half.DONE:
            with pytest.raises(LocalProtocolError, match=kind.__name__):
                ours.send(kind)
            assert halves_of(ours) == before
        else:
            ours.send(kind)
            assert halves_of(ours) == {**before, role: expected}


def test_every_cell_of_receiving() -> None:
    """A legal record moves the peer's half as the table says; another, nothing."""
    for role, caller, callee, kind in CELLS:
        ours = dialogue(role, caller, callee)
        before = halves_of(ours)
        expected = following(role.other, caller, callee, kind)
        if expected is None:
            with pytest.raises(RemoteProtocolError, match=kind.__name__):
                ours.receive(kind)
            assert halves_of(ours) == before
        else:
            ours.receive(kind)
            assert halves_of(ours) == {**before, role.other: expected}


def test_halves_only_move_forward() -> None:
    """No record takes a half back to an earlier state."""
    for table in TABLES.values():
        for half, moves in table.items():
            for target in moves.values():
                assert IN_ORDER.index(target) >= IN_ORDER.index(half)


def test_what_was_legal_stays_legal() -> None:
    """A condition on the other half holds in all of its later states as well."""
    for (sender, kind), halves in NEEDS.items():
        for half in halves:
            for later in TABLES[sender.other][half].values():
                assert later in halves, (sender, kind, half)


def test_only_dialogue_records_are_in_the_table() -> None:
    """Ping, Bye and their kin belong to the channel and not to a dialogue."""
    assert {kind for _, kind in NEEDS} == {
        *(t.Start, t.Started, t.Yield, t.Stop, t.Credit),
        *(t.Return, t.Error, t.Cancel, t.CancelAck),
    }


@given(st.data())
def test_a_delayed_record_is_never_refused(data: st.DataObject) -> None:
    """Whatever one end may send, the other accepts, however late it arrives."""
    ends = {role: Dialogue(role) for role in Role}
    wires: dict[Role, deque[Kind]] = {role: deque() for role in Role}
    for _ in range(data.draw(st.integers(1, 25))):
        role = data.draw(st.sampled_from(Role))
        if data.draw(st.booleans()) and wires[role.other]:
            ends[role].receive(wires[role.other].popleft())
        elif legal := [k for k in KINDS if _can_send(ends[role], k)]:
            kind = data.draw(st.sampled_from(legal))
            ends[role].send(kind)
            wires[role].append(kind)
    for role in Role:
        while wires[role.other]:
            ends[role].receive(wires[role.other].popleft())
    assert ends[Role.CALLER].state is ends[Role.CALLEE].state


def _can_send(end: Dialogue, kind: Kind) -> bool:
    probe = dialogue(end.role, end.state.caller, end.state.callee)
    try:
        probe.send(kind)
    except LocalProtocolError:
        return False
    return True


@pytest.mark.parametrize("outcome", [t.Return, t.Error])
def test_a_plain_call_takes_two_records(outcome: Kind) -> None:
    """`Start` and an outcome are a whole dialogue (architecture §5)."""
    caller, callee = Dialogue(Role.CALLER), Dialogue(Role.CALLEE)
    caller.send(t.Start)
    callee.receive(t.Start)
    assert not callee.done
    callee.send(outcome)
    caller.receive(outcome)
    assert caller.done
    assert callee.done
