"""Errors of cowns and of the behaviours over them."""

from tractor.msg import reg_err_types


class NotHeld(RuntimeError):
    """The value of a cown was asked for by somebody who does not hold it.

    Raised by `Cown.value` and `Cown.exception` outside of a behaviour that has this
    cown in its request.
    """


class BehaviourDropped(RuntimeError):
    """A behaviour did not run, because its scope ended before its turn.

    Raised by whoever awaits its result.
    """


class CownPoisoned(RuntimeError):
    """The value of a cown is lost, and what was to run over it did not.

    Raised by whoever awaits the cown, or the result of such a behaviour. The
    ``__cause__`` says how it came about: a `tractor.futures.WorkerDied` with the report
    of the death, or the error with which the value could not leave its worker.
    """


reg_err_types([NotHeld, BehaviourDropped, CownPoisoned])
