"""What prewarming came to for one function: prewarms used and wasted, device time, and what other ways would have cost.

The rule that must not break: each prewarm ends once, as used or as wasted; counters only grow.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

TIMER_S: Final = 600.0
"""The plain keep-alive that savings are counted against."""
_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class ColdStart:
    """A start that was not foreseen."""

    at_s: float
    took_s: float


class WarmthAccount:
    """Counted from ``since_s`` (Unix seconds) on."""

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.used = 0
        """Prewarmed replicas that got a call."""
        self.wasted = 0
        """Prewarmed replicas that ended without one."""
        self.waited_s = 0.0
        """Device seconds from a prewarm's start to its first call or its end."""
        self.wasted_s = 0.0
        """Those of them that no call followed."""
        self.loaded_s = 0.0
        """Device seconds of replicas that have ended, from start to end."""
        self.cold_starts: deque[ColdStart] = deque(maxlen=_KEPT)
        self._timer_s = 0.0
        self._called_s: float | None = None

    def note_prewarm(self, waited_s: float, *, is_used: bool) -> None:
        """A prewarm has ended."""
        self.waited_s += waited_s
        if is_used:
            self.used += 1
        else:
            self.wasted += 1
            self.wasted_s += waited_s

    def note_call(self, at_s: float) -> None:
        """Calls arrived."""
        if self._called_s is not None:
            self._timer_s += min(max(at_s - self._called_s, 0.0), TIMER_S)
        self._called_s = at_s

    def timer_s(self, now_s: float) -> float:
        """Device seconds of one replica under a plain keep-alive of ten minutes, up to ``now_s``."""
        if self._called_s is None:
            return 0.0
        return self._timer_s + min(max(now_s - self._called_s, 0.0), TIMER_S)
