"""How fast calls arrive.

The rule that must not break: silence lowers the rate by itself, so nobody waits for a mate that the past promised.
"""

from __future__ import annotations

import math
from typing import Final

_MEMORY_S: Final = 1.0
_STEP_S: Final = 0.005


class ArrivalRate:
    """Exponentially weighted calls per second; counting is one addition, folding in happens now and then."""

    __slots__ = ("_folded_s", "_last_s", "_pending", "_rate", "_since_s")

    def __init__(self, now_s: float) -> None:
        self._rate = 0.0
        self._pending = 0
        self._folded_s = self._last_s = self._since_s = now_s

    def note(self, count: int, now_s: float) -> None:
        """``count`` calls have arrived since the last note."""
        if count:
            self._pending += count
            self._last_s = now_s
        elapsed_s = now_s - self._folded_s
        if elapsed_s >= _STEP_S:
            memory_s = min(_MEMORY_S, max(now_s - self._since_s, _STEP_S))  # an unbiased start
            keep = math.exp(-elapsed_s / memory_s)
            self._rate = self._rate * keep + (1.0 - keep) * (self._pending / elapsed_s)
            self._pending = 0
            self._folded_s = now_s
            if elapsed_s > _MEMORY_S:
                self._since_s = now_s  # after a pause the start is unbiased again

    def per_s(self, now_s: float) -> float:
        """Expected arrivals per second as of ``now_s``."""
        silent_s = now_s - self._last_s
        return self._rate if silent_s <= 0 else min(self._rate, 1.0 / silent_s)
