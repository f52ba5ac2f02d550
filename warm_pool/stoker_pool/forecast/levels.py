"""How warm to be: on the device, in host memory, or not at all.

The rule that must not break: of the three the cheapest is chosen; a level that costs more is never kept for less.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Level(str, Enum):
    """From the quickest to answer to the slowest."""

    HOT = "hot"
    HOST = "host"
    COLD = "cold"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTier:
    """What the middle level costs, as shares of the upper one's."""

    second_share: float = 0.05
    """A second parked in host memory, of a second on the device."""
    reload_share: float = 0.15
    """The wait from host memory, of a full cold start."""


DEFAULT_HOST_TIER: Final = HostTier()


def level_of(hazard: float, price_s: float, tier: HostTier | None = DEFAULT_HOST_TIER) -> Level:
    """The level that is worth most at a hazard (calls per second); ``tier`` is None where nothing can be parked.

    A second hot costs 1 and saves ``hazard * price_s``; a second in host memory costs and saves its shares of that.
    """
    saved = hazard * price_s
    hot = saved - 1.0
    host = saved * (1.0 - tier.reload_share) - tier.second_share if tier is not None else -1.0
    if hot >= 0.0 and hot >= host:
        return Level.HOT
    return Level.HOST if host >= 0.0 else Level.COLD


def thresholds(price_s: float, tier: HostTier | None = DEFAULT_HOST_TIER) -> tuple[float, float]:
    """Least hazards at which to be hot, and to be at least in host memory."""
    if tier is None or tier.second_share / (1.0 - tier.reload_share) >= 1.0:
        return 1.0 / price_s, 1.0 / price_s
    host = tier.second_share / (1.0 - tier.reload_share)
    hot = max((1.0 - tier.second_share) / tier.reload_share, 1.0)
    return hot / price_s, host / price_s
