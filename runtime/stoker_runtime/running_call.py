"""What surrounds user code while it runs a call: ``stoker.current()`` and the id in front of printed lines.

The rule that must not break: both belong to one call, so both end with it, half-printed lines included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stoker.context import CallContext, running
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.frames import CallHeader
from stoker_runtime.stdio import end_lines, running_request


@contextmanager
def call_scope(call: CallHeader) -> Iterator[None]:
    """``call`` runs inside."""
    deadline = monotonic_ns() / 1e9 + call.deadline_in_ms / 1e3 if call.deadline_in_ms else None
    running_request.set(call.request_id)
    try:
        with running(CallContext(request_id=call.request_id, deadline=deadline)):
            yield
    finally:
        end_lines()
        running_request.set("")
