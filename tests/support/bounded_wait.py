"""Waits for what the operating system gives no event for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from stoker_runtime.clock import SystemClock

_STEP_S = 0.02


def wait_until(is_so: Callable[[], bool], limit_s: float, what: str) -> None:
    """Ask again and again; fails after ``limit_s`` with what it waited for."""
    clock = SystemClock()
    end_s = clock.monotonic_s() + limit_s
    pause = threading.Event()
    while not is_so():
        assert clock.monotonic_s() < end_s, f"waited {limit_s} s in vain for {what}"
        pause.wait(_STEP_S)
