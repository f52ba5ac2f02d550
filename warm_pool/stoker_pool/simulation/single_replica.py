"""Asks the production scaler about one function that has one replica at most.

The rule that must not break: what is decided here is what ``scaler.decide`` says; nothing is decided beside it.
"""

from __future__ import annotations

from typing import Final

from stoker_pool.forecast.policy import Windows
from stoker_pool.scaler import Decision, Limits, Peaks, ScalerView, decide
from stoker_runtime.demand import DemandView

NO_PEAKS: Final = Peaks()
_SCALE_DOWN_WINDOW_S: Final = 30.0
_IDLE: Final = 0
_WAITING: Final = 1


def limits(*, is_forecast: bool) -> Limits:
    """One replica at most, for any number of calls, kept by windows alone."""
    return Limits(
        min_replicas=0,
        max_replicas=1,
        buffer_replicas=0,
        keep_alive_s=0.0,
        calls_each=1.0,
        is_target_explicit=False,
        is_batched=False,
        is_forecast=is_forecast,
    )


def when_idle(
    limits: Limits,
    peaks: Peaks,
    windows: Windows,
    now_s: float,
    idle_s: float,
    load_s: float,
    *,
    ready: int,
    starting: int,
    least_away_s: float,
) -> Decision:
    """No call is there."""
    view = ScalerView(
        demand=_DEMANDS[_IDLE],
        ready=ready,
        starting=starting,
        load_s=load_s,
        idle_s=idle_s,
        windows=windows,
        now_unix_s=now_s,
        least_away_s=least_away_s,
    )
    return decide(view, limits, peaks, _SCALE_DOWN_WINDOW_S, now_s)


def when_called(limits: Limits, peaks: Peaks, now_s: float, load_s: float) -> Decision:
    """A call came, and nothing is there to take it."""
    view = ScalerView(demand=_DEMANDS[_WAITING], ready=0, starting=0, load_s=load_s, idle_s=None, now_unix_s=now_s)
    return decide(view, limits, peaks, _SCALE_DOWN_WINDOW_S, now_s)


def _demand(waiting: int) -> DemandView:
    return DemandView(
        queue_depth=waiting,
        in_flight=0,
        links=0,
        capacity=0,
        oldest_wait_s=0.0,
        arrival_rate_per_s=0.0,
        mean_duration_s=0.0,
        model_a_s=0.0,
        model_b_s=0.0,
        idle_since_s=None if waiting else 0.0,
    )


_DEMANDS: Final = (_demand(0), _demand(1))
