"""A forecast from one call on: the hazard over idle age, and the windows that a price makes of it.

The rule that must not break: windows are sorted, disjoint, finite, and at most ``MOST_WINDOWS``.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker_pool.forecast.history import Floats
from stoker_pool.forecast.policy import Window, Windows

MOST_WINDOWS: Final = 48
_PER_LOG: Final = 10.0
_SURE_SHARE: Final = 0.75
_LEAST_SURE_S: Final = 45.0
_LONGEST_SURE_S: Final = 600.0


class Curve:
    """``log_hazard[k]`` holds from ``edges[k]`` to ``edges[k + 1]`` seconds after ``from_s``; kept small."""

    __slots__ = ("_price_s", "_turns", "edges", "from_s", "is_old", "kept", "log_hazard")

    def __init__(self, from_s: float, edges: Floats | NDArray[np.float32], log_hazard: Floats | NDArray[np.float16]):
        self.from_s = from_s
        self.kept = 0
        """For how many gaps it was not made anew."""
        self.is_old = False
        """A gap has ended since it was made: good enough for the ages that it is sure of, and no further."""
        self.edges = edges.astype(np.float32, copy=False)
        self.log_hazard = log_hazard.astype(np.float16, copy=False)
        self._price_s = math.nan
        self._turns = array("f")
        """Ages at which being loaded begins and ends, by turns, at the price last asked for."""

    @classmethod
    def condensed(cls, from_s: float, edges: Floats, log_hazard: Floats | NDArray[np.float32]) -> Curve:
        """Neighbouring cells whose hazards differ by less than the estimates are sure of become one."""
        steps = np.rint(log_hazard * _PER_LOG)
        begins = np.empty(len(edges), np.bool_)  # the end of the last cell is kept too
        begins[0] = begins[-1] = True
        np.not_equal(steps[1:], steps[:-1], out=begins[1:-1])
        return cls(from_s, edges[begins], steps[begins[:-1]] / _PER_LOG)

    def after(self, from_s: float) -> Curve:
        """The same, from a later call on."""
        same = Curve(from_s, self.edges, self.log_hazard)
        same.kept, same.is_old = self.kept, self.is_old
        same._price_s, same._turns = self._price_s, self._turns
        return same

    def log_hazard_at(self, age_s: float) -> float:
        """At an idle age; the last cell's beyond the end."""
        cell = int(self.edges.searchsorted(np.float32(age_s), side="right")) - 1
        return float(self.log_hazard[min(max(cell, 0), len(self.log_hazard) - 1)])

    def is_worth(self, price_s: float, age_s: float) -> bool:
        """The windows of a price cover this age."""
        return bisect_right(self._turns_at(price_s), age_s) % 2 == 1

    def windows(self, price_s: float, now_s: float) -> Windows:
        """Loaded exactly where the hazard is at least one over the price."""
        bounds = [age_s + self.from_s for age_s in self._turns_at(price_s)]
        pairs = zip(bounds[::2], bounds[1::2], strict=True)
        return tuple([Window(max(start, now_s), end) for start, end in pairs if end > max(start, now_s)][:MOST_WINDOWS])

    def sure_s(self, price_s: float) -> float:
        """Up to this age it was so clearly worth being loaded that one more gap, a shorter one, changes nothing."""
        turns = self._turns_at(price_s)
        if not turns or turns[0] > 0.0 or turns[1] < _LEAST_SURE_S:
            return 0.0
        return min(_SURE_SHARE * turns[1], _LONGEST_SURE_S)

    def loaded_s(self, price_s: float, from_age_s: float, to_age_s: float) -> float:
        """Seconds between the ages that the windows of a price cover."""
        turns = self._turns_at(price_s)
        first = bisect_right(turns, from_age_s) // 2 * 2
        seconds = 0.0
        for start_s, end_s in zip(turns[first::2], turns[first + 1 :: 2], strict=True):
            if start_s >= to_age_s:
                break
            seconds += max(min(end_s, to_age_s) - max(start_s, from_age_s), 0.0)
        return seconds

    def expected_calls(self, from_age_s: float, to_age_s: float) -> float:
        """The hazard summed over the ages."""
        inside = np.clip(self.edges, from_age_s, to_age_s)
        return float(np.diff(inside) @ np.exp(self.log_hazard, dtype=np.float32))

    def _turns_at(self, price_s: float) -> array[float]:
        if price_s != self._price_s:
            is_worth = self.log_hazard >= -math.log(price_s)
            turns = (is_worth[1:] != is_worth[:-1]).nonzero()[0] + 1
            ages_s: list[float] = self.edges.take(turns).tolist()
            if is_worth[0]:
                ages_s.insert(0, float(self.edges[0]))
            if len(ages_s) % 2:
                ages_s.append(float(self.edges[-1]))
            self._price_s, self._turns = price_s, array("f", ages_s)
        return self._turns
