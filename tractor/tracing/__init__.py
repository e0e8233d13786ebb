"""What a tree of actors did, and when: one line of JSON for each thing that it did.

    with tractor.tracing.tracing("trace.jsonl"):
        trio.run(main)

Calls, the functions that run for them, streams, starts of actors and spans of the
program's own, from every actor of the tree, in one file; each knows its parent, also
across actors. `export_chrome` makes of it what Perfetto and Chrome show.

Tracing listens to the events of the runtime, which does not know it. Off, it costs what
an event costs that nobody listens to: the test of one attribute (docs/adr/0015).
"""

from tractor.tracing._chrome import chrome_trace as chrome_trace
from tractor.tracing._chrome import export_chrome as export_chrome
from tractor.tracing._lines import TraceLine as TraceLine
from tractor.tracing._lines import read_trace as read_trace
from tractor.tracing._spans import Span as Span
from tractor.tracing._spans import note as note
from tractor.tracing._spans import span as span
from tractor.tracing._switch import Tracing as Tracing
from tractor.tracing._switch import disable_tracing as disable_tracing
from tractor.tracing._switch import enable_tracing as enable_tracing
from tractor.tracing._switch import trace_root as trace_root
from tractor.tracing._switch import tracing as tracing
