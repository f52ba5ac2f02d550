"""What running user code may ask about its own call.

The rule that must not break: the value belongs to one call, so it lives in a context variable that the worker sets
around the call and resets after it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from stoker.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """The call that runs now."""

    request_id: str = ""
    deadline: float | None = None
    """``time.monotonic()`` seconds by which the caller wants its answer; None: no deadline."""
    attempt: int = 1
    """1 for the first run, more after a retry."""


RunningCall = tuple[str, "float | None"]
"""Request id and deadline: what is known of a call before anybody asks."""

running_call: ContextVar[RunningCall | None] = ContextVar("stoker_call", default=None)
"""For whoever runs user code: set around a call, reset after it."""


def current() -> CallContext:
    """The call that runs now; raises ``NotFound`` outside of one."""
    call = running_call.get()
    if call is None:
        raise NotFound("no call runs here", hint="stoker.current() works inside a function that Stoker runs.")
    return CallContext(request_id=call[0], deadline=call[1])
