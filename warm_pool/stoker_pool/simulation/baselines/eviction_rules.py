"""Published eviction rules for a device that is full.

* LRU: least recently used. * LFU: least frequently used, over all of the past; ties by recency.
* Greedy-dual: FaasCache (Fuerst and Sharma, ASPLOS '21, section 4.1), the Greedy-Dual-Size-Frequency of caching:
  priority = clock + frequency x cost / size; the clock rises to the priority of what was evicted, and a function that
  has no instance left starts again with a frequency of 0.
* Belady: the one that is called furthest in the future leaves (Belady, IBM Systems Journal 5(2), 1966); it knows the
  trace. With equal sizes and costs no rule has fewer misses; where calls overlap it is a bound only in spirit.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence

from stoker_pool.ledger import DeviceLedger
from stoker_pool.simulation.trace import Trace

_MIB = 1024 * 1024


class ByPriority:
    """Those of least priority leave, until there is room."""

    def note_calls(self, owner: int, now_s: float, count: int) -> None:
        """A call, whether it met a ready replica or not."""

    def note_load(self, owner: int, now_s: float, load_s: float) -> None:
        """It was loaded."""

    def note_idle(self, owner: int, now_s: float) -> None:
        """Its last call in flight has ended."""

    def priority(self, owner: int, now_s: float) -> tuple[float, ...]:
        """Who has the least leaves first."""
        raise NotImplementedError

    def note_evicted(self, owner: int, now_s: float) -> None:
        """It leaves."""

    def victims(self, needed_mib: int, idle: Sequence[int], ledger: DeviceLedger, now_s: float) -> list[int] | None:
        free_mib = max(load.free_bytes for load in ledger.loads()) // _MIB
        chosen: list[int] = []
        for owner in sorted(idle, key=lambda item: self.priority(item, now_s)):
            if free_mib >= needed_mib:
                break
            free_mib += max(ledger.taken(str(owner))[1] // _MIB, 0)
            chosen.append(owner)
        if free_mib < needed_mib:
            return None
        for owner in chosen:
            self.note_evicted(owner, now_s)
        return chosen

    def least_worth(self, owners: Iterable[int], now_s: float) -> int:
        return min(owners, key=lambda item: self.priority(item, now_s))


class LeastRecentlyUsed(ByPriority):
    """LRU."""

    def __init__(self) -> None:
        self._used_s: dict[int, float] = {}

    def note_calls(self, owner: int, now_s: float, count: int) -> None:
        self._used_s[owner] = now_s

    def note_idle(self, owner: int, now_s: float) -> None:
        self._used_s[owner] = now_s

    def priority(self, owner: int, now_s: float) -> tuple[float, ...]:
        return (self._used_s.get(owner, -math.inf),)


class LeastFrequentlyUsed(LeastRecentlyUsed):
    """LFU."""

    def __init__(self) -> None:
        super().__init__()
        self._uses: dict[int, int] = {}

    def note_calls(self, owner: int, now_s: float, count: int) -> None:
        super().note_calls(owner, now_s, count)
        self._uses[owner] = self._uses.get(owner, 0) + count

    def priority(self, owner: int, now_s: float) -> tuple[float, ...]:
        return (self._uses.get(owner, 0), *super().priority(owner, now_s))


class GreedyDual(ByPriority):
    """FaasCache."""

    def __init__(self, cost_s: float, size_mib: float) -> None:
        self.cost = (cost_s or 1.0) / size_mib
        self.clock = 0.0
        self._uses: dict[int, int] = {}
        self._priorities: dict[int, float] = {}

    def note_calls(self, owner: int, now_s: float, count: int) -> None:
        self._uses[owner] = self._uses.get(owner, 0) + count
        self._priorities[owner] = self.clock + self._uses[owner] * self.cost

    def note_load(self, owner: int, now_s: float, load_s: float) -> None:
        # a miss evicts first, so that what comes in starts from the clock which that left
        self._priorities[owner] = self.clock + self._uses.get(owner, 0) * self.cost

    def priority(self, owner: int, now_s: float) -> tuple[float, ...]:
        return (self._priorities.get(owner, 0.0),)

    def note_evicted(self, owner: int, now_s: float) -> None:
        self.clock = max(self.clock, self._priorities.get(owner, 0.0))
        self._uses[owner] = 0


class Belady(ByPriority):
    """Knows the trace."""

    def __init__(self, trace: Trace) -> None:
        self._times_s: list[list[float]] = [[] for _ in trace.functions]
        for owner, at_s in zip(trace.owners, trace.times_s, strict=True):
            self._times_s[owner].append(at_s)

    def priority(self, owner: int, now_s: float) -> tuple[float, ...]:
        times_s = self._times_s[owner]
        place = bisect.bisect_right(times_s, now_s)
        return (-(times_s[place] if place < len(times_s) else math.inf),)
