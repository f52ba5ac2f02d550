"""One price of a cold start for all adaptive functions that state nothing of their own.

Equal marginal value: with one price the last idle second of each function saves as many cold starts as that of any
other, so no split of the same idle time has fewer of them.

The rule that must not break: the price rests between two looks, so that one function's calls do not make another's
replica come and go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from stoker.options import ADAPTIVE, PRICES, Scaling
from stoker_pool.forecast.curve import Curve
from stoker_pool.forecast.idle_search import IdleSearch
from stoker_pool.forecast.prices import WARMTH_PRICES_S, PriceSearch

RESTS_S: Final = 600.0
"""A price is looked at anew after so long."""
_OPEN_FROM_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolGoal:
    """What the functions together should come to; with both the budget has the last word."""

    cold_start_target: float | None = None
    """Share of their calls that may start cold."""
    idle_budget_s: float | None = None
    """Idle seconds per hour that their forecasts may take, all together."""

    def __bool__(self) -> bool:
        return self.cold_start_target is not None or self.idle_budget_s is not None

    def __str__(self) -> str:
        said = []
        if self.cold_start_target is not None:
            said.append(f"at most {100 * self.cold_start_target:g} % of calls cold")
        if self.idle_budget_s is not None:
            said.append(f"at most {self.idle_budget_s:g} idle seconds per hour")
        return ", ".join(said)


class PoolPrice:
    """Hears of every gap of every function that it is for."""

    def __init__(self, goal: PoolGoal) -> None:
        self.goal = goal
        self.search = PriceSearch()
        self.idle = IdleSearch()
        self.counted_s: dict[str, float] = {}
        """How far open gaps are among the idle seconds."""
        self.price_s = WARMTH_PRICES_S["balanced"]
        self._looked_s = -math.inf

    def note(self, at_s: float, critical_price_s: float | None, calls: int) -> None:
        """Calls came: the first after a gap with that critical price, or None: within a burst."""
        self.search.note(critical_price_s, calls)
        self.idle.watch(at_s)
        if abs(at_s - self._looked_s) >= RESTS_S:
            self._looked_s = at_s
            self.price_s = self._found_s()

    def note_near(self, curve: Curve | None, idle_s: float) -> None:
        """So many seconds of a burst were idle."""
        if self.goal.idle_budget_s is not None and curve is not None and idle_s > 0.0:
            self.idle.note_near(curve, idle_s)

    def note_ended(self, function: str, curve: Curve, busy_s: float, gap_s: float) -> None:
        """A gap that was idle from ``busy_s`` on is over."""
        if self.goal.idle_budget_s is not None:
            self.idle.note(curve, max(busy_s, self.counted_s.pop(function, 0.0)), gap_s)

    def is_due(self, function: str, age_s: float) -> bool:
        """An open gap has doubled since it was last counted: what never comes back costs too."""
        return self.goal.idle_budget_s is not None and age_s >= max(2 * self.counted_s.get(function, 0.0), _OPEN_FROM_S)

    def note_open(self, function: str, curve: Curve, busy_s: float, age_s: float) -> None:
        """A gap has come to ``age_s``."""
        self.idle.note(curve, max(busy_s, self.counted_s.get(function, 0.0)), age_s)
        self.counted_s[function] = age_s

    def forget(self, function: str) -> None:
        """It was deleted, or has words of its own now."""
        self.counted_s.pop(function, None)

    def _found_s(self) -> float:
        found = [] if self.goal.cold_start_target is None else [self.search.price_s(self.goal.cold_start_target)]
        if self.goal.idle_budget_s is not None:
            allowed_s = self.idle.price_s(self.goal.idle_budget_s)
            found.append(allowed_s if self.idle.has_seen_enough else min(allowed_s, WARMTH_PRICES_S["balanced"]))
        return min(found, default=WARMTH_PRICES_S["balanced"])

    # --- state --------------------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, object]:
        """All that was learned, as plain JSON values."""
        return {
            "search": self.search.numbers(),
            "idle": self.idle.numbers(),
            "counted": {name: [age_s] for name, age_s in self.counted_s.items()},
        }

    def resume(self, goal: PoolGoal) -> None:
        """Go on with what was learned, for a goal that may be another one."""
        self.goal = goal
        self.price_s = self._found_s()


def is_of_pool(scaling: Scaling) -> bool:
    """Adaptive, and without a word of what a cold start is worth."""
    return scaling.keep_alive_s == ADAPTIVE and all(getattr(scaling, name) is None for name in PRICES)
