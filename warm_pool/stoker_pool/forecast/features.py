"""The estimates of a function's next call, side by side, over a grid of idle ages.

Each estimate is a hazard (calls per second given none so far); the network of ``hazard_net`` weighs them. The rule that
must not break: every number is finite, whatever the history.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

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
_NEAR: Final = ((0, 70, 5), (70, 130, 10), (130, 190, 15), (190, 600, 30), (600, 1.5 * _HOUR, 60))
SHORT_GRID: Final[Floats] = np.concatenate(
    [_steps(*_NEAR, (1.5 * _HOUR, 3 * _HOUR, 180), (3 * _HOUR, 8 * _HOUR, 900)), _HOUR * 8 * 1.25 ** np.arange(20)]
)
LONG_GRID: Final[Floats] = _steps(
    *_NEAR,
    (1.5 * _HOUR, 4 * _HOUR, 120),
    (4 * _HOUR, 12 * _HOUR, 300),
    (12 * _HOUR, 48 * _HOUR, 1200),
    (48 * _HOUR, 8.1 * 24 * _HOUR, 2 * _HOUR),
)
_LONG_FROM_S: Final = 1.5 * _HOUR
_BIN_EDGES: Final[Floats] = np.arange(HISTOGRAM_BINS + 1, dtype=np.float64)
_CANDIDATES: Final = 8
_SLOW: Final = _fading(0.97)
_FAST: Final = _fading(0.75)
_CONTEXT: Final = _fading(0.93)
NAMES: Final = (
    "pooled",
    "slow_fine", "slow_mid", "slow_wide",
    "fast_fine", "fast_mid",
    "context_fine", "context_mid",
    "slow_alive", "fast_alive",
    "age", "gaps_seen",
    "rate_10m", "rate_1h", "rate_8h", "rate_2d", "rate_life",
    "minute", "hours_seen", "day", "days_seen", "week",
    "phase", "regularity",
    "share_10m", "share_1h", "share_8h", "load_rise", "load_rise_day",
    "session", "session_bursts", "last_gap", "last_but_one",
    "long_fine", "long_wide", "long_alive",
    "long_octave", "long_left", "beyond_longest",
)  # fmt: skip
WIDTH: Final = len(NAMES)


def ages(history: FunctionHistory) -> Floats:
    """Edges of the cells: a fixed grid, cut finer where a gap of the past says that a call is due."""
    gaps = history.gaps
    grid = LONG_GRID if len(gaps) == 0 or float(gaps.max()) > _LONG_FROM_S or len(gaps) < 4 else SHORT_GRID
    if len(gaps) == 0:
        return grid
    last = gaps[-_CANDIDATES:]
    reach = np.maximum(0.01 * last, 2.0)
    middle = float(np.median(last))
    twice = np.array([2 * middle - 0.01 * middle - 2, 2 * middle + 0.01 * middle + 2])
    edges = np.concatenate([grid, np.maximum(last - reach, 0.0), last + reach, twice])
    edges.sort()
    return edges


def features(history: FunctionHistory, pooled: PooledHazard, edges: Floats) -> Floats:
    """One row of ``NAMES`` per cell between two edges."""
    at = 0.5 * (edges[:-1] + edges[1:])
    out = np.empty((WIDTH, len(at)))
    gaps = history.gaps
    count = len(gaps)
    prior = pooled.hazard(history.bursts, at)
    out[0] = np.log(prior)
    out[10] = np.log(at + 1.0)
    _gap_features(out, gaps, at, prior)
    out[11] = math.log1p(history.bursts)
    _histogram_features(out, history, at, prior)
    _rate_features(out, history, at)
    _clock_features(out, history, at)
    if count:
        middle = float(np.median(gaps[-16:]))
        turns = np.maximum(np.rint(at / middle), 1.0)
        out[22] = np.log(np.minimum(np.abs(at - turns * middle) / (0.02 * middle + 2.0), 20.0) + 0.2)
        spread = np.abs(gaps[-16:] - middle) < 0.03 * middle + 2.0
        out[23] = math.log((float(spread.sum()) + 0.3) / (min(count, 16) + 2.0))
    else:
        out[22] = 3.0
        out[23] = math.log(0.15)
    _load_features(out, history, pooled)
    session_s = history.last_s - history.session_s
    out[29] = math.log(session_s + 15.0)
    out[30] = math.log1p(history.session_bursts)
    out[31] = math.log(float(gaps[-1]) if count else 1e5)
    out[32] = math.log(float(gaps[-2]) if count > 1 else 1e5)
    return out.T


def _gap_features(out: Floats, gaps: Floats, at: Floats, prior: Floats) -> None:
    count = len(gaps)
    log_prior = out[0]
    if count == 0:
        out[1:8] = log_prior
        out[8:10] = 0.0
        return
    order = np.argsort(gaps)
    ordered = gaps[order]
    fine = np.maximum(0.01 * at, 2.0)
    mid = np.maximum(0.05 * at, 20.0)
    wide = np.maximum(0.3 * at, 60.0)
    bounds = np.concatenate([at - fine, at + fine, at - mid, at + mid, at - wide, at + wide, at])
    where = np.searchsorted(ordered, bounds).reshape(7, len(at))
    context = _CONTEXT[-count:].copy()
    context[0] *= 0.1
    if count > 1:
        context[1:] *= np.exp(-np.minimum(np.abs(np.log(gaps[:-1] / gaps[-1])) * 4.0, 5.0))
    row = 1
    for weights, kernels in ((_SLOW[-count:], 3), (_FAST[-count:], 2), (context, 2)):
        below = np.empty(count + 1)
        below[0] = 0.0
        np.cumsum(weights[order], out=below[1:])
        mass = below[where]
        total = below[-1]
        for kernel, width in enumerate((fine, mid, wide)[:kernels]):
            low = mass[2 * kernel]
            span = width + np.minimum(width, at)
            own = (mass[2 * kernel + 1] - low + 0.3 * np.minimum(prior * span, 1.0)) / ((total - low + 0.3) * span)
            out[row] = np.log(own)
            row += 1
        if weights is not context:
            alive = (total - mass[6] + 0.1) / (total + 0.1)
            out[8 if kernels == 3 else 9] = np.log(alive)


def _histogram_features(out: Floats, history: FunctionHistory, at: Floats, prior: Floats) -> None:
    below = np.empty(HISTOGRAM_BINS + 1)
    below[0] = 0.0
    np.cumsum(history.histogram, out=below[1:])
    total = below[-1]
    place = HISTOGRAM_PER_OCTAVE * np.log2(np.maximum(at, 1.0) / BURST_S)
    for row, half in ((33, 0.5), (34, 2.5), (36, 8.0)):
        bounds = np.interp(np.concatenate([place - half, place + half]), _BIN_EDGES, below).reshape(2, len(at))
        span = at * (2.0 ** (half / HISTOGRAM_PER_OCTAVE) - 2.0 ** (-half / HISTOGRAM_PER_OCTAVE))
        mass = bounds[1] - bounds[0]
        out[row] = np.log((mass + 0.5 * np.minimum(prior * span, 1.0)) / ((total - bounds[0] + 0.5) * span))
    left = total - np.interp(place, _BIN_EDGES, below)
    out[35] = np.log((left + 0.1) / (total + 0.1))
    out[37] = np.log(left + 0.1)
    out[38] = out[10] - math.log(history.longest_s)


def _load_features(out: Floats, history: FunctionHistory, pooled: PooledHazard) -> None:
    """What the function's share of the platform's calls comes to at the platform's present load."""
    loads = [math.log(load) for load in pooled.loads(history.last_s)]
    now = loads[1]
    for row, (rate, load) in enumerate(zip(history.rates[:3], loads[:3], strict=True)):
        out[24 + row] = math.log(rate + 1e-7) - load + now
    out[27] = now - loads[2]
    out[28] = now - loads[3]


