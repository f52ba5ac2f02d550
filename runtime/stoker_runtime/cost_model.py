"""What an execution costs: duration = a + b · cost, learned online.

The rule that must not break: the fit stays sane (a, b >= 0, finite) whatever is observed, and a single outlier (a
garbage collection, a cold cache) moves it little, while a lasting change moves it within some tens of executions.
"""

from __future__ import annotations

from typing import Final

_KEEP: Final = 0.97
"""Weight kept per observation: memory of about 33 executions."""
_CLIP: Final = 3.0
"""A residual beyond so many typical residuals counts less."""


class CostModel:
    """Recency-weighted, clipped least squares over (cost, duration)."""

    __slots__ = ("_scale_s", "_w", "_wx", "_wxx", "_wxy", "_wy", "a_s", "b_s", "has_shape", "max_cost", "observations")

    def __init__(self) -> None:
        self._w = self._wx = self._wy = self._wxx = self._wxy = 0.0
        self._scale_s = 0.0
        self.a_s = 0.0
        self.b_s = 0.0
        self.max_cost = 0.0
        self.has_shape = False
        """Executions of different cost were seen, so that what is fixed about them is known."""
        self.observations = 0

    def observe(self, cost: float, duration_s: float) -> None:
        """One execution of total ``cost`` took ``duration_s``."""
        weight = 1.0
        if self.observations >= 3:
            residual_s = abs(duration_s - self.predict_s(cost))
            limit_s = _CLIP * max(self._scale_s, 0.02 * self.predict_s(cost), 1e-6)
            if residual_s > limit_s:
                weight = limit_s / residual_s
            self._scale_s += 0.1 * (min(residual_s, 4 * limit_s) - self._scale_s)
        elif self.observations:
            self._scale_s = max(self._scale_s, 0.5 * abs(duration_s - self.predict_s(cost)))
        self._w = self._w * _KEEP + weight
        self._wx = self._wx * _KEEP + weight * cost
        self._wy = self._wy * _KEEP + weight * duration_s
        self._wxx = self._wxx * _KEEP + weight * cost * cost
        self._wxy = self._wxy * _KEEP + weight * cost * duration_s
        self.max_cost = max(self.max_cost, cost)
        self.observations += 1
        self._fit()

    def predict_s(self, cost: float) -> float:
        """Expected duration of an execution of total ``cost``; 0 before anything was observed."""
        return self.a_s + self.b_s * cost

    @property
    def mean_s(self) -> float:
        """Recent mean duration of an execution."""
        return self._wy / self._w if self._w else 0.0

    @property
    def mean_cost(self) -> float:
        """Recent mean cost of an execution."""
        return self._wx / self._w if self._w else 0.0

    def _fit(self) -> None:
        mean_x, mean_y = self._wx / self._w, self._wy / self._w
        variance = self._wxx / self._w - mean_x * mean_x
        self.has_shape = variance > 1e-9 * max(mean_x * mean_x, 1e-12)
        if not self.has_shape:
            # one size only: nothing says how much of it is fixed, so promise no gain from growing
            self.a_s, self.b_s = 0.0, mean_y / mean_x if mean_x > 0 else 0.0
            return
        slope = (self._wxy / self._w - mean_x * mean_y) / variance
        if slope <= 0:
            self.a_s, self.b_s = mean_y, 0.0
        elif mean_y - slope * mean_x < 0:
            self.a_s, self.b_s = 0.0, self._wxy / self._wxx
        else:
            self.a_s, self.b_s = mean_y - slope * mean_x, slope
