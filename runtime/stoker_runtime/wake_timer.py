"""The one timer of a dispatcher.

The rule that must not break: it goes off no later than the earliest instant that anyone asked for, and asking for a
later one costs a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

_NEVER_NS: Final = 1 << 62
_AGAIN_NS: Final = 50_000_000


class TimerHandle(Protocol):
    """What ``call_later`` gives."""

    def cancel(self) -> None: ...


class Timers(Protocol):
    """What a dispatcher needs of an event loop."""

    def call_soon(self, callback: Callable[[], None]) -> object: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle: ...


class WakeTimer:
    """Calls ``on_due`` when the earliest asked-for instant has come; who still waits then asks again."""

    __slots__ = ("_handle", "_now_ns", "_on_due", "_timers", "due_ns")

    def __init__(self, timers: Timers, now_ns: Callable[[], int], on_due: Callable[[], None]) -> None:
        self._timers = timers
        self._now_ns = now_ns
        self._on_due = on_due
        self._handle: TimerHandle | None = None
        self.due_ns = _NEVER_NS

    def wake_at(self, due_ns: int) -> None:
        """Go off by ``due_ns``."""
        if due_ns >= self.due_ns:
            return
        if self._handle is not None:
            self._handle.cancel()
        self.due_ns = due_ns
        self._handle = self._timers.call_later(max(0, due_ns - self._now_ns()) / 1e9, self._go_off)

    def _go_off(self) -> None:
        self._handle = None
        self.due_ns = _NEVER_NS
        try:
            self._on_due()
        except BaseException:
            self.wake_at(self._now_ns() + _AGAIN_NS)  # deadlines hold even after a fault of ours
            raise
