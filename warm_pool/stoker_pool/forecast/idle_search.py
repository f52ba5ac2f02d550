"""What each price would have cost in idle seconds, and so the highest price that a budget of them allows.

The rule that must not break: what is counted depends on calls and forecasts alone, never on the price in force, so the
price that is found has nothing to swing with.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker_pool.forecast.curve import Curve
from stoker_pool.forecast.history import Floats
from stoker_pool.forecast.prices import LEAST_PRICE_S, STEPS, price_of_step

_LOG_PRICES: Final = np.log([price_of_step(step) for step in range(STEPS)]).astype(np.float16)
"""As coarse as a curve's hazards, so that both say the same at the very edge."""
_HOUR_S: Final = 3600.0
_REMEMBERED_S: Final = 86_400.0
_AT_ONCE_S: Final = 60.0
_STEPPED_BACK_S: Final = 3600.0


class IdleSearch:
    """Idle seconds by the least price step that has them, over the last day or so; old ones fade.

    Each cell of a forecast has a *critical price*, one over its hazard: from that price on its seconds are spent.
    """

    def __init__(self) -> None:
        self.idle_s: Floats = np.zeros(STEPS + 1)
        self.span_s = 0.0
        """How long it has watched, as far as that is remembered."""
        self.seen_s = -math.inf

    def watch(self, at_s: float) -> None:
        """Time has come to ``at_s``; steps back count nothing."""
        passed_s = at_s - self.seen_s
        if passed_s == math.inf or passed_s < -_STEPPED_BACK_S:
            self.seen_s = at_s
        elif passed_s >= _AT_ONCE_S:
            kept = math.exp(-passed_s / _REMEMBERED_S)
            self.idle_s *= kept
            self.span_s = self.span_s * kept + _REMEMBERED_S * (1.0 - kept)
            self.seen_s = at_s

    def note(self, curve: Curve, from_age_s: float, to_age_s: float) -> None:
        """Nothing was in flight between these ages of a gap."""
        self.idle_s += idle_by_step(curve, from_age_s, to_age_s)

    def note_near(self, curve: Curve, seconds: float) -> None:
        """The same for a few seconds just after a call."""
        self.idle_s[int(_LOG_PRICES.searchsorted(-curve.log_hazard[0]))] += seconds

    def price_s(self, budget_s: float) -> float:
        """The highest price whose idle seconds per hour keep within the budget, and the least of all where none does.

        In the first hour all that was seen is held against one hour's budget.
        """
        per_hour_s = np.cumsum(self.idle_s[:STEPS]) / max(self.span_s / _HOUR_S, 1.0)
        step = int(per_hour_s.searchsorted(budget_s, side="right")) - 1
        return price_of_step(step) if step >= 0 else LEAST_PRICE_S

    @property
    def has_seen_enough(self) -> bool:
        """An hour of calls, below which there is no rate per hour."""
        return self.span_s >= _HOUR_S

    def numbers(self) -> list[float]:
        """All of it."""
        return [self.span_s, max(self.seen_s, -1e300), *self.idle_s.tolist()]

    @classmethod
    def of_numbers(cls, row: list[float]) -> IdleSearch:
        """Raises ``ValueError`` where they are not that."""
        search = cls()
        if len(row) != STEPS + 3 or row[0] < 0 or min(row[2:]) < 0:
            raise ValueError("the forecast's state has idle seconds of another kind")
        search.span_s, search.idle_s = row[0], np.array(row[2:])
        search.seen_s = row[1] if row[1] > -1e300 else -math.inf
        return search


def idle_by_step(curve: Curve, from_age_s: float, to_age_s: float) -> NDArray[np.float64]:
    """Seconds between two ages by the least price step that is loaded in them; the last: none is."""
    inside = np.clip(curve.edges, from_age_s, max(to_age_s, from_age_s))
    steps = _LOG_PRICES.searchsorted(-curve.log_hazard)
    spent_s: NDArray[np.float64] = np.bincount(steps, np.diff(inside), STEPS + 1).astype(np.float64, copy=False)
    return spent_s
