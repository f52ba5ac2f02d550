"""The estimates of a function's next call, side by side, over a grid of idle ages.

Each estimate is a hazard (calls per second given none so far); the network of ``hazard_net`` weighs them. The rule that
must not break: every number is finite, whatever the history.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker_pool.forecast.history import (
    BURST_S,
    DAY_SLOTS,
    HISTOGRAM_BINS,
    HISTOGRAM_PER_OCTAVE,
    MINUTES,
    REMEMBERED,
    WEEK_SLOTS,
    Floats,
    FunctionHistory,
)
from stoker_pool.forecast.pooled import PooledHazard


def _steps(*parts: tuple[float, float, float]) -> Floats:
    return np.concatenate([np.arange(start, end, step) for start, end, step in parts])


def _fading(kept: float) -> Floats:
    return np.array([kept**age for age in range(REMEMBERED)][::-1], np.float64)


_HOUR: Final = 3600.0
_NEAR: Final = ((0, 70, 5), (70, 130, 10), (130, 190, 15), (190, 600, 30))
QUICK_GRID: Final[Floats] = np.concatenate([_steps(*_NEAR, (600, 2400, 90)), 2400 * 1.2 ** np.arange(32)])
SHORT_GRID: Final[Floats] = np.concatenate(
    [_steps(*_NEAR, (600, 1.5 * _HOUR, 75), (1.5 * _HOUR, 3 * _HOUR, 240)), 3 * _HOUR * 1.2 ** np.arange(24)]
)
LONG_GRID: Final[Floats] = _steps(
    *_NEAR,
    (600, 1.5 * _HOUR, 120),
    (1.5 * _HOUR, 4 * _HOUR, 300),
    (4 * _HOUR, 12 * _HOUR, 900),
    (12 * _HOUR, 48 * _HOUR, 1.5 * _HOUR),
    (48 * _HOUR, 8.25 * 24 * _HOUR, 6 * _HOUR),
)
_SHORT_FROM_S: Final = 1200.0
_LONG_FROM_S: Final = 1.5 * _HOUR
_BIN_EDGES: Final[Floats] = np.arange(HISTOGRAM_BINS + 1, dtype=np.float64)
_KERNEL_SHARES: Final = np.array([[0.01], [0.05], [0.3]])
_KERNEL_LEAST_S: Final = np.array([[2.0], [20.0], [60.0]])
"""Half the width of each kernel: a share of the age, and at least so many seconds."""
_LONG_HALVES: Final = np.array([[0.5], [2.5], [8.0]])
_LONG_SHIFTS: Final = np.concatenate([-_LONG_HALVES, _LONG_HALVES, [[0.0]]])
_LONG_SPANS: Final = 2.0 ** (_LONG_HALVES / HISTOGRAM_PER_OCTAVE) - 2.0 ** (-_LONG_HALVES / HISTOGRAM_PER_OCTAVE)
_CLOCK_SPANS: Final = np.array([[60.0], [600.0], [3600.0]])
_NO_GAP: Final = math.log(1e5)
_CANDIDATES: Final = 8
_WEIGHTS: Final[Floats] = np.stack([_fading(0.97), _fading(0.75), _fading(0.93)])
"""Of the last gaps: slowly and quickly fading, and those after a gap like the last."""
VARYING: Final = (
    "pooled",
    "slow_fine", "slow_mid", "slow_wide", "fast_fine", "fast_mid", "context_fine", "context_mid",
    "slow_alive", "fast_alive",
    "long_fine", "long_wide", "long_octave", "long_alive", "long_left",
    "rate_life", "minute", "day", "week",
    "phase", "age", "beyond_longest",
)  # fmt: skip
"""By cell; the logarithm of each."""
CONSTANT: Final = (
    "gaps_seen", "rate_10m", "rate_1h", "rate_8h", "rate_2d", "hours_seen", "days_seen", "regularity",
    "share_10m", "share_1h", "share_8h", "load_rise", "load_rise_day",
    "session", "session_bursts", "last_gap", "last_but_one",
)  # fmt: skip
"""The same in all cells."""
NAMES: Final = VARYING + CONSTANT


@dataclass(frozen=True, slots=True)
class Estimates:
    """``varying[k]`` by cell in the order of ``VARYING``, ``constant`` in that of ``CONSTANT``."""

    varying: NDArray[np.float32]
    constant: NDArray[np.float32]


def ages(history: FunctionHistory) -> Floats:
    """Edges of the cells: a fixed grid, cut finer where a gap of the past says that a call is due."""
    gaps = history.gaps
    if len(gaps) < 4 or history.longest_s > _LONG_FROM_S:
        grid = LONG_GRID
    else:
        grid = SHORT_GRID if history.longest_s > _SHORT_FROM_S else QUICK_GRID
    if len(gaps) == 0:
        return grid
    last = gaps[-_CANDIDATES:]
    reach = np.maximum(0.01 * last, 2.0)
    middle = _median(last)
    twice = np.array([2 * middle - 0.01 * middle - 2, 2 * middle + 0.01 * middle + 2])
    edges = np.concatenate([grid, np.maximum(last - reach, 0.0), last + reach, twice])
    edges.sort()
    return edges


def features(history: FunctionHistory, pooled: PooledHazard, edges: Floats) -> Estimates:
    """The estimates in each cell between two edges."""
    at = 0.5 * (edges[:-1] + edges[1:])
    out = np.empty((len(VARYING), len(at)), np.float32)
    gaps = history.gaps
    prior = pooled.hazard(history.bursts, at)
    out[0] = prior
    middle = _median(gaps[-16:]) if len(gaps) else 0.0
    _gap_estimates(out[1:10], gaps, at, prior)
    _long_estimates(out[10:15], history, at, prior)
    _clock_estimates(out[15:19], history, at)
    if len(gaps):
        turns = np.maximum(np.rint(at / middle), 1.0)
        out[19] = np.minimum(np.abs(at - turns * middle) / (0.02 * middle + 2.0), 20.0) + 0.2
    else:
        out[19] = 20.0
    out[20] = at + 1.0
    out[21] = out[20] / history.longest_s
    np.log(out, out=out)
    return Estimates(out, np.array(_constants(history, pooled, gaps, middle), np.float32))


def _gap_estimates(out: NDArray[np.float32], gaps: Floats, at: Floats, prior: Floats) -> None:
    """Hazards from the last gaps one by one: how many ended near the age, of those that reached it."""
    count = len(gaps)
    if count == 0:
        out[:7] = prior
        out[7:] = 1.0
        return
    order = np.argsort(gaps)
    widths = np.maximum(at * _KERNEL_SHARES, _KERNEL_LEAST_S)
    spans = widths + np.minimum(widths, at)
    where = np.searchsorted(gaps[order], np.concatenate([at - widths, at + widths, at[None]]))
    weights = _WEIGHTS[:, -count:].copy()
    weights[2, 0] *= 0.1
    if count > 1:
        weights[2, 1:] *= np.exp(-np.minimum(np.abs(np.log(gaps[:-1] / gaps[-1])) * 4.0, 5.0))
    below = np.zeros((3, count + 1))
    np.cumsum(weights[:, order], axis=1, out=below[:, 1:])
    mass = below.take(where, axis=1)  # of each weighing: what ended before each bound
    total = below[:, -1:, None]
    low = mass[:, :3]
    near = mass[:, 3:6] - low
    near += 0.3 * np.minimum(prior * spans, 1.0)
    near /= (total + 0.3 - low) * spans
    out[:3], out[3:5], out[5:7] = near[0], near[1, :2], near[2, :2]
    out[7:9] = (total[:2, 0] + 0.1 - mass[:2, 6]) / (total[:2, 0] + 0.1)


def _long_estimates(out: NDArray[np.float32], history: FunctionHistory, at: Floats, prior: Floats) -> None:
    """Hazards from the long histogram, through kernels of half a bin, a third of an octave and an octave."""
    below = np.empty(HISTOGRAM_BINS + 1)
    below[0] = 0.0
    np.cumsum(history.histogram.astype(np.float64), out=below[1:])
    total = below[-1]
    place = HISTOGRAM_PER_OCTAVE * np.log2(np.maximum(at, 1.0) * (1.0 / BURST_S))
    bounds = np.interp(place + _LONG_SHIFTS, _BIN_EDGES, below)
    spans = at * _LONG_SPANS
    low = bounds[:3]
    out[:3] = (bounds[3:6] - low + 0.5 * np.minimum(prior * spans, 1.0)) / ((total + 0.5 - low) * spans)
    left = total + 0.1 - bounds[6]
    out[3] = left / (total + 0.1)
    out[4] = left


def _clock_estimates(out: NDArray[np.float32], history: FunctionHistory, at: Floats) -> None:
    """Calls per second over its life, in this minute of the hour, this part of day, this hour of week."""
    hours, days, weeks = history.spans(history.last_s)
    seen_s = max(history.last_s - history.first_s, 60.0)
    life = (history.bursts + 0.5) / (seen_s + 60.0 + at)
    out[0] = life
    minutes = ((history.last_s + at) * (1.0 / 60.0)).astype(np.int64)
    slots = minutes // 10
    hits = np.minimum(life * _CLOCK_SPANS, 1.0)
    hits[0] += history.minute[minutes % MINUTES]
    hits[1] += history.day[slots % DAY_SLOTS]
    hits[2] += history.week[slots // 6 % WEEK_SLOTS]
    out[1:] = hits / (np.array([[hours + 1.0], [days + 1.0], [weeks + 1.0]]) * _CLOCK_SPANS)


def _constants(history: FunctionHistory, pooled: PooledHazard, gaps: Floats, middle: float) -> list[float]:
    hours, days, _ = history.spans(history.last_s)
    rates = [math.log(rate + 1e-7) for rate in history.rates]
    loads = [math.log(load) for load in pooled.loads(history.last_s)]
    if len(gaps):
        last = gaps[-16:]
        near = int(np.count_nonzero(np.abs(last - middle) < 0.03 * middle + 2.0))
        regularity = math.log((near + 0.3) / (len(last) + 2.0))
    else:
        regularity = math.log(0.15)
    return [
        math.log1p(history.bursts),
        *rates,
        math.log(hours + 0.2),
        math.log(days + 0.1),
        regularity,
        # what the function's share of the platform's calls comes to at the platform's present load
        rates[0] - loads[0] + loads[1],
        rates[1],
        rates[2] - loads[2] + loads[1],
        loads[1] - loads[2],
        loads[1] - loads[3],
        math.log(history.last_s - history.session_s + 15.0),
        math.log1p(history.session_bursts),
        math.log(gaps[-1]) if len(gaps) else _NO_GAP,
        math.log(gaps[-2]) if len(gaps) > 1 else _NO_GAP,
    ]


def _median(values: Floats) -> float:
    ordered = sorted(values.tolist())
    half = len(ordered) // 2
    return float(ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half]))
