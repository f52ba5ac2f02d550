"""The policies that ``stoker simulate --policy`` names, and how each is replayed.

The rule that must not break: an unknown name or a setting that is none is refused with what there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from stoker.errors import InvalidInput
from stoker.options import ADAPTIVE, Scaling
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.pool_price import PoolGoal
from stoker_pool.simulation.baselines.eviction_rules import Belady, GreedyDual, LeastFrequentlyUsed, LeastRecentlyUsed
from stoker_pool.simulation.baselines.fixed import FixedKeepAlive, knative
from stoker_pool.simulation.baselines.hybrid_histogram import HybridHistogram
from stoker_pool.simulation.baselines.oracle import KeepAliveOracle, PrewarmingOracle
from stoker_pool.simulation.capacity import Capacity, EvictionRule
from stoker_pool.simulation.engine import ReplayedPolicy
from stoker_pool.simulation.production_eviction import ProductionEviction
from stoker_pool.simulation.trace import Trace

DEFAULT_PRICE_S: Final = 600.0
_HOUR_MINUTES: Final = 60
_NEVER_S: Final = 1e9
_UNSTATED: Final = Scaling(keep_alive_s=ADAPTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """One policy at one setting."""

    label: str
    make: Callable[[Trace], ReplayedPolicy]
    evicts: Callable[[Trace, Capacity, ReplayedPolicy], EvictionRule]
    is_thrifty: bool = True
    """Its timers unload though nobody needs the room."""
    is_forecast: bool = False
    needs_capacity: bool = False


@dataclass(frozen=True, slots=True)
class _Family:
    """What may follow the name, and what it means."""

    build: Callable[[float], PolicySpec]
    default: float | None = None
    """None: the setting must be given; nan: it takes none."""
    unit: str = "seconds"


def adaptive(price_s: float) -> PolicySpec:
    """The production policy at a price in idle seconds per cold start."""
    if price_s <= 0:
        raise InvalidInput(f"the price of a cold start must be > 0 idle seconds, got {price_s:g}", hint="Try 600.")
    scaling = Scaling(keep_alive_s=ADAPTIVE, gpu_second_cost=1.0, cold_start_cost=price_s)
    return adaptive_with(scaling, f"adaptive:{price_s:g}")


def adaptive_with(scaling: Scaling, label: str) -> PolicySpec:
    """The production policy as every function's options ask for it."""
    return PolicySpec(
        label=label,
        make=lambda trace: _adaptive_policy(trace, scaling),
        evicts=_production_eviction,
        is_forecast=True,
        is_thrifty=False,
    )


def adaptive_pool(goal: PoolGoal, label: str) -> PolicySpec:
    """The production policy with one price for all functions."""
    return replace(adaptive(DEFAULT_PRICE_S), label=label, make=lambda trace: _adaptive_policy(trace, _UNSTATED, goal))


def _adaptive_policy(trace: Trace, scaling: Scaling, goal: PoolGoal | None = None) -> ReplayedPolicy:
    policy = AdaptivePolicy(goal=goal)
    for function in trace.functions:
        policy.set_scaling(function, scaling)
    return policy


def fixed(seconds: float) -> PolicySpec:
    return PolicySpec(label=f"fixed:{seconds:g}", make=lambda trace: FixedKeepAlive(seconds), evicts=_lru)


def hybrid_histogram(hours: float) -> PolicySpec:
    return PolicySpec(
        label="hybrid-histogram" if hours == 4 else f"hybrid-histogram:{hours:g}",
        make=lambda trace: HybridHistogram(max(round(hours * _HOUR_MINUTES), 1)),
        evicts=_lru,
    )


def parse_policy(text: str) -> PolicySpec:
    """``fixed:600`` and the like; raises ``InvalidInput``."""
    name, _, setting = text.partition(":")
    family = FAMILIES.get(name)
    if family is None:
        raise InvalidInput(f"there is no policy {name!r}", hint=f"One of: {', '.join(FAMILIES)}.")
    if not setting:
        if family.default is None:
            raise InvalidInput(f"{name} needs a number of {family.unit}", hint=f"For example: {name}:600.")
        return family.build(family.default)
    if family.default is not None and math.isnan(family.default):
        raise InvalidInput(f"{name} takes no setting, got {setting!r}", hint=f"Write it alone: {name}.")
    try:
        value = float(setting)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InvalidInput(f"{text!r}: the setting must be {family.unit} >= 0", hint=f"For example: {name}:600.")
    return family.build(value)


def _production_eviction(trace: Trace, capacity: Capacity, policy: ReplayedPolicy) -> EvictionRule:
    rate = getattr(policy, "next_use_rate", None)
    if rate is None:
        return ProductionEviction(trace.start_s, capacity.load_s)
    names = trace.functions
    return ProductionEviction(trace.start_s, capacity.load_s, lambda owner, now_s: rate(names[owner], now_s))


def _lru(trace: Trace, capacity: Capacity, policy: ReplayedPolicy) -> EvictionRule:
    return LeastRecentlyUsed()


def _keeping(label: str, rule: Callable[[Trace, Capacity], EvictionRule]) -> _Family:
    """Keeps everything until its room is needed."""
    spec = PolicySpec(
        label=label,
        make=lambda trace: FixedKeepAlive(_NEVER_S),
        evicts=lambda trace, capacity, policy: rule(trace, capacity),
        is_thrifty=False,
        needs_capacity=True,
    )
    return _Family(lambda _: spec, math.nan)


def _plain(label: str, make: Callable[[Trace], ReplayedPolicy]) -> _Family:
    return _Family(lambda _: PolicySpec(label=label, make=make, evicts=_lru), math.nan)


def _oracle_keep_alive(price_s: float) -> PolicySpec:
    return PolicySpec(
        label=f"oracle-keep-alive:{price_s:g}", make=lambda trace: KeepAliveOracle(trace, price_s), evicts=_lru
    )


FAMILIES: Final[Mapping[str, _Family]] = MappingProxyType(
    {
        "adaptive": _Family(adaptive, DEFAULT_PRICE_S, "idle seconds that a cold start is worth"),
        "fixed": _Family(fixed, None),
        "knative": _plain("knative", lambda trace: knative()),
        "hybrid-histogram": _Family(hybrid_histogram, 4.0, "hours"),
        "oracle": _plain("oracle", PrewarmingOracle),
        "oracle-keep-alive": _Family(_oracle_keep_alive, DEFAULT_PRICE_S),
        "lru": _keeping("lru", lambda trace, capacity: LeastRecentlyUsed()),
        "lfu": _keeping("lfu", lambda trace, capacity: LeastFrequentlyUsed()),
        "greedy-dual": _keeping(
            "greedy-dual", lambda trace, capacity: GreedyDual(capacity.load_s, float(capacity.replica_mib))
        ),
        "belady": _keeping("belady", lambda trace, capacity: Belady(trace)),
    }
)
