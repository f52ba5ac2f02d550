"""What surrounds user code while it runs a call: ``stoker.current()`` and the id in front of printed lines.

The rule that must not break: both belong to one call, so both end with it, half-printed lines included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stoker.context import running_call
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.frames import CallHeader
from stoker_runtime.stdio import end_lines


def begin_call(call: CallHeader) -> None:
    """``call`` runs from here on, in this thread or task, until ``end_call``."""
    deadline_in_ms = call.deadline_in_ms
    running_call.set((call.request_id, monotonic_ns() / 1e9 + deadline_in_ms / 1e3 if deadline_in_ms else None))


def end_call() -> None:
    """What ran since ``begin_call`` has ended."""
    end_lines()
    running_call.set(None)


@contextmanager
def call_scope(call: CallHeader) -> Iterator[None]:
    """``call`` runs inside."""
    begin_call(call)
    try:
        yield
    finally:
        end_call()
