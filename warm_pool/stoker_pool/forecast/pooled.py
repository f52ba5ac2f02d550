"""What the functions of one platform have in common: how the next call's hazard falls with idle age.

The rule that must not break: a function that never came back counts too. Open gaps are swept into the exposure, or the
hazard of old gaps would be made of returns alone.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from stoker_pool.forecast.history import BURST_S, Floats
from stoker_pool.forecast.recurrence import Recurrence

CLASSES: Final = 12
"""Functions by how many gaps they have shown: 0, 1, 2-3, 4-7, … 1024 and more."""
_PER_OCTAVE: Final = 4
_BINS: Final = 80
"""Of 15 s · 2^(k/4): the last begins after some 180 days."""
EDGES_S: Final[Floats] = np.concatenate([[0.0], BURST_S * 2.0 ** (np.arange(_BINS) / _PER_OCTAVE)])
_WIDTHS: Final[Floats] = np.diff(EDGES_S)
_INNER_EDGES_S: Final[Floats] = EDGES_S[1:-1].copy()
_EDGES: Final[list[float]] = EDGES_S.tolist()
_FORGET_AT: Final = 2000.0
LOAD_MEMORIES_S: Final = (600.0, 3600.0, 28800.0, 172800.0)


def class_of(gaps: int) -> int:
    """The class of a function that has shown ``gaps`` gaps."""
    return min(gaps.bit_length(), CLASSES - 1)


class PooledHazard:
    """Calls and exposure per class and log bin of age; and the platform's load now and by time of day."""

    def __init__(self) -> None:
        self.hits = np.zeros((CLASSES, _BINS))
        self.exposure_s = np.zeros((CLASSES, _BINS))
        self._loads = [0.0] * len(LOAD_MEMORIES_S)
        self.first_s: float | None = None
        self.last_s = 0.0
        self.recurrence = Recurrence()
        self._seed()

    def note_gap(self, gaps: int, from_s: float, gap_s: float) -> None:
        """A function of ``gaps`` gaps waited from age ``from_s`` (what no sweep has counted) to a call at ``gap_s``."""
        kind = class_of(gaps)
        self._expose(kind, from_s, gap_s)
        self.hits[kind, self._bin(gap_s)] += 1.0
        if np.add.reduce(self.hits[kind]) > _FORGET_AT:
            self.hits[kind] *= 0.5
            self.exposure_s[kind] *= 0.5

    def note_waiting(self, gaps: int, from_s: float, to_s: float) -> None:
        """A function of ``gaps`` gaps was still not called between the two ages."""
        self._expose(class_of(gaps), from_s, to_s)

    def note_load(self, at_s: float) -> None:
        """A burst began anywhere on the platform."""
        if self.first_s is None:
            self.first_s = self.last_s = at_s
        step_s = max(at_s - self.last_s, 0.0)
        self.last_s = max(at_s, self.last_s)
        self._loads = [
            load * math.exp(-step_s / memory_s) + 1.0 / memory_s
            for load, memory_s in zip(self._loads, LOAD_MEMORIES_S, strict=True)
        ]

    def hazard(self, gaps: int, ages_s: Floats) -> Floats:
        """Calls per second at each age for a function of that class."""
        kind = class_of(gaps)
        rates = (self.hits[kind] + 1e-6) / (self.exposure_s[kind] + 1.0)
        found: Floats = rates.take(_INNER_EDGES_S.searchsorted(ages_s, side="right"))
        return found

    def loads(self, at_s: float) -> list[float]:
        """Bursts per second anywhere, looking back over each of ``LOAD_MEMORIES_S``."""
        if self.first_s is None:
            return [1e-5] * len(LOAD_MEMORIES_S)
        seen_s = max(at_s - self.first_s, 0.0) + 1.0
        since_s = max(at_s - self.last_s, 0.0)
        return [
            (load * math.exp(-since_s / memory_s) + 1e-6) / (1.0 - math.exp(-seen_s / memory_s) + 0.02)
            for load, memory_s in zip(self._loads, LOAD_MEMORIES_S, strict=True)
        ]

    def numbers(self) -> list[list[float]]:
        """All of it."""
        first_s = self.last_s if self.first_s is None else self.first_s
        times = [float(self.first_s is not None), first_s, self.last_s]
        returns = [self.recurrence.returns, self.recurrence.expected]
        return [times, returns, list(self._loads), *self.hits.tolist(), *self.exposure_s.tolist()]

    @classmethod
    def of_numbers(cls, rows: list[list[float]]) -> PooledHazard:
        """What ``numbers`` said; raises ``ValueError`` where that is none of it."""
        pooled = cls()
        if [len(row) for row in rows] != [3, 2, len(LOAD_MEMORIES_S)] + [_BINS] * (2 * CLASSES):
            raise ValueError("the forecast's state has another number of classes")
        if min(min(row) for row in rows[1:]) < 0:
            raise ValueError("the forecast's state counts less than nothing")
        is_begun, first_s, pooled.last_s = rows[0]
        pooled.first_s = first_s if is_begun else None
        pooled.recurrence = Recurrence(*rows[1])
        pooled._loads = list(rows[2])
        pooled.hits = np.array(rows[3 : 3 + CLASSES])
        pooled.exposure_s = np.array(rows[3 + CLASSES :])
        return pooled

    def _expose(self, kind: int, from_s: float, to_s: float) -> None:
        from_s, to_s = max(from_s, 0.0), min(to_s, _EDGES[-1])
        if to_s <= from_s:
            return
        row = self.exposure_s[kind]
        first, last = self._bin(from_s), self._bin(to_s)
        if first == last:
            row[first] += to_s - from_s
            return
        row[first] += _EDGES[first + 1] - from_s
        row[first + 1 : last] += _WIDTHS[first + 1 : last]
        row[last] += to_s - _EDGES[last]

    def _bin(self, age_s: float) -> int:
        if age_s < BURST_S:
            return 0
        return min(int(_PER_OCTAVE * math.log2(age_s / BURST_S)) + 1, _BINS - 1)

    def _seed(self) -> None:
        """A weak prior: the hazard falls as one over the age, faster for functions that have shown little."""
        ages_s = EDGES_S[:-1] + 0.5 * _WIDTHS
        for kind in range(CLASSES):
            hazard = (0.15 + 0.08 * kind) / (ages_s + 60.0)
            self.exposure_s[kind] = 4.0 / hazard.clip(1e-9)
            self.hits[kind] = 4.0
