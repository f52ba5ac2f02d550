"""How many of the waiting calls run next, and whether waiting for more pays.

The rule that must not break: ``max_batch_size`` and ``max_batch_cost`` are hard (a single dearer item runs alone), and
nothing waits longer than ``batch_timeout_ms``; with the default of 0 nothing waits at all. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stoker.options import Batch
from stoker_runtime.cost_model import CostModel

_SHORTEST_WAIT_S: Final = 0.0002


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """What the batcher knows at one instant."""

    costs: Sequence[float]
    """Costs of the calls at the front, oldest first; at most ``max_batch_size`` of them are looked at."""
    oldest_wait_s: float
    arrival_rate_per_s: float
    size_limit: int | None = None
    """A smaller bound than the options give, while bad items are about (see narrowing.py)."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Run ``size`` calls now; or, if ``wait_s`` > 0, none yet: look again when one arrives or that time has passed."""

    size: int
    wait_s: float = 0.0


def plan_batch(view: BatchView, batch: Batch, model: CostModel, now_s: float = 0.0) -> BatchPlan:
    """The next batch of what is waiting."""
    fitting, is_full = _fitting(view, batch, model)
    if fitting == 0 or is_full or batch.batch_timeout_ms <= 0:
        return BatchPlan(fitting)
    left_s = batch.batch_timeout_ms / 1e3 - view.oldest_wait_s
    if left_s <= 1e-6 or view.arrival_rate_per_s <= 0:
        return BatchPlan(fitting)
    gap_s = 1.0 / view.arrival_rate_per_s
    # one more mate saves the fixed part of an execution, and makes those here wait for it
    if gap_s > left_s or model.a_s <= fitting * gap_s:
        return BatchPlan(fitting)
    return BatchPlan(0, min(left_s, max(2 * gap_s, _SHORTEST_WAIT_S)))


def _fitting(view: BatchView, batch: Batch, model: CostModel) -> tuple[int, bool]:
    """How many from the front fit in one batch, and whether no further one could."""
    size_limit = min(batch.max_batch_size, view.size_limit or batch.max_batch_size)
    cost_limit = batch.max_batch_cost if batch.max_batch_cost is not None else float("inf")
    budget_s = None
    if batch.latency_target_ms is not None:
        target_s = batch.latency_target_ms / 1e3
        # what waited has used part of its target up; but never spiral down to batches of one under load
        budget_s = max(target_s - view.oldest_wait_s, target_s / 2)
        cost_limit = min(cost_limit, 2 * model.max_cost if model.observations else 1.0)
    count, total = 0, 0.0
    for cost in view.costs:
        if count >= size_limit:
            return count, True
        total += cost
        if count and (total > cost_limit or (budget_s is not None and model.predict_s(total) > budget_s)):
            return count, True
        count += 1
    return count, count >= size_limit or total >= cost_limit
