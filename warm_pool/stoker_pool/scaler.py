"""How many replicas a revision should have.

The rules that must not break: no traffic never raises the number (but ``min_replicas`` may, and a window raises it to
one); the answer lies between ``min_replicas`` and ``max_replicas``; from zero there is no delay; a replica is not
started for a queue that will be gone before it is ready; the number goes down only after the lower need has lasted; and
what a window started stays for longer than its start took. Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from stoker.options import FunctionOptions, Scaling
from stoker_pool.forecast.policy import Windows
from stoker_pool.forecast.windows import warmth_at
from stoker_runtime.demand import DemandView

_UTILISATION: Final = 0.8
"""Share of its time that a replica may be busy before another one pays."""
_PATIENCE_S: Final = 0.1
"""Waiting that is accepted on top of the time a start takes."""
_LEAST_LOOK_S: Final = 0.02
_MOST_LOOK_S: Final = 1.0
_LEAD: Final = 1.1
_LEAST_LEAD_S: Final = 0.1
"""A start for a window begins so much earlier than its usual time asks for: half of all starts take longer."""
_WINDOWS_LAST_S: Final = 900.0
"""A forecast is asked again after so long, though nothing happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the options and the run-time override say, for one revision."""

    min_replicas: int
    max_replicas: int
    buffer_replicas: int
    keep_alive_s: float
    """Seconds after the last call in which what is there stays; windows may say more."""
    calls_each: float
    """Calls that one replica carries at once."""
    is_target_explicit: bool
    is_batched: bool
    is_forecast: bool = False
    """Windows come from a forecast, which is worth asking again."""

    def damping_s(self, window_s: float) -> float:
        """How long a lower need must last before the number goes down."""
        return window_s if self.is_forecast else min(window_s, self.keep_alive_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerView:
    """What the scaler knows at one instant."""

    demand: DemandView
    ready: int
    starting: int
    load_s: float
    """How long a start takes, as learned."""
    idle_s: float | None
    """None while any call is queued or in flight."""
    ready_for_s: float = 0.0
    """Since when some replica has been ready; what waited before that waited for the start."""
    warm_up: int = 0
    """Replicas that someone asked to have ready, whatever the traffic."""
    windows: Windows = ()
    """When one must be ready though nobody calls; read while idle only, so it may be empty while there are calls."""
    now_unix_s: float = 0.0
    """The instant of the view in the time of ``windows``."""
    least_away_s: float = 0.0
    """Windows that lie no further apart are one: a start is work, beside the time that it takes."""

    @property
    def lead_s(self) -> float:
        """How long before a window its start begins."""
        return max(self.load_s * _LEAD, _LEAST_LEAD_S)


@dataclass(frozen=True, slots=True)
class Peaks:
    """Recent needs, newest last: each later one is smaller, so the first is the highest of the window."""

    points: tuple[tuple[float, int], ...] = ()
    held_until_s: float = -math.inf
    """What a window started stays until then."""
    rest_until_s: float = -math.inf
    """No window starts anything before: something was let go just now."""

    def noting(self, needed: int, now_s: float, window_s: float) -> Peaks:
        kept = tuple(point for point in self.points if point[1] > needed and now_s - point[0] < window_s)
        return replace(self, points=(*kept, (now_s, needed)))

    @property
    def highest(self) -> int:
        return self.points[0][1] if self.points else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and when to look again if nothing happens before."""

    desired: int
    peaks: Peaks
    look_again_s: float | None


def limits_of(
    options: FunctionOptions,
    scaling: Scaling,
    keep_alive_s: float,
    *,
    is_retired: bool = False,
    is_forecast: bool = False,
) -> Limits:
    """The limits in force; a retired revision serves what it has and keeps nothing warm."""
    per_replica = options.batch.max_batch_size if options.batch is not None else options.concurrency
    return Limits(
        min_replicas=0 if is_retired else scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        buffer_replicas=0 if is_retired else scaling.buffer_replicas,
        keep_alive_s=0.0 if is_retired else keep_alive_s,
        calls_each=scaling.target_concurrency or float(per_replica),
        is_target_explicit=scaling.target_concurrency is not None and not is_retired,
        is_batched=options.batch is not None,
        is_forecast=is_forecast and not is_retired,
    )


def decide(view: ScalerView, limits: Limits, peaks: Peaks, window_s: float, now_s: float) -> Decision:
    """One step: the number of replicas to have now.

    ``window_s`` is how long a lower need must last before the number goes down.
    """
    current = view.ready + view.starting
    asked = max(limits.min_replicas, min(view.warm_up, limits.max_replicas))
    if view.idle_s is not None:
        return _when_idle(view, limits, peaks, window_s, now_s, asked)
    needed = needed_replicas(view, limits)
    if view.demand.queue_depth or current:
        needed = max(needed, 1)
    if view.ready == 0 and not limits.is_target_explicit:
        needed = min(needed, max(current, 1))  # one start, however many wait
    buffer = limits.buffer_replicas if view.ready else 0
    desired = min(max(needed + buffer, asked), limits.max_replicas)
    peaks = peaks.noting(desired, now_s, limits.damping_s(window_s))
    if desired < current:
        desired = min(max(desired, peaks.highest), current, limits.max_replicas)
    return Decision(
        desired=desired, peaks=peaks, look_again_s=_look_when_busy(view, limits, peaks, desired, now_s, window_s)
    )


