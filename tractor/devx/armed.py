"""Serve this module to make an actor ready to answer, from its boot on.

    await an.start_actor("worker", enable_modules=[__name__, "tractor.devx.armed"])

Importing it does what `enable_stack_on_sig` does, and it has no functions to call.
"""

from tractor.devx._enable import enable_stack_on_sig as _enable_stack_on_sig

_enable_stack_on_sig()
