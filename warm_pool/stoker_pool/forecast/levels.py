"""The level between loaded and cold: parked in host memory.

On the device or not is the windows' question. Once a replica leaves its device, this says from which chance of a call
on its place in host memory is worth more than letting go.

The rule that must not break: parking never costs more than the cold start that it may save.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTier:
    """What the middle level costs, as shares of the upper one's."""

    second_share: float = 0.05
    """A second parked in host memory, of a second on the device."""
    reload_share: float = 0.15
    """The wait from host memory, of a full cold start."""


DEFAULT_HOST_TIER: Final = HostTier()


def parking_threshold(price_s: float, tier: HostTier = DEFAULT_HOST_TIER) -> float:
    """The least hazard (calls per second) at which to be parked; infinite where waking saves nothing.

    A second in host memory costs ``second_share`` and saves ``hazard * price_s * (1 - reload_share)``.
    """
    saved_share = 1.0 - tier.reload_share
    return tier.second_share / saved_share / price_s if saved_share > 0.0 else math.inf
