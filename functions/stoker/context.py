"""What running user code may ask about its own call.

The rule that must not break: the value belongs to one call, so it lives in a context variable that the worker sets
around the call and resets after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


_current: ContextVar[CallContext | None] = ContextVar("stoker_call", default=None)


def current() -> CallContext:
    """The call that runs now; raises ``NotFound`` outside of one."""
    context = _current.get()
    if context is None:
        raise NotFound("no call runs here", hint="stoker.current() works inside a function that Stoker runs.")
    return context


@contextmanager
def running(context: CallContext) -> Iterator[None]:
    """Make ``context`` the current call; for whoever runs user code."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
