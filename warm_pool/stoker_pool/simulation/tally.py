"""Counts what a replay did, of the scored part only.

The rule that must not break: an interval counts by its share inside the scored part, a call by its arrival.
"""

from __future__ import annotations


class Tally:
    """Per function: calls, cold starts, seconds idle, busy and loading, loads, prewarms."""

    def __init__(self, functions: int, from_s: float, until_s: float) -> None:
        self.from_s = from_s
        self.until_s = until_s
        self.calls = [0] * functions
        self.cold_starts = [0] * functions
        self.idle_s = [0.0] * functions
        self.busy_s = [0.0] * functions
        self.loading_s = [0.0] * functions
        self.loads = [0] * functions
        self.host_starts = [0] * functions
        """Of the cold starts, those whose weights were still in host memory."""
        self.prewarms = [0] * functions
        self.prewarms_used = [0] * functions
        self.prewarms_wasted = [0] * functions
        self.waits: list[tuple[float, int]] = []
        """Seconds and calls, of those that waited for a start."""

    def warm(self, owner: int, at_s: float, count: int) -> None:
        if at_s >= self.from_s:
            self.calls[owner] += count

    def cold(self, owner: int, at_s: float, count: int) -> None:
        """The first of ``count`` calls met no ready replica."""
        if at_s >= self.from_s:
            self.calls[owner] += count
            self.cold_starts[owner] += 1

    def host_start(self, owner: int, arrived_s: float) -> None:
        self.host_starts[owner] += arrived_s >= self.from_s

    def waited(self, arrived_s: float, wait_s: float, count: int) -> None:
        if arrived_s >= self.from_s:
            self.waits.append((wait_s, count))

    def idle(self, owner: int, from_s: float, until_s: float) -> None:
        self.idle_s[owner] += self._inside(from_s, until_s)

    def busy(self, owner: int, from_s: float, until_s: float) -> None:
        self.busy_s[owner] += self._inside(from_s, until_s)

    def load(self, owner: int, at_s: float, load_s: float, *, is_prewarm: bool) -> None:
        self.loading_s[owner] += self._inside(at_s, at_s + load_s)
        if at_s >= self.from_s:
            self.loads[owner] += 1
            self.prewarms[owner] += is_prewarm

    def prewarm_used(self, owner: int, at_s: float) -> None:
        self.prewarms_used[owner] += at_s >= self.from_s

    def prewarm_wasted(self, owner: int, at_s: float) -> None:
        self.prewarms_wasted[owner] += at_s >= self.from_s

    def _inside(self, from_s: float, until_s: float) -> float:
        return max(min(until_s, self.until_s) - max(from_s, self.from_s), 0.0)
