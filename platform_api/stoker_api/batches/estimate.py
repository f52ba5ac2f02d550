"""What a run will take, by what was learned of the function.

The rule that must not break: where nothing was learned, the answer says so instead of guessing. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateView:
    """What is known."""

    rows: float | None
    """None: nobody knows how many."""
    is_rows_exact: bool
    row_bytes: float
    """Mean size of a row's call, in bytes."""
    calls_each: int
    a_s: float
    """An execution takes a + b x cost."""
    b_s: float
    costs_bytes: bool
    """The cost of a row is its size; else it is 1."""
    mean_s: float
    """Of one execution where there are no batches; 0 = nothing was learned."""
    replicas: int
    """That may be at work at once."""
    second_cost: float | None = None
    """Money for one second of one replica."""


def estimate(view: EstimateView) -> Json:
    """Duration and cost, with how they were come by."""
    execution_s = view.mean_s
    if view.a_s or view.b_s:
        cost_each = view.row_bytes if view.costs_bytes else 1.0
        execution_s = view.a_s + view.b_s * view.calls_each * cost_each
    document: Json = {
        "rows": None if view.rows is None else round(view.rows),
        "is_rows_exact": view.is_rows_exact,
        "replicas": view.replicas,
        "duration_s": None,
        "replica_seconds": None,
        "cost": None,
        "note": None,
    }
    if view.rows is None:
        document["note"] = "how many rows there are cannot be told without reading the whole input"
    elif execution_s <= 0:
        document["note"] = "nothing was learned of this function yet: run it on some rows first"
    else:
        replica_seconds = view.rows / view.calls_each * execution_s
        document["replica_seconds"] = round(replica_seconds, 3)
        document["duration_s"] = round(replica_seconds / max(1, view.replicas), 3)
        if view.second_cost is not None:
            document["cost"] = round(replica_seconds * view.second_cost, 6)
        else:
            document["note"] = "no price is known: set gpu_second_cost in Scaling for the cost"
    return document
