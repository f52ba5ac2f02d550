"""Bounds that no policy can pass, since they know the trace.

* Keep-alive oracle: may keep what is loaded, not bring it back; it stays through exactly those gaps that are shorter
  than the price of a cold start. Sweeping the price gives the best that any timer could do.
* Prewarming oracle: is there at the instant of each call, and never otherwise: no cold start but each function's first
  call, and no waste.
"""

from __future__ import annotations

import bisect
import math
from typing import Final

from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.simulation.trace import Trace

_MOMENT_S: Final = 0.001


class _Knowing:
    """When each function is called next."""

    def __init__(self, trace: Trace) -> None:
        self._times_s: dict[str, list[float]] = {name: [] for name in trace.functions}
        for owner, at_s in zip(trace.owners, trace.times_s, strict=True):
            self._times_s[trace.functions[owner]].append(at_s)

    def next_s(self, function: str, now_s: float) -> float:
        times_s = self._times_s[function]
        place = bisect.bisect_right(times_s, now_s)
        return times_s[place] if place < len(times_s) else math.inf

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        """It knows already."""

    def note_idle(self, function: str, at_s: float) -> None:
        """It knows already."""

    def forget(self, function: str) -> None:
        """It forgets nothing."""


class KeepAliveOracle(_Knowing):
    """Stays until the next call where that comes within ``price_s``."""

    def __init__(self, trace: Trace, price_s: float) -> None:
        super().__init__(trace)
        self.price_s = price_s
        self._idle_s: dict[str, float] = {}

    def note_idle(self, function: str, at_s: float) -> None:
        self._idle_s[function] = at_s

    def windows(self, function: str, now_s: float) -> Windows:
        idle_s = self._idle_s.get(function)
        next_s = self.next_s(function, now_s)
        if idle_s is None or next_s - idle_s > self.price_s:
            return ()
        return (Window(idle_s, next_s + _MOMENT_S),)


class PrewarmingOracle(_Knowing):
    """Ready just when the next call comes."""

    def windows(self, function: str, now_s: float) -> Windows:
        next_s = self.next_s(function, now_s)
        return (Window(next_s, next_s + _MOMENT_S),) if next_s < math.inf else ()
