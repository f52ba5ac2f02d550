"""What a run sees of the function's replicas, and how it asks for more.

The rule that must not break: asking is free of consequences when it is refused: a run with one replica is a slow run,
not a failed one.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final, Protocol

from stoker.errors import PlatformError
from stoker.options import FunctionOptions, Scaling
from stoker_api.batches.planner import PlanView
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool

log = logging.getLogger(__name__)
_QUICK_S: Final = 0.002
_ASK_AGAIN_S: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the run itself knows."""

    max_concurrency: int | None
    left: float | None
    deadline_in_s: float | None
    rate_per_s: float


class Capacity(Protocol):
    """One revision's replicas."""

    def view(self, wish: Wish) -> PlanView: ...

    def want(self, replicas: int, ready: int, now_s: float) -> None:
        """So many are worth having."""
        ...

    async def close(self) -> None: ...


class PoolCapacity:
    """Implements ``Capacity`` on the pool."""

    def __init__(self, pool: Pool, plan: RevisionPlan, scaling: Scaling) -> None:
        self._pool = pool
        self._plan = plan
        self._scaling = scaling
        self._asking: asyncio.Task[None] | None = None
        self._not_before_s = 0.0
        self._load_s = 2.0

    def view(self, wish: Wish) -> PlanView:
        options: FunctionOptions = self._plan.options
        demand = self._pool.dispatcher(self._plan).demand()
        batch = options.batch
        each = batch.max_batch_size if batch is not None else options.concurrency
        duration_s = demand.mean_duration_s
        if batch is not None and (demand.model_a_s or demand.model_b_s) and batch.cost_fn is None:
            duration_s = demand.model_a_s + demand.model_b_s * each
        return PlanView(
            calls_each=each,
            ready=demand.links,
            max_replicas=self._scaling.max_replicas,
            max_queue_depth=options.max_queue_depth,
            max_concurrency=wish.max_concurrency,
            left=wish.left,
            deadline_in_s=wish.deadline_in_s,
            rate_per_s=wish.rate_per_s,
            each_per_s=each / duration_s if duration_s > 0 else 0.0,
            load_s=self._load_s,
            is_quick=batch is None and 0 < duration_s < _QUICK_S,
        )

    def want(self, replicas: int, ready: int, now_s: float) -> None:
        if replicas <= ready or not ready or self._asking is not None or now_s < self._not_before_s:
            return
        self._not_before_s = now_s + _ASK_AGAIN_S
        self._asking = asyncio.ensure_future(self._ask(ready + 1))

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self, replicas: int) -> None:
        try:
            phases_ns = await self._pool.warm_up(self._plan, replicas)
            self._load_s = max(0.01, sum(phases_ns.values()) / 1e9) if phases_ns else self._load_s
            self._not_before_s = 0.0
        except PlatformError as error:
            log.info("no further replica for a batch run", extra={"function": self._plan.key, "why": error.detail})
        finally:
            self._asking = None