def _rate_features(out: Floats, history: FunctionHistory, at: Floats) -> None:
    seen_s = max(history.last_s - history.first_s, 60.0)
    for index, rate in enumerate(history.rates):
        out[12 + index] = math.log(rate + 1e-7)
    out[16] = np.log((history.bursts + 0.5) / (seen_s + at + 60.0))


def _clock_features(out: Floats, history: FunctionHistory, at: Floats) -> None:
    hours, days, weeks = history.spans(history.last_s)
    life = out[16]
    minutes = ((history.last_s + at) // 60.0).astype(np.int64)
    mean = np.minimum(np.exp(life) * 60.0, 1.0)
    out[17] = np.log((history.minute.astype(np.float64)[minutes % MINUTES] + mean) / ((hours + 1.0) * 60.0))
    out[18] = math.log(hours + 0.2)
    slots = minutes // 10
    out[19] = np.log(
        (history.day.astype(np.float64)[slots % DAY_SLOTS] + np.minimum(mean * 10.0, 1.0)) / ((days + 1.0) * 600.0)
    )
    out[20] = math.log(days + 0.1)
    out[21] = np.log(
        (history.week.astype(np.float64)[slots // 6 % WEEK_SLOTS] + np.minimum(mean * 60.0, 1.0))
        / ((weeks + 1.0) * 3600.0)
    )
