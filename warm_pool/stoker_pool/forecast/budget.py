"""How much a forecast may waste: device seconds per hour.

The rule that must not break: over any hour no more than twice the hour's budget is spent, and a budget of 0 allows
nothing. Pure: time is handed in.
"""

from __future__ import annotations

import math
from typing import Final

_HOUR_S: Final = 3600.0


class Budget:
    """Fills evenly over the hour, up to one hour's worth."""

    def __init__(self) -> None:
        self._left_s: float | None = None
        self._seen_s = 0.0

    def left_s(self, per_hour_s: float | None, now_s: float) -> float:
        """Device seconds that may be spent at ``now_s``."""
        if per_hour_s is None:
            return math.inf
        passed_s = max(now_s - self._seen_s, 0.0)
        left_s = per_hour_s if self._left_s is None else self._left_s + passed_s * per_hour_s / _HOUR_S
        self._left_s, self._seen_s = min(left_s, per_hour_s), now_s
        return self._left_s

    def spend(self, per_hour_s: float | None, seconds: float, now_s: float) -> None:
        """So many were spent."""
        if per_hour_s is not None:
            self._left_s = self.left_s(per_hour_s, now_s) - seconds