def needed_replicas(view: ScalerView, limits: Limits) -> int:
    """Replicas that the calls of this instant pay for, were there no limits."""
    demand = view.demand
    calls = demand.queue_depth + demand.in_flight
    most_used = math.ceil(calls / limits.calls_each)
    if limits.is_target_explicit:
        return most_used
    current = view.ready + view.starting
    busy = min(math.ceil(demand.in_flight / limits.calls_each), current)
    if demand.queue_depth == 0:
        return busy
    lasted_s = min(demand.oldest_wait_s, view.ready_for_s)
    # work that waits, in seconds of one replica; before the first execution ended, it lasts at least as long as we saw
    duration_s = _execution_s(demand, limits) or lasted_s
    waiting_s = demand.queue_depth / limits.calls_each * duration_s
    ready_in_s = view.load_s + _PATIENCE_S
    for_queue = math.ceil(waiting_s / ready_in_s) if duration_s else current
    if waiting_s <= ready_in_s * max(current, 1):
        for_queue = min(for_queue, current)  # gone before another one would be ready
    for_rate = 0
    if lasted_s > ready_in_s / 2:
        # the queue has lasted: what keeps arriving must be carried too
        for_rate = math.ceil(demand.arrival_rate_per_s * duration_s / limits.calls_each / _UTILISATION)
    return min(max(for_queue, for_rate, busy, 1), most_used)


def _execution_s(demand: DemandView, limits: Limits) -> float:
    """Duration of one full execution of a replica."""
    if not limits.is_batched:
        return demand.mean_duration_s
    return demand.model_a_s + demand.model_b_s * limits.calls_each


def _when_idle(view: ScalerView, limits: Limits, peaks: Peaks, window_s: float, now_s: float, asked: int) -> Decision:
    assert view.idle_s is not None
    current = view.ready + view.starting
    warmth = warmth_at(view.windows, view.now_unix_s, view.lead_s, view.least_away_s, is_loaded=current > 0)
    left_s = max(limits.keep_alive_s - view.idle_s, warmth.left_s, peaks.held_until_s - now_s)
    if left_s <= 0:
        rest_until_s = now_s + view.load_s if current > asked else peaks.rest_until_s
        look_again_s = _capped(view, limits, warmth.comes_in_s if asked == 0 else None)
        return Decision(desired=asked, peaks=Peaks(rest_until_s=rest_until_s), look_again_s=look_again_s)
    floor = max(asked, min(current, 1 + limits.buffer_replicas))
    if floor == 0 and warmth.left_s > 0 and now_s >= peaks.rest_until_s:
        floor = 1
        peaks = replace(peaks, held_until_s=now_s + 2 * view.lead_s)
    peaks = peaks.noting(floor, now_s, limits.damping_s(window_s))
    desired = max(asked, floor, min(current, peaks.highest))
    waits = [left_s] if max(current, floor) > asked else []
    if warmth.left_s > 0 and floor == 0:
        waits.append(max(peaks.rest_until_s - now_s, _LEAST_LOOK_S))
    elif warmth.comes_in_s is not None and asked == 0:
        waits.append(warmth.comes_in_s)
    if desired > floor:
        waits.append(_until_peak_leaves(peaks, now_s, window_s))
    look_again_s = _capped(view, limits, min(waits, default=None))
    return Decision(desired=min(desired, limits.max_replicas), peaks=peaks, look_again_s=look_again_s)


def _capped(view: ScalerView, limits: Limits, look_again_s: float | None) -> float | None:
    # windows may change by themselves, and so may the wall clock that they are told in
    most_s = _WINDOWS_LAST_S if limits.is_forecast or (view.windows and look_again_s is not None) else math.inf
    wait_s = min(math.inf if look_again_s is None else look_again_s, most_s)
    return max(wait_s, _LEAST_LOOK_S) if wait_s < math.inf else None


def _look_when_busy(
    view: ScalerView, limits: Limits, peaks: Peaks, desired: int, now_s: float, window_s: float
) -> float | None:
    # with no keep-alive, becoming idle is an event of its own
    waits: list[float] = [max(limits.keep_alive_s, _LEAST_LOOK_S) if limits.keep_alive_s > 0 else _MOST_LOOK_S]
    if view.demand.queue_depth and desired < limits.max_replicas and view.ready:
        waits.append(min(max(view.load_s / 2, _LEAST_LOOK_S), _MOST_LOOK_S))
    if len(peaks.points) > 1:
        waits.append(_until_peak_leaves(peaks, now_s, window_s))
    elif desired > max(limits.min_replicas, 1):
        waits.append(max(window_s, _MOST_LOOK_S))
    return min(waits)


def _until_peak_leaves(peaks: Peaks, now_s: float, window_s: float) -> float:
    return max(peaks.points[0][0] + window_s - now_s, _LEAST_LOOK_S) if peaks.points else window_s
