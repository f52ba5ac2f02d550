"""The forecast against a plain keep-alive, for one function: who would have paid less for the gaps that have ended.

The rule that must not break: both are counted on the same gaps at the same price, whichever of them is in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TIMER_S: Final = 600.0
"""The plain keep-alive to beat."""
_KEPT: Final = 0.98
_ENOUGH_GAPS: Final = 20
_MARGIN: Final = 1.15


@dataclass(slots=True)
class Contest:
    """Costs in idle seconds, a cold start at its price; old gaps fade."""

    forecast_s: float = 0.0
    timer_s: float = 0.0
    gaps: int = 0
    is_lost: bool = False
    """The forecast is turned off here."""

    def note(self, *, idle_s: float, loaded_s: float, is_cold: bool, price_s: float) -> None:
        """A call ended a gap of ``idle_s``, of which the forecast would have been loaded for ``loaded_s``."""
        self.gaps += 1
        self.forecast_s = self.forecast_s * _KEPT + loaded_s + (price_s if is_cold else 0.0)
        self.timer_s = self.timer_s * _KEPT + min(idle_s, TIMER_S) + (price_s if idle_s > TIMER_S else 0.0)
        if self.is_lost:
            self.is_lost = self.forecast_s >= self.timer_s
        elif self.gaps >= _ENOUGH_GAPS:
            # one unlucky start is no proof
            self.is_lost = self.forecast_s > _MARGIN * self.timer_s + price_s
