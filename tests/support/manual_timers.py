"""Timers that go off when a test says so, beside a real loop that runs everything else."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from stoker_runtime.clock import VirtualClock
from tests.support.virtual_loop import VirtualHandle

_TURNS = 50


class ManualTimers:
    """``call_soon`` of the running loop, ``call_later`` under a ``VirtualClock``."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.clock.advance(1000.0)
        self._later: list[tuple[float, int, VirtualHandle]] = []
        self._sequence = 0

    def call_soon(self, callback: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_soon(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> VirtualHandle:
        handle = VirtualHandle(callback)
        self._sequence += 1
        heapq.heappush(self._later, (self.clock.monotonic_s() + delay, self._sequence, handle))
        return handle

    async def settle(self) -> None:
        """Let the loop do all that is due now."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move time on, with each timer at its own instant."""
        end_s = self.clock.monotonic_s() + seconds
        await self.settle()
        while self._later and self._later[0][0] <= end_s:
            due_s, _, handle = heapq.heappop(self._later)
            self.clock.advance(max(0.0, due_s - self.clock.monotonic_s()))
            handle.run()
            await self.settle()
        self.clock.advance(max(0.0, end_s - self.clock.monotonic_s()))
        await self.settle()
