"""What a cold start is worth in idle seconds, from the words that users have for it.

The rule that must not break: a price is finite and > 0, so that no target, however strict, keeps a function loaded for
ever once its calls have ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from stoker.options import Scaling
from stoker_pool.forecast.history import Floats

WARMTH_PRICES_S: Final[Mapping[str, float]] = MappingProxyType({"frugal": 300.0, "balanced": 1800.0, "eager": 14400.0})
LEAST_PRICE_S: Final = 10.0
MOST_PRICE_S: Final = 604800.0
STEPS: Final = 32
"""Prices that a search chooses from, each a constant factor above the last."""
_LOG_LEAST: Final = math.log(LEAST_PRICE_S)
_LOG_STEP: Final = (math.log(MOST_PRICE_S) - _LOG_LEAST) / STEPS
_FORGIVEN: Final = 1.0
"""One gap, however long: among few calls it says nothing of their share."""
_CALLS_KEPT: Final = 100_000.0


def price_of(scaling: Scaling) -> float | None:
    """Idle seconds that one cold start is worth; None where a target share asks for a search."""
    if scaling.gpu_second_cost is not None and scaling.cold_start_cost is not None:
        return bounded(scaling.cold_start_cost / scaling.gpu_second_cost)
    if scaling.cold_start_target is not None:
        return None
    return WARMTH_PRICES_S[scaling.warmth or "balanced"]


def bounded(price_s: float) -> float:
    """Within what makes sense."""
    return min(max(price_s, LEAST_PRICE_S), MOST_PRICE_S) if price_s == price_s else WARMTH_PRICES_S["balanced"]


class PriceSearch:
    """Finds the least price at which the share of cold calls stays below a target.

    Every gap that ends has a *critical price*: one over the hazard that was forecast for its end. At any higher price
    the replica would have been there. Their counts therefore say what share each price would have had, without trying
    it: no feedback, so nothing to swing. One search over a pool finds the one price of least idle time for all.
    """

    def __init__(self) -> None:
        self.counts: Floats = np.zeros(STEPS + 1)
        self.calls = 0.0

    def note(self, critical_price_s: float | None, calls: int) -> None:
        """So many calls came, the first of them after a gap with that critical price; None: within a burst."""
        self.calls += calls
        if critical_price_s is not None:
            self.counts[step_of(critical_price_s)] += 1.0
        if self.calls > _CALLS_KEPT:
            self.counts *= 0.5
            self.calls *= 0.5

    def price_s(self, target: float) -> float:
        """For a target share in (0, 1]; that of ``"balanced"`` while nothing is known."""
        if self.calls < 1.0:
            return WARMTH_PRICES_S["balanced"]
        allowed = target * self.calls + _FORGIVEN
        cold_above = np.cumsum(self.counts[::-1])[::-1] - self.counts  # gaps that a price of this step leaves cold
        step = int(np.argmax(cold_above <= allowed))
        return price_of_step(step)

    def numbers(self) -> list[float]:
        """All of it: calls, then the counts."""
        return [self.calls, *self.counts.tolist()]

    @classmethod
    def of_numbers(cls, row: list[float]) -> PriceSearch:
        """Calls, then the counts; raises ``ValueError`` where they are not that."""
        search = cls()
        if len(row) != STEPS + 2 or min(row) < 0:
            raise ValueError("the forecast's state has a price search of another kind")
        search.calls = row[0]
        search.counts = np.array(row[1:])
        return search


def price_of_step(step: int) -> float:
    """The price that loads all critical prices up to the step's."""
    return bounded(math.exp(_LOG_LEAST + (step + 1) * _LOG_STEP))


def step_of(price_s: float) -> int:
    """The step of a price; the last holds what no price reaches."""
    if not price_s > LEAST_PRICE_S:
        return 0
    return min(int((math.log(min(price_s, 1e12)) - _LOG_LEAST) / _LOG_STEP), STEPS)
