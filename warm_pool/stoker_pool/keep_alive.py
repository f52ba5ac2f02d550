"""For how long an idle replica stays.

The rule that must not break: a policy is pure; what it knows of the past is in ``IdleGaps``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from stoker.options import ADAPTIVE, Scaling

_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class IdleGaps:
    """The last idle gaps between calls, oldest first."""

    gaps_s: tuple[float, ...] = ()

    def with_gap(self, gap_s: float) -> IdleGaps:
        """One more gap has ended."""
        return IdleGaps((*self.gaps_s, gap_s)[-_REMEMBERED:])


class KeepAlivePolicy(Protocol):
    """How long to stay, given the past."""

    def keep_alive_s(self, gaps: IdleGaps) -> float: ...


@dataclass(frozen=True, slots=True)
class FixedKeepAlive:
    """Always as long as was asked for."""

    seconds: float

    def keep_alive_s(self, gaps: IdleGaps) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveKeepAlive:
    """Long enough for most of the gaps seen lately, with a margin; the default while little is known."""

    quantile: float = 0.95
    margin: float = 1.25
    least_s: float = 10.0
    most_s: float = 1800.0
    default_s: float = 60.0
    enough_gaps: int = 8

    def keep_alive_s(self, gaps: IdleGaps) -> float:
        if len(gaps.gaps_s) < self.enough_gaps:
            return self.default_s
        ordered = sorted(gaps.gaps_s)
        wanted_s = ordered[min(math.ceil(self.quantile * len(ordered)), len(ordered)) - 1] * self.margin
        if wanted_s > self.most_s:
            # waiting out such gaps costs more than a start: stay for the short ones only
            wanted_s = ordered[(len(ordered) - 1) // 2] * self.margin
        return min(max(wanted_s, self.least_s), self.most_s)


def policy_of(scaling: Scaling) -> KeepAlivePolicy:
    """The policy that the options name."""
    if isinstance(scaling.keep_alive_s, str):
        assert scaling.keep_alive_s == ADAPTIVE
        return AdaptiveKeepAlive()
    return FixedKeepAlive(float(scaling.keep_alive_s))
