"""The only module that reads the clock. Everything else takes a ``Clock`` or ``now_s``."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Time as the decisions see it."""

    def monotonic_s(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    def now(self) -> datetime:
        """Aware UTC wall-clock time."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)


class VirtualClock:
    """A clock that moves only when told: for tests and for ``stoker simulate``."""

    def __init__(self, start: datetime | None = None) -> None:
        self._elapsed_s = 0.0
        self._start = start or datetime(2026, 1, 1, tzinfo=timezone.utc)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._start.timestamp() + self._elapsed_s, tz=timezone.utc)

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds`` (>= 0)."""
        if seconds < 0:
            raise ValueError(f"seconds must be >= 0, got {seconds}")
        self._elapsed_s += seconds


monotonic_ns = time.monotonic_ns
"""Nanosecond stamps for phases of one call; the hot path calls it directly."""


def nanoseconds(clock: Clock | None) -> Callable[[], int]:
    """A clock as nanosecond stamps; the machine's own without a detour, since hot paths call it."""
    if clock is None or isinstance(clock, SystemClock):
        return monotonic_ns
    virtual = clock
    return lambda: int(virtual.monotonic_s() * 1e9)
