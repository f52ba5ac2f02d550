"""The part of an event loop that a dispatcher uses, under a clock that moves only when told."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Final

from stoker_runtime.clock import VirtualClock

_MOST_TURNS: Final = 100_000


class VirtualHandle:
    """A callback that may be cancelled."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def run(self) -> None:
        if self.callback is not None:
            callback, self.callback = self.callback, None
            callback()


class VirtualLoop:
    """``call_soon`` and ``call_later`` over a ``VirtualClock``."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.clock = VirtualClock()
        self.clock.advance(start_s)
        self._soon: deque[VirtualHandle] = deque()
        self._later: list[tuple[float, int, VirtualHandle]] = []
        self._sequence = 0

    def call_soon(self, callback: Callable[[], None]) -> VirtualHandle:
        handle = VirtualHandle(callback)
        self._soon.append(handle)
        return handle

    def call_later(self, delay: float, callback: Callable[[], None]) -> VirtualHandle:
        handle = VirtualHandle(callback)
        self._sequence += 1
        heapq.heappush(self._later, (self.clock.monotonic_s() + delay, self._sequence, handle))
        return handle

    @property
    def timers(self) -> int:
        """Timers that are set."""
        return sum(handle.callback is not None for _, _, handle in self._later)

    def settle(self) -> None:
        """Run everything that is due now."""
        for _ in range(_MOST_TURNS):
            if self._soon:
                self._soon.popleft().run()
            elif self._later and self._later[0][0] <= self.clock.monotonic_s() + 1e-9:
                heapq.heappop(self._later)[2].run()
            else:
                return
        raise AssertionError("the loop never comes to rest")

    def advance(self, seconds: float) -> None:
        """Move time on, running each timer at its own instant."""
        end_s = self.clock.monotonic_s() + seconds
        self.settle()
        while self._later and self._later[0][0] <= end_s:
            self.clock.advance(max(0.0, self._later[0][0] - self.clock.monotonic_s()))
            self.settle()
        self.clock.advance(max(0.0, end_s - self.clock.monotonic_s()))
        self.settle()
