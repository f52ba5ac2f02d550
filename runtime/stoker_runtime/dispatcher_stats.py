"""Counters of one dispatcher, cheap enough to update on every call; ``/metrics`` and ``describe`` read them.

The rule that must not break: counters only grow, and a call is counted once, when it ends.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from stoker_runtime.invocation import Invocation

_STEPS: Final = (1.0, 2.5, 5.0)
LATENCY_BUCKETS_S: Final = (
    *(step * scale for scale in (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0) for step in _STEPS),
    100.0,
    300.0,
)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
_LATENCY_BUCKETS_NS: Final = tuple(int(bound * 1e9) for bound in LATENCY_BUCKETS_S)


class DispatcherStats:
    """All since the dispatcher was made. Histogram counts have one more entry than bounds: the overflow."""

    __slots__ = (
        "batch_items",
        "batches",
        "batches_by_size",
        "calls",
        "coalesced",
        "cold_calls",
        "cold_ns",
        "cold_starts",
        "decode_ns",
        "encode_ns",
        "errors_by_code",
        "execute_ns",
        "largest_batch",
        "latency_counts",
        "queue_ns",
        "retried",
        "total_ns",
        "workers_lost",
    )

    def __init__(self) -> None:
        self.calls = 0
        """Calls that ended, with whatever outcome."""
        self.errors_by_code: dict[str, int] = {}
        self.cold_starts = 0
        """Starts that calls waited for."""
        self.cold_calls = 0
        """Calls that waited for a start."""
        self.coalesced = 0
        self.retried = 0
        self.workers_lost = 0
        self.batches = 0
        self.batch_items = 0
        self.largest_batch = 0
        self.batches_by_size = [0] * (len(BATCH_BUCKETS) + 1)
        self.latency_counts = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.total_ns = self.queue_ns = self.cold_ns = self.decode_ns = self.execute_ns = self.encode_ns = 0

    def note_end(self, invocation: Invocation, now_ns: int) -> None:
        self.calls += 1
        total_ns = now_ns - invocation.accepted_ns
        self.total_ns += total_ns
        self.latency_counts[bisect_left(_LATENCY_BUCKETS_NS, total_ns)] += 1
        self.queue_ns += (invocation.sent_ns or now_ns) - invocation.accepted_ns
        self.decode_ns += invocation.decode_ns
        self.execute_ns += invocation.execute_ns
        self.encode_ns += invocation.encode_ns
        if invocation.is_cold:
            self.cold_calls += 1
            phases = invocation.cold_phases_ns
            if phases:
                self.cold_ns += sum(phases.values())

    def note_error(self, code: str) -> None:
        self.errors_by_code[code] = self.errors_by_code.get(code, 0) + 1

    def note_batch(self, size: int) -> None:
        self.batches += 1
        self.batch_items += size
        self.batches_by_size[bisect_left(BATCH_BUCKETS, size)] += 1
        if size > self.largest_batch:
            self.largest_batch = size

    @property
    def mean_batch(self) -> float:
        return self.batch_items / self.batches if self.batches else 0.0

    def latency_quantile_s(self, quantile: float) -> float:
        """The bucket bound that ``quantile`` (0 to 1) of the ended calls stay within; 0 before the first."""
        target, seen = quantile * self.calls, 0
        for bound_s, count in zip(LATENCY_BUCKETS_S, self.latency_counts, strict=False):
            seen += count
            if count and seen >= target:
                return bound_s
        return LATENCY_BUCKETS_S[-1] if self.calls else 0.0
