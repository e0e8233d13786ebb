"""What tests of actors need: fakes, contracts, and a census of what a test leaves.

Nothing here is imported by the rest of the package.
"""

from tractor._census import Census as Census
from tractor._census import Process as Process
from tractor._census import become_subreaper as become_subreaper
from tractor._census import clear_leaks as clear_leaks
from tractor._census import find_leaks as find_leaks
from tractor._census import take_census as take_census
from tractor._census import wait_for_end as wait_for_end
from tractor.testing._backend_suite import PROMISES as PROMISES
from tractor.testing._backend_suite import check_spawn_backend as check_spawn_backend
from tractor.testing._bounds import BoundedBlock as BoundedBlock
from tractor.testing._bounds import HangWatch as HangWatch
from tractor.testing._bounds import tractor_test as tractor_test
from tractor.testing._expectations import break_ipc as break_ipc
from tractor.testing._expectations import expect_ctxc as expect_ctxc
from tractor.testing._fake_backend import ActorScript as ActorScript
from tractor.testing._fake_backend import FakeActor as FakeActor
from tractor.testing._fake_backend import FakeBackend as FakeBackend
from tractor.testing._fakes import FakeChild as FakeChild
from tractor.testing._fakes import Script as Script
from tractor.testing._marks import check_backend_keys as check_backend_keys
from tractor.testing._marks import why_to_skip as why_to_skip
from tractor.testing._session import examples_dir as examples_dir
from tractor.testing._session import missing_debugger as missing_debugger
from tractor.testing._session import private_address as private_address
from tractor.testing._show import count_by_backend as count_by_backend
from tractor.testing._show import show_actors as show_actors
from tractor.testing._steps import watched_steps as watched_steps
