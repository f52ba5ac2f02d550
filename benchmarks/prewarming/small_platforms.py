"""Platforms of one to three functions, drawn: timers, steady callers, sessions, office hours.

The public traces are of platforms with many functions. A network fitted to them alone knows nothing of a platform with
one timer on it, where loads, shares and what functions have in common all look different.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker_pool.simulation.trace import DAY_S, MONDAY_S, Trace

COUNT: Final = 160
_MOST_CALLS: Final = 250
_LONGEST_S: Final = 28 * DAY_S
_PERIODS_S: Final = (60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)
_MEANS_S: Final = (60.0, 300.0, 900.0, 3600.0, 14400.0)

Times = NDArray[np.float64]


def small_platforms(seed: int = 1) -> list[Trace]:
    """``COUNT`` of them, the same for a seed."""
    random = np.random.default_rng(seed)
    return [_platform(random, place) for place in range(COUNT)]


def _platform(random: np.random.Generator, place: int) -> Trace:
    kinds: tuple[Callable[[np.random.Generator], Times], ...] = (_timer, _timer, _steady, _sessions, _office_hours)
    begin_s = MONDAY_S + random.uniform(0, 7 * DAY_S)
    calls = [kinds[(place + each) % len(kinds)](random) for each in range(1 + place % 3)]
    end_s = min(max(float(times[-1]) for times in calls), _LONGEST_S)
    times = np.concatenate(calls)
    owners = np.concatenate([np.full(len(part), owner) for owner, part in enumerate(calls)])
    order = np.argsort(times, kind="stable")
    order = order[times[order] <= end_s]
    return Trace(
        functions=tuple(f"drawn/{place}-{owner}" for owner in range(len(calls))),
        times_s=(begin_s + times[order]).tolist(),
        owners=owners[order].tolist(),
        counts=[1] * len(order),
        durations_s=[0.0] * len(order),
        start_s=begin_s,
        end_s=begin_s + end_s,
    )


def _timer(random: np.random.Generator) -> Times:
    """By the clock, each time a little late, now and then left out."""
    period_s = float(random.choice(_PERIODS_S))
    late_s = random.exponential(random.choice([0.05, 0.5, 3.0]), _MOST_CALLS)
    times = np.arange(1, _MOST_CALLS + 1) * period_s + np.minimum(late_s, 0.4 * period_s)
    kept: Times = times[random.random(_MOST_CALLS) >= random.choice([0.0, 0.0, 0.05])]
    return kept


def _steady(random: np.random.Generator) -> Times:
    """At random, at one rate."""
    return np.cumsum(random.exponential(float(random.choice(_MEANS_S)), _MOST_CALLS))


def _sessions(random: np.random.Generator) -> Times:
    """Some calls close together, then long nothing."""
    pause_s = float(random.choice(_MEANS_S[2:]))
    is_pause = random.random(_MOST_CALLS) < random.uniform(0.05, 0.4)
    gaps = np.where(is_pause, random.exponential(pause_s, _MOST_CALLS), random.exponential(20.0, _MOST_CALLS))
    return np.cumsum(gaps + 1.0)


def _office_hours(random: np.random.Generator) -> Times:
    """At random from 9 to 17, hardly ever else."""
    times = np.cumsum(random.exponential(float(random.choice(_MEANS_S[1:4])) / 3.0, 6 * _MOST_CALLS))
    is_open = (times % DAY_S > 9 * 3600.0) & (times % DAY_S < 17 * 3600.0)
    kept: Times = times[is_open | (random.random(len(times)) < 0.02)][:_MOST_CALLS]
    return kept if len(kept) else times[:1]
