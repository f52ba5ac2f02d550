"""One trace, several policies, the same conditions for all of them.

The rule that must not break: the fixed keep-alive of ten minutes that waste is measured against is replayed in every
run, under the conditions of that run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stoker.errors import InvalidInput
from stoker_pool.simulation.capacity import Capacity, ScarceRoom
from stoker_pool.simulation.engine import Engine, Replay
from stoker_pool.simulation.policies import PolicySpec, fixed
from stoker_pool.simulation.results import NORMAL_KEEP_ALIVE_S, Results, results_of
from stoker_pool.simulation.tally import Tally
from stoker_pool.simulation.trace import Trace

Progress = Callable[[str, float], None]
"""Label of the policy, share of it done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What holds for every policy of a run."""

    load_s: float = 0.0
    least_away_s: float = 0.0
    """The platform's setting of that name."""
    warm_up_share: float = 0.4
    capacity: Capacity | None = None


def replay(trace: Trace, spec: PolicySpec, conditions: Conditions, on_progress: Progress | None = None) -> Tally:
    """One replay; raises ``InvalidInput`` where the policy does not fit the conditions."""
    capacity = conditions.capacity
    if spec.needs_capacity and capacity is None:
        raise InvalidInput(
            f"{spec.label} says who leaves a device that is full, and here nothing is full",
            hint="Add --slots or --memory-mib.",
        )
    policy = spec.make(trace)
    engine = Engine(
        trace,
        policy,
        Replay(
            load_s=conditions.load_s,
            least_away_s=conditions.least_away_s,
            warm_up_share=conditions.warm_up_share,
            is_forecast=spec.is_forecast,
            # a policy that knows who leaves keeps what it has until the room is needed
            is_thrifty=spec.is_thrifty or capacity is None,
        ),
        room=None if capacity is None else ScarceRoom(capacity, spec.evicts(trace, capacity, policy)),
        on_progress=None if on_progress is None else lambda share: on_progress(spec.label, share),
    )
    return engine.run()


def compare(
    trace: Trace, specs: Sequence[PolicySpec], conditions: Conditions, on_progress: Progress | None = None
) -> list[Results]:
    """Every policy's results, in the order given."""
    normal = fixed(NORMAL_KEEP_ALIVE_S)
    tallies = {spec.label: replay(trace, spec, conditions, on_progress) for spec in dict.fromkeys((normal, *specs))}
    normal_idle_s = sum(tallies[normal.label].idle_s)
    return [results_of(spec.label, tallies[spec.label], normal_idle_s) for spec in specs]
