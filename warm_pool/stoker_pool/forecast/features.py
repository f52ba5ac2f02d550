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
    HISTOGRAM_PER_OCTAVE,
    MINUTES,
    REMEMBERED,
    WEEK_SLOTS,
    Floats,
    FunctionHistory,
)
from stoker_pool.forecast.pooled import PooledHazard

Singles = NDArray[np.float32]


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
_KERNEL_SHARES: Final = np.array([[0.01], [0.05], [0.3]], np.float32)
_KERNEL_LEAST_S: Final = np.array([[2.0], [20.0], [60.0]], np.float32)
"""Half the width of each kernel: a share of the age, and at least so many seconds."""
_LONG_HALVES: Final = np.array([[0.5], [2.5], [8.0]])
_LONG_SHIFTS: Final = np.concatenate([-_LONG_HALVES, _LONG_HALVES, [[0.0]]])
_LONG_SPANS: Final[Singles] = (
    2.0 ** (_LONG_HALVES / HISTOGRAM_PER_OCTAVE) - 2.0 ** (-_LONG_HALVES / HISTOGRAM_PER_OCTAVE)
).astype(np.float32)
_LONG_BEFORE: Final = np.zeros(41, np.float32)
_LONG_AFTER: Final = np.zeros(180, np.float32)
"""Empty bins around those that are kept: they reach from an age of one second to any that there may be."""
_BINS_PER_LOG: Final = HISTOGRAM_PER_OCTAVE / math.log(2.0)
_LONG_PLACES: Final[Singles] = (_LONG_SHIFTS + len(_LONG_BEFORE) - 1 - _BINS_PER_LOG * math.log(BURST_S)).astype(
    np.float32
)
_CLOCK_SPANS: Final = np.array([[60.0], [600.0], [3600.0]])
_WEEK_MINUTES: Final = 60 * WEEK_SLOTS
_WEEK: Final = np.arange(_WEEK_MINUTES)
_CLOCK_SLOTS: Final = np.stack(
    [_WEEK % MINUTES, MINUTES + _WEEK // 10 % DAY_SLOTS, MINUTES + DAY_SLOTS + _WEEK // 60 % WEEK_SLOTS]
)
"""Where each minute of a week is counted in ``FunctionHistory.clocks``."""
_NO_GAP: Final = math.log(1e5)
_CANDIDATES: Final = 8
_MIDDLE_OF: Final = 16
"""Gaps that the usual one is the median of."""
_OWN_GAP: Final = np.float32(0.3)
_OPEN_GAP: Final = np.float32(0.1)
_WEIGHTS: Final[Singles] = np.stack([_fading(0.97), _fading(0.75), _fading(0.93)]).astype(np.float32)
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
    last = history.last_gaps(_CANDIDATES)
    if len(last) < 4 or history.longest_s > _LONG_FROM_S:
        grid = LONG_GRID
    else:
        grid = SHORT_GRID if history.longest_s > _SHORT_FROM_S else QUICK_GRID
    if not last:
        return grid
    cuts: list[float] = []
    for gap_s in last:
        reach_s = max(0.01 * gap_s, 2.0)
        cuts += (max(gap_s - reach_s, 0.0), gap_s + reach_s)
    middle_s = _median(last)
    cuts += (1.99 * middle_s - 2.0, 2.01 * middle_s + 2.0)
    edges = np.concatenate((grid, cuts))
    edges.sort()
    return edges


def features(history: FunctionHistory, pooled: PooledHazard, edges: Floats) -> Estimates:
    """The estimates in each cell between two edges."""
    at = edges[1:] + edges[:-1]
    at *= 0.5
    out = np.empty((len(VARYING), len(at)), np.float32)
    last = history.last_gaps(_MIDDLE_OF)
    at_cell = at.astype(np.float32)
    prior = pooled.hazard(history.bursts, at).astype(np.float32)
    out[0] = prior
    _gap_estimates(out[1:10], history.recent, at_cell, prior)
    _long_estimates(out[10:15], history, at_cell, prior)
    _clock_estimates(out[15:19], history, at)
    middle_s = _median(last) if last else 0.0
    if last:
        _phase(out[19], at_cell, middle_s)
    else:
        out[19] = 20.0
    np.add(at_cell, 1.0, out=out[20])
    np.divide(out[20], history.longest_s, out=out[21])
    np.log(out, out=out)
    return Estimates(out, np.array(_constants(history, pooled, last, middle_s), np.float32))


def _phase(out: Singles, at: Singles, middle_s: float) -> None:
    """How far the age lies from the next multiple of the usual gap, in widths of a window around it."""
    np.multiply(at, 1.0 / middle_s, out=out)
    np.rint(out, out=out)
    np.maximum(out, 1.0, out=out)
    out *= middle_s
    out -= at
    np.abs(out, out=out)
    out *= 1.0 / (0.02 * middle_s + 2.0)
    np.minimum(out, 20.0, out=out)
    out += 0.2


def _gap_estimates(out: Singles, gaps: Singles, at: Singles, prior: Singles) -> None:
    """Hazards from the last gaps one by one: how many ended near the age, of those that reached it."""
    count = len(gaps)
    if count == 0:
        out[:7] = prior
        out[7:] = 1.0
        return
    order = gaps.argsort()
    bounds = np.empty((7, len(at)), np.float32)
    widths = at * _KERNEL_SHARES
    np.maximum(widths, _KERNEL_LEAST_S, out=widths)
    np.subtract(at, widths, out=bounds[:3])
    np.add(at, widths, out=bounds[3:6])
    bounds[6] = at
    where = gaps.take(order).searchsorted(bounds)
    spans = np.maximum(bounds[:3], 0.0, out=widths)
    np.subtract(bounds[3:6], spans, out=spans)
    below = np.zeros((3, count + 1), np.float32)
    np.add.accumulate(_weights(gaps).take(order, axis=1), axis=1, out=below[:, 1:])
    mass = below.take(where, axis=1)  # of each weighing: what ended before each bound
    left, near = mass[:, :3], mass[:, 3:6]
    near -= left
    near += _seen_before(prior, spans, 0.3)
    np.subtract(below[:, -1:, None] + _OWN_GAP, left, out=left)
    left *= spans
    np.divide(near[0], left[0], out=out[:3])
    np.divide(near[1:, :2], left[1:, :2], out=out[3:7].reshape(2, 2, -1))
    total = below[:2, -1:] + _OPEN_GAP
    np.subtract(total, mass[:2, 6], out=out[7:9])
    out[7:9] /= total


def _weights(gaps: Singles) -> Singles:
    """Of each gap, in each of the weighings; in the last by how much the gap before it is like the last one."""
    weights = _WEIGHTS[:, -len(gaps) :].copy()
    weights[2, 0] *= 0.1
    alike = gaps[:-1] / gaps[-1]
    np.log(alike, out=alike)
    np.abs(alike, out=alike)
    alike *= -4.0
    np.maximum(alike, -5.0, out=alike)
    weights[2, 1:] *= np.exp(alike, out=alike)
    return weights


def _seen_before(prior: Singles, spans: Singles, weight: float) -> Singles:
    """Calls in each span as the platform's other functions have them, as so many gaps of one's own."""
    calls = prior * spans
    np.minimum(calls, 1.0, out=calls)
    calls *= weight
    return calls


def _long_estimates(out: Singles, history: FunctionHistory, at: Singles, prior: Singles) -> None:
    """Hazards from the long histogram, through kernels of half a bin, a third of an octave and an octave."""
    counts = np.concatenate((_LONG_BEFORE, history.histogram, _LONG_AFTER), dtype=np.float32)
    below = np.add.accumulate(counts)  # gaps up to the end of each bin
    place = np.log(at)
    place *= _BINS_PER_LOG
    bounds = place + _LONG_PLACES
    ends = np.ceil(bounds)
    bins = ends.astype(np.intp)
    bounds -= ends
    bounds *= counts.take(bins)
    bounds += below.take(bins)  # gaps shorter than each
    total = float(below[-1])
    spans = at * _LONG_SPANS
    left, near = bounds[:3], bounds[3:6]
    near -= left
    near += _seen_before(prior, spans, 0.5)
    np.subtract(total + 0.5, left, out=left)
    left *= spans
    np.divide(near, left, out=out[:3])
    np.subtract(total + 0.1, bounds[6], out=out[4])
    np.divide(out[4], total + 0.1, out=out[3])


def _clock_estimates(out: Singles, history: FunctionHistory, at: Floats) -> None:
    """Calls per second over its life, in this minute of the hour, this part of day, this hour of week."""
    hours, days, weeks = history.spans(history.last_s)
    seen_s = max(history.last_s - history.first_s, 60.0)
    life = (history.bursts + 0.5) / (at + (seen_s + 60.0))
    out[0] = life
    minutes = at + history.last_s
    minutes *= 1.0 / 60.0
    slots = _CLOCK_SLOTS.take(minutes.astype(np.int64) % _WEEK_MINUTES, axis=1)
    hits = life * _CLOCK_SPANS
    np.minimum(hits, 1.0, out=hits)
    hits += history.clocks.take(slots)
    watched_s = np.array([[60.0 * hours + 60.0], [600.0 * days + 600.0], [3600.0 * weeks + 3600.0]])
    np.divide(hits, watched_s, out=out[1:], casting="same_kind")


def _constants(history: FunctionHistory, pooled: PooledHazard, last: list[float], middle_s: float) -> list[float]:
    """``last``: the last gaps, oldest first; ``middle_s``: their median."""
    hours, days, _ = history.spans(history.last_s)
    rates = [math.log(rate + 1e-7) for rate in history.rates]
    loads = [math.log(load) for load in pooled.loads(history.last_s)]
    if last:
        reach_s = 0.03 * middle_s + 2.0
        near = sum([abs(gap_s - middle_s) < reach_s for gap_s in last])
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
        math.log(last[-1]) if last else _NO_GAP,
        math.log(last[-2]) if len(last) > 1 else _NO_GAP,
    ]


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half])
