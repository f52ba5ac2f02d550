"""The one timer goes off for the earliest instant, and again after a fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stoker_runtime.wake_timer import WakeTimer


class ManualTimers:
    """Timers that go off when told."""

    def __init__(self) -> None:
        self.armed: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> object:
        raise AssertionError("a timer is armed with a delay")

    def call_later(self, delay: float, callback: Callable[[], None]) -> ManualTimers:
        self.armed.append(callback)
        return self

    def cancel(self) -> None:
        self.armed.pop()


def test_a_fault_does_not_disarm_it() -> None:
    def broken() -> None:
        raise IndexError("a fault of ours")

    timers = ManualTimers()
    timer = WakeTimer(timers, lambda: 0, broken)
    timer.wake_at(10)

    with pytest.raises(IndexError):
        timers.armed.pop()()

    assert len(timers.armed) == 1


def test_only_an_earlier_instant_arms_it_anew() -> None:
    timers = ManualTimers()
    timer = WakeTimer(timers, lambda: 0, lambda: None)
    timer.wake_at(10)
    timer.wake_at(20)
    assert (len(timers.armed), timer.due_ns) == (1, 10)
    timer.wake_at(5)
    assert (len(timers.armed), timer.due_ns) == (1, 5)
