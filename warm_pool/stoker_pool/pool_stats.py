"""Counters of the warm pool; ``/metrics`` reads them.

The rule that must not break: counters only grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class PoolStats:
    """All since the pool was made."""

    starts: int = 0
    """Replicas that became ready."""
    failed_starts: int = 0
    evictions: int = 0
    """Replicas drained early to make room for others."""
    drains: int = 0
    lost: int = 0
    """Ready replicas that ended by themselves."""
    out_of_memory: int = 0
    cold_phase_ns: dict[str, int] = field(default_factory=dict)
    """Sums over all starts, by phase."""

    def note_start(self, phases_ns: dict[str, int]) -> None:
        self.starts += 1
        for phase, took_ns in phases_ns.items():
            self.cold_phase_ns[phase] = self.cold_phase_ns.get(phase, 0) + took_ns
