"""What a replay came to, in the figures that people compare.

The rule that must not break: waste is measured against a fixed keep-alive of ten minutes on the same trace under the
same conditions, so 1.0 always means the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stoker_pool.simulation.tally import Tally

NORMAL_KEEP_ALIVE_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One policy on one trace; the scored part only."""

    policy: str
    calls: int
    cold_starts: int
    host_starts: int
    """Of the cold starts, those whose weights were still in host memory."""
    cold_share: float
    """Of calls."""
    function_cold_shares: tuple[float, float, float, float]
    """Of functions that were called: the 50th, 75th, 90th and 99th percentile of their cold share."""
    idle_s: float
    """Loaded and not executing, over all functions."""
    waste: float
    """``idle_s`` over that of a fixed keep-alive of ten minutes; nan where that is 0."""
    busy_s: float
    loading_s: float
    loads: int
    p99_start_s: float
    """99 % of calls waited for a start no longer than this."""
    mean_start_s: float
    prewarms: int
    prewarms_used: int
    prewarms_wasted: int

    @property
    def loaded_s(self) -> float:
        """Seconds that memory was held: idle, executing or loading."""
        return self.idle_s + self.busy_s + self.loading_s


def results_of(policy: str, tally: Tally, normal_idle_s: float) -> Results:
    """``normal_idle_s`` is what the fixed keep-alive of ten minutes was idle for."""
    calls, cold_starts, idle_s = sum(tally.calls), sum(tally.cold_starts), sum(tally.idle_s)
    shares = sorted(cold / called for called, cold in zip(tally.calls, tally.cold_starts, strict=True) if called)
    return Results(
        policy=policy,
        calls=calls,
        cold_starts=cold_starts,
        host_starts=sum(tally.host_starts),
        cold_share=cold_starts / calls if calls else 0.0,
        function_cold_shares=(
            percentile(shares, 0.5),
            percentile(shares, 0.75),
            percentile(shares, 0.9),
            percentile(shares, 0.99),
        ),
        idle_s=idle_s,
        waste=idle_s / normal_idle_s if normal_idle_s else math.nan,
        busy_s=sum(tally.busy_s),
        loading_s=sum(tally.loading_s),
        loads=sum(tally.loads),
        p99_start_s=_start_percentile_s(tally, calls, 0.99),
        mean_start_s=sum(wait_s * count for wait_s, count in tally.waits) / calls if calls else 0.0,
        prewarms=sum(tally.prewarms),
        prewarms_used=sum(tally.prewarms_used),
        prewarms_wasted=sum(tally.prewarms_wasted),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed; 0 where there is none."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else 0.0


def _start_percentile_s(tally: Tally, calls: int, share: float) -> float:
    """Calls that met a ready replica waited 0 s."""
    left = calls - math.ceil(share * calls)
    for wait_s, count in sorted(tally.waits, reverse=True):
        left -= count
        if left < 0:
            return wait_s
    return 0.0
