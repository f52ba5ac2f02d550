"""A forecast from one call on: the hazard over idle age, and the windows that a price makes of it.

The rule that must not break: windows are sorted, disjoint, finite, and at most ``MOST_WINDOWS``.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker_pool.forecast.history import Floats
from stoker_pool.forecast.policy import Window, Windows

MOST_WINDOWS: Final = 48
_PER_LOG: Final = 10.0


class Curve:
    """``log_hazard[k]`` holds from ``edges[k]`` to ``edges[k + 1]`` seconds after ``from_s``; kept small."""

    __slots__ = ("edges", "from_s", "kept", "log_hazard")

    def __init__(self, from_s: float, edges: Floats | NDArray[np.float32], log_hazard: Floats | NDArray[np.float16]):
        self.from_s = from_s
        self.kept = 0
        """For how many gaps it was not made anew."""
        self.edges = edges.astype(np.float32, copy=False)
        self.log_hazard = log_hazard.astype(np.float16, copy=False)

    @classmethod
    def condensed(cls, from_s: float, edges: Floats, log_hazard: Floats) -> Curve:
        """Neighbouring cells whose hazards differ by less than the estimates are sure of become one."""
        steps = np.rint(log_hazard * _PER_LOG)
        begins = np.flatnonzero(steps[1:] != steps[:-1]) + 1
        starts = np.concatenate([[0], begins])
        return cls(from_s, edges[np.append(starts, len(steps))], steps[starts] / _PER_LOG)

    def after(self, from_s: float) -> Curve:
        """The same, from a later call on."""
        same = Curve(from_s, self.edges, self.log_hazard)
        same.kept = self.kept
        return same

    def log_hazard_at(self, age_s: float) -> float:
        """At an idle age; the last cell's beyond the end."""
        cell = int(self.edges.searchsorted(age_s, side="right")) - 1
        return float(self.log_hazard[min(max(cell, 0), len(self.log_hazard) - 1)])

    def windows(self, price_s: float, now_s: float) -> Windows:
        """Loaded exactly where the hazard is at least one over the price."""
        is_worth = self.log_hazard >= -math.log(price_s)
        turns = np.flatnonzero(np.diff(is_worth)) + 1
        starts = turns.tolist()
        if is_worth[0]:
            starts.insert(0, 0)
        if len(starts) % 2:
            starts.append(len(is_worth))
        bounds = (self.edges[starts].astype(np.float64) + self.from_s).tolist() if starts else []
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        return tuple(Window(max(start, now_s), end) for start, end in pairs if end > max(start, now_s))[:MOST_WINDOWS]

    def loaded_s(self, price_s: float, from_age_s: float, to_age_s: float) -> float:
        """Seconds between the ages that the windows of a price cover."""
        inside = np.clip(self.edges, from_age_s, max(to_age_s, from_age_s))
        return float(np.diff(inside) @ (self.log_hazard >= -math.log(price_s)))

    def expected_calls(self, from_age_s: float, to_age_s: float) -> float:
        """The hazard summed over the ages."""
        inside = np.clip(self.edges, from_age_s, to_age_s)
        return float(np.diff(inside) @ np.exp(self.log_hazard, dtype=np.float32))
