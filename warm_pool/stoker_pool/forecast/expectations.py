"""Calls that are known to come: from schedules, queued jobs, and whoever said so.

The rule that must not break: a source has one expectation at a time, and what has passed is forgotten by itself.
"""

from __future__ import annotations

import math
from typing import Final

from stoker_pool.forecast.policy import Window

STAYS_S: Final = 30.0
"""How long a replica waits for an expected call beyond its time."""
_MOST: Final = 1000


class Expectations:
    """Of one function, by source."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def put(self, source: str, at_s: float, until_s: float | None) -> None:
        """A call is certain at ``at_s``; raises ``ValueError`` where that is no time."""
        end_s = max(at_s, until_s if until_s is not None else at_s + STAYS_S)
        if not math.isfinite(at_s) or math.isnan(end_s):
            raise ValueError(f"at_s and until_s must be times, got {at_s} and {until_s}")
        self._windows[source] = Window(at_s, max(end_s, at_s + 1.0))
        if len(self._windows) > _MOST:  # the farthest ones can be told again when they are near
            del self._windows[max(self._windows, key=lambda name: self._windows[name].start_s)]

    def drop(self, source: str) -> None:
        """The call does not come."""
        self._windows.pop(source, None)

    def at(self, now_s: float) -> list[tuple[str, Window]]:
        """Those that have not passed at ``now_s``, with their sources."""
        passed = [source for source, window in self._windows.items() if window.end_s <= now_s]
        for source in passed:
            del self._windows[source]
        return list(self._windows.items())
