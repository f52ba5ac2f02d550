"""What the forecast's network is fitted to: every cell of every gap in a trace, with what was known then.

Learning runs in the order of time over all functions, exactly as in the platform; a row never sees what came after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker_pool.forecast.features import Estimates, ages, features
from stoker_pool.forecast.history import BURST_S, FunctionHistory
from stoker_pool.forecast.pooled import PooledHazard
from stoker_pool.simulation.trace import Trace

_SWEPT_AT_ONCE = 2
_LONG_GAP_S = 300.0
"""Gaps up to here may be thinned out: there are many, and they are easy."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One row per cell: estimates, seconds at risk, whether the call came, weight, and the function's index."""

    estimates: NDArray[np.float32]
    exposure_s: NDArray[np.float32]
    came: NDArray[np.float32]
    weight: NDArray[np.float32]
    owner: NDArray[np.int32]


def rows_of(trace: Trace, *, skip: float = 0.2, thinned: int = 1, seed: int = 0) -> Rows:
    """Rows from ``skip`` of the trace on; of short gaps, one in ``thinned``."""
    random = np.random.default_rng(seed)
    platform = _Platform()
    next_s = trace.next_times_s()
    begin_s = trace.start_s + skip * (trace.end_s - trace.start_s)
    parts: list[tuple[NDArray[np.float32], ...]] = []
    owners: list[NDArray[np.int32]] = []
    for index, (at_s, owner, count) in enumerate(zip(trace.times_s, trace.owners, trace.counts, strict=True)):
        history = platform.note(int(owner), float(at_s), int(count))
        reach_s = min(next_s[index], trace.end_s) - at_s
        is_thinned = reach_s < _LONG_GAP_S
        if at_s < begin_s or reach_s <= BURST_S or (is_thinned and random.random() * thinned > 1.0):
            continue
        part = _cells(history, platform.pooled, reach_s, has_come=next_s[index] <= trace.end_s)
        parts.append((*part, np.full(len(part[1]), thinned if is_thinned else 1.0, np.float32)))
        owners.append(np.full(len(part[1]), owner, np.int32))
    estimates, exposure_s, came, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Rows(estimates, exposure_s, came, weight, np.concatenate(owners))


def joined(parts: Sequence[Rows]) -> Rows:
    """As if of one trace; each part's functions are others."""
    owners, functions = [], 0
    for part in parts:
        owners.append(part.owner + np.int32(functions))
        functions += int(part.owner.max()) + 1
    return Rows(
        np.concatenate([part.estimates for part in parts]),
        np.concatenate([part.exposure_s for part in parts]),
        np.concatenate([part.came for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate(owners),
    )


class _Platform:
    """Histories and what they have in common, learned as ``AdaptivePolicy`` does."""

    def __init__(self) -> None:
        self.pooled = PooledHazard()
        self._histories: dict[int, FunctionHistory] = {}
        self._order: list[FunctionHistory] = []
        self._swept = 0

    def note(self, owner: int, at_s: float, count: int) -> FunctionHistory:
        history = self._histories.get(owner)
        if history is None:
            history = self._histories[owner] = FunctionHistory(at_s)
            self._order.append(history)
            self.pooled.note_load(at_s)
            return history
        gaps, swept_s = history.bursts, history.swept_s
        gap_s = history.note(at_s, count)
        if gap_s is not None:
            self.pooled.note_gap(gaps, swept_s, gap_s)
            self.pooled.note_load(at_s)
            history.swept_s = 0.0
            for _ in range(_SWEPT_AT_ONCE):
                self._sweep(at_s)
        return history

    def _sweep(self, at_s: float) -> None:
        self._swept = (self._swept + 1) % len(self._order)
        waiting = self._order[self._swept]
        age_s = at_s - waiting.last_s
        if age_s > waiting.swept_s + 60.0:
            self.pooled.note_waiting(waiting.bursts, waiting.swept_s, age_s)
            waiting.swept_s = age_s


def _cells(
    history: FunctionHistory, pooled: PooledHazard, reach_s: float, *, has_come: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    edges = ages(history)
    last = min(max(int(np.searchsorted(edges, reach_s, side="left")), 1), len(edges) - 1)
    edges = edges[: last + 1]
    exposure_s = np.maximum(np.minimum(edges[1:], reach_s) - edges[:-1], 0.0).astype(np.float32)
    came = np.zeros(last, np.float32)
    came[-1] = float(has_come and reach_s <= edges[-1])
    is_kept = (exposure_s > 0) | (came > 0)
    return table(features(history, pooled, edges))[is_kept], exposure_s[is_kept], came[is_kept]


def table(estimates: Estimates) -> NDArray[np.float32]:
    """One row per cell, in the order of ``NAMES``."""
    cells = estimates.varying.shape[1]
    return np.vstack([estimates.varying, np.repeat(estimates.constant[:, None], cells, axis=1)]).T
