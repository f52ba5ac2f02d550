"""When calls arrived lately, for those who forecast: kept by the second, taken now and then.

The rule that must not break: it costs nothing per call (the door notes once per turn of the loop) and stays small,
however long nobody takes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_SLOT_S: Final = 1.0
_MOST_SLOTS: Final = 1024


class ArrivalLog:
    """Calls by the second in which they came, oldest first."""

    __slots__ = ("_counts", "_times_s", "_told_s", "on_slot")

    def __init__(self) -> None:
        self.on_slot: Callable[[], None] | None = None
        """Called when calls came, at most once a second; must be cheap."""
        self._told_s = -math.inf
        self._times_s: list[float] = []
        self._counts: list[int] = []

    def note(self, count: int, now_s: float) -> None:
        """``count`` calls came; those within a second of the first of them share its time."""
        times_s = self._times_s
        if times_s and now_s - times_s[-1] < _SLOT_S:
            self._counts[-1] += count
            return
        if self.on_slot is not None and now_s - self._told_s >= _SLOT_S:
            self._told_s = now_s
            self.on_slot()
        times_s.append(now_s)
        self._counts.append(count)
        if len(times_s) > _MOST_SLOTS:  # half the resolution for the older half of the memory
            half = _MOST_SLOTS // 2
            self._counts[:half] = [a + b for a, b in zip(self._counts[0:half:2], self._counts[1:half:2], strict=True)]
            self._times_s[:half] = times_s[0:half:2]

    def take(self) -> list[tuple[float, int]]:
        """(monotonic seconds, calls) since the last take."""
        if not self._times_s:
            return []
        taken = list(zip(self._times_s, self._counts, strict=True))
        self._times_s, self._counts = [], []
        return taken
