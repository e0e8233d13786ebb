"""Behaviours over data: functions that run when they hold all the values they need.

    async with tractor.cowns.open_cowns() as scope:
        mine, yours = Cown(100), Cown(0)

        @scope.when(mine, yours)
        def transfer(mine, yours):
            mine.value -= 10
            yours.value += 10

A `Cown` is a handle of one value, and a behaviour a function over some of them. It runs
once, in a worker, when it holds all of them, and in the order of scheduling; there are
no locks, and nobody waits for anybody (docs/adr/0020).
"""

from tractor.cowns._cown import Cown as Cown
from tractor.cowns._cown import PinnedCown as PinnedCown
from tractor.cowns._errors import BehaviourDropped as BehaviourDropped
from tractor.cowns._errors import CownPoisoned as CownPoisoned
from tractor.cowns._errors import NotHeld as NotHeld
from tractor.cowns._held import Unreadable as Unreadable
from tractor.cowns._notices import REMOVED as REMOVED
from tractor.cowns._notices import Notices as Notices
from tractor.cowns._open import open_cowns as open_cowns
from tractor.cowns._scope import Scope as Scope
from tractor.cowns._stats import CownStats as CownStats
from tractor.cowns._when import Scheduling as Scheduling
from tractor.cowns._when import current_scope as current_scope
from tractor.cowns._when import when as when
