"""What a dispatcher tells the scaler about one revision, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandView:
    """Demand at one instant."""

    queue_depth: int
    """Calls that wait for a replica."""
    in_flight: int
    """Calls that replicas hold (running or prefetched)."""
    links: int
    """Replicas that take calls."""
    capacity: int
    """Calls that those can run at once: links x concurrency, or x max_batch_size."""
    oldest_wait_s: float
    arrival_rate_per_s: float
    mean_duration_s: float
    """Of one execution (a call, or a whole batch); 0 before the first."""
    model_a_s: float
    """Duration of an execution = a + b x cost."""
    model_b_s: float
    idle_since_s: float | None
    """Monotonic seconds since when nothing is accepted and not ended; None while anything is."""
