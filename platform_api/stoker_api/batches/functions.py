"""What runs ask about the functions that they call.

The rule that must not break: a run pins one revision and stays with it, so that its output is of one make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stoker.options import Scaling
from stoker_api.batches.capacity import Capacity, PoolCapacity
from stoker_api.batches.estimate import EstimateView
from stoker_api.batches.mapping import Parameters, parameters_of
from stoker_api.batches.records import NewBatch
from stoker_api.registry import Registry
from stoker_api.route_table import plan_of, schema_of
from stoker_api.routing import LATEST
from stoker_api.stores.records import FunctionKey
from stoker_pool.pool import Pool


class Functions(Protocol):
    """The platform's functions, as runs need them."""

    def pin(self, spec: NewBatch) -> int:
        """The revision that the run is of; raises ``NotFound``."""
        ...

    def parameters(self, spec: NewBatch, revision: int) -> Parameters: ...

    def capacity(self, spec: NewBatch, revision: int) -> Capacity: ...

    def estimate_view(
        self, spec: NewBatch, revision: int, rows: float | None, *, is_exact: bool, row_bytes: float
    ) -> EstimateView: ...


@dataclass(frozen=True, slots=True)
class RegisteredFunctions:
    """Implements ``Functions``."""

    registry: Registry
    pool: Pool

    def pin(self, spec: NewBatch) -> int:
        weights = self.registry.weights(_key(spec), spec.ref or LATEST)
        return max(weights, key=lambda each: each[1])[0]

    def parameters(self, spec: NewBatch, revision: int) -> Parameters:
        return parameters_of(schema_of(self.registry.revision(_key(spec), revision).schema_json), spec.method)

    def capacity(self, spec: NewBatch, revision: int) -> Capacity:
        return PoolCapacity(self.pool, plan_of(self.registry, _key(spec), revision), self._scaling(spec, revision))

    def estimate_view(
        self, spec: NewBatch, revision: int, rows: float | None, *, is_exact: bool, row_bytes: float
    ) -> EstimateView:
        plan = plan_of(self.registry, _key(spec), revision)
        demand = self.pool.dispatcher(plan).demand()
        options, batch = plan.options, plan.options.batch
        scaling = self._scaling(spec, revision)
        return EstimateView(
            rows=rows,
            is_rows_exact=is_exact,
            row_bytes=row_bytes,
            calls_each=batch.max_batch_size if batch is not None else options.concurrency,
            a_s=demand.model_a_s if batch is not None else 0.0,
            b_s=demand.model_b_s if batch is not None else 0.0,
            costs_bytes=batch is not None and batch.cost_fn == "bytes",
            mean_s=demand.mean_duration_s,
            replicas=scaling.max_replicas,
            second_cost=scaling.gpu_second_cost,
        )

    def _scaling(self, spec: NewBatch, revision: int) -> Scaling:
        entry = self.registry.function(_key(spec))
        return entry.scaling or entry.options(revision).scaling


def _key(spec: NewBatch) -> FunctionKey:
    return FunctionKey(spec.namespace, spec.function)
