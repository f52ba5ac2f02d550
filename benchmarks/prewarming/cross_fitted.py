"""The forecast with weights that were never fitted to the function they are asked about.

The shipped network was fitted to all functions of the public traces, so replaying it on them flatters it. Here each
half of a trace's functions is forecast by weights fitted to the other halves alone (`halves/`, written by
`fit_hazard_net --write`), which is what a platform with functions of its own can expect.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from stoker.options import ADAPTIVE, Scaling
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.curve import Curve
from stoker_pool.forecast.hazard_net import HazardNet
from stoker_pool.forecast.history import FunctionHistory
from stoker_pool.simulation.policies import PolicySpec, adaptive
from stoker_pool.simulation.trace import Trace

PREFIX: Final = "cross-fitted:"
HALVES: Final = (Path(__file__).with_name("halves") / "even.json", Path(__file__).with_name("halves") / "odd.json")
"""What functions of even and of odd places in their trace are forecast by."""


class CrossFitted(AdaptivePolicy):
    """The production policy, with two networks in place of one."""

    def __init__(self, functions: tuple[str, ...]) -> None:
        super().__init__()
        self._nets = [HazardNet.of_file(path) for path in HALVES]
        self._half = {function: place % 2 for place, function in enumerate(functions)}

    def _curve(self, function: str, history: FunctionHistory, to_age_s: float = math.inf) -> Curve:
        self._net = self._nets[self._half[function]]
        return super()._curve(function, history, to_age_s)


def cross_fitted(price_s: float) -> PolicySpec:
    """At a price in idle seconds per cold start."""
    shipped = adaptive(price_s)
    scaling = Scaling(keep_alive_s=ADAPTIVE, gpu_second_cost=1.0, cold_start_cost=price_s)

    def make(trace: Trace) -> CrossFitted:
        policy = CrossFitted(tuple(trace.functions))
        for function in trace.functions:
            policy.set_scaling(function, scaling)
        return policy

    return PolicySpec(
        label=f"{PREFIX}{price_s:g}", make=make, evicts=shipped.evicts, is_forecast=True, is_thrifty=shipped.is_thrifty
    )
